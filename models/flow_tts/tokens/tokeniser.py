"""The speech tokeniser: mel and pitch to 25 tokens a second.

As the tokeniser of CosyVoice 2 it is supervised: what is behind the tokens must tell which phone is said. Its teacher
there is speech recognition; here it is the alignment of the recordings, and a decoder must also tell mel and pitch, for
there is one speaker and what a phone sounds like need not be thrown away. It looks both ways: it is for training alone.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.common.frame_layers import Block, FrameConv
from models.flow_tts.config import HALVES, MELS
from models.flow_tts.cosyvoice.config import TOKEN_FRAMES
from models.flow_tts.symbols import SYMBOLS
from models.flow_tts.text_encoder import kept
from models.flow_tts.tokens import fsq
from models.flow_tts.tokens.config import TokeniserConfig
from models.flow_tts.vocoder import pitch_features


class Decoded(NamedTuple):
    """What tokens tell of every frame."""

    mel: Tensor  # f32[B, 2 T, MELS], normalised
    melody: Tensor  # f32[B, 2 T, 2 * HALVES]: logits of voice, then octaves above 200 Hz
    phones: Tensor  # f32[B, 2 T, symbols], logits


class Tokeniser(nn.Module):
    """Encoder, quantiser and the decoder that teaches them."""

    def __init__(self, config: TokeniserConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.enter = FrameConv(MELS + 2 * HALVES, width, 5, causal=False)
        self.near, self.far = _blocks(config), _blocks(config)
        self.down = nn.Linear(TOKEN_FRAMES * width, width)
        self.narrow = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, config.dims))
        self.widen = nn.Linear(config.dims, width)
        self.after, self.fine, self.spoken = (_blocks(config) for _ in range(3))
        self.up = nn.Linear(width, TOKEN_FRAMES * width)
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, MELS + 2 * HALVES))
        self.phones = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, TOKEN_FRAMES * len(SYMBOLS)))

    def values(self, mel: Tensor, pitch: Tensor, mask: Tensor | None = None) -> Tensor:
        """Values f32[B, T, dims] of tokens, from mel f32[B, 2 T, MELS] and pitch i64[B, 2 T, HALVES].

        `mask` bool[B, 2 T] is true where there are frames.
        """
        x = kept(torch.cat([mel, pitch_features(pitch)], 2), mask)
        x = _run(self.near, self.enter(x), mask)
        x = self.down(x.unflatten(1, (-1, TOKEN_FRAMES)).flatten(2))
        hidden = self.narrow(_run(self.far, x, _tokens(mask)))
        with torch.autocast(hidden.device.type, enabled=False):
            return fsq.quantised(hidden.float())

    def decoded(self, values: Tensor, mask: Tensor | None = None) -> Decoded:
        """What values f32[B, T, dims] tell, `mask` as in `values`."""
        tokens = _tokens(mask)
        entered = self.widen(values)
        x = functional.gelu(self.up(_run(self.after, entered, tokens))).unflatten(2, (TOKEN_FRAMES, -1)).flatten(1, 2)
        mel, melody = self.leave(_run(self.fine, x, mask)).split([MELS, 2 * HALVES], 2)
        phones = self.phones(_run(self.spoken, entered, tokens)).unflatten(2, (TOKEN_FRAMES, -1)).flatten(1, 2)
        return Decoded(mel, melody, phones)

    @torch.no_grad()
    def forward(self, mel: Tensor, pitch: Tensor) -> Tensor:
        """Ids i64[B, T] of mel f32[B, 2 T, MELS] and pitch i64[B, 2 T, HALVES]."""
        return fsq.ids_of(self.values(mel, pitch))

    def plain_config(self) -> dict[str, Any]:
        """The sizes, as a checkpoint holds them."""
        return asdict(self.config)


def load_tokeniser(path: Path) -> Tokeniser:
    """Read the averaged weights of a checkpoint of `tokeniser_train`."""
    saved = torch.load(path, weights_only=True, map_location="cpu")
    model = Tokeniser(TokeniserConfig(**saved["config"]))
    model.load_state_dict(model.state_dict() | saved["average"])
    return model.eval()


def _blocks(config: TokeniserConfig) -> nn.ModuleList:
    return nn.ModuleList(
        Block(config.width, config.inner, config.kernel, "gelu", response_norm=False, causal=False)
        for _ in range(config.blocks)
    )


def _run(blocks: nn.ModuleList, x: Tensor, mask: Tensor | None) -> Tensor:
    x = kept(x, mask)
    for block in blocks:
        x = kept(block(x), mask)
    return x


def _tokens(mask: Tensor | None) -> Tensor | None:
    """Where there are tokens, bool[B, T]."""
    return None if mask is None else mask[:, ::TOKEN_FRAMES]
