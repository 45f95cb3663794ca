"""Sizes of the detector; frozen, complete, and stored with every checkpoint."""

from dataclasses import dataclass

from models.common.features import HOP

# Log-mel rows of 10 ms per frame of the detector.
SUBSAMPLING = 2
FRAME_SAMPLES = SUBSAMPLING * HOP
# An answer speaks of the frame so many frames before the newest one heard: 40 ms in which a sound shows what it is.
DELAY_FRAMES = 2


@dataclass(frozen=True)
class Config:
    """`width` channels between blocks, `narrow` inside; one block per dilation (in frames of 20 ms)."""

    width: int = 64
    narrow: int = 24
    kernel: int = 5
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    chunk: int = 4

    @property
    def past(self) -> tuple[int, ...]:
        """Frames of the past that each block sees."""
        return tuple((self.kernel - 1) * dilation for dilation in self.dilations)

    @property
    def chunk_samples(self) -> int:
        """Samples of PCM in one step."""
        return self.chunk * FRAME_SAMPLES
