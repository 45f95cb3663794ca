"""Toy checkpoints with random weights in every format that the importer reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from models.careless_whisper.checkpoints import adapted_name, hugging_face_name
from models.careless_whisper.config import Dims
from models.careless_whisper.model import Whisper
from models.careless_whisper.tokenizer import RANK_SUFFIX, byte_letters, write_ranks

PIECES = (*(bytes([byte]) for byte in range(256)), b" t", b" -", "\u266a".encode()[:2], b"the")
# Two languages, eight special ids and the timestamps of OpenAI's models.
DIMS = Dims(16, 60, 32, 2, 2, len(PIECES) + 10 + 1501, 32, 32, 2, 2)
CFG = {"gran": 5, "rank": 8, "extra_gran_blocks": 2, "name": "toy"}


def random_model(rank: int = 0, dims: Dims = DIMS) -> Whisper:
    """Random weights of a spread that lets adapters matter."""
    generator = torch.Generator().manual_seed(3)
    model = Whisper(dims).eval()
    if rank:
        model.adapt(rank)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            spread = 0.02 if name.endswith("lora_b") else 0.2
            parameter.add_(torch.randn(parameter.shape, generator=generator) * spread)
    return model.requires_grad_(False)


def write_tokens(folder: Path) -> Path:
    """A rank file of `PIECES`."""
    path = folder / f"toy{RANK_SUFFIX}"
    write_ranks(path, {piece: rank for rank, piece in enumerate(PIECES)})
    return path


def openai_file(folder: Path, model: Whisper, **changed: Any) -> Path:
    """`changed`: other values of the file's dictionary."""
    path = folder / "toy-openai.pt"
    torch.save({"dims": asdict(model.dims), "model_state_dict": dict(model.state_dict()), **changed}, path)
    return path


def adapted_weights(model: Whisper, prefix: str = "") -> dict[str, Tensor]:
    """The weights of a model with adapters, as WhisperRT names them."""
    return {prefix + adapted_name(key): value for key, value in model.state_dict().items()}


def whisper_rt_file(folder: Path, model: Whisper, **changed: Any) -> Path:
    path = folder / "toy-rt.pt"
    torch.save({"dims": asdict(model.dims), "cfg": CFG, "state_dict": adapted_weights(model), **changed}, path)
    return path


def lightning_file(folder: Path, model: Whisper, **changed: Any) -> Path:
    """What its training writes: names with a prefix, no `cfg`."""
    path = folder / "toy-lightning.ckpt"
    weights = adapted_weights(model, "model.")
    torch.save({"dims": asdict(model.dims), "state_dict": weights, "epoch": 3, "hyper_parameters": {}, **changed}, path)
    return path


def config_of(dims: Dims) -> dict[str, Any]:
    return {
        "model_type": "whisper",
        "activation_function": "gelu",
        "scale_embedding": False,
        "num_mel_bins": dims.n_mels,
        "max_source_positions": dims.n_audio_ctx,
        "d_model": dims.n_audio_state,
        "encoder_attention_heads": dims.n_audio_head,
        "encoder_layers": dims.n_audio_layer,
        "encoder_ffn_dim": 4 * dims.n_audio_state,
        "vocab_size": dims.n_vocab,
        "max_target_positions": dims.n_text_ctx,
        "decoder_attention_heads": dims.n_text_head,
        "decoder_layers": dims.n_text_layer,
        "decoder_ffn_dim": 4 * dims.n_text_state,
    }


def hugging_face_weights(model: Whisper, prefix: str = "model.") -> dict[str, Tensor]:
    weights = {prefix + hugging_face_name(key): value.clone() for key, value in model.state_dict().items()}
    return weights | {"proj_out.weight": model.decoder.token_embedding.weight.clone()}


def hugging_face_folder(
    folder: Path, model: Whisper, shards: int = 1, weights: Mapping[str, Tensor] | None = None, **changed: Any
) -> Path:
    """`changed`: other values of the configuration."""
    target = folder / "Toy Whisper"
    target.mkdir()
    (target / "config.json").write_text(json.dumps({**config_of(model.dims), **changed}), encoding="utf-8")
    weights = hugging_face_weights(model) if weights is None else dict(weights)
    if shards == 1:
        save_file(weights, target / "model.safetensors")
        return target
    names = {key: f"model-{index % shards:05d}.safetensors" for index, key in enumerate(sorted(weights))}
    for name in set(names.values()):
        save_file({key: weights[key] for key, file in names.items() if file == name}, target / name)
    index = json.dumps({"metadata": {}, "weight_map": names})
    (target / "model.safetensors.index.json").write_text(index, encoding="utf-8")
    return target


def vocabulary_json() -> dict[str, int]:
    """`PIECES` as a byte-level tokenizer spells them, with the first special id."""
    spelled = {byte: letter for letter, byte in byte_letters().items()}
    pieces = {"".join(spelled[byte] for byte in piece): rank for rank, piece in enumerate(PIECES)}
    return {**pieces, "<|endoftext|>": len(PIECES)}
