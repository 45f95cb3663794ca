"""Training speech decoded once into one memory-mapped file; the judged speakers never enter it."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from models.common import packs
from models.common.stored_audio import AudioWriter, StoredAudio

# Seconds drawn from a pack are in proportion to its length times this: the less a pack was coded before, the more.
WEIGHTS = {
    "clean_speech": 6.0,
    "kathleen": 1.5,
    "librispeech_1": 1.0,
    "librispeech_2": 1.0,
    "ljspeech": 1.0,
    "speechocean": 0.6,
}
# Every so many clips of a pack's training split one is for tuning.
_TUNE_EVERY = 40


@dataclass(frozen=True)
class Clip:
    """Samples `start` to `start + length` of the file."""

    pack: str
    split: str
    start: int
    length: int


def write_pool(data: Path, folder: Path, names: Iterable[str] = (*WEIGHTS, packs.NOISE)) -> None:
    """Decode the training clips of the packs to `folder` and list them; the list comes last."""
    clips = []
    with AudioWriter(folder) as audio:
        for name in names:
            for index, (_, samples, rate) in enumerate(packs.read_pack(data / f"{name}.tar", "train")):
                samples = packs.resample(samples, rate)
                split = "tune" if index % _TUNE_EVERY == _TUNE_EVERY - 1 else "train"
                clips.append(Clip(name, split, audio.append(samples), len(samples)))
            print(f"wrote {name}", flush=True)
    (folder / "clips.json").write_text(json.dumps([asdict(clip) for clip in clips]))


class Pool:
    """The clips of one split, drawn in proportion to their length and their pack's weight."""

    def __init__(self, folder: Path, split: str) -> None:
        self._audio = StoredAudio(folder)
        clips = [Clip(**clip) for clip in json.loads((folder / "clips.json").read_text())]
        clips = [clip for clip in clips if clip.split == split]
        self.speech = [clip for clip in clips if clip.pack != packs.NOISE]
        self.noise = [clip for clip in clips if clip.pack == packs.NOISE]
        shares = np.cumsum([clip.length * WEIGHTS[clip.pack] for clip in self.speech])
        self._shares = shares / shares[-1]

    def load(self, clip: Clip) -> np.ndarray:
        """Return samples f32[n] of a whole clip."""
        return self._audio.read(clip.start, clip.length)

    def draw_speech(self, rng: np.random.Generator, samples: int) -> np.ndarray:
        """Return f32[samples] from anywhere in the training speech, zeros after the end of a short clip."""
        return self._crop(self.speech[int(np.searchsorted(self._shares, rng.random()))], rng, samples)

    def draw_noise(self, rng: np.random.Generator, samples: int) -> np.ndarray:
        """Return f32[samples] from a clip of the noise pack, zeros if there is none."""
        if not self.noise:
            return np.zeros(samples, np.float32)
        return self._crop(self.noise[int(rng.integers(len(self.noise)))], rng, samples)

    def _crop(self, clip: Clip, rng: np.random.Generator, samples: int) -> np.ndarray:
        start = int(rng.integers(max(clip.length - samples, 0) + 1))
        found = self._audio.read(clip.start + start, min(samples, clip.length))
        return np.pad(found, (0, samples - len(found)))
