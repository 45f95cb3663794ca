"""The codec as two steps over rows: `EncodeStep` and `DecodeStep`, with the quantiser as tables.

Training keeps a quantiser as projections and codebooks; serving needs only what they come to: one product for the
similarities of a book, one gather for its words.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.codec.config import Config
from models.codec.model import Codec
from models.codec.quantiser import Quantiser, ScalarBook, VectorBook
from models.common.slots import Rows, StateSpec, Update

ENCODER, DECODER = "encoder_past", "decoder_past"
# PCM beyond this is clipped: twice full scale is heard, an infinity must not stay in the state.
_LOUDEST = 2.0


class EncodeStep(nn.Module):
    """A `RowStep`: input `pcm` f32[B, T, frame_samples], output `codes` i64[B, T, Q]."""

    def __init__(self, model: Codec) -> None:
        super().__init__()
        self.encoder = model.encoder
        self.quantiser = Search(model.quantiser)

    def forward(self, inputs: Rows, state: Rows) -> tuple[Rows, Mapping[str, Update]]:
        """Take T frames and the row of the encoder."""
        latents, past = self.encoder.step(finite(inputs["pcm"]).flatten(1), state[ENCODER])
        return {"codes": self.quantiser(latents)}, {ENCODER: past}


class DecodeStep(nn.Module):
    """A `RowStep`: inputs `codes` i64[B, T, Q] and `kind` i64[B, T], output `pcm` f32[B, T, frame_samples]."""

    def __init__(self, model: Codec) -> None:
        super().__init__()
        self.decoder, self.frame_samples = model.decoder, model.config.frame_samples
        self.quantiser = Words(model.quantiser)

    def forward(self, inputs: Rows, state: Rows) -> tuple[Rows, Mapping[str, Update]]:
        """Take T frames and the row of the decoder."""
        samples, past = self.decoder.step(self.quantiser(inputs["codes"]), inputs["kind"], state[DECODER])
        return {"pcm": samples.unflatten(1, (-1, self.frame_samples))}, {DECODER: past}


class Search(nn.Module):
    """Latents f32[B, T, D] to codes i64[B, T, Q]. Its parameters have the names of the quantiser's."""

    def __init__(self, quantiser: Quantiser) -> None:
        super().__init__()
        self.books = _tables(quantiser)

    def forward(self, latents: Tensor) -> Tensor:
        """The codes of all books, each of what those before left over."""
        residual, codes = latents, []
        for book in self.books:
            word, code = book(residual)
            codes.append(code)
            residual = residual - word
        return torch.stack(codes, 2)


class VectorTable(nn.Module):
    """A vector book as a table of keys and one of words; ONNX Runtime makes both of the codebook at load."""

    def __init__(self, book: VectorBook) -> None:
        super().__init__()
        self.project, self.expand, self.cosine = book.project, book.expand, book.cosine
        self.codebook = nn.Parameter(book.codebook.detach().clone())

    def forward(self, residual: Tensor) -> tuple[Tensor, Tensor]:
        """Words f32[B, T, D] and codes i64[B, T] of f32[B, T, D]: the key most like the vector."""
        keys = functional.normalize(self.codebook, dim=1) if self.cosine else self.codebook
        bias = None if self.cosine else -0.5 * self.codebook.square().sum(1)
        code = functional.linear(self.project(residual), keys, bias).argmax(2)
        return functional.embedding(code, self.table()), code

    def table(self) -> Tensor:
        """All words f32[K, D]."""
        return self.expand(self.codebook)


class Words(nn.Module):
    """Codes i64[B, T, Q] to latents f32[B, T, D]: one gather of the words of all books, and a sum.

    A code below 0 was not sent, and one beyond the book counts as its last, so that no input reads out of bounds.
    """

    def __init__(self, quantiser: Quantiser) -> None:
        super().__init__()
        self.books, self.absent = _tables(quantiser), quantiser.absent
        self.words = quantiser.config.words

    def forward(self, codes: Tensor) -> Tensor:
        """Sum the words of the books that were sent, and what stands for the others."""
        rows = torch.where(codes < 0, self.words, codes.clamp_max(self.words - 1))
        first = torch.arange(len(self.books)) * (self.words + 1)
        return functional.embedding(rows + first, self.table()).sum(2)

    def table(self) -> Tensor:
        """f32[Q * (K + 1), D]: of each book the words, then what stands for it when it was not sent."""
        books = zip(self.books, self.absent.split(1), strict=True)
        return torch.cat([part for book, absent in books for part in (_words(book, self.words), absent)])


def states(model: Codec) -> list[StateSpec]:
    """What a stream remembers: a row of the encoder and one of the decoder."""
    return [
        StateSpec(ENCODER, (model.encoder.caches.size,), group="encoder"),
        StateSpec(DECODER, (model.decoder.caches.size,), group="decoder"),
    ]


def finite(pcm: Tensor) -> Tensor:
    """PCM without what would stay in a stream's state for ever: not-a-numbers are 0, the rest is clipped."""
    return torch.where(pcm.isnan(), 0.0, pcm).clamp(-_LOUDEST, _LOUDEST)


def _words(book: nn.Module, count: int) -> Tensor:
    return book.table() if isinstance(book, VectorTable) else book.words(torch.arange(count))


def _tables(quantiser: Quantiser) -> nn.ModuleList:
    return nn.ModuleList(book if isinstance(book, ScalarBook) else VectorTable(book) for book in quantiser.books)


def encoder_reach(config: Config) -> int:
    """Frames before its own that a frame's codes depend on: the kernels at both rates, and the window's first half."""
    side = config.encoder
    rows = 1 + side.enter - 1 + side.blocks * (config.kernel - 1)
    low = side.resample - 1 + side.low_blocks * (config.kernel - 1) + side.leave - 1
    return -(-rows // config.ratio) + low


def decoder_reach(config: Config) -> int:
    """Frames before its own that a frame's samples depend on: the kernels at both rates, and the overlap."""
    side = config.decoder
    low = side.enter - 1 + side.low_blocks * (config.kernel - 1) + side.resample - 1
    rows = side.blocks * (config.kernel - 1) + side.leave - 1 + 1
    return low + -(-rows // config.ratio)
