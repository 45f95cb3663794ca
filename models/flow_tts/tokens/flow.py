"""Speech tokens to mel and pitch: the encoder of CosyVoice 2 before the flow of the direct path.

The encoder looks a few tokens ahead and, under the masks of streaming, no further than the chunk of a token. Pitch is
rounded to whole steps here, once per frame, for the vocoder's sake (see `models.flow_tts.expander`).
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.common.layers import additive, chunk_mask
from models.flow_tts.config import HALVES, MELS, FlowConfig
from models.flow_tts.cosyvoice.config import TOKEN_FRAMES
from models.flow_tts.cosyvoice.encoder import UpsampleEncoder
from models.flow_tts.expander import quantised
from models.flow_tts.flow import Flow
from models.flow_tts.tokens.config import TokenFlowConfig
from models.flow_tts.vocoder import pitch_features


class Prior(nn.Module):
    """What the encoder says of a frame to its pitch, and with the pitch to the mean of its mel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.melody = nn.Linear(width, 2 * HALVES)
        self.entered, self.sung = nn.Linear(width, width), nn.Linear(2 * HALVES, width)
        self.leave = nn.Linear(width, MELS)

    def mean(self, hidden: Tensor, pitch: Tensor) -> Tensor:
        """The mean f32[B, T, MELS] of f32[B, T, width] under the pitch i64[B, T, HALVES]."""
        return self.leave(functional.gelu(self.entered(hidden) + self.sung(pitch_features(pitch))))

    def forward(self, hidden: Tensor) -> Tensor:
        """f32[B, T, width] to f32[B, T, FEATURES]: the mean, then the pitch in whole steps."""
        pitch = quantised(self.melody(hidden))
        return torch.cat([self.mean(hidden, pitch), pitch.float()], 2)


class TokenFlow(nn.Module):
    """Embedding, encoder and flow. The parts are named as those of CosyVoice 2, whose streaming step runs them."""

    def __init__(self, config: TokenFlowConfig, dropout: float = 0.1) -> None:
        super().__init__()
        self.config = config
        self.input_embedding = nn.Embedding(config.tokens, config.width)
        self.dropout = nn.Dropout(dropout)
        self.encoder = UpsampleEncoder(config.encoder)
        self.encoder_proj = Prior(config.width)
        self.flow = Flow(config.flow)

    @property
    def ahead(self) -> int:
        """Tokens that the encoder looks ahead."""
        return self.config.ahead

    def embedded(self, tokens: Tensor) -> Tensor:
        """Tokens i64[B, T] as the encoder takes them; nothing, that is zero, for those below 0."""
        rows = self.dropout(self.input_embedding(tokens.clamp(0, self.config.tokens - 1)))
        return self.encoder.embed(rows) * (tokens >= 0).unsqueeze(2)

    def encoded(self, tokens: Tensor, chunk: int | None) -> Tensor:
        """Tokens i64[B, T], below 0 after their end, to f32[B, 2 T, width].

        A token sees its chunk of `chunk` and all before it; None to see everything.
        """
        x = self.embedded(functional.pad(tokens, (0, self.ahead), value=-1))
        return self.encoder(x[:, : -self.ahead], x[:, -self.ahead :], masks(tokens >= 0, chunk))

    @torch.no_grad()
    def forward(self, tokens: Tensor, noise: Tensor, chunk: int | None) -> tuple[Tensor, Tensor]:
        """Mel f32[B, 2 T, MELS] and pitch i64[B, 2 T, HALVES] of tokens i64[B, T] and noise f32[B, 2 T, MELS]."""
        mean, pitch = self.encoder_proj(self.encoded(tokens, chunk)).split([MELS, HALVES], 2)
        steps = pitch.to(torch.int64)
        return self.flow(mean, steps, noise), steps

    def plain_config(self) -> dict[str, Any]:
        """The sizes, as a checkpoint holds them."""
        return asdict(self.config)


def masks(present: Tensor, chunk: int | None) -> tuple[Tensor, Tensor]:
    """Additive masks f32[B, 1, T, T] of tokens and f32[B, 1, 2 T, 2 T] of their frames, where tokens are `present`.

    `present` is bool[B, T]. A token sees all that are present or, with a `chunk`, its own chunk of so many and those
    before; its two frames see the frames of the same.
    """
    found = []
    for each in (1, TOKEN_FRAMES):
        here = present.repeat_interleave(each, 1)
        hidden = additive(here)[:, None, None]
        length = here.shape[1]
        seen = torch.zeros(length, length) if chunk is None else chunk_mask(length, each * chunk, length, here.device)
        # Not below what one mask says: the sum of two would still be far below every score.
        found.append(torch.minimum(hidden, seen))
    return found[0], found[1]


def config_of(plain: Mapping[str, Any]) -> TokenFlowConfig:
    """The sizes that a checkpoint holds."""
    flow = plain["flow"]
    return TokenFlowConfig(**{**plain, "flow": FlowConfig(**{**flow, "dilations": tuple(flow["dilations"])})})


def load_flow(path: Path) -> TokenFlow:
    """Read the averaged weights of a checkpoint of `flow_train`."""
    saved = torch.load(path, weights_only=True, map_location="cpu")
    model = TokenFlow(config_of(saved["config"]))
    model.load_state_dict(model.state_dict() | saved["average"])
    return model.eval()
