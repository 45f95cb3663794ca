"""The integer network of entropy mode 2 as it is trained: real numbers, or with `quantised` exactly its integers.

Every frame is the sum of the embeddings of its codes. A dilated causal TCN over past frames gives the context of the
next; a step over books adds the codes of the frame that are known already and says how likely each code of the next
book is (the split of LMCodec, arXiv 2303.12984, into the past and the books of a frame; all the rest is our own).
"""

import torch
from torch import Tensor, nn

from models.lmcodec.config import Config
from models.lmcodec.quantisation import FRACTION, WEIGHT_LIMIT, QuantisedLinear, activate, to_grid

# Logits are integers in units of 2**-LOGIT_PLACES bits.
LOGIT_PLACES = 3


class CodeEmbedding(nn.Module):
    """One vector per code of each book, and one per book for a code that is absent (-1)."""

    def __init__(self, books: int, size: int, width: int) -> None:
        super().__init__()
        self.books, self.size = books, size
        self.table = nn.Embedding(books * (size + 1), width)
        nn.init.normal_(self.table.weight, std=0.3)

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
        nn.init.normal_(self.head.weight, std=0.5 / config.rank**0.5)
        # Log frequencies of the codes in bits; `head.bias` is not used.
        self.frequency = nn.Parameter(torch.zeros(config.books, config.size))
        self.head.bias.requires_grad_(False).zero_()

    def forward(self, context: Tensor, codes: Tensor, quantised: bool) -> Tensor:
        """Contexts f32[N, width] and their frames' codes i64[N, books] to logits f32[N, books, size], not rounded."""
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
        if not quantised:
            return logits + self.frequency
        return logits + to_grid(self.frequency, self.head.places.min() + FRACTION)


class Network(nn.Module):
    """Trunk and heads together."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config)
        self.heads = Heads(config)

    def forward(self, codes: Tensor, quantised: bool = False) -> Tensor:
        """Codes i64[B, T, books], -1 where absent, to logits in bits f32[B, T, books, size] of those very codes."""
        context = self.trunk(nn.functional.pad(codes, (0, 0, 1, 0), value=-1)[:, :-1], quantised)
        logits = self.heads(context.flatten(0, 1), codes.flatten(0, 1), quantised)
        return logits.unflatten(0, codes.shape[:2])

    def integers(self, codes: Tensor) -> Tensor:
        """What serving computes of the same codes: logits i32[B, T, books, size] in units of 1/8 bit."""
        return torch.floor(self(codes, quantised=True) * 2**LOGIT_PLACES + 0.5).to(torch.int32)

    def limit(self) -> None:
        """Clamp what no quantisation could express; call it before every update."""
        self.trunk.embedding.limit()
        self.heads.embedding.limit()
        with torch.no_grad():
            self.heads.book.clamp_(-WEIGHT_LIMIT * 2.0**-FRACTION, WEIGHT_LIMIT * 2.0**-FRACTION)
