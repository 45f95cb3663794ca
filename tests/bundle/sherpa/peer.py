"""sherpa-onnx itself, run over whole signals."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

_RATE = 16000


class Heard(NamedTuple):
    """What sherpa-onnx said: ids, times in seconds and, where it tells, log-probabilities."""

    ids: list[int]
    times: list[float]
    logps: list[float]


def hear(
    recogniser: Any,
    signal: np.ndarray,
    pieces: list[str],
    packet: int = 1600,
    rate: int = _RATE,
    anew: int | None = None,
) -> Heard:
    """Feed `signal` in packets and decode whenever sherpa-onnx is ready; `pieces` are the lines of tokens.txt.

    Before chunk `anew` the stream is reset as at an endpoint, and only what comes from there on is told.
    """
    stream, chunks = recogniser.create_stream(), 0
    for begin in range(0, len(signal), packet):
        stream.accept_waveform(rate, signal[begin : begin + packet])
        while recogniser.is_ready(stream):
            recogniser.decode_stream(stream)
            chunks += 1
            if chunks == anew:
                recogniser.reset(stream)
    result = recogniser.get_result_all(stream)
    return Heard([pieces.index(token) for token in result.tokens], list(result.timestamps), list(result.ys_probs))


def signals(*seconds: float, rate: int = _RATE) -> list[np.ndarray]:
    """Sweeps of different lengths and phases."""
    return [
        (np.sin(np.arange(int(length * rate)) ** 1.5 / 900 + index) * 0.3).astype(np.float32)
        for index, length in enumerate(seconds)
    ]
