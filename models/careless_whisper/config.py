"""Sizes of Whisper models, and how their encoder is cut into chunks."""

from dataclasses import dataclass

FRAME_SAMPLES = 320
"""Samples of one encoder frame: two mel rows of 10 ms."""


@dataclass(frozen=True)
class Dims:
    """The ten numbers that every Whisper checkpoint states, under the names that they have there."""

    n_mels: int
    n_audio_ctx: int
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_vocab: int
    n_text_ctx: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int


@dataclass(frozen=True)
class Chunking:
    """`gran` encoder frames of 20 ms a chunk; the first `extra + 1` chunks form one block that is heard at once.

    (WhisperRT, arXiv 2508.12301, calls them `gran` and `extra_gran_blocks`.)
    """

    gran: int
    extra: int = 0

    @property
    def first(self) -> int:
        """Frames of the first block."""
        return self.gran * (self.extra + 1)

    @property
    def hop_samples(self) -> int:
        """Samples of one chunk."""
        return self.gran * FRAME_SAMPLES
