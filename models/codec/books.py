"""Residual vector quantisation by the nearest word in Euclidean distance (SoundStream, arXiv 2107.03312)."""

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional


class Books(nn.Module):
    """`books` codebooks of `words` words each, in one table whose last row stands for a code that was not sent."""

    def __init__(self, books: int, words: int, width: int) -> None:
        super().__init__()
        self.books, self.words = books, words
        self.register_buffer("table", torch.zeros(books * words + 1, width))

    def fill(self, codebooks: Tensor) -> None:
        """Take the words f32[books, words, width]."""
        self.table[:-1] = codebooks.flatten(0, 1)

    def encode(self, x: Tensor) -> Tensor:
        """Codes i64[B, T, books] of f32[B, T, width]."""
        codes = []
        for book in range(self.books):
            words = self.table[book * self.words : (book + 1) * self.words]
            # The nearest word, less what is the same for all words.
            code = functional.linear(x, words, words.square().sum(1) * -0.5).argmax(-1)
            x = x - functional.embedding(code + book * self.words, self.table)
            codes.append(code)
        return torch.stack(codes, -1)

    def decode(self, codes: Tensor) -> Tensor:
        """Latents f32[B, T, width] of codes i64[B, T, books], below 0 where a book was not sent.

        A code beyond its book counts as the last, so that no input reads out of bounds.
        """
        rows = codes.clamp(max=self.words - 1) + torch.arange(self.books) * self.words
        rows = torch.where(codes < 0, self.books * self.words, rows)
        return functional.embedding(rows, self.table).sum(2)


Model = TypeVar("Model", bound=nn.Module)


def keep_books(model: nn.Module, smaller: Model) -> Model:
    """Give `smaller`, which has fewer books, what `model` has."""
    held, needed = model.state_dict(), smaller.state_dict()
    rows = {name: held[name] for name in needed}
    for name, value in needed.items():
        if name.endswith(".table"):
            rows[name] = torch.cat([held[name][: len(value) - 1], held[name][-1:]])
    smaller.load_state_dict(rows)
    return smaller
