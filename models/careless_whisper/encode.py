"""The graph `encode`: mel rows to cached keys and values of new frames, of one encoder window of each stream.

Frames of one call see each other and all frames of the window before them; nothing is computed twice. The
decoder's cross-attention reads the frames through projections of its own, which are cached here too.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.careless_whisper.caches import (
    BANKS,
    PAGE,
    Sizes,
    attend_cached,
    hidden_unless,
    new_rows,
    page_index,
    pages,
    take_pages,
)
from models.careless_whisper.model import Block, Whisper
from models.common.slots import Rows, State, Update

_Kept = dict[str, list[Tensor]]


class Encode(nn.Module):
    """Inputs `offsets` i64[B, n] and `window` i64[B, C], of which only the lengths count, `origin`, `bank` i64[B] and
    `fresh` bool[B]; output `frames` i64[B] of the window.

    C is at least the number of frames cached; `origin` is the mel row at which the window begins.
    """

    def __init__(self, model: Whisper, sizes: Sizes) -> None:
        super().__init__()
        self.model = model
        self.sizes = sizes

    def forward(self, inputs: Rows, state: State) -> tuple[Rows, Mapping[str, Update]]:
        """Take the inputs above and the rows of `mel`, `mel_rows` and `Sizes.encoder()`."""
        encoder, most = self.model.encoder, self.sizes.dims.n_audio_ctx
        new, bank = inputs["offsets"].shape[1], inputs["bank"].clamp(0, BANKS - 1)
        chosen = bank[:, None] == torch.arange(BANKS)
        counts = torch.where(inputs["fresh"][:, None] & chosen, 0, state["counts"])
        # A window that is full goes on in its last frames: nothing may leave the bank.
        before = counts.gather(1, bank[:, None])[:, 0].clamp(max=most - new).clamp(min=0)
        position = (before[:, None] + torch.arange(new)).clamp(max=most - 1)
        mel = self.mel_rows(inputs["origin"], before, new, state)
        frames = self.stem(mel, before) + functional.embedding(position, encoder.positional_embedding)
        count = pages(inputs["window"].shape[1])
        page = page_index(bank * self.sizes.bank_pages, count, self.sizes.bank_pages)
        mask = hidden_unless(torch.arange(count * PAGE) < before[:, None])[:, None, None]
        kept: _Kept = {"encoder_keys": [], "encoder_values": [], "cross_keys": [], "cross_values": []}
        for index, block in enumerate(encoder.blocks):
            frames = self.layer(index, block, frames, (state, page, mask), kept)
        self.cross(encoder.ln_post(frames), kept)
        row = bank[:, None] * self.sizes.bank_pages * PAGE + position
        updates: dict[str, Update] = {name: new_rows(layers, row) for name, layers in kept.items()}
        updates["counts"] = torch.where(chosen, (before + new).clamp(max=most)[:, None], counts)
        return {"frames": (before + new).clamp(max=most)}, updates

    def mel_rows(self, origin: Tensor, before: Tensor, new: int, state: State) -> Tensor:
        """Mel rows f32[B, 2 n + 3, mels] around the new frames; zeros for what is not in the window or the ring.

        A window ends with its last frame: there is no row beyond it in training, nor in the offline model.
        """
        row = (origin + 2 * before - 2)[:, None] + torch.arange(2 * new + 3)
        heard, end = state["mel_rows"][:, None], (origin + 2 * self.sizes.dims.n_audio_ctx)[:, None]
        known = (row >= origin.clamp(min=0)[:, None]) & (row < heard) & (row >= heard - self.sizes.mel_ring)
        known &= row < end
        return torch.where(known[:, :, None], state["mel"].take(row % self.sizes.mel_ring), 0.0)

    def stem(self, mel: Tensor, before: Tensor) -> Tensor:
        """Convolutions over just the rows that they need: f32[B, 2 n + 3, mels] to f32[B, n, d]."""
        conv1, conv2 = self.model.encoder.conv1, self.model.encoder.conv2
        half = functional.gelu(functional.conv1d(mel.transpose(1, 2), conv1.weight, conv1.bias))
        # The second convolution is padded with zeros, not with what the first makes of zeros.
        first = torch.arange(half.shape[2]) == 0
        half = torch.where(first & (before == 0)[:, None, None], 0.0, half)
        return functional.gelu(functional.conv1d(half, conv2.weight, conv2.bias, stride=2)).transpose(1, 2)

    def layer(self, index: int, block: Block, x: Tensor, cached: tuple[State, Tensor, Tensor], kept: _Kept) -> Tensor:
        """One layer on the new frames f32[B, n, d]; their keys and values go to `kept`."""
        attention, (state, page, mask) = block.attn, cached
        y = block.attn_ln(x)
        keys, values = attention.split(attention.key(y)), attention.split(attention.value(y))
        old = [take_pages(state[name], index, attention.heads, page) for name in ("encoder_keys", "encoder_values")]
        x = x + attend_cached(attention, attention.query(y), (old[0], old[1], mask), (keys, values, None))
        kept["encoder_keys"].append(keys)
        kept["encoder_values"].append(values)
        return x + block.mlp(block.mlp_ln(x))

    def cross(self, frames: Tensor, kept: _Kept) -> None:
        """Keys and values of encoded frames f32[B, n, d] for every layer of the decoder."""
        for block in self.model.decoder.blocks:
            attention = block.cross_attn
            kept["cross_keys"].append(attention.split(attention.key(frames)))
            kept["cross_values"].append(attention.split(attention.value(frames)))
