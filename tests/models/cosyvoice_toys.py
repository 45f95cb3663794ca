"""Toys of CosyVoice 2 and 3 with random weights: all parts, small."""

from __future__ import annotations

import torch
from torch import nn

from models.flow_tts.cosyvoice.config import (
    DitSizes,
    EncoderSizes,
    HiftSizes,
    LmSizes,
    Options,
    PlainEncoderSizes,
    UNetSizes,
)
from models.flow_tts.cosyvoice.flow import Flow, Flow2, Flow3
from models.flow_tts.cosyvoice.hift import Hift
from models.flow_tts.cosyvoice.lm import TokenLm

TOKENS = 30
CHUNK = 5
OPTIONS = Options(chunk=CHUNK, pages=8, cells=256)
ENCODER = EncoderSizes(tokens=TOKENS, width=32, heads=4, hidden=48, layers=2, up_layers=2)
UNET = UNetSizes(channels=16, heads=2, head_width=8, hidden=24, blocks=2, transformers=2, time=24)
PLAIN = PlainEncoderSizes(tokens=TOKENS, hidden=24)
DIT = DitSizes(width=32, layers=2, heads=4, hidden=48, time=16, kernel=7, groups=4, rotated=8)
LM2 = LmSizes(texts=40, speech=TOKENS + 3, width=32, layers=2, heads=4, kv_heads=2, hidden=48)
LM3 = LmSizes(
    texts=40, speech=TOKENS + 200, specials=0, width=32, layers=2, heads=4, kv_heads=2, hidden=48, head_bias=False
)


def toy_flow(version: int, seed: int = 3) -> Flow:
    """A flow whose output answers to all that it is given."""
    torch.manual_seed(seed)
    return _ready(Flow2(ENCODER, UNET) if version == 2 else Flow3(PLAIN, DIT))


def toy_hift(version: int, seed: int = 4) -> Hift:
    """A vocoder whose pitch goes through speech's range and is unvoiced at times."""
    torch.manual_seed(seed)
    hift = Hift(HiftSizes(version == 3, channels=32, f0_channels=16, source_kernels=(7, 7, 11)))
    with torch.no_grad():
        hift.f0_predictor.classifier.weight *= 3000
        hift.f0_predictor.classifier.bias.fill_(150)
        for block in (*hift.resblocks, *hift.source_resblocks):
            for name, value in block.named_parameters():
                if name.endswith("alpha"):
                    value.uniform_(0.5, 2)
        hift.m_source.l_linear.weight *= 5
    return _ready(hift)


def toy_lm(version: int, seed: int = 5) -> TokenLm:
    """A language model with opinions."""
    torch.manual_seed(seed)
    lm = TokenLm(LM2 if version == 2 else LM3)
    with torch.no_grad():
        lm.llm_decoder.weight *= 5
    return _ready(lm)


def _ready(module: nn.Module) -> nn.Module:
    return module.eval().requires_grad_(False)
