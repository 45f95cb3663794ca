"""Toys of CosyVoice 2 and 3 with random weights: all parts, small."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from models.flow_tts.cosyvoice.checkpoint import Checkpoint
from models.flow_tts.cosyvoice.config import (
    DitSizes,
    EncoderSizes,
    HiftSizes,
    LmSizes,
    Options,
    PlainEncoderSizes,
    UNetSizes,
)
from models.flow_tts.cosyvoice.export import parameters_of
from models.flow_tts.cosyvoice.flow import Flow, Flow2, Flow3
from models.flow_tts.cosyvoice.graphs import parts_of
from models.flow_tts.cosyvoice.hift import Hift
from models.flow_tts.cosyvoice.ids import ids_of
from models.flow_tts.cosyvoice.lm import TokenLm
from models.flow_tts.cosyvoice.noise import Seeded
from models.flow_tts.cosyvoice.reference import Prompt, Synthesis, TorchCalls
from models.flow_tts.cosyvoice.settings import Settings

Model = TypeVar("Model", bound=nn.Module)

TOKENS = 30
CHUNK = 5
OPTIONS = Options(chunk=CHUNK, pages=8, cells=256)
ENCODER = EncoderSizes(tokens=TOKENS, width=32, heads=4, hidden=48, layers=1, up_layers=1)
UNET = UNetSizes(channels=16, heads=2, head_width=8, hidden=24, blocks=1, transformers=1, time=24)
PLAIN = PlainEncoderSizes(tokens=TOKENS, hidden=24)
DIT = DitSizes(width=32, layers=2, heads=4, hidden=48, time=16, kernel=7, groups=4, rotated=8)
_HIFT = HiftSizes(channels=32, f0_channels=16, block_kernels=(3, 5), source_kernels=(3, 5, 3), dilations=(1, 3))
HIFTS = {2: _HIFT, 3: replace(_HIFT, causal=True)}
LM2 = LmSizes(texts=40, speech=TOKENS + 3, width=32, layers=2, heads=4, kv_heads=2, hidden=48)
LM3 = LmSizes(
    texts=40, speech=TOKENS + 200, specials=0, width=32, layers=2, heads=4, kv_heads=2, hidden=48, head_bias=False
)


def toy_flow(version: int, seed: int = 3) -> Flow:
    """A flow whose output answers to all that it is given."""
    torch.manual_seed(seed)
    return _ready(Flow2(ENCODER, UNET) if version == 2 else Flow3(PLAIN, DIT))


def toy_hift(version: int, seed: int = 4, small: bool = False) -> Hift:
    """A vocoder whose pitch goes through speech's range and is unvoiced at times; a third of its blocks if `small`."""
    torch.manual_seed(seed)
    sizes = HIFTS[version]
    hift = Hift(replace(sizes, block_kernels=(3,), source_kernels=(3, 3, 3), dilations=(3,)) if small else sizes)
    with torch.no_grad():
        hift.f0_predictor.classifier.weight *= 3000
        hift.f0_predictor.classifier.bias.fill_(150)
        for block in (*hift.resblocks, *hift.source_resblocks):
            for name, value in block.named_parameters():
                if name.endswith("alpha"):
                    value.uniform_(0.5, 2)
        hift.m_source.l_linear.weight *= 5
    return _ready(hift)


def toy_lm(version: int, seed: int = 5, texts: int = LM2.texts) -> TokenLm:
    """A language model with opinions, of so many ids of text."""
    torch.manual_seed(seed)
    lm = TokenLm(replace(LM2 if version == 2 else LM3, texts=texts))
    with torch.no_grad():
        lm.llm_decoder.weight *= 5
    return _ready(lm)


def _ready(module: Model) -> Model:
    return module.eval().requires_grad_(False)


def toy_checkpoint(version: int, small: bool = False, texts: int = LM2.texts) -> Checkpoint:
    """All models of a version, as if they had been read from files; `small`: quick to export."""
    lm, settings = toy_lm(version, texts=texts), Settings(chunk=CHUNK, head_width=UNET.head_width)
    return Checkpoint(
        version, toy_flow(version), toy_hift(version, small=small), lm, ids_of(lm.sizes, TOKENS), settings, (), ()
    )


@dataclass(frozen=True)
class Utterance:
    """A prompt, tokens to be said, and the noise of a stream."""

    prompt: Prompt
    tokens: np.ndarray
    noise: Seeded

    @classmethod
    def drawn(cls, seed: int, version: int, prompt: int = 7, tokens: int = 23) -> Utterance:
        """Random ones; the prompt does not end where a chunk does."""
        rng = np.random.default_rng(seed)
        mel = rng.standard_normal((2 * prompt, 80)).astype(np.float32)
        speaker = rng.standard_normal(192).astype(np.float32)
        kind = "normal" if version == 2 else "uniform"
        return cls(
            Prompt(rng.integers(TOKENS, size=prompt), mel, speaker),
            rng.integers(TOKENS, size=tokens),
            Seeded(seed, kind, HIFTS[version].harmonics),
        )


def whole(checkpoint: Checkpoint, utterance: Utterance, chunk: int | None = CHUNK) -> tuple[np.ndarray, np.ndarray]:
    """Mel f32[T, 80] and samples f32[480 T] of all tokens at once, by the whole models."""
    prompt, noise = utterance.prompt, utterance.noise
    tokens = torch.from_numpy(np.concatenate([prompt.tokens, utterance.tokens]))[None]
    mel, speaker = torch.from_numpy(prompt.mel)[None], torch.from_numpy(prompt.speaker)[None]
    start = torch.from_numpy(noise.flow(0, 2 * tokens.shape[1]))[None]
    said = checkpoint.flow(tokens, mel, speaker, start, True, chunk)[:, mel.shape[1] :]
    source = torch.from_numpy(noise.source(0, said.shape[1]))[None]
    return said[0].numpy(), checkpoint.hift(said, source)[0].numpy()


def stream_of(version: int, utterance: Utterance, options: Options = OPTIONS, slide: bool = False) -> Synthesis:
    """The loop over the torch steps of a toy."""
    checkpoint = toy_checkpoint(version)
    calls, parameters = TorchCalls(parts_of(checkpoint, options)), parameters_of(checkpoint, options)
    return Synthesis(calls, parameters, utterance.prompt, utterance.noise, slide)


def in_hops(synthesis: Synthesis, tokens: np.ndarray, hops: list[int]) -> list[np.ndarray]:
    """Samples after each hop of so many tokens, the last hop repeated, and at the end."""
    said, at = [], 0
    hops = [*hops, *[hops[-1]] * len(tokens)]
    for hop in hops:
        if at >= len(tokens):
            break
        said.append(synthesis.push(tokens[at : at + hop]))
        at += hop
    return [*said, synthesis.finish()]
