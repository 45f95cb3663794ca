"""Runs sherpa-onnx itself on a stream, chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sherpa_onnx

SAMPLE_RATE = 16000
_PACKET = 1600


@dataclass(frozen=True)
class Heard:
    """What sherpa-onnx said of one stream after `chunks` chunks: token ids, their frames and log-probabilities."""

    chunks: int
    ids: list[int]
    frames: list[int]
    logps: list[float]


def transducer(folder: Path) -> Any:
    """A greedy recogniser; without a temperature its probabilities are those of the model."""
    return sherpa_onnx.OnlineRecognizer.from_transducer(
        tokens=str(folder / "tokens.txt"),
        encoder=str(folder / "encoder.onnx"),
        decoder=str(folder / "decoder.onnx"),
        joiner=str(folder / "joiner.onnx"),
        num_threads=1,
        temperature_scale=1.0,
    )


def zipformer2_ctc(folder: Path) -> Any:
    return sherpa_onnx.OnlineRecognizer.from_zipformer2_ctc(
        tokens=str(folder / "tokens.txt"), model=str(folder / "model.onnx"), num_threads=1
    )


def listen(recogniser: Any, signals: Sequence[np.ndarray], pieces: Sequence[str], frame_s: float = 0.04) -> list[Heard]:
    """Stream `signals` f32[n] one after the other; the end of a stream is not flushed."""
    return [_one(recogniser, signal, [piece.replace("\u2581", " ") for piece in pieces], frame_s) for signal in signals]


def _one(recogniser: Any, signal: np.ndarray, texts: list[str], frame_s: float) -> Heard:
    stream, chunks = recogniser.create_stream(), 0
    for start in range(0, len(signal), _PACKET):
        stream.accept_waveform(SAMPLE_RATE, signal[start : start + _PACKET])
        while recogniser.is_ready(stream):
            recogniser.decode_stream(stream)
            chunks += 1
    result = recogniser.get_result_all(stream)
    ids = [texts.index(token) for token in result.tokens]
    frames = [round(time / frame_s) for time in result.timestamps]
    return Heard(chunks, ids, frames, list(result.ys_probs))
