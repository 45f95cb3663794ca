"""Residual scalar-vector quantiser: one finite scalar stage, then vector stages with online clustering."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.codec.config import ABSENT, Config

# Memory of how often a word is used, and what that says of a dead one (CVQ-VAE, arXiv 2307.15139).
_DECAY = 0.98
_CLUSTERING = 10.0


class Quantised(NamedTuple):
    """What quantising latents f32[B, T, D] gives."""

    latent: Tensor  # f32[B, T, D]; its gradient goes straight through to the input
    codes: Tensor  # i64[B, T, Q], all books
    commitment: Tensor  # f32[], distance of the latents to the words chosen


class ScalarBook(nn.Module):
    """Finite scalar quantiser (FSQ, arXiv 2309.15505) between two projections; a code is a mixed radix number."""

    def __init__(self, latent: int, levels: Sequence[int]) -> None:
        super().__init__()
        self.project = nn.Linear(latent, len(levels))
        self.expand = nn.Linear(len(levels), latent)
        level = torch.tensor(levels, dtype=torch.float32)
        reach = (level - 1) / 2 * (1 - 1e-3)
        offset = torch.where(level % 2 == 0, 0.5, 0.0)
        radix = torch.tensor([1, *levels[:-1]]).cumprod(0)
        constants = {"reach": reach, "offset": offset, "centre": level // 2, "radix": radix}
        for name, value in {**constants, "shift": torch.atanh(offset / reach)}.items():
            self.register_buffer(name, value, persistent=False)
        self.levels = tuple(levels)

    def forward(self, residual: Tensor) -> tuple[Tensor, Tensor]:
        """Words f32[..., D] with straight-through gradients and codes i64[...] of f32[..., D]."""
        bounded = self.reach * torch.tanh(self.project(residual) + self.shift) - self.offset
        steps = bounded + (bounded.round() - bounded).detach()
        codes = ((steps.detach() + self.centre).long() * self.radix).sum(-1)
        return self.expand(steps / self.centre), codes

    def words(self, codes: Tensor) -> Tensor:
        """Words f32[..., D] of codes i64[...]."""
        digits = torch.stack([(codes // r) % n for r, n in zip(self.radix.tolist(), self.levels, strict=True)], -1)
        return self.expand((digits - self.centre) / self.centre)

    @torch.no_grad()
    def begin(self, residuals: Tensor) -> None:
        """Span the main directions of f32[N, D], each by its standard deviation."""
        mean = residuals.mean(0)
        _, spread, directions = torch.linalg.svd(residuals - mean, full_matrices=False)
        deviation = (spread / len(residuals) ** 0.5)[: len(self.levels)].clamp_min(1e-4)
        directions = directions[: len(self.levels)]
        self.project.weight.copy_(directions / deviation[:, None])
        self.project.bias.copy_(-(self.project.weight @ mean))
        # Steps come as fractions of the outermost level on the larger side, about 1.5 deviations out.
        self.expand.weight.copy_((directions * deviation[:, None]).T * 1.5)
        self.expand.bias.copy_(mean)


class VectorBook(nn.Module):
    """Improved vector quantiser: words in a low-dimensional space, dead ones moved to where vectors are."""

    def __init__(self, latent: int, words: int, width: int, cosine: bool) -> None:
        super().__init__()
        self.project = nn.Linear(latent, width) if width else nn.Identity()
        self.expand = nn.Linear(width, latent) if width else nn.Identity()
        self.cosine = cosine
        self.register_buffer("codebook", torch.randn(words, width or latent) * 0.1)
        self.register_buffer("usage", torch.full((words,), 1 / words))
        self.register_buffer("mass", self.codebook.clone() / words)

    def forward(self, residual: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Words f32[..., D], codes i64[...] and the commitment f32[] of f32[..., D]."""
        vectors = self.project(residual)
        codes = self.nearest(vectors)
        chosen = functional.embedding(codes, self.codebook)
        commitment = functional.mse_loss(vectors, chosen)
        return self.expand(vectors + (chosen - vectors).detach()), codes, commitment

    def nearest(self, vectors: Tensor) -> Tensor:
        """Codes i64[...] of projected vectors f32[..., width]."""
        if self.cosine:
            # The length of the vector does not change which word is nearest.
            return (vectors @ functional.normalize(self.codebook, dim=1).T).argmax(-1)
        return (vectors @ self.codebook.T - 0.5 * self.codebook.square().sum(1)).argmax(-1)

    def words(self, codes: Tensor) -> Tensor:
        """Words f32[..., D] of codes i64[...]."""
        return self.expand(functional.embedding(codes, self.codebook))

    @torch.no_grad()
    def learn(self, residual: Tensor, codes: Tensor) -> None:
        """Move words to the mean of the vectors f32[N, D] that chose them, and dead ones to vectors near them."""
        vectors, count = self.project(residual), len(codes)
        share = torch.zeros_like(self.usage).index_add_(0, codes, torch.full((count,), 1 / count, device=codes.device))
        total = torch.zeros_like(self.mass).index_add_(0, codes, vectors / count)
        self.usage.lerp_(share, 1 - _DECAY)
        self.mass.lerp_(total, 1 - _DECAY)
        self.codebook.copy_(self.mass / self.usage.clamp_min(1e-8)[:, None])
        dead = torch.exp(-self.usage * len(self.usage) * _CLUSTERING / (1 - _DECAY) - 1e-3)[:, None]
        lost = torch.nonzero(dead[:, 0] > 1e-3)[:, 0]
        if len(lost):
            distance = torch.cdist(self.codebook[lost], vectors)
            drawn = vectors[torch.multinomial(functional.softmax(-distance, 1), 1)[:, 0]]
            self._place(lost, self.codebook[lost].lerp(drawn, dead[lost]))

    @torch.no_grad()
    def begin(self, residuals: Tensor, rounds: int = 10) -> None:
        """Span the main directions of f32[N, D] and place the words by k-means."""
        if isinstance(self.project, nn.Linear) and isinstance(self.expand, nn.Linear):
            _, _, directions = torch.linalg.svd(residuals, full_matrices=False)
            self.project.weight.copy_(directions[: self.project.out_features])
            self.expand.weight.copy_(self.project.weight.T)
            self.project.bias.zero_()
            self.expand.bias.zero_()
        vectors = self.project(residuals)
        self.codebook.copy_(vectors[torch.randint(len(vectors), (len(self.usage),), device=vectors.device)])
        self.settle(residuals, rounds)

    @torch.no_grad()
    def settle(self, residuals: Tensor, rounds: int = 2) -> None:
        """Move the words by rounds of k-means over f32[N, D]; those that no vector chose start anew at one."""
        vectors, words = self.project(residuals), len(self.usage)
        for _ in range(rounds):
            count = torch.bincount(codes := self.nearest(vectors), minlength=words)[:, None]
            mean = torch.zeros_like(self.codebook).index_add_(0, codes, vectors) / count.clamp_min(1)
            spare = vectors[torch.randint(len(vectors), (words,), device=vectors.device)]
            self.codebook.copy_(torch.where(count < 1, spare, mean))
        self.usage.fill_(1 / words)
        self.mass.copy_(self.codebook / words)

    def _place(self, index: Tensor, words: Tensor) -> None:
        self.codebook[index] = words
        self.mass[index] = words * self.usage[index, None]


