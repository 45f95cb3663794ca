"""Static tables of code frequencies (entropy mode 1): integers that ship with the model.

The frequency of a code depends on two neighbours: the code of its own book in the frame before, and that of the book
below in its own frame. Each neighbour is known by its class only, of which there are few.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from streamer.errors import BundleError
from streamer.tasks.range_coder import TOTAL, RangeDecoder, encode_intervals
from streamer.work import Array

# What stands for a neighbour that is not there: after a keyframe, a loss or silence, in a book that was not sent, and
# below the first book. As an index it means the last entry of a row of classes, which is why there is one more of them.
ABSENT = -1


class CodeTables:
    """Frequencies of all books of a codec.

    Made of `previous_class` u8 `[books, codes + 1]`, the class of the code before; `below_class`, the same of the code
    below; and `frequencies` u16 `[books, previous classes, below classes, codes]`, each at least 1, which sum to 2^16.
    The last entry of a row of classes is that of `ABSENT`.
    """

    def __init__(self, previous_class: Array, below_class: Array, frequencies: Array) -> None:
        _check(previous_class, below_class, frequencies)
        self.books, _, _, self.codes = frequencies.shape
        self._previous_class = previous_class.astype(np.int64)
        self._below_class = below_class.astype(np.int64)
        # Where each interval begins, and after the last of them the total.
        self._bounds = np.zeros((*frequencies.shape[:3], self.codes + 1), np.int32)
        np.cumsum(frequencies, -1, dtype=np.int32, out=self._bounds[..., 1:])

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> CodeTables:
        """Return the tables of an opened `tables.npz`; raises `BundleError` where it is not what it should be."""
        names = ("previous_class", "below_class", "frequencies")
        if missing := [name for name in names if name not in arrays]:
            raise BundleError(f"expected {', '.join(names)} in the tables of codes, {', '.join(missing)} are missing")
        return cls(*(arrays[name] for name in names))

    def bounds(self, book: int, previous: int, below: int) -> Array:
        """Return where the intervals of each code of `book` begin and end, int32 `[codes + 1]`, from 0 to 2^16."""
        row: Array = self._bounds[book, self._previous_class[book, previous], self._below_class[book, below]]
        return row

    def intervals(self, codes: Array, previous: Array) -> tuple[Array, Array]:
        """Return where the interval of each of `codes` int `[frames, n]` begins and how long it is.

        `previous` int `[books]` are the codes of the frame before, `ABSENT` where there are none.
        """
        n_books = codes.shape[1]
        books = np.arange(n_books)
        before = np.vstack((previous[None, :n_books], codes[:-1]))
        below = np.hstack((np.full((len(codes), 1), ABSENT), codes[:, :-1]))
        rows = books, self._previous_class[books, before], self._below_class[books, below]
        begins = self._bounds[(*rows, codes)]
        return begins, self._bounds[(*rows, codes + 1)] - begins

    def encode(self, codes: Array, previous: Array) -> bytes:
        """Return the codes int `[frames, n]` of a packet, frame after frame, in as few bytes as the tables allow."""
        begins, sizes = self.intervals(codes, previous)
        return encode_intervals(begins, sizes)

    def decode(self, data: bytes, frames: int, n_books: int, previous: Array) -> Array:
        """Return the codes int64 `[frames, n_books]` that `encode` wrote; raises `InvalidRequest` if `data` is longer.

        Whatever `data` is, codes are in range.
        """
        decoder = RangeDecoder(data)
        codes = np.full((frames, n_books), ABSENT, np.int64)
        before = previous
        for frame in codes:
            below = ABSENT
            for book in range(n_books):
                below = decoder.symbol(self.bounds(book, before[book], below))
                frame[book] = below
            before = frame
        decoder.finish()
        return codes


def last_codes(codes: Array, books: int) -> Array:
    """Return what is `previous` after a packet of `codes` int `[frames, n]`, int64 `[books]`."""
    found = np.full(books, ABSENT, np.int64)
    found[: codes.shape[1]] = codes[-1]
    return found


def _check(previous_class: Array, below_class: Array, frequencies: Array) -> None:
    """Raise `BundleError` unless the arrays belong together."""
    if frequencies.ndim != 4 or frequencies.dtype != np.uint16:
        raise BundleError(f"expected frequencies u16 of 4 axes, got {frequencies.dtype} of {frequencies.ndim}")
    books, n_previous, n_below, codes = frequencies.shape
    for name, classes, most in (
        ("previous_class", previous_class, n_previous),
        ("below_class", below_class, n_below),
    ):
        if classes.shape != (books, codes + 1) or classes.dtype != np.uint8 or classes.max() >= most:
            raise BundleError(f"expected {name} u8 {(books, codes + 1)} below {most}, got {classes.shape}")
    if not frequencies.all() or (frequencies.sum(-1, dtype=np.int64) != TOTAL).any():
        raise BundleError(f"expected frequencies of at least 1 that sum to {TOTAL}")
