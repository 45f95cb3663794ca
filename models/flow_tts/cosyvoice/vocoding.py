"""The vocoder's part of the loop: mel frames to samples as soon as the frames ahead of them are there."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from models.flow_tts.cosyvoice.graphs import SOURCE, VOCODER
from models.flow_tts.cosyvoice.noise import Noise

_NOTHING = np.zeros(0, np.float32)


class Vocoder(Protocol):
    """Mel to samples."""

    def push(self, mel: np.ndarray) -> np.ndarray:
        """Samples f32[n] that frames f32[T, 80] allow."""

    def finish(self) -> np.ndarray:
        """All other samples."""


class CausalVocoder:
    """Version 3: a step needs the frames ahead of its own, and is some samples late."""

    def __init__(self, calls: Any, parameters: Mapping[str, Any], noise: Noise) -> None:
        self._calls, self._parameters, self._noise = calls, parameters, noise
        self._waiting = np.zeros((0, parameters["bands"]), np.float32)
        self._done = 0

    def push(self, mel: np.ndarray) -> np.ndarray:
        """See `Vocoder`."""
        self._waiting = np.concatenate([self._waiting, mel])
        ahead = self._parameters["ahead_frames"]
        return self._step(len(self._waiting) - ahead, ahead)[0]

    def finish(self) -> np.ndarray:
        """See `Vocoder`."""
        return np.concatenate(self._step(len(self._waiting), 0))

    def _step(self, frames: int, there: int) -> tuple[np.ndarray, np.ndarray]:
        """Samples of `frames` frames, and those after them if nothing comes any more; `there` frames are ahead."""
        if frames <= 0:
            return _NOTHING, _NOTHING
        ahead = np.zeros((self._parameters["ahead_frames"], self._waiting.shape[1]), np.float32)
        ahead[:there] = self._waiting[frames : frames + there]
        row = {
            "mel_chunk": self._waiting[:frames],
            "mel_ahead": ahead,
            "ahead_count": np.array(there),
            "source_noise": self._noise.source(self._done, frames),
            "source_noise_ahead": self._noise.source(self._done + frames, 1)[
                0, : self._parameters["source_ahead_samples"]
            ],
        }
        said = self._calls(VOCODER, row, self._done == 0)
        late = self._parameters["delay_samples"] if self._done == 0 else 0
        self._waiting, self._done = self._waiting[frames:], self._done + frames
        return said["pcm"].reshape(-1)[late:], said["pcm_tail"]


class WindowVocoder:
    """Version 2: the source of frames whose neighbours are known, then samples of those whose sources are."""

    def __init__(self, calls: Any, parameters: Mapping[str, Any], noise: Noise) -> None:
        self._calls, self._noise = calls, noise
        self._reach = parameters["source_reach"], parameters["window_reach"]
        self._mel = np.zeros((0, parameters["bands"]), np.float32)
        self._source = np.zeros((0, parameters["frame_samples"]), np.float32)
        # Frames before the first that is kept; frames whose samples were said.
        self._gone = self._said = 0

    def push(self, mel: np.ndarray) -> np.ndarray:
        """See `Vocoder`."""
        self._mel = np.concatenate([self._mel, mel])
        self._make_source(self._known - self._reach[0])
        return self._shape(self._gone + len(self._source) - self._reach[1])

    def finish(self) -> np.ndarray:
        """See `Vocoder`."""
        self._make_source(self._known)
        return self._shape(self._known)

    @property
    def _known(self) -> int:
        return self._gone + len(self._mel)

    def _make_source(self, end: int) -> None:
        """The source up to frame `end`."""
        done = self._gone + len(self._source)
        if end <= done:
            return
        first, last = max(done - self._reach[0], self._gone), min(end + self._reach[0], self._known)
        row = {
            "mel_window": self._mel[first - self._gone : last - self._gone],
            "first": np.array(done - first),
            "count": np.array(end - done),
            "source_noise": self._noise.source(first, last - first),
        }
        source = self._calls(SOURCE, row, done == 0)["source"]
        self._source = np.concatenate([self._source, source[done - first : end - first]])

    def _shape(self, end: int) -> np.ndarray:
        """Samples up to frame `end`."""
        if end <= self._said:
            return _NOTHING
        first = max(self._said - self._reach[1], self._gone)
        last = min(end + self._reach[1], self._known)
        cut = slice(first - self._gone, last - self._gone)
        row = {"mel_shaped": self._mel[cut], "source_window": self._source[cut]}
        pcm = self._calls(VOCODER, row, False)["pcm"][self._said - first : end - first]
        self._said = end
        self._forget(end - max(self._reach))
        return np.asarray(pcm.reshape(-1))

    def _forget(self, before: int) -> None:
        """Drop frames that no window needs any more."""
        if before > self._gone:
            self._mel, self._source = self._mel[before - self._gone :], self._source[before - self._gone :]
            self._gone = before


def vocoder_of(calls: Any, parameters: Mapping[str, Any], noise: Noise) -> Vocoder:
    """The one that the bundle has."""
    kind = CausalVocoder if parameters["vocoder"] == "causal" else WindowVocoder
    return kind(calls, parameters, noise)
