"""Detectors on the same audio: a bundle in the server's engine, and the package silero-vad on ONNX Runtime.

Each returns the probability of speech for every row of 10 ms, f32[n // 160], in its place: the delay is taken out.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from models.common.features import HOP
from streamer.bundle.loader import load_bundle
from streamer.engine.runner import Runner, open_sessions
from streamer.engine.settings import EngineSettings
from streamer.tasks.vad import Detection
from streamer.work import Lease, Row

Listen = Callable[[Sequence[np.ndarray]], tuple[list[np.ndarray], float]]
"""Hears recordings f32[n] at 16 kHz; returns probabilities by row, and CPU seconds."""
_SILERO_CHUNK = 512


class Bundle:
    """A bundle, `streams` recordings at a time in one batch."""

    def __init__(self, folder: Path, streams: int = 1) -> None:
        bundle, settings = load_bundle(folder), EngineSettings(max_batch=streams)
        self._detection = Detection.of(bundle.manifest)
        pools = {pool.name: streams for pool in bundle.manifest.pools}
        self._runner = Runner(bundle, open_sessions(bundle, settings), pools, settings)
        self._runner.warm_up()
        self._leases = [tuple(Lease(bundle.key, pool, slot, 0) for pool in pools) for slot in range(streams)]

    def __call__(self, recordings: Sequence[np.ndarray]) -> tuple[list[np.ndarray], float]:
        """Hear recordings, a batch after the other."""
        began, size, heard = time.process_time(), len(self._leases), []
        for start in range(0, len(recordings), size):
            heard += self._hear(recordings[start : start + size])
        return heard, time.process_time() - began

    def _hear(self, recordings: Sequence[np.ndarray]) -> list[np.ndarray]:
        detection, hop = self._detection, self._detection.audio.hop_samples
        delay = detection.delay_samples // detection.frame_samples
        longest = max(map(len, recordings)) + detection.delay_samples
        padded = [np.pad(samples, (0, -longest % hop + longest - len(samples))) for samples in recordings]
        frames: list[list[np.ndarray]] = [[] for _ in recordings]
        for at in range(0, len(padded[0]), hop):
            start = frozenset(detection.graph.groups) if at == 0 else frozenset()
            rows = [
                Row(leases, {detection.audio.input: samples[at : at + hop]}, start)
                for leases, samples in zip(self._leases, padded, strict=False)
            ]
            for found, result in zip(frames, self._runner.run(detection.graph.name, rows), strict=True):
                if result.error is not None:
                    raise result.error
                found.append(np.array(detection.probabilities(result.outputs)))
        rows_per_frame = detection.frame_samples // HOP
        return [
            np.repeat(np.concatenate(found)[delay:], rows_per_frame)[: len(samples) // HOP]
            for found, samples in zip(frames, recordings, strict=True)
        ]


class Silero:
    """The ONNX model of the package, as its own wrapper runs it: one recording at a time, 32 ms a step."""

    def __init__(self) -> None:
        from silero_vad import load_silero_vad

        torch.set_num_threads(1)
        self._model = load_silero_vad(onnx=True)

    def __call__(self, recordings: Sequence[np.ndarray]) -> tuple[list[np.ndarray], float]:
        """Hear recordings, one after the other."""
        began = time.process_time()
        heard = [self._hear(samples) for samples in recordings]
        return heard, time.process_time() - began

    def _hear(self, samples: np.ndarray) -> np.ndarray:
        self._model.reset_states()
        padded = torch.from_numpy(np.pad(samples, (0, -len(samples) % _SILERO_CHUNK)))
        values = np.array([float(self._model(chunk, 16_000)) for chunk in padded.split(_SILERO_CHUNK)], np.float32)
        middles = np.arange(len(samples) // HOP) * HOP + HOP // 2
        return values[middles // _SILERO_CHUNK]
