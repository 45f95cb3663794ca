"""EnCodec and Mimi as their own packages make them, with random weights, books that tell sounds apart, and sounds."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from encodec import EncodecModel
from encodec.modules import SEANetDecoder, SEANetEncoder
from encodec.quantization import ResidualVectorQuantizer
from moshi.models import loaders
from torch import Tensor, nn

from models.codec.encodec import EncodecSizes
from models.codec.mimi import MimiSizes

RATE = 24_000
TOY_ENCODEC = EncodecSizes(filters=4, latent=16, books=6, words=64)
TOY_MIMI = MimiSizes(filters=4, width=32, layers=2, hidden=48, rest_books=5, words=64, code_width=12)


@dataclass
class Peer:
    """A model of a foreign package, and how to ask it: PCM f32[B, N] to codes i64[B, T, Q] and back."""

    kind: str
    model: nn.Module
    frame_samples: int
    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]

    def weights(self) -> dict[str, Tensor]:
        """What a checkpoint holds."""
        return {name: value.clone() for name, value in self.model.state_dict().items()}


def encodec_peer(sizes: EncodecSizes = TOY_ENCODEC) -> Peer:
    torch.manual_seed(5)
    shape: dict[str, Any] = {"n_filters": sizes.filters, "dimension": sizes.latent, "causal": True}
    with warnings.catch_warnings():
        # Its weight normalisation is of an older torch.
        warnings.simplefilter("ignore")
        quantizer = ResidualVectorQuantizer(dimension=sizes.latent, n_q=sizes.books, bins=sizes.words)
        parts = SEANetEncoder(**shape), SEANetDecoder(**shape), quantizer
        model = EncodecModel(*parts, [24.0], RATE, 1).eval().requires_grad_(False)
    _answer(model)
    latents = torch.cat([model.encoder(x[:, None]) for x in sounds(3)], 2)[0].T
    for layer in quantizer.vq.layers:
        book = layer._codebook
        book.embed.copy_(_words(latents, sizes.words))
        book.inited.fill_(1)
        book.cluster_size.uniform_(1, 9)
        latents = latents - book.decode(book.encode(latents[None]))[0]
    return Peer(
        "encodec",
        model,
        320,
        lambda pcm: model.encode(pcm[:, None])[0][0].transpose(1, 2),
        lambda codes: model.decode([(codes.transpose(1, 2), None)])[:, 0],
    )


def mimi_peer(sizes: MimiSizes = TOY_MIMI) -> Peer:
    torch.manual_seed(6)
    config = deepcopy(loaders._mimi_config)
    wide = {"input_dimension": sizes.width}
    config["seanet"] |= {"n_filters": sizes.filters, "dimension": sizes.width}
    config["transformer"] |= {**wide, "output_dimensions": [sizes.width], "d_model": sizes.width}
    config["transformer"] |= {"num_layers": sizes.layers, "dim_feedforward": sizes.hidden, "context": sizes.window}
    config["quantizer"] |= {**wide, "output_dimension": sizes.width, "dimension": sizes.code_width}
    config["quantizer"] |= {"bins": sizes.words, "n_q": sizes.books}
    model = loaders.get_mimi(None, config, num_codebooks=sizes.books).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if "layer_scale" in name:
            parameter.uniform_(0.1, 0.3)
        elif "norm" in name:
            parameter.add_(0.1 * torch.randn_like(parameter))
    _answer(model.encoder, model.decoder)
    latent = torch.cat([model._encode_to_unquantized_latent(x[:, None]) for x in sounds(4)], 2)
    for part in (model.quantizer.rvq_first, model.quantizer.rvq_rest):
        rest = part.input_proj(latent)[0].T
        for layer in part.vq.layers:
            book = layer._codebook
            usage = torch.rand(sizes.words) * 9
            # Words that were hardly used, or never.
            usage[:2], usage[2:4] = 0.0, 3e-6
            book.cluster_usage.copy_(usage)
            book.embedding_sum.copy_(_words(rest, sizes.words) * usage.clamp(min=1e-5)[:, None])
            book._initialized.fill_(1)
            rest = rest - book.decode(book.encode(rest[None]))[0]
    return Peer(
        "mimi",
        model,
        1920,
        lambda pcm: model.encode(pcm[:, None]).transpose(1, 2),
        lambda codes: model.decode(codes.transpose(1, 2))[:, 0],
    )


def sounds(seconds: float) -> tuple[Tensor, Tensor]:
    """Noise, and something like speech: voiced pulses of a gliding pitch, in syllables. f32[1, N] each."""
    samples = round(seconds * RATE)
    generator = torch.Generator().manual_seed(1)
    time = torch.arange(samples) / RATE
    phase = torch.cumsum(2 * torch.pi * (120 + 30 * torch.sin(4.4 * time)) / RATE, 0)
    voiced = sum(torch.sin(k * phase) / k for k in range(1, 12)) * torch.sin(19 * time).clamp(min=0)
    speech = 0.15 * voiced + 0.003 * torch.randn(samples, generator=generator)
    return torch.randn(1, samples, generator=generator) * 0.1, speech[None]


def pcm_chunks(pcm: Tensor, frame_samples: int) -> list[dict[str, np.ndarray]]:
    """One sound f32[1, N] as steps of a frame."""
    return [{"pcm": frame[None]} for frame in pcm.reshape(-1, frame_samples).numpy()]


def code_chunks(codes: Tensor) -> list[dict[str, np.ndarray]]:
    """Codes i64[1, T, Q] as steps of an ordinary frame."""
    return [{"codes": frame[None], "kind": np.zeros(1, np.int64)} for frame in codes[0].numpy()]


def _answer(*modules: nn.Module) -> None:
    """Let what goes in matter for what comes out: the weights that torch begins with let a signal fade away."""
    for module in modules:
        for name, parameter in module.named_parameters():
            if ".lstm." in name:
                parameter.mul_(2)
            elif name.endswith("bias"):
                parameter.mul_(0.1)
            elif not name.endswith("weight_v"):
                parameter.mul_(1.7 + 0.2 * torch.rand_like(parameter))


def _words(latents: Tensor, count: int) -> Tensor:
    """Words about as far apart as what they stand for."""
    return latents.mean(0) + torch.randn(count, latents.shape[1]) * latents.std(0) * 0.5
