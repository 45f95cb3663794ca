"""The token path with random weights, small, and a made-up speaker's recordings with alignments that are true."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from models.flow_tts.alignments import NAME
from models.flow_tts.pool import write_pool
from models.flow_tts.tokens.config import TokenFlowConfig, TokeniserConfig, lm_sizes
from models.flow_tts.tokens.flow import TokenFlow
from models.flow_tts.tokens.lm import SpeechLm
from models.flow_tts.tokens.tokeniser import Tokeniser
from tests.models.voice_recordings import to_symbols, write_pack
from tests.models.voice_toys import FLOW

Model = TypeVar("Model", bound=nn.Module)

DIMS = 3
TOKENS = 3**DIMS
CHUNK = 4
TOKENISER = TokeniserConfig(DIMS, width=24, inner=32, kernel=3, blocks=1)
TOKEN_FLOW = TokenFlowConfig(TOKENS, FLOW, width=32, heads=2, hidden=48, layers=2, up_layers=1, chunk=CHUNK)
LM = lm_sizes(TOKENS, width=32, layers=2, heads=2, hidden=48)


def write_aligned_pool(folder: Path, clips: int) -> None:
    """Recordings of the made-up speaker, decoded, and the frames that each of their symbols was made of."""
    pack = folder / "toy.tar"
    truth = write_pack(pack, clips)
    write_pool(pack, folder)
    found = {clip["audio"]: clip for clip in json.loads((folder / "clips.json").read_text())}
    lines = {
        name: {"symbols": to_symbols(found[name]["text"]), "frames": [int(count) for count in frames]}
        for name, frames in truth.items()
    }
    (folder / NAME).write_text(json.dumps(lines))


def toy_tokeniser(seed: int = 0) -> Tokeniser:
    """A tokeniser."""
    torch.manual_seed(seed)
    return _ready(Tokeniser(TOKENISER))


def toy_token_flow(seed: int = 1, small: bool = False) -> TokenFlow:
    """Tokens to mel, whose pitch comes and goes; a `small` one has one layer and one step, to be exported soon."""
    torch.manual_seed(seed)
    one = replace(TOKEN_FLOW, layers=1, flow=replace(FLOW, dilations=(2,), steps=1))
    return _ready(TokenFlow(one if small else TOKEN_FLOW))


def toy_lm(seed: int = 2, small: bool = False) -> SpeechLm:
    """A language model with opinions, of one layer if it is `small`."""
    torch.manual_seed(seed)
    model = SpeechLm(replace(LM, layers=1) if small else LM)
    with torch.no_grad():
        model.llm_decoder.weight.mul_(5)
    return _ready(model)


def ids(count: int, batch: int = 1, seed: int = 0) -> torch.Tensor:
    """Random tokens i64[B, T]."""
    return torch.randint(TOKENS, (batch, count), generator=torch.Generator().manual_seed(seed))


def _ready(model: Model) -> Model:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval().requires_grad_(False)
