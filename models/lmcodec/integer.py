"""The trained network as steps over integers: what the graphs `entropy` and `entropy_next` compute, bit for bit.

Sums are int32, brought back to u8 by an exact multiplication with a power of two, so any kernel, batch or order of
summing gives the same bits (see `quantisation`). Activations, caches and weights are one byte each.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from models.common.slots import Rows, SlottedGraph, StateSpec, Update
from models.lmcodec.config import Config
from models.lmcodec.network import LOGIT_PLACES, Block, Network
from models.lmcodec.quantisation import FRACTION, QuantisedLinear

_MATMUL_OPSET = 10
# Low enough to make every activation of a foreign block zero, and still exact.
_SHUT = -float(1 << 22)


def matmul_integer(x: Tensor, weight: Tensor) -> Tensor:
    """u8[..., n] times i8[n, m] to i32[..., m]; the operator MatMulInteger where a graph is being traced."""
    if torch.onnx.is_in_onnx_export():
        shape = (*x.shape[:-1], weight.shape[1])
        return torch.onnx.ops.symbolic(
            "MatMulInteger", (x, weight), dtype=torch.int32, shape=shape, version=_MATMUL_OPSET
        )
    return (x.float() @ weight.float()).to(torch.int32)


class IntegerLinear(nn.Module):
    """u8 activations to real multiples of one half step of an activation; floor makes integers of them.

    `bias` i32[outputs] is in units of the sums and stands in for the layer's own, None for a bias of the caller's.
    """

    def __init__(self, layer: QuantisedLinear, with_bias: bool = True) -> None:
        super().__init__()
        weight, bias, places = layer.integers()
        scale = 2.0**-places
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.register_buffer("offset", bias * scale + 0.5 if with_bias else torch.zeros(0))

    def forward(self, x: Tensor, offset: Tensor | None = None) -> Tensor:
        """Map u8[B, inputs] to f32[B, outputs] in units of an activation, half a unit added for rounding."""
        return matmul_integer(x, self.weight).float() * self.scale + (self.offset if offset is None else offset)


def to_u8(values: Tensor) -> Tensor:
    """Clip f32 to u8 and round down, as a conversion of what is not negative does."""
    return values.clamp(0, 255).to(torch.uint8)


class IntegerBlock(nn.Module):
    """One frame of `Block`."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.enter, self.leave = IntegerLinear(block.enter), IntegerLinear(block.leave)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        """Activations u8[B, width] and those of `dilation` frames ago."""
        hidden = to_u8(self.enter(torch.cat([x, before], 1)))
        return to_u8(self.leave(hidden) + x.float())


class EntropyStep(nn.Module):
    """One frame of many streams as a `RowStep`: input `codes` of the frame before, output `context`.

    The context is i32[B, width + books]: the activations of the trunk, then for each book its first row of the prior.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        trunk, config = network.trunk, network.config
        self.dilations = config.dilations
        self.register_buffer("table", _absent_first(trunk.embedding.integers(), config))
        self.register_buffer("absent", _absent_rows(config))
        every = torch.arange(-1, config.size).unsqueeze(1).expand(-1, config.books)
        prior = network.prior_rows(every).T
        self.register_buffer("prior", prior.flatten().to(torch.int32))
        self.blocks = nn.ModuleList(IntegerBlock(block) for block in trunk.blocks)
        self.leave = IntegerLinear(trunk.leave)

    def forward(self, inputs: Rows, state: Rows) -> tuple[Rows, Mapping[str, Update]]:
        """Take `codes` i64[B, books], -1 where absent, and `entropy_past` u8[B, past, width]."""
        rows = inputs["codes"] + self.absent + 1
        x = to_u8(embedding(rows, self.table).float().sum(1))
        after = []
        for block, past in zip(self.blocks, state["entropy_past"].split(self.dilations, 1), strict=True):
            after += [past[:, 1:], x.unsqueeze(1)]
            x = block(x, past[:, 0])
        context = self.leave(x).floor().to(torch.int32)
        return {"context": torch.cat([context, self.prior[rows]], 1)}, {"entropy_past": torch.cat(after, 1)}


