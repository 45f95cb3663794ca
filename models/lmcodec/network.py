"""The network of entropy modes 2 and 3 as it is trained: real numbers, or with `quantised` exactly integers.

Every frame is the sum of the embeddings of its codes. A dilated causal TCN over past frames gives the context of the
next; a step over books adds the codes of the frame that are known already and says how likely each code of the next
book is (the split of LMCodec, arXiv 2303.12984, into the past and the books of a frame; all the rest is our own).

What a table can say is not left to be learnt: the logits start from the frequencies of each code after the class of
the code before, and embeddings and heads from the words that the codec has for its codes.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from models.lmcodec.config import Config
from models.lmcodec.quantisation import FRACTION, WEIGHT_LIMIT, QuantisedLinear, activate, to_grid

# Logits are integers in units of 2**-LOGIT_PLACES bits.
LOGIT_PLACES = 3
# Prior logits lie this many bits below that of their row's likeliest code at most: a signed byte.
_PRIOR_REACH = 127 * 2.0**-LOGIT_PLACES


class CodeEmbedding(nn.Module):
    """One vector per code of each book, and one per book for a code that is absent (-1)."""

    def __init__(self, books: int, size: int, width: int) -> None:
        super().__init__()
        self.books, self.size = books, size
        self.table = nn.Embedding(books * (size + 1), width)
        nn.init.normal_(self.table.weight, std=0.3)

    @torch.no_grad()
    def begin(self, words: Tensor) -> None:
        """Turn words f32[books, size, D] into vectors by one random projection, so that like codes begin alike."""
        width = self.table.weight.shape[1]
        projection = torch.randn(words.shape[2], width, generator=torch.Generator().manual_seed(0))
        vectors = 0.5 * words @ projection / words.shape[2] ** 0.5
        table = self.table.weight.unflatten(0, (self.books, -1))
        table.mul_(0.1)
        table[:, :-1] += vectors

    def forward(self, codes: Tensor, quantised: bool = False) -> Tensor:
        """Codes i64[..., books] to f32[..., books, width]."""
        vectors = self.table(self.rows(codes))
        return to_grid(vectors, FRACTION) if quantised else vectors

    def rows(self, codes: Tensor) -> Tensor:
        """Rows of the table, i64[..., books]."""
        first = torch.arange(self.books, device=codes.device) * (self.size + 1)
        return torch.where(codes < 0, self.size, codes) + first

    @torch.no_grad()
    def limit(self) -> None:
        """Keep what a quantised vector cannot say out of the table."""
        self.table.weight.clamp_(-WEIGHT_LIMIT * 2.0**-FRACTION, WEIGHT_LIMIT * 2.0**-FRACTION)

    @torch.no_grad()
    def integers(self) -> Tensor:
        """The table in units of an activation, i8[books (size + 1), width]."""
        return torch.floor(self.table.weight * 2**FRACTION + 0.5).clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT).to(torch.int8)


class Block(nn.Module):
    """x + W2 a(W1 [x(t), x(t - dilation)]), activated: a residual block whose stream stays unsigned."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.enter = QuantisedLinear(2 * width, width)
        self.leave = QuantisedLinear(width, width)
        nn.init.normal_(self.leave.weight, std=0.1 / width**0.5)

    def forward(self, x: Tensor, quantised: bool) -> Tensor:
        """Whole sequences f32[B, T, width]; zeros stand before them."""
        before = nn.functional.pad(x, (0, 0, self.dilation, 0))[:, : x.shape[1]]
        hidden = activate(self.enter(torch.cat([x, before], -1), quantised), quantised)
        return activate(x + self.leave(hidden, quantised), quantised)


