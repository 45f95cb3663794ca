"""Reads checkpoints from files that nobody vouches for: tensors and plain data, never code.

- OpenAI: a `.pt` file of `dims` and `model_state_dict`.
- WhisperRT, formerly CarelessWhisper: a `.pt` file of `dims`, `cfg` and `state_dict`; its training output lacks `cfg`
  and puts `model.` before all names.
- Hugging Face: a folder of `config.json` and `model.safetensors`, whole or in shards, or `pytorch_model.bin`; or one
  such file beside its `config.json`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.careless_whisper.checkpoints import (
    HUGGING_FACE,
    HUGGING_FACE_TIED,
    OPENAI,
    WHISPER_RT,
    Checkpoint,
    Naming,
    adapted_name,
    fit,
    hugging_face_name,
    openai_name,
    prefixed,
    rank_of,
    read_chunking,
    read_dims,
)
from models.careless_whisper.config import Dims
from models.common.safe_files import (
    SAFETENSORS,
    CheckpointError,
    listed,
    load_safetensors,
    load_tensors,
    require_readable,
    weights_by_name,
)

CONFIG = "config.json"
RESAVED = "a dictionary of dims, cfg and state_dict"
"""What to make of a file that is trusted and holds more."""
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_INDEX = ".index.json"
_PREFIX = "model."
_CONFIG_SIZES = {
    "n_mels": "num_mel_bins",
    "n_audio_ctx": "max_source_positions",
    "n_audio_state": "d_model",
    "n_audio_head": "encoder_attention_heads",
    "n_audio_layer": "encoder_layers",
    "n_vocab": "vocab_size",
    "n_text_ctx": "max_target_positions",
    "n_text_state": "d_model",
    "n_text_head": "decoder_attention_heads",
    "n_text_layer": "decoder_layers",
}
# What a configuration may say otherwise and then is another model; the defaults are those of `transformers`.
_CONFIG_FACTS = {"model_type": "whisper", "activation_function": "gelu", "scale_embedding": False}


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a file or folder of any of the formats; raises `CheckpointError` saying all that is wrong with it."""
    if path.is_dir():
        return _of_folder(path)
    if path.suffix == SAFETENSORS or path.name.endswith(_INDEX):
        return _of_hugging_face(path)
    saved = load_tensors(path, RESAVED)
    if not isinstance(saved, Mapping):
        raise CheckpointError(f"{path.name}: expected a dictionary of dims and weights, got {type(saved).__name__}")
    if {"dims", "model_state_dict"} <= saved.keys():
        return _of_openai(path, saved)
    if {"dims", "state_dict"} <= saved.keys():
        return _of_whisper_rt(path, saved)
    if (path.parent / CONFIG).is_file() and path.suffix == ".bin":
        return _of_hugging_face(path)
    keys = ", ".join(sorted(str(key) for key in saved)[:8]) or "nothing"
    raise CheckpointError(
        f"{path.name}: expected dims with model_state_dict (OpenAI) or state_dict (WhisperRT), got {keys:.200}"
    )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raises `CheckpointError`."""
    require_readable(path)
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path.name}: expected JSON, got {error!s:.120}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path.name}: expected a JSON object, got {type(value).__name__}")
    return value


def _of_openai(path: Path, saved: Mapping[str, Any]) -> Checkpoint:
    dims, weights = read_dims(saved["dims"], path.name), weights_by_name(path, saved["model_state_dict"])
    return Checkpoint(OPENAI, dims, fit(path.name, weights, dims, 0, openai_name), 0, None, (path,))


def _of_whisper_rt(path: Path, saved: Mapping[str, Any]) -> Checkpoint:
    dims, weights = read_dims(saved["dims"], path.name), weights_by_name(path, saved["state_dict"])
    cfg = saved.get("cfg", saved.get("hyper_parameters", {}))
    if not isinstance(cfg, Mapping):
        raise CheckpointError(f"{path.name}: cfg: expected gran, rank and extra_gran_blocks, got {type(cfg).__name__}")
    is_adapted = any(".base_layer." in name or ".lora_layer." in name for name in weights)
    rank = rank_of(path.name, weights, cfg.get("rank")) if is_adapted else 0
    naming = _under_prefix(weights, adapted_name if is_adapted else openai_name)
    chunking = read_chunking(path.name, cfg, dims)
    return Checkpoint(WHISPER_RT, dims, fit(path.name, weights, dims, rank, naming), rank, chunking, (path,))


def _of_folder(folder: Path) -> Checkpoint:
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise CheckpointError(f"cannot read {folder}: {error.strerror}") from None
    there = [name for name in _WEIGHTS if name in names]
    if CONFIG not in names or not there:
        found = ", ".join(names) or "nothing"
        raise CheckpointError(f"{folder.name}: expected {CONFIG} and {_WEIGHTS[0]} (Hugging Face), got {found:.200}")
    return _of_hugging_face(folder / there[0])


def _of_hugging_face(path: Path) -> Checkpoint:
    """`path` is a file of weights, or the index of several, with its configuration beside it."""
    config = path.with_name(CONFIG)
    dims = _dims_of_config(read_json(config))
    files = _shards(path) if path.name.endswith(_INDEX) else (path,)
    weights: dict[str, Any] = {}
    for file in files:
        part = (
            load_safetensors(file) if file.suffix == SAFETENSORS else weights_by_name(file, load_tensors(file, RESAVED))
        )
        twice = sorted(part.keys() & weights.keys())
        if twice:
            raise CheckpointError(listed(f"{file.name}: parameters that another shard holds too", twice))
        weights |= part
    naming = _under_prefix(weights, hugging_face_name)
    fitted = fit(path.name, weights, dims, 0, naming, tied=HUGGING_FACE_TIED)
    return Checkpoint(HUGGING_FACE, dims, fitted, 0, None, (config, *files))


def _shards(index: Path) -> tuple[Path, ...]:
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise CheckpointError(f"{index.name}: weight_map: expected a file for each parameter")
    files = sorted(set(names.values()))
    outside = [name for name in files if Path(name).name != name or Path(name).suffix not in (SAFETENSORS, ".bin")]
    if outside:
        raise CheckpointError(f"{index.name}: weight_map: expected files beside it, got {outside[0]!r:.80}")
    return tuple(index.with_name(name) for name in files)


def _dims_of_config(config: Mapping[str, Any]) -> Dims:
    problems = [
        f"{key}: expected {value!r}, got {config[key]!r:.40}"
        for key, value in _CONFIG_FACTS.items()
        if config.get(key, value) != value
    ]
    problems += [f"{key} is missing" for key in dict.fromkeys(_CONFIG_SIZES.values()) if key not in config]
    width = config.get("d_model")
    for key in ("encoder_ffn_dim", "decoder_ffn_dim"):
        if isinstance(width, int) and config.get(key, 4 * width) != 4 * width:
            problems.append(f"{key}: expected {4 * width}, got {config[key]!r:.40}")
    if problems:
        raise CheckpointError(listed(f"{CONFIG} is not that of a Whisper model", problems))
    return read_dims({ours: config[theirs] for ours, theirs in _CONFIG_SIZES.items()}, CONFIG)


def _under_prefix(weights: Mapping[str, Any], naming: Naming) -> Naming:
    """Whether the file puts `model.` before its names is decided by most of them; the others are then not known."""
    share = sum(name.startswith(_PREFIX) for name in weights)
    return prefixed(naming, _PREFIX) if 2 * share > len(weights) else naming
