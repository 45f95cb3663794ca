"""Codes of speech, as a codec makes them of its own training clips: what the models of codes learn from."""

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.codec.checkpoint import load
from models.codec.config import RATE
from models.codec.export import round_codec
from models.codec.model import Codec
from models.codec.pool import Clip, Pool
from models.common import packs
from models.common.allocator import keep_freed_memory

FRAMES_PER_SECOND = 50


@dataclass(frozen=True)
class Codes:
    """Clips of codes: `frames` i16[all frames, books], clip after clip of `lengths`, each of one of `splits`.

    `words` f32[books, size, D] are what the codec has for its codes.

    Splits are train, tune (other clips of the same voices) and dev (voices that occur nowhere else, clean_speech).
    """

    frames: np.ndarray
    lengths: Sequence[int]
    splits: Sequence[str]
    words: np.ndarray

    @property
    def size(self) -> int:
        """Codes of a book."""
        return self.words.shape[1]

    def of(self, split: str) -> list[np.ndarray]:
        """The clips of one split."""
        ends = np.cumsum(self.lengths)
        return [
            self.frames[end - length : end]
            for end, length, name in zip(ends, self.lengths, self.splits, strict=True)
            if name == split
        ]

    def write(self, path: Path) -> None:
        """Write everything to one .npz file, which appears when it is complete."""
        partial = path.with_suffix(".partial.npz")
        about = json.dumps({"lengths": list(self.lengths), "splits": list(self.splits)})
        words = self.words.astype(np.float16)
        np.savez_compressed(partial, frames=self.frames, words=words, about=np.array(about))
        partial.rename(path)


def read_codes(path: Path) -> Codes:
    """Read what `Codes.write` has written."""
    with np.load(path, allow_pickle=False) as arrays:
        words = arrays["words"].astype(np.float32)
        return Codes(arrays["frames"], words=words, **json.loads(str(arrays["about"])))


class Crops:
    """Random stretches of clips, drawn evenly over all frames.

    With `books_vary`, books are missing as they are from packets of lower rates, and now and then a few frames.
    """

    def __init__(
        self, clips: Sequence[np.ndarray], rng: np.random.Generator, books_vary: bool, frames: int = 100
    ) -> None:
        self._clips = [clip for clip in clips if len(clip) >= frames]
        if not self._clips:
            raise ValueError(f"expected clips of at least {frames} frames, got none")
        ends = np.cumsum([len(clip) - frames + 1 for clip in self._clips])
        self._ends, self._rng, self._vary, self._frames = ends, rng, books_vary, frames

    def draw(self, count: int) -> Tensor:
        """Return codes i64[count, frames, books], -1 where absent."""
        return torch.from_numpy(np.stack([self._crop() for _ in range(count)]).astype(np.int64))

    def _crop(self) -> np.ndarray:
        place = int(self._rng.integers(self._ends[-1]))
        index = int(np.searchsorted(self._ends, place, "right"))
        start = place - (int(self._ends[index - 1]) if index else 0)
        crop = self._clips[index][start : start + self._frames].copy()
        return self._with_gaps(crop) if self._vary else crop

    def _with_gaps(self, crop: np.ndarray) -> np.ndarray:
        rng, books = self._rng, crop.shape[1]
        if rng.random() < 0.3:
            crop[:, 3 if rng.random() < 0.6 else int(rng.integers(1, books)) :] = -1
        if rng.random() < 0.1:
            first = int(rng.integers(self._frames))
            crop[first : first + int(rng.integers(1, 8))] = -1
        return crop


def encode_clips(codec: Codec, clips: Iterable[np.ndarray], together: int = 8) -> Iterator[np.ndarray]:
    """Yield the codes i16[T, books] of each clip f32[n]; `together` of them, of like lengths best, make a batch."""
    batch: list[np.ndarray] = []
    for clip in clips:
        batch.append(clip)
        if len(batch) == together:
            yield from _encode_batch(codec, batch)
            batch = []
    if batch:
        yield from _encode_batch(codec, batch)


@torch.inference_mode()
def _encode_batch(codec: Codec, clips: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    frame = codec.config.frame_samples
    lengths = [len(clip) // frame for clip in clips]
    # Padding behind a clip changes none of its codes: the codec is causal.
    padded = np.stack(
        [np.pad(clip, (0, max(lengths) * frame + frame - len(clip)))[: max(lengths) * frame] for clip in clips]
    )
    codes = codec.encode(torch.from_numpy(padded))
    for row, length in zip(codes, lengths, strict=True):
        yield row[:length].numpy().astype(np.int16)


def encode_all(codec: Codec, pool: Path, data: Path, hours: float, seed: int = 0) -> Codes:
    """Encode training clips of the codec's pool, up to `hours`, at levels that vary, and the unseen voices."""
    rng = np.random.default_rng(seed)
    found: list[np.ndarray] = []
    splits: list[str] = []
    for split in ("train", "tune"):
        speech = Pool(pool, split)
        clips = sorted(_some(speech.speech, hours, rng), key=lambda clip: clip.length)
        levels = 10 ** (rng.uniform(-12, 3, len(clips)) / 20) if split == "train" else np.ones(len(clips))
        audio = (speech.load(clip) * np.float32(level) for clip, level in zip(clips, levels, strict=True))
        found += encode_clips(codec, audio)
        splits += [split] * len(clips)
        print(f"encoded {len(clips)} clips of {split}", flush=True)
    unseen = [packs.resample(samples, rate) for _, samples, rate in packs.read_pack(data / "clean_speech.tar", "dev")]
    found += encode_clips(codec, unseen)
    splits += ["dev"] * len(unseen)
    return Codes(np.concatenate(found), [len(clip) for clip in found], splits, codec.quantiser.tables().numpy())


def _some(clips: Sequence[Clip], hours: float, rng: np.random.Generator) -> list[Clip]:
    """Clips in random order until they last `hours`."""
    drawn = [clips[index] for index in rng.permutation(len(clips))]
    ends = np.cumsum([clip.length for clip in drawn])
    return drawn[: int(np.searchsorted(ends, hours * 3600 * RATE)) + 1]


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codec", type=Path, required=True, help="checkpoint of models.codec.train")
    parser.add_argument("--pool", type=Path, required=True, help="folder of the codec's decoded clips")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the packs")
    parser.add_argument("--out", type=Path, required=True, help="file to write, .npz")
    parser.add_argument("--hours", type=float, default=100.0, help="most hours of training speech")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    codec = load(arguments.codec)
    # Codes are to be those of the bundle.
    round_codec(codec)
    encode_all(codec, arguments.pool, arguments.data, arguments.hours).write(arguments.out)


if __name__ == "__main__":
    main()