class Trunk(nn.Module):
    """Codes of past frames to the context of the next."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.embedding = CodeEmbedding(config.books, config.size, config.width)
        self.blocks = nn.ModuleList(Block(config.width, dilation) for dilation in config.dilations)
        self.leave = QuantisedLinear(config.width, config.width)

    def forward(self, previous: Tensor, quantised: bool) -> Tensor:
        """Codes i64[B, T, books] of the frames before (row 0: all -1) to contexts f32[B, T, width]."""
        x = activate(self.embedding(previous, quantised).sum(-2), quantised)
        for block in self.blocks:
            x = block(x, quantised)
        context = self.leave(x, quantised)
        return to_grid(context, FRACTION) if quantised else context


class Heads(nn.Module):
    """A context and the codes of the frame so far to logits, in bits, of the code of each book."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = CodeEmbedding(config.books, config.size, config.width)
        # One vector for each book to be coded next.
        self.book = nn.Parameter(torch.randn(config.books, config.width) * 0.3)
        self.mix = QuantisedLinear(config.width, config.width)
        self.narrow = QuantisedLinear(config.width, config.books * config.rank)
        # The heads of all books below one another: a row of the graph leaves all but its own block zero.
        self.head = QuantisedLinear(config.books * config.rank, config.size, shared_places=True)
        nn.init.normal_(self.mix.weight, std=0.1 / config.width**0.5)
        nn.init.normal_(self.head.weight, std=0.1 / config.rank**0.5)
        # The prior takes the place of the head's own bias.
        self.head.bias.requires_grad_(False).zero_()
        self.prior = nn.Embedding(config.books * config.contexts, config.size)
        nn.init.zeros_(self.prior.weight)

    def forward(self, context: Tensor, prior: Tensor, codes: Tensor, quantised: bool) -> Tensor:
        """Contexts f32[N, width], rows i64[N, books] of the prior, codes i64[N, books] of the frame.

        Returns logits f32[N, books, size], not rounded.
        """
        config = self.config
        vectors = self.embedding(codes, quantised)
        known = vectors.cumsum(-2) - vectors
        book = to_grid(self.book, FRACTION) if quantised else self.book
        x = activate(context.unsqueeze(-2) + known + book, quantised)
        x = activate(x + self.mix(x, quantised), quantised)
        weight, bias = self.narrow.weights(quantised)
        weight, bias = weight.unflatten(0, (config.books, -1)), bias.unflatten(0, (config.books, -1))
        narrow = activate(torch.einsum("nkd,krd->nkr", x, weight) + bias, quantised)
        weight, _ = self.head.weights(quantised)
        logits = torch.einsum("nkr,ckr->nkc", narrow, weight.unflatten(1, (config.books, -1)))
        rows = self.prior(prior)
        return logits + (to_grid(rows, LOGIT_PLACES) if quantised else rows)

    @torch.no_grad()
    def limit(self) -> None:
        """Keep parameters to what bytes can say."""
        self.embedding.limit()
        self.book.clamp_(-WEIGHT_LIMIT * 2.0**-FRACTION, WEIGHT_LIMIT * 2.0**-FRACTION)
        self.prior.weight.clamp_(-_PRIOR_REACH, 0)


class Network(nn.Module):
    """Trunk and heads together; the classes of the code before and of the code below choose the prior."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config)
        self.heads = Heads(config)
        for name in ("previous_class", "below_class"):
            self.register_buffer(name, torch.zeros(config.books, config.size + 1, dtype=torch.int64))

    @torch.no_grad()
    def begin(self, tables: Mapping[str, np.ndarray], words: Tensor) -> None:
        """Start from tables of as many classes and from words f32[books, size, D]; further books are left out."""
        books = self.config.books
        self.previous_class.copy_(torch.from_numpy(tables["previous_class"][:books].astype(np.int64)))
        self.below_class.copy_(torch.from_numpy(tables["below_class"][:books].astype(np.int64)))
        frequency = torch.from_numpy(tables["frequencies"][:books].astype(np.float32)).log2().flatten(0, 2)
        self.heads.prior.weight.copy_(frequency - frequency.amax(-1, keepdim=True))
        words = standardised(words[:books])
        self.trunk.embedding.begin(words)
        self.heads.embedding.begin(words)
        heads = principal(words, self.config.rank)
        self.heads.head.weight.unflatten(1, (books, -1))[..., : heads.shape[2]] += 0.1 * heads.transpose(0, 1)

    def forward(self, codes: Tensor, quantised: bool = False) -> Tensor:
        """Codes i64[B, T, books], -1 where absent, to logits in bits f32[B, T, books, size] of those very codes."""
        previous = nn.functional.pad(codes, (0, 0, 1, 0), value=-1)[:, :-1]
        context = self.trunk(previous, quantised)
        prior = self.prior_rows(previous) + self.below_classes(codes)
        logits = self.heads(context.flatten(0, 1), prior.flatten(0, 1), codes.flatten(0, 1), quantised)
        return logits.unflatten(0, codes.shape[:2])

    def prior_rows(self, previous: Tensor) -> Tensor:
        """First rows i64[..., books] of the prior after the codes i64[..., books] of the frame before."""
        config, book = self.config, torch.arange(self.config.books, device=previous.device)
        found = self.previous_class[book, torch.where(previous < 0, config.size, previous)]
        return (book * config.previous + found) * config.below

    def below_classes(self, codes: Tensor) -> Tensor:
        """How many rows i64[..., books] further on the prior of each book is, given all codes of the frame."""
        book = torch.arange(self.config.books, device=codes.device)
        below = nn.functional.pad(codes, (1, 0), value=-1)[..., :-1]
        return self.below_class[book, torch.where(below < 0, self.config.size, below)]

    def integers(self, codes: Tensor, quantised: bool = True) -> Tensor:
        """What serving computes of the same codes: logits i32[B, T, books, size] in units of 1/8 bit.

        Those of mode 3 are those of `floating.float_network`, not `quantised`.
        """
        return torch.floor(self(codes, quantised) * 2**LOGIT_PLACES + 0.5).to(torch.int32)

    def limit(self) -> None:
        """Clamp what no quantisation could express; call it before every update."""
        self.trunk.embedding.limit()
        self.heads.limit()


def standardised(words: Tensor) -> Tensor:
    """Words f32[books, size, D] about their book's mean, by their common deviation: coarse books stay the larger."""
    words = words - words.mean(1, keepdim=True)
    return words / words.std().clamp(min=1e-6)


def principal(words: Tensor, most: int) -> Tensor:
    """The `most` main directions of words f32[books, size, D]: f32[books, size, at most `most`]."""
    _, _, directions = torch.linalg.svd(words.flatten(0, 1), full_matrices=False)
    return words @ directions[:most].T
