"""Sizes of the transducer; frozen, complete, and stored with every checkpoint."""

from dataclasses import dataclass

SUBSAMPLING = 8


@dataclass(frozen=True)
class Config:
    """Sizes in encoder frames of 80 ms unless said otherwise."""

    vocabulary: int = 256
    width: int = 256
    layers: int = 10
    heads: int = 4
    feed_forward: int = 1024
    kernel: int = 9
    channels: int = 32
    chunk: int = 4
    left: int = 64
    joint: int = 256
    context: int = 2
    period: int = 1024
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Check the divisibilities that streaming relies on."""
        if self.left % self.chunk or self.period % self.left:
            raise ValueError(f"expected chunk | left | period, got {self.chunk}, {self.left}, {self.period}")
        if self.width % (2 * self.heads):
            raise ValueError(f"expected an even head width, got {self.width} / {self.heads}")

    @property
    def head_width(self) -> int:
        """Channels of one attention head."""
        return self.width // self.heads
