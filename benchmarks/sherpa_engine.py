"""Our engine beside sherpa-onnx's recogniser, both in this process on one thread: the same weights and audio.

    pip install sherpa-onnx
    python benchmarks/sherpa_engine.py --batches 1 4 8 16

Each side decodes as many streams at a time as the batch says, PCM to tokens, front end and greedy search included.
Counted is the processor time of the process, which other programs disturb less than the wall clock; the two sides run
in turns, and the table shows the median of the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import sherpa_onnx

from streamer.audio.files import open_audio
from streamer.bundle.loader import load_bundle
from streamer.bundle.registry import SHIPPED_BUNDLES
from streamer.cli.clips import sample_clips
from streamer.engine.runner import Runner, open_sessions
from streamer.engine.settings import EngineSettings
from streamer.work import Lease, Row

_SAMPLE_RATE = 16_000
_SECONDS = 12.8


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=SHIPPED_BUNDLES / "asr-en")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    largest = max(arguments.batches)
    runner, peer = _ours(arguments.bundle, largest), _theirs(arguments.bundle)
    print("| batch | streamer CPU s per audio s | sherpa-onnx CPU s per audio s | ratio | same tokens |")
    print("|---" * 5 + "|", flush=True)
    for batch in arguments.batches:
        signals = _signals(batch)
        rounds = [
            (_timed(run_ours, runner, signals), _timed(run_theirs, peer, signals)) for _ in range(arguments.rounds)
        ]
        ours, theirs = (statistics.median(pair[side][0] for pair in rounds) for side in (0, 1))
        counts = [[len(tokens) for tokens in side[1]] for side in rounds[0]]
        ratio = statistics.median(pair[1][0] / pair[0][0] for pair in rounds)
        print(f"| {batch} | {ours:.4f} | {theirs:.4f} | {ratio:.2f} | {counts[0] == counts[1]} |", flush=True)


def _ours(bundle_folder: Path, slots: int) -> Runner:
    bundle, settings = load_bundle(bundle_folder), EngineSettings(max_batch=slots)
    runner = Runner(bundle, open_sessions(bundle, settings), {"stream": slots}, settings)
    runner.warm_up()
    return runner


def _theirs(bundle: Path) -> Any:
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "exported"
        command = [
            sys.executable,
            "-m",
            "streamer.cli.main",
            "bundle",
            "export",
            "sherpa",
            str(bundle),
            "--out",
            str(out),
        ]
        subprocess.run(command, check=True, capture_output=True)
        files = {part: str(out / f"{part}.onnx") for part in ("encoder", "decoder", "joiner")}
        return sherpa_onnx.OnlineRecognizer.from_transducer(tokens=str(out / "tokens.txt"), num_threads=1, **files)


def _signals(count: int) -> list[np.ndarray]:
    """The sample clips, over and over, each stream from another second on."""
    parts = []
    for path in sample_clips():
        with open_audio(path) as audio:
            parts += list(audio.blocks())
    speech = np.tile(np.concatenate(parts), 4)
    size = int(_SECONDS * _SAMPLE_RATE)
    return [speech[second * _SAMPLE_RATE :][:size].astype(np.float32) for second in range(count)]


def run_ours(runner: Runner, signals: list[np.ndarray]) -> list[list[int]]:
    """Decode all streams, one chunk of each at a time; returns their tokens."""
    graph = runner.bundle.manifest.graph("step")
    assert graph.audio is not None
    size, found = graph.audio.hop_samples, [[] for _ in signals]
    leases = [(Lease(runner.bundle.key, graph.pools[0], slot, 1),) for slot in range(len(signals))]
    for at in range(0, len(signals[0]) - size + 1, size):
        start = frozenset(graph.groups if at == 0 else ())
        rows = [
            Row(lease, {"pcm": signal[at : at + size]}, start) for lease, signal in zip(leases, signals, strict=True)
        ]
        for tokens, result in zip(found, runner.run("step", rows), strict=True):
            tokens += [int(token) for token in result.outputs["token_ids"] if token]
    return found


def run_theirs(peer: Any, signals: list[np.ndarray]) -> list[list[str]]:
    """Decode all streams in batches as ready; returns their tokens."""
    streams = [peer.create_stream() for _ in signals]
    for stream, signal in zip(streams, signals, strict=True):
        # It decodes a chunk only when 280 samples behind it are there.
        stream.accept_waveform(_SAMPLE_RATE, np.append(signal, np.zeros(280, np.float32)))
    while ready := [stream for stream in streams if peer.is_ready(stream)]:
        peer.decode_streams(ready)
    return [peer.get_result_all(stream).tokens for stream in streams]


def _timed(run: Any, engine: Any, signals: list[np.ndarray]) -> tuple[float, Any]:
    began = time.process_time()
    tokens = run(engine, signals)
    return (time.process_time() - began) / (len(signals) * _SECONDS), tokens


if __name__ == "__main__":
    main()
