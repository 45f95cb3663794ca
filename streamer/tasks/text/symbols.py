"""The symbols of a voice by number: the asset `symbols`, one symbol a line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from streamer.errors import BundleError
from streamer.tasks.text.spoken import BEGIN, GAP, PAD, PAUSES
from streamer.work import Array

_LETTERS = "abcdefghijklmnopqrstuvwxyz'"


class SymbolTable:
    """Symbols to ids and back; an id is the number of the symbol's line, `PAD` is 0."""

    def __init__(self, symbols: Sequence[str]) -> None:
        """Raise `BundleError` unless there are pad, pauses and letters, and nothing twice."""
        self.symbols = tuple(symbols)
        self._ids = {symbol: number for number, symbol in enumerate(self.symbols)}
        if len(self._ids) != len(self.symbols):
            raise BundleError("symbols: expected each once, got one twice")
        if missing := {PAD, BEGIN, GAP, *PAUSES, *_LETTERS} - self._ids.keys():
            raise BundleError(f"symbols: expected {' '.join(sorted(missing))}, got none")
        if self._ids[PAD] != 0:
            raise BundleError(f"symbols: expected {PAD} first, got {self.symbols[0]}")

    @classmethod
    def parse(cls, text: str) -> SymbolTable:
        """Read the asset's text; raises `BundleError`."""
        return cls(text.splitlines())

    def __len__(self) -> int:
        return len(self.symbols)

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._ids

    def ids(self, symbols: Iterable[str]) -> Array:
        """Ids i64[n] of `symbols`; raises `BundleError` for one that the voice does not have."""
        try:
            return np.array([self._ids[symbol] for symbol in symbols], np.int64)
        except KeyError as error:
            raise BundleError(f"symbols: expected {error.args[0]}, got none") from None

    def letters(self, word: str, length: int) -> Array:
        """Ids i64[length] of the letters of `word`, padded with 0, for the graph `spell`; what is too long is cut."""
        found = self.ids(word[:length])
        return np.pad(found, (0, length - len(found)))

    def sounds(self, ids: Array) -> tuple[str, ...]:
        """Symbols of the ids i64[n] that the graph `spell` returned; zeros and ids that there are not are left out."""
        return tuple(self.symbols[number] for number in ids.tolist() if 0 < number < len(self.symbols))
