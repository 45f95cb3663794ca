"""Text to tokens, from `tokens.txt` alone."""

from __future__ import annotations

from itertools import pairwise

from streamer.tasks.tokens import WORD_START, Vocabulary

_NO_PIECE = 1 << 62


class Tokeniser:
    """Byte-pair encoding whose merges are the pieces in the order of their ids, as sentencepiece numbers them.

    For vocabularies of characters, which have no longer pieces, it is the characters.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._ids = {
            piece: token
            for token, piece in enumerate(vocabulary.pieces)
            if piece is not None and vocabulary.has_text(token)
        }
        self._has_words = any(piece.startswith(WORD_START) for piece in self._ids)

    def encode(self, text: str) -> tuple[list[int], str]:
        """Return the tokens of `text`, and the characters that no token stands for."""
        words = text.split()
        symbols = [symbol for word in words for symbol in self._merge(list(WORD_START + word))]
        if not self._has_words:
            symbols = [symbol for symbol in symbols if symbol != WORD_START]
        missing = "".join(dict.fromkeys(symbol for symbol in symbols if symbol not in self._ids))
        # A word whose letters are known but whose beginning is not cannot be written either.
        unknown = missing.replace(WORD_START, "") or (text if missing else "")
        return [self._ids[symbol] for symbol in symbols if symbol in self._ids], unknown

    def _merge(self, symbols: list[str]) -> list[str]:
        ranks = [self._rank(left, right) for left, right in pairwise(symbols)]
        while ranks and (best := min(ranks)) != _NO_PIECE:
            at = ranks.index(best)
            symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
            del ranks[at]
            for pair in range(max(at - 1, 0), min(at + 1, len(ranks))):
                ranks[pair] = self._rank(symbols[pair], symbols[pair + 1])
        return symbols

    def _rank(self, left: str, right: str) -> int:
        return self._ids.get(left + right, _NO_PIECE)
