"""The shipped recogniser, its export for sherpa-onnx, and what both hear in a clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from streamer.bundle.loader import load_bundle
from streamer.bundle.registry import SHIPPED_BUNDLES
from streamer.engine.runner import Runner, open_sessions
from streamer.engine.settings import EngineSettings
from streamer.work import Lease, Row

SHIPPED = SHIPPED_BUNDLES / "asr-en"
CLIPS = sorted((Path(__file__).parents[2] / "samples").glob("*.flac"))
CHUNK = 5120
SAMPLE_RATE = 16_000


@dataclass(frozen=True)
class Heard:
    """Tokens with their times in seconds and log-probabilities."""

    ids: list[int]
    times: list[float]
    scores: list[float]


def clip(path: Path) -> np.ndarray:
    """A clip and silence, whole chunks in all: what is left in a chunk, sherpa-onnx never hears."""
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == SAMPLE_RATE
    return np.concatenate([samples, np.zeros(2 * CHUNK - len(samples) % CHUNK, np.float32)])


@cache
def _runner(folder: Path) -> Runner:
    bundle, settings = load_bundle(folder), EngineSettings()
    return Runner(bundle, open_sessions(bundle, settings), {"stream": 1}, settings)


@cache
def our_greedy(path: Path, folder: Path = SHIPPED) -> Heard:
    """Run a bundle on a clip as the server does."""
    runner = _runner(folder)
    bundle, (graph, _) = runner.bundle, runner.bundle.manifest.graphs
    assert graph.audio is not None
    size, hop, samples = graph.audio.chunk_samples, graph.audio.hop_samples, clip(path)
    found = []
    for at in range(0, len(samples) - size + 1, hop):
        start = frozenset(graph.groups if at == 0 else ())
        row = Row((Lease(bundle.key, "stream", 0, 0),), {"pcm": samples[at : at + size]}, start)
        (result,) = runner.run(graph.name, [row])
        found += zip(result.outputs["token_ids"], result.outputs["token_logp"], strict=True)
    frame_s = int(bundle.manifest.task.parameters["frame_samples"]) / SAMPLE_RATE
    spoken = [(int(token), frame_s * frame, float(score)) for frame, (token, score) in enumerate(found) if token]
    return Heard(*map(list, zip(*spoken, strict=True)))


def recognizer(module: Any, folder: Path, **options: Any) -> Any:
    """Let sherpa-onnx load an export; log-probabilities at the temperature of the model."""
    files = {name: str(folder / f"{name}.onnx") for name in ("encoder", "decoder", "joiner")}
    tokens = str(folder / "tokens.txt")
    return module.OnlineRecognizer.from_transducer(
        tokens=tokens, num_threads=1, temperature_scale=1.0, **files, **options
    )


def their_search(peer: Any, folder: Path, signals: Sequence[np.ndarray], stagger: int = 0) -> list[Heard]:
    """Feed 100 ms at a time to streams that begin `stagger` packets after one another, decoded together."""
    streams = [peer.create_stream() for _ in signals]
    packets = [[signal[at : at + 1600] for at in range(0, len(signal), 1600)] for signal in signals]
    for tick in range(max(map(len, packets)) + stagger * len(signals) + 1):
        for index, (stream, mine) in enumerate(zip(streams, packets, strict=True)):
            if 0 <= tick - stagger * index < len(mine):
                stream.accept_waveform(SAMPLE_RATE, mine[tick - stagger * index])
            elif tick - stagger * index == len(mine):
                stream.input_finished()
        while ready := [stream for stream in streams if peer.is_ready(stream)]:
            peer.decode_streams(ready)
    return [_heard(peer.get_result_all(stream), folder) for stream in streams]


def _heard(result: Any, folder: Path) -> Heard:
    lines = (folder / "tokens.txt").read_text(encoding="utf-8").splitlines()
    pieces = {piece.replace("\u2581", " "): int(number) for piece, number in (line.rsplit(" ", 1) for line in lines)}
    return Heard([pieces[token] for token in result.tokens], list(result.timestamps), list(result.ys_probs))