class EntropyNextStep(nn.Module):
    """The logits of one code as a stateless `RowStep`: of book `book`, given `context` and the frame's earlier codes.

    Rows of one batch may ask for different books. The heads of all books are one matrix: the inputs of a row that
    belong to other books are made zero, which costs less than gathering the row's own head.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        heads, config = network.heads, network.config
        zero = torch.zeros(1, config.width, dtype=torch.int8)
        book = torch.floor(heads.book.detach() * 2**FRACTION + 0.5).to(torch.int8)
        # Rows of the table: of every code, of a code that is not looked at, of every book to be coded.
        table = torch.cat([_absent_first(heads.embedding.integers(), config), zero, book])
        self.register_buffer("table", table)
        self.register_buffer("absent", _absent_rows(config))
        self.register_buffer("order", torch.arange(config.books))
        self.unseen, self.width = len(table) - config.books - 1, config.width
        self.mix = IntegerLinear(heads.mix)
        self.narrow = IntegerLinear(heads.narrow, with_bias=False)
        self.head = IntegerLinear(heads.head, with_bias=False)
        # From the units of an activation to those of a logit.
        self.head.scale.mul_(2.0 ** (LOGIT_PLACES - FRACTION))
        self.register_buffer("rounding", torch.tensor(0.5))
        self.register_buffer("narrow_offset", _block_offsets(heads.narrow, config))
        # The class of each row as what is below the next book; the first book has nothing below.
        below = _absent_first(network.below_class.flatten(), config)[config.size + 1 :]
        below = torch.cat([below, torch.zeros(len(table) - len(below), dtype=torch.int64)])
        below[-config.books] = network.below_class[0, -1]
        self.register_buffer("below", below.to(torch.int32))
        prior = torch.floor(heads.prior.weight.detach() * 2**LOGIT_PLACES + 0.5)
        self.register_buffer("prior", prior.to(torch.int8))

    def forward(self, inputs: Rows, state: Rows) -> tuple[Rows, Mapping[str, Update]]:
        """Take `context` i32[B, width + books], `codes` i64[B, books], ignored from `book` on, and `book` i64[B]."""
        book = inputs["book"].unsqueeze(1)
        context, prior = inputs["context"].split([self.width, len(self.order)], 1)
        known = torch.where(self.order < book, inputs["codes"] + self.absent + 1, self.unseen)
        rows = torch.cat([book + self.unseen + 1, known], 1)
        x = to_u8(embedding(rows, self.table).float().sum(1) + context.float())
        x = to_u8(self.mix(x) + x.float())
        narrow = to_u8(self.narrow(x, embedding(inputs["book"], self.narrow_offset)))
        logits = self.head(narrow, self.rounding).floor().to(torch.int32)
        row = prior.gather(1, book) + self.below[rows.gather(1, book)]
        return {"logits": logits + embedding(row[:, 0], self.prior)}, {}


def entropy_graph(network: Network) -> SlottedGraph:
    """The graph `entropy` of the bundle."""
    config = network.config
    past = StateSpec("entropy_past", (config.past, config.width), torch.uint8, group="entropy")
    return SlottedGraph(EntropyStep(network), ["codes"], ["context"], [past])


def entropy_next_graph(network: Network) -> SlottedGraph:
    """The graph `entropy_next` of the bundle."""
    return SlottedGraph(EntropyNextStep(network), ["context", "codes", "book"], ["logits"], [])


def _absent_rows(config: Config) -> Tensor:
    """Row i64[books] of an absent code of each book in the tables here, where it stands before the codes."""
    return torch.arange(config.books) * (config.size + 1)


def _absent_first(table: Tensor, config: Config) -> Tensor:
    """Move the row of an absent code, the last one of each book, before the others: -1 is then one row before 0."""
    return table.unflatten(0, (config.books, config.size + 1)).roll(1, 1).flatten(0, 1)


def _block_offsets(narrow: QuantisedLinear, config: Config) -> Tensor:
    """Offsets f32[books, books rank]: row k is the layer's bias in block k and shuts all other blocks."""
    _, bias, places = narrow.integers()
    own = torch.block_diag(*torch.ones(config.books, 1, config.rank)).bool()
    return torch.where(own, bias * 2.0**-places + 0.5, _SHUT)
