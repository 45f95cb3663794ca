"""The trained network as steps that a server runs: one frame of the trunk, and one code of the heads.

Activations are in units of 2**-FRACTION, from 0 to 255 of them, and logits in eighths of a bit; both networks that are
served do the same in them. Which numbers they do it with is their `Arithmetic`: `integer.INTEGER`, which rounds after
each layer, or `floating.FLOAT`, which leaves it to the server to round the logits. Embeddings and priors are bytes in
either.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from models.common.slots import Rows, SlottedGraph, StateSpec, Update
from models.lmcodec.config import Config
from models.lmcodec.network import LOGIT_PLACES, Block, Network
from models.lmcodec.quantisation import FRACTION, QuantisedLinear

# From the units of an activation to those of a logit.
UNIT = 2.0 ** (LOGIT_PLACES - FRACTION)
# Low enough to make every activation of a foreign block zero, and still exact.
_SHUT = -float(1 << 22)


class Linear(Protocol):
    """Makes the module of a layer, which maps activations [B, inputs] to what is activated next, f32[B, outputs].

    The module takes offsets in the place of the layer's bias, and has none of its own if not `with_bias`. Its sums are
    multiplied by `unit`, a power of two.
    """

    def __call__(self, layer: QuantisedLinear, with_bias: bool = True, unit: float = 1.0) -> nn.Module:
        """Read `layer`."""

    def offsets(self, layer: QuantisedLinear) -> Tensor:
        """What the layer's bias is among the sums, f32[outputs]."""


@dataclass(frozen=True)
class Arithmetic:
    """The numbers of a network that is served; `name` is that of its first graph.

    `activate` makes activations of `activation` from f32, `settle` what leaves a graph, of type `result`.
    """

    name: str
    linear: Linear
    activate: Callable[[Tensor], Tensor]
    settle: Callable[[Tensor], Tensor]
    activation: torch.dtype
    result: torch.dtype


class BlockStep(nn.Module):
    """One frame of `Block`."""

    def __init__(self, block: Block, arithmetic: Arithmetic) -> None:
        super().__init__()
        self.enter, self.leave = arithmetic.linear(block.enter), arithmetic.linear(block.leave)
        self.activate = arithmetic.activate

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        """Activations [B, width] and those of `dilation` frames ago."""
        hidden = self.activate(self.enter(torch.cat([x, before], 1)))
        return self.activate(self.leave(hidden) + x.float())


class EntropyStep(nn.Module):
    """One frame of many streams as a `RowStep`: input `codes` of the frame before, output `context`.

    The context is [B, width + books]: the activations of the trunk, then for each book its first row of the prior.
    """

    def __init__(self, network: Network, arithmetic: Arithmetic) -> None:
        super().__init__()
        self.arithmetic = arithmetic
        trunk, config = network.trunk, network.config
        self.dilations = config.dilations
        self.register_buffer("table", _absent_first(trunk.embedding.integers(), config))
        self.register_buffer("absent", _absent_rows(config))
        every = torch.arange(-1, config.size).unsqueeze(1).expand(-1, config.books)
        prior = network.prior_rows(every).T
        self.register_buffer("prior", prior.flatten().to(arithmetic.result))
        self.blocks = nn.ModuleList(BlockStep(block, arithmetic) for block in trunk.blocks)
        self.leave = arithmetic.linear(trunk.leave)

    def forward(self, inputs: Rows, state: Rows) -> tuple[Rows, Mapping[str, Update]]:
        """Take `codes` i64[B, books], -1 where absent, and activations [B, past, width] of frames before."""
        past_of = f"{self.arithmetic.name}_past"
        rows = inputs["codes"] + self.absent + 1
        x = self.arithmetic.activate(embedding(rows, self.table).float().sum(1))
        after = []
        for block, past in zip(self.blocks, state[past_of].split(self.dilations, 1), strict=True):
            after += [past[:, 1:], x.unsqueeze(1)]
            x = block(x, past[:, 0])
        context = self.arithmetic.settle(self.leave(x))
        return {"context": torch.cat([context, self.prior[rows]], 1)}, {past_of: torch.cat(after, 1)}


