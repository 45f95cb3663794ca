"""Sizes of the codec; frozen, complete, and stored with every checkpoint."""

from dataclasses import dataclass
from math import prod

RATE = 16_000
# What the decoder is told of each frame.
ORDINARY, LOST, SILENT = 0, 1, 2
# A code that was not sent.
ABSENT = -1


@dataclass(frozen=True)
class Side:
    """Widths of the encoder or the decoder.

    `blocks` stand at the rate of the transform, `low_blocks` at that of the codec; `enter` and `leave` are kernels in
    frames; `resample` is the kernel of the learned change of rate in frames of the codec.
    """

    width: int
    inner: int
    blocks: int
    low_blocks: int = 0
    enter: int = 3
    leave: int = 1
    resample: int = 1


@dataclass(frozen=True)
class Config:
    """One codec. `transform` is "mdct" (critically sampled) or "stft" (complex, twice as many numbers).

    `ratio` rows of the transform make a frame. The first book is a finite scalar quantiser with `levels` when it has
    any; the others are vector quantisers of `2 ** bits` words, searched in `code_width` dimensions (0: those of the
    latent) by cosine or Euclidean distance. With `path_norm` there is a LayerNorm where the rate changes and at
    the end; without, samples have a linear way through. Of so many `bands` of a row the encoder is told the level as a
    logarithm, and the decoder gives each an exponential gain (0: neither). A codec that is not `causal` is only good
    for a teacher.
    """

    hop: int = 160
    ratio: int = 2
    transform: str = "mdct"
    encoder: Side = Side(width=160, inner=480, blocks=3, low_blocks=2, enter=3, resample=2)
    decoder: Side = Side(width=256, inner=512, blocks=4, low_blocks=3, enter=3)
    kernel: int = 7
    activation: str = "silu"
    response_norm: bool = False
    path_norm: bool = False
    bands: int = 20
    causal: bool = True
    latent: int = 160
    books: int = 12
    bits: int = 10
    levels: tuple[int, ...] = ()
    code_width: int = 0
    cosine: bool = False

    def __post_init__(self) -> None:
        if self.levels and prod(self.levels) != self.words:
            raise ValueError(f"expected levels whose product is {self.words}, got {self.levels}")
        if self.bands and self.coefficients % self.bands:
            raise ValueError(f"expected bands that divide {self.coefficients} coefficients, got {self.bands}")

    @property
    def words(self) -> int:
        """Codes of a book."""
        return 1 << self.bits

    @property
    def frame_samples(self) -> int:
        """Samples of a frame of the codec."""
        return self.hop * self.ratio

    @property
    def coefficients(self) -> int:
        """Numbers in a row of the transform."""
        return self.hop if self.transform == "mdct" else 2 * self.hop + 2

    @property
    def delay_samples(self) -> int:
        """Samples by which the decoder's output is behind the encoder's input: the overlap of the transform."""
        return self.hop


def stream_codec(causal: bool = True, width: int = 160) -> Config:
    """A codec of the StreamCodec2 family at 1.5 kbit/s; the widths are our guess (spec: 5.4 M parameters published).

    Not causal and wide, it is the teacher of one that is causal.
    """
    encoder = Side(width, 2 * width, blocks=8, enter=7, leave=7, resample=2)
    decoder = Side(width, 2 * width, blocks=8, enter=7, leave=7, resample=2)
    return Config(
        hop=40, ratio=8, encoder=encoder, decoder=decoder, activation="gelu", response_norm=True, path_norm=True,
        bands=0, causal=causal, levels=(4, 4, 4, 4, 4), latent=32, books=3, code_width=8, cosine=True,
    )  # fmt: skip
