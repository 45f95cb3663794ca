"""Mimi (Moshi, arXiv 2410.00037): 24 kHz, frames of 1920 samples, 12.5 a second, up to 32 books of 11 bits.

One book that was taught by speech features and the others that follow each other quantise the same latent side by side.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from models.codec.books import Books, keep_books
from models.codec.holding import Holding
from models.codec.seanet import REPLICATE, ZERO, Beginning, Conv, Sizes, decoder, encoder, run, windowed
from models.codec.serving import finite
from models.codec.window_transformer import Memory, TransformerSizes, WindowTransformer, renamed
from models.common.frame_layers import Caches, Whole, Windowed
from models.common.slots import Cells, Rows, State, StateSpec, Update

RATE = 24_000
RATIOS = (8, 6, 5, 4)
LEAVE, HEADS = 3, 8
FRAME_SAMPLES = 1920
SILENT_SECONDS = 4
# Frames of the transformers in one of the codec.
_STRIDE = 2


@dataclass(frozen=True)
class MimiSizes:
    """Widths of a checkpoint; those of the released one by default."""

    filters: int = 64
    width: int = 512
    layers: int = 8
    hidden: int = 2048
    first_books: int = 1
    rest_books: int = 31
    words: int = 2048
    code_width: int = 256
    window: int = 250

    @property
    def books(self) -> int:
        """Books of both parts."""
        return self.first_books + self.rest_books

    def seanet(self) -> Sizes:
        """Of the encoder and the decoder."""
        return Sizes(self.filters, self.width, RATIOS, LEAVE, False, 0, ZERO)

    def transformer(self) -> TransformerSizes:
        """Of both transformers."""
        return TransformerSizes(self.width, self.layers, HEADS, self.hidden, self.window)


class DepthwiseUpsample(Windowed):
    """A transposed convolution of stride 2 and kernel 4 for every channel by itself."""

    def __init__(self, width: int) -> None:
        super().__init__(2, width, causal=True)
        self.taps = nn.Parameter(torch.zeros(2, _STRIDE, width))

    def mix(self, padded: Tensor) -> Tensor:
        """Map f32[B, 1 + T, width] to f32[B, 2 T, width]."""
        before, now = padded[:, :-1].unsqueeze(2), padded[:, 1:].unsqueeze(2)
        return (before * self.taps[0] + now * self.taps[1]).flatten(1, 2)


class SplitBooks(nn.Module):
    """The two quantisers, each between projections of its own."""

    def __init__(self, sizes: MimiSizes) -> None:
        super().__init__()
        self.split = [sizes.first_books, sizes.rest_books]
        self.books = nn.ModuleList(Books(count, sizes.words, sizes.code_width) for count in self.split)
        narrow, wide = (sizes.width, sizes.code_width), (sizes.code_width, sizes.width)
        self.enter = nn.ModuleList(nn.Linear(*narrow, bias=False) for _ in self.split)
        self.leave = nn.ModuleList(nn.Linear(*wide, bias=False) for _ in self.split)

    def encode(self, x: Tensor) -> Tensor:
        """Codes i64[B, T, books] of f32[B, T, width]."""
        return torch.cat([books.encode(enter(x)) for books, enter in zip(self.books, self.enter, strict=True)], 2)

    def decode(self, codes: Tensor) -> Tensor:
        """Latents f32[B, T, width] of codes i64[B, T, books], -1 where a book was not sent."""
        first, rest = codes.split(self.split, 2)
        return self.leave[0](self.books[0].decode(first)) + self.leave[1](self.books[1].decode(rest))


class Mimi(nn.Module):
    """Samples to codes and back."""

    frame_samples = FRAME_SAMPLES

    def __init__(self, sizes: MimiSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoder, self.decoder = encoder(sizes.seanet()), decoder(sizes.seanet())
        self.encoder_transformer = WindowTransformer(sizes.transformer())
        self.decoder_transformer = WindowTransformer(sizes.transformer())
        self.downsample = Conv(sizes.width, sizes.width, 2 * _STRIDE, _STRIDE, REPLICATE, bias=False)
        self.upsample = DepthwiseUpsample(sizes.width)
        self.books = SplitBooks(sizes)
        self.holding = Holding(sizes.width, FRAME_SAMPLES / RATE)
        self._heard = Caches([*windowed(self.encoder), self.downsample])
        self._told = Caches([self.upsample, *windowed(self.decoder)], self.holding.sizes)

    def with_books(self, books: int) -> "Mimi":
        """The same model with its first books alone; the one that was taught is always there."""
        first = self.sizes.first_books
        return keep_books(self, Mimi(replace(self.sizes, rest_books=max(books - first, 0))))

    def learn_silence(self) -> None:
        """Take for silence what the encoder makes of it."""
        codes = self.encode(torch.zeros(1, SILENT_SECONDS * RATE))
        self.holding.silence.copy_(self.books.decode(codes)[0, -1])

    def encode(self, pcm: Tensor) -> Tensor:
        """Codes i64[B, T, books] of a whole signal f32[B, T * 1920]."""
        latent = self.encoder_transformer(run(self.encoder, pcm.unsqueeze(2), Whole()))
        return self.books.encode(self.downsample(latent))

    def decode(self, codes: Tensor) -> Tensor:
        """The whole signal f32[B, T * 1920] of codes i64[B, T, books]."""
        latent = self.decoder_transformer(self.upsample(self.books.decode(codes)))
        return run(self.decoder, latent, Whole()).squeeze(2)

    def encoder_states(self, half: bool = False) -> list[StateSpec]:
        """States of `encode_step`; with `half`, keys and values are kept in half precision."""
        return self._states("encoder", self._heard.size, half)

    def decoder_states(self, half: bool = False) -> list[StateSpec]:
        """States of `decode_step`."""
        return self._states("decoder", self._told.size, half)

    def encode_step(self, inputs: Rows, state: State) -> tuple[Rows, Mapping[str, Update]]:
        """`pcm` f32[B, T, 1920] to `codes` i64[B, T, books]."""
        _, chain = self._heard.split(_tensor(state, "encoder_past"))
        memory = _memory(state, "encoder")
        latent = run(self.encoder, finite(inputs["pcm"]).flatten(1).unsqueeze(2), chain)
        latent, updates = self.encoder_transformer.step(latent, memory)
        beginning = Beginning(chain, (memory.heard == 0).view(-1, 1, 1))
        codes = self.books.encode(beginning.step(self.downsample, latent))
        return {"codes": codes}, {"encoder_past": chain.join([]), **renamed(updates, "encoder")}

    def decode_step(self, inputs: Rows, state: State) -> tuple[Rows, Mapping[str, Update]]:
        """`codes` i64[B, T, books] and `kind` i64[B, T] to `pcm` f32[B, T, 1920]."""
        (last, age), chain = self._told.split(_tensor(state, "decoder_past"))
        latent, last, age = self.holding.step(self.books.decode(inputs["codes"]), inputs["kind"], last, age)
        latent, updates = self.decoder_transformer.step(chain.step(self.upsample, latent), _memory(state, "decoder"))
        pcm = run(self.decoder, latent, chain).squeeze(2)
        return {"pcm": pcm.unflatten(1, (-1, FRAME_SAMPLES))}, {
            "decoder_past": chain.join([last, age]),
            **renamed(updates, "decoder"),
        }

    def _states(self, group: str, past: int, half: bool) -> list[StateSpec]:
        ring, kept = self.sizes.transformer().ring, torch.float16 if half else torch.float32
        return [
            StateSpec(f"{group}_past", (past,), group=group),
            StateSpec(f"{group}_keys", ring, kept, group=group, indexed=True),
            StateSpec(f"{group}_values", ring, kept, group=group, indexed=True),
            StateSpec(f"{group}_heard", (), torch.int64, group=group),
        ]


def _memory(state: State, group: str) -> Memory:
    keys, values = state[f"{group}_keys"], state[f"{group}_values"]
    assert isinstance(keys, Cells)
    assert isinstance(values, Cells)
    return Memory(keys, values, _tensor(state, f"{group}_heard"))


def _tensor(state: State, name: str) -> Tensor:
    value = state[name]
    assert isinstance(value, Tensor)
    return value
