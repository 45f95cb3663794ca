"""Reader for data packs: plain tar files with a `manifest.jsonl` and compressed audio."""

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

SAMPLE_RATE = 16_000
TRANSCRIBED = ("librispeech_1", "librispeech_2", "speechocean", "ljspeech", "kathleen", "commands")
NOISE = "noise"


@dataclass(frozen=True)
class Utterance:
    """One line of a pack's manifest."""

    pack: str
    audio: str
    text: str
    speaker: str
    split: str
    source: str = ""


def read_manifest(path: Path) -> list[Utterance]:
    """List the utterances of the pack at `path`, in manifest order."""
    with tarfile.open(path) as tar:
        lines = _member(tar, "manifest.jsonl").decode().splitlines()
    return [_utterance(path.stem, json.loads(line)) for line in lines]


def read_pack(path: Path, split: str | None = None) -> Iterator[tuple[Utterance, np.ndarray, int]]:
    """Yield (utterance, samples f32[n] in [-1, 1], sample rate) of one split, or of all."""
    wanted = [u for u in read_manifest(path) if split in (None, u.split)]
    with tarfile.open(path) as tar:
        for utterance in wanted:
            samples, rate = soundfile.read(io.BytesIO(_member(tar, utterance.audio)), dtype="float32")
            yield utterance, samples if samples.ndim == 1 else samples.mean(1), rate


def resample(samples: np.ndarray, rate: int, speed: float = 1.0) -> np.ndarray:
    """Bring f32[n] at `rate` Hz to 16 kHz, played `speed` times faster (pitch moves along)."""
    if rate * speed == SAMPLE_RATE:
        return samples
    return soxr.resample(samples, rate * speed, SAMPLE_RATE).astype(np.float32)


def _utterance(pack: str, line: dict) -> Utterance:
    return Utterance(
        pack, line["audio"], line["text"] or "", line["speaker"] or "", line["split"], line.get("source", "")
    )


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    if file is None:
        raise ValueError(f"expected a regular file in the pack, got {name!r}")
    return file.read()
