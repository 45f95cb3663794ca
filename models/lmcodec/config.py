"""Shapes of the models of codes, shared by training and export."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """The integer network: a dilated causal TCN over past frames and a step over the books of a frame.

    `books` is how many books of a frame it codes (the first ones), `size` the codes of a book, `width` the channels of
    the TCN, `rank` the inputs of a book's head. `previous` classes of the code before and `below` of the one below
    choose the prior.
    """

    books: int = 6
    size: int = 1024
    width: int = 192
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16)
    rank: int = 64
    previous: int = 16
    below: int = 4

    @property
    def contexts(self) -> int:
        """Rows of the prior of a book."""
        return self.previous * self.below

    @property
    def past(self) -> int:
        """Rows of all layers' caches: a layer of dilation d sees its input d frames ago."""
        return sum(self.dilations)


@dataclass(frozen=True)
class PredictorConfig:
    """The predictor of fine codes: a GRU over past frames and a step over the books of a frame.

    It fills frames of which at least `given` books were received.
    """

    books: int = 12
    given: int = 3
    size: int = 1024
    width: int = 256
    temperature: float = 0.7
