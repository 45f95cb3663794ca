"""The speaker's recordings decoded once: samples at 24 kHz, pitch, texts and the statistics of the mel."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soxr
import torch
from torch import Tensor

from models.common import packs
from models.common.stored_audio import AudioWriter, StoredAudio
from models.flow_tts import pitch
from models.flow_tts.config import FRAME, HALVES, PITCH_STEPS, RATE
from models.flow_tts.mel import LogMel

PACK = "kathleen.tar"
_CLIPS, _PITCH, _STATISTICS = "clips.json", "pitch.npy", "mel.npz"
# Of this many prompts of the training split one is kept for tuning, in all its readings.
_TUNE_EVERY = 30


@dataclass(frozen=True)
class Clip:
    """Frames `start` to `start + frames` of the pool, and what is said in them."""

    audio: str
    text: str
    split: str
    start: int
    frames: int


def write_pool(pack: Path, folder: Path) -> None:
    """Decode all recordings of the pack: splits `train`, `tune` (prompts of their own) and `dev` as the pack says."""
    clips, pitches = [], []
    prompts: dict[str, int] = {}
    with AudioWriter(folder) as audio:
        for utterance, samples, rate in packs.read_pack(pack):
            samples = soxr.resample(samples, rate, RATE) if rate != RATE else samples
            samples = np.pad(samples, (0, -len(samples) % FRAME))
            number = prompts.setdefault(utterance.text, len(prompts))
            tunes = utterance.split == "train" and number % _TUNE_EVERY == _TUNE_EVERY - 1
            start = audio.append(samples) // FRAME
            split = "tune" if tunes else utterance.split
            clips.append(Clip(utterance.audio, utterance.text, split, start, len(samples) // FRAME))
            pitches.append(quantised_pitch(samples))
    np.save(folder / _PITCH, np.concatenate(pitches))
    (folder / _CLIPS).write_text(json.dumps([asdict(clip) for clip in clips]))
    _write_statistics(folder)


def quantised_pitch(samples: np.ndarray) -> np.ndarray:
    """Pitch i16[T, HALVES] of whole frames f32[T * FRAME], in steps of 1 / PITCH_STEPS Hz, 0 without a voice."""
    hz = pitch.track(samples, RATE)
    return np.rint(hz * PITCH_STEPS).astype(np.int16)[: HALVES * (len(samples) // FRAME)].reshape(-1, HALVES)


class Pool:
    """The clips of one split."""

    def __init__(self, folder: Path, split: str) -> None:
        self._audio = StoredAudio(folder)
        self._pitch = np.load(folder / _PITCH, mmap_mode="r")
        self.clips = [Clip(**clip) for clip in json.loads((folder / _CLIPS).read_text())]
        self.clips = [clip for clip in self.clips if clip.split == split]

    def samples(self, clip: Clip, first: int = 0, frames: int | None = None) -> np.ndarray:
        """Return f32[frames * FRAME] from frame `first` of the clip on, all that follow by default."""
        frames = clip.frames - first if frames is None else frames
        return self._audio.read((clip.start + first) * FRAME, frames * FRAME)

    def pitch(self, clip: Clip) -> np.ndarray:
        """Return i64[T, HALVES]."""
        return self._pitch[clip.start : clip.start + clip.frames].astype(np.int64)

    def mels(self) -> Iterator[tuple[Clip, Tensor]]:
        """Yield every clip with its log-mel f32[T, MELS]."""
        front = LogMel()
        for clip in self.clips:
            yield clip, front(torch.from_numpy(self.samples(clip))[None])[0]


def statistics(folder: Path) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation f32[MELS] of the log-mel of the training clips."""
    found = np.load(folder / _STATISTICS)
    return torch.from_numpy(found["mean"]), torch.from_numpy(found["deviation"])


def _write_statistics(folder: Path) -> None:
    rows = torch.cat([mel for _, mel in Pool(folder, "train").mels()])
    np.savez(folder / _STATISTICS, mean=rows.mean(0).numpy(), deviation=rows.std(0).numpy())


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description="Decode the speaker's recordings for training.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the packs")
    parser.add_argument("--out", type=Path, required=True, help="folder of the pool")
    arguments = parser.parse_args()
    write_pool(arguments.data / PACK, arguments.out)


if __name__ == "__main__":
    main()
