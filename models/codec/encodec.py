"""EnCodec at 24 kHz (arXiv 2210.13438): frames of 320 samples, 75 a second, up to 32 books of 10 bits."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from models.codec.books import Books, keep_books
from models.codec.holding import Holding
from models.codec.seanet import REFLECT, Beginning, Sizes, decoder, encoder, run, windowed
from models.codec.serving import finite
from models.common.frame_layers import Caches, Whole
from models.common.slots import Rows, State, StateSpec, Update

RATE = 24_000
RATIOS = (8, 5, 4, 2)
LEAVE, LSTM_LAYERS = 7, 2
FRAME_SAMPLES = 320
MOST_BOOKS = 32
SILENT_SECONDS = 2


@dataclass(frozen=True)
class EncodecSizes:
    """Widths of a checkpoint; those of the released one by default."""

    filters: int = 32
    latent: int = 128
    books: int = MOST_BOOKS
    words: int = 1024

    def seanet(self) -> Sizes:
        """Of the encoder and the decoder."""
        return Sizes(self.filters, self.latent, RATIOS, LEAVE, True, LSTM_LAYERS, REFLECT)


class Encodec(nn.Module):
    """Samples to codes and back. The first chunk of a stream is padded as the package pads a file of its length."""

    frame_samples = FRAME_SAMPLES

    def __init__(self, sizes: EncodecSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoder, self.decoder = encoder(sizes.seanet()), decoder(sizes.seanet())
        self.books = Books(sizes.books, sizes.words, sizes.latent)
        self.holding = Holding(sizes.latent, FRAME_SAMPLES / RATE)
        self._heard = Caches(windowed(self.encoder), [1])
        self._told = Caches(windowed(self.decoder), [1, *self.holding.sizes])

    def with_books(self, books: int) -> "Encodec":
        """The same model with its first books alone."""
        return keep_books(self, Encodec(replace(self.sizes, books=books)))

    def learn_silence(self) -> None:
        """Take for silence what the encoder makes of it."""
        codes = self.encode(torch.zeros(1, SILENT_SECONDS * RATE))
        self.holding.silence.copy_(self.books.decode(codes)[0, -1])

    def encode(self, pcm: Tensor) -> Tensor:
        """Codes i64[B, T, books] of a whole signal f32[B, T * 320]."""
        return self.books.encode(run(self.encoder, pcm.unsqueeze(2), Whole()))

    def decode(self, codes: Tensor) -> Tensor:
        """The whole signal f32[B, T * 320] of codes i64[B, T, books]."""
        return run(self.decoder, self.books.decode(codes), Whole()).squeeze(2)

    def encoder_states(self, half: bool = False) -> list[StateSpec]:
        """States of `encode_step`; `half` has no effect, for nothing here is large."""
        return [StateSpec("encoder_past", (self._heard.size,), group="encoder")]

    def decoder_states(self, half: bool = False) -> list[StateSpec]:
        """States of `decode_step`."""
        return [StateSpec("decoder_past", (self._told.size,), group="decoder")]

    def encode_step(self, inputs: Rows, state: State) -> tuple[Rows, Mapping[str, Update]]:
        """`pcm` f32[B, T, 320] to `codes` i64[B, T, books]."""
        (heard,), chain = self._heard.split(_row(state, "encoder_past"))
        beginning = Beginning(chain, (heard == 0).unsqueeze(2))
        codes = self.books.encode(run(self.encoder, finite(inputs["pcm"]).flatten(1).unsqueeze(2), beginning))
        return {"codes": codes}, {"encoder_past": chain.join([torch.ones_like(heard)])}

    def decode_step(self, inputs: Rows, state: State) -> tuple[Rows, Mapping[str, Update]]:
        """`codes` i64[B, T, books] and `kind` i64[B, T] to `pcm` f32[B, T, 320]."""
        (told, last, age), chain = self._told.split(_row(state, "decoder_past"))
        latent, last, age = self.holding.step(self.books.decode(inputs["codes"]), inputs["kind"], last, age)
        pcm = run(self.decoder, latent, Beginning(chain, (told == 0).unsqueeze(2))).squeeze(2)
        return {"pcm": pcm.unflatten(1, (-1, FRAME_SAMPLES))}, {
            "decoder_past": chain.join([torch.ones_like(told), last, age])
        }


def _row(state: State, name: str) -> Tensor:
    row = state[name]
    assert isinstance(row, Tensor)
    return row
