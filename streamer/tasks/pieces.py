"""Text to tokens, from `tokens.txt` alone."""

from __future__ import annotations

from itertools import pairwise

from streamer.tasks.tokens import WORD_START, Vocabulary


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
        unknown = "".join(dict.fromkeys(symbol for symbol in symbols if symbol not in self._ids))
        return [self._ids[symbol] for symbol in symbols if symbol in self._ids], unknown

    def _merge(self, symbols: list[str]) -> list[str]:
        while len(symbols) > 1:
            pairs = [(self._ids.get(left + right), index) for index, (left, right) in enumerate(pairwise(symbols))]
            ranked = [(token, index) for token, index in pairs if token is not None]
            if not ranked:
                break
            _, index = min(ranked)
            symbols[index : index + 2] = [symbols[index] + symbols[index + 1]]
        return symbols
