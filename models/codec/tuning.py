"""How good decoded tuning clips are: PESQ and STOI of a few at several bitrates."""

import numpy as np
import torch
from pesq import pesq
from pystoi import stoi
from torch import Tensor

from models.codec.config import RATE, Config
from models.codec.model import Codec, keep_books
from models.codec.pool import Clip, Pool

_CLIPS, _SECONDS = 8, 5


class TuningSet:
    """A few clips that training does not hear, of several packs."""

    def __init__(self, pool: Pool, config: Config, clips: int = _CLIPS) -> None:
        self._counts = sorted({max(1, config.books // 4), max(1, config.books // 2), config.books})
        self._delay = config.delay_samples
        self._clips = [self._trim(pool.load(clip), config) for clip in _spread(pool.speech, clips)]
        self._model = Codec(config).eval()

    @torch.inference_mode()
    def report(self, model: Codec, weights: dict[str, Tensor]) -> str:
        """Means at each number of books, of averaged `weights` and the books of `model`."""
        self._model.load_state_dict({**model.state_dict(), **weights})
        found = []
        for count in self._counts:
            scores = [self._score(clip, count) for clip in self._clips]
            quality, clarity = np.mean(scores, 0)
            found.append(f"{count} books PESQ {quality:.2f} STOI {clarity:.3f}")
        return "tuning clips: " + ", ".join(found)

    def _score(self, clip: np.ndarray, count: int) -> tuple[float, float]:
        codes = self._model.encode(torch.from_numpy(clip)[None])
        decoded = self._model.decode(keep_books(codes, count))[0].numpy()[self._delay :]
        original = clip[: len(decoded)]
        return pesq(RATE, original, decoded, "wb"), stoi(original, decoded, RATE)

    @staticmethod
    def _trim(samples: np.ndarray, config: Config) -> np.ndarray:
        frames = min(len(samples), _SECONDS * RATE) // config.frame_samples
        return samples[: frames * config.frame_samples]


def _spread(clips: list[Clip], count: int) -> list[Clip]:
    """Clips of at least 2 s, evenly along the list."""
    long = [clip for clip in clips if clip.length > 2 * RATE]
    return [long[i] for i in np.linspace(0, len(long) - 1, count).astype(int)]