class Quantiser(nn.Module):
    """Books in a row, each for what those before left over; fewer of them make a lower bitrate."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        vector = [
            VectorBook(config.latent, config.words, config.code_width, config.cosine)
            for _ in range(config.books - bool(config.levels))
        ]
        scalar = [ScalarBook(config.latent, config.levels)] if config.levels else []
        self.books = nn.ModuleList([*scalar, *vector])
        # What stands for a book that was not sent: the decoder learns of it how sure the latent is.
        self.absent = nn.Parameter(torch.zeros(config.books, config.latent))

    def forward(self, latents: Tensor, count: Tensor | None = None, learn: bool = False) -> Quantised:
        """Quantise f32[B, T, D] by the first `count` i64[B] books of each row (None: all); `learn` moves the words."""
        with torch.autocast(latents.device.type, enabled=False):
            residual = latents.float()
            total, codes, commitments = torch.zeros_like(residual), [], []
            for index, book in enumerate(self.books):
                before = residual
                if isinstance(book, ScalarBook):
                    word, code = book(residual)
                    commitments.append(functional.mse_loss(word, residual.detach()))
                else:
                    word, code, commitment = book(residual)
                    commitments.append(commitment)
                    if learn:
                        book.learn(before.detach().flatten(0, 1), code.flatten())
                sent = None if count is None else (count > index).view(-1, 1, 1)
                total = total + (word if sent is None else torch.where(sent, word, self.absent[index]))
                residual = residual - word
                codes.append(code)
            return Quantised(total, torch.stack(codes, 2), torch.stack(commitments).sum())

    def encode(self, latents: Tensor) -> Tensor:
        """Codes i64[B, T, Q] of f32[B, T, D]."""
        return self(latents).codes

    def decode(self, codes: Tensor) -> Tensor:
        """Latents f32[B, T, D] of codes i64[B, T, Q]; `ABSENT` ones count as not sent."""
        total = torch.zeros((), device=codes.device)
        for index, book in enumerate(self.books):
            code = codes[:, :, index]
            word = book.words(code.clamp_min(0))
            total = total + torch.where((code == ABSENT).unsqueeze(2), self.absent[index], word)
        return total

    @torch.no_grad()
    def tables(self) -> Tensor:
        """Words f32[Q, K, D] of all codes of all books."""
        codes = torch.arange(self.config.words, device=self.absent.device)
        return torch.stack([book.words(codes) for book in self.books])

    @torch.no_grad()
    def begin(self, latents: Tensor) -> None:
        """Place the words of all books, one after the other, by latents f32[N, D]."""
        self._in_turn(latents, lambda book, residual: book.begin(residual))

    @torch.no_grad()
    def settle(self, latents: Tensor) -> None:
        """Bring the words of the vector books back to where latents f32[N, D] are: they move on while a run learns."""
        self._in_turn(latents, lambda book, residual: book.settle(residual) if isinstance(book, VectorBook) else None)

    def _in_turn(self, latents: Tensor, place: Callable[[nn.Module, Tensor], None]) -> None:
        with torch.autocast(latents.device.type, enabled=False):
            residual = latents.float()
            for book in self.books:
                place(book, residual)
                residual = residual - book(residual)[0]