class EntropyNextStep(nn.Module):
    """The logits of one code as a stateless `RowStep`: of book `book`, given `context` and the frame's earlier codes.

    Rows of one batch may ask for different books. The heads of all books are one matrix: the inputs of a row that
    belong to other books are made zero, which costs less than gathering the row's own head.
    """

    def __init__(self, network: Network, arithmetic: Arithmetic) -> None:
        super().__init__()
        self.activate, self.settle = arithmetic.activate, arithmetic.settle
        heads, config = network.heads, network.config
        zero = torch.zeros(1, config.width, dtype=torch.int8)
        book = torch.floor(heads.book.detach() * 2**FRACTION + 0.5).to(torch.int8)
        # Rows of the table: of every code, of a code that is not looked at, of every book to be coded.
        table = torch.cat([_absent_first(heads.embedding.integers(), config), zero, book])
        self.register_buffer("table", table)
        self.register_buffer("absent", _absent_rows(config))
        self.register_buffer("order", torch.arange(config.books))
        self.unseen, self.width = len(table) - config.books - 1, config.width
        self.mix = arithmetic.linear(heads.mix)
        self.narrow = arithmetic.linear(heads.narrow, with_bias=False)
        self.head = arithmetic.linear(heads.head, with_bias=False, unit=UNIT)
        # The layer has no bias: what is left of an offset is half a unit for rounding, or nothing.
        self.register_buffer("rounding", arithmetic.linear.offsets(heads.head)[0].clone())
        self.register_buffer("narrow_offset", _block_offsets(arithmetic.linear.offsets(heads.narrow), config))
        # The class of each row as what is below the next book; the first book has nothing below.
        below = _absent_first(network.below_class.flatten(), config)[config.size + 1 :]
        below = torch.cat([below, torch.zeros(len(table) - len(below), dtype=torch.int64)])
        below[-config.books] = network.below_class[0, -1]
        self.register_buffer("below", below.to(torch.int32))
        prior = torch.floor(heads.prior.weight.detach() * 2**LOGIT_PLACES + 0.5)
        self.register_buffer("prior", prior.to(torch.int8))

    def forward(self, inputs: Rows, state: Rows) -> tuple[Rows, Mapping[str, Update]]:
        """Take `context` [B, width + books], `codes` i64[B, books], ignored from `book` on, and `book` i64[B]."""
        book = inputs["book"].unsqueeze(1)
        context, prior = inputs["context"].split([self.width, len(self.order)], 1)
        known = torch.where(self.order < book, inputs["codes"] + self.absent + 1, self.unseen)
        rows = torch.cat([book + self.unseen + 1, known], 1)
        x = self.activate(embedding(rows, self.table).float().sum(1) + context.float())
        x = self.activate(self.mix(x) + x.float())
        narrow = self.activate(self.narrow(x, embedding(inputs["book"], self.narrow_offset)))
        logits = self.settle(self.head(narrow, self.rounding))
        row = prior.gather(1, book).to(torch.int32) + self.below[rows.gather(1, book)]
        return {"logits": logits + embedding(row[:, 0], self.prior)}, {}


def entropy_graph(network: Network, arithmetic: Arithmetic) -> SlottedGraph:
    """The graph that is called once a frame."""
    config, name = network.config, arithmetic.name
    past = StateSpec(f"{name}_past", (config.past, config.width), arithmetic.activation, group=name)
    return SlottedGraph(EntropyStep(network, arithmetic), ["codes"], ["context"], [past])


def entropy_next_graph(network: Network, arithmetic: Arithmetic) -> SlottedGraph:
    """The graph that is called once a code."""
    return SlottedGraph(EntropyNextStep(network, arithmetic), ["context", "codes", "book"], ["logits"], [])


def _absent_rows(config: Config) -> Tensor:
    """Row i64[books] of an absent code of each book in the tables here, where it stands before the codes."""
    return torch.arange(config.books) * (config.size + 1)


def _absent_first(table: Tensor, config: Config) -> Tensor:
    """Move the row of an absent code, the last one of each book, before the others: -1 is then one row before 0."""
    return table.unflatten(0, (config.books, config.size + 1)).roll(1, 1).flatten(0, 1)


def _block_offsets(narrow: Tensor, config: Config) -> Tensor:
    """Offsets f32[books, books rank]: row k is that of the layer, f32[books rank], in block k and shuts all others."""
    own = torch.block_diag(*torch.ones(config.books, 1, config.rank)).bool()
    return torch.where(own, narrow, _SHUT)
