"""What a checkpoint of a Whisper model must hold, and how each format names it; nothing is loaded that does not fit.

Formats: OpenAI's, Hugging Face's, and that of WhisperRT (formerly CarelessWhisper), in which every projection of an
attention is a `base_layer` with a `lora_layer` beside it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.careless_whisper.config import Chunking, Dims
from models.careless_whisper.model import Whisper
from models.common.safe_files import CheckpointError, listed, parameter_problems

OPENAI, HUGGING_FACE, WHISPER_RT = "OpenAI", "Hugging Face", "WhisperRT"
MOST_LAYERS = 256
LARGEST_SIZE = 1 << 20
# Bundles keep matrices in half precision.
_LARGEST_WEIGHT = torch.finfo(torch.float16).max
# Not `attn_ln`, which is a norm and has no adapter.
_PROJECTION = re.compile(r"(\.(?:attn|cross_attn)\.(?:query|key|value|out))\.(weight|bias|lora_a|lora_b)$")
_LORA = {"lora_a": "lora_layer.lora_A", "lora_b": "lora_layer.lora_B"}
_HF_PARTS = (
    (".positional_embedding", ".embed_positions.weight"),
    (".token_embedding.", ".embed_tokens."),
    (".blocks.", ".layers."),
    (".cross_attn.", ".encoder_attn."),
    (".attn.", ".self_attn."),
    (".cross_attn_ln.", ".encoder_attn_layer_norm."),
    (".attn_ln.", ".self_attn_layer_norm."),
    (".mlp_ln.", ".final_layer_norm."),
    (".mlp.0.", ".fc1."),
    (".mlp.2.", ".fc2."),
    (".query.", ".q_proj."),
    (".key.", ".k_proj."),
    (".value.", ".v_proj."),
    (".out.", ".out_proj."),
    (".ln_post.", ".layer_norm."),
    (".ln.", ".layer_norm."),
)
HUGGING_FACE_TIED = {"proj_out.weight": "decoder.token_embedding.weight"}

Naming = Callable[[str], str]
"""Our name of a parameter, which is OpenAI's, to that of a file."""


@dataclass(frozen=True)
class Checkpoint:
    """A checked checkpoint: `weights` have our names, and shapes that fit `dims` and `rank` (0: no adapters).

    `chunking` is what its adapters were trained for, where it says so; `files` are those that it was read from.
    """

    format: str
    dims: Dims
    weights: Mapping[str, Tensor]
    rank: int
    chunking: Chunking | None
    files: tuple[Path, ...]

    def model(self, adapted: bool = True) -> Whisper:
        """A model of its own in float32, with its adapters beside the weights, or without them."""
        rank = self.rank if adapted else 0
        model = template(self.dims, rank)
        model.load_state_dict(
            {key: self.weights[key].to(torch.float32, copy=True) for key in model.state_dict()}, assign=True
        )
        return model.eval()


def template(dims: Dims, rank: int = 0) -> Whisper:
    """The model of `dims` without memory: names and shapes alone."""
    with torch.device("meta"):
        model = Whisper(dims)
        if rank:
            model.adapt(rank)
    return model


def openai_name(key: str) -> str:
    """OpenAI's name of a parameter: ours."""
    return key


def adapted_name(key: str) -> str:
    """WhisperRT's name of a parameter."""

    def renamed(match: re.Match[str]) -> str:
        return f"{match[1]}.{_LORA.get(match[2], f'base_layer.{match[2]}')}"

    return _PROJECTION.sub(renamed, key)


def hugging_face_name(key: str) -> str:
    """Hugging Face's name of a parameter, without the `model.` of the whole model."""
    for ours, theirs in _HF_PARTS:
        key = key.replace(ours, theirs)
    return key


def prefixed(naming: Naming, prefix: str) -> Naming:
    """The names of `naming` with `prefix` before them."""
    return lambda key: prefix + naming(key)


def read_dims(stated: Any, where: str) -> Dims:
    """The ten sizes that a file states; raises `CheckpointError` with all that is wrong with them."""
    names = [field.name for field in fields(Dims)]
    if not isinstance(stated, Mapping):
        raise CheckpointError(f"{where}: dims: expected {', '.join(names)}, got {type(stated).__name__}")
    problems = [f"dims lack {name}" for name in names if name not in stated]
    problems += [f"dims hold {key!r:.40}, which is unknown" for key in stated if key not in names]
    problems += [
        _size_problem(name, stated[name]) for name in names if name in stated and not _is_size(name, stated[name])
    ]
    if not problems:
        dims = Dims(**stated)
        problems += _shape_problems(dims)
    if problems:
        raise CheckpointError(listed(f"{where}: its sizes are not those of a Whisper model", problems))
    return dims


def fit(
    where: str, found: Mapping[str, Any], dims: Dims, rank: int, naming: Naming, tied: Mapping[str, str] | None = None
) -> dict[str, Tensor]:
    """Rename the weights of a file to ours; raises `CheckpointError` that lists all that is missing, unknown or wrong.

    `tied`: names of a file that may be there, and ours which they must equal.
    """
    shapes = {key: value.shape for key, value in template(dims, rank).state_dict().items()}
    theirs = {key: naming(key) for key in shapes}
    expected = {theirs[key]: shape for key, shape in shapes.items()}
    problems = parameter_problems(found, expected, _LARGEST_WEIGHT, known=tied or ())
    if not problems:
        problems += [
            f"{name}: expected the values of {theirs[key]}"
            for name, key in (tied or {}).items()
            if name in found and not _same(found[name], found[theirs[key]])
        ]
    if problems:
        raise CheckpointError(listed(f"{where}: {len(problems)} of its parameters do not fit its sizes", problems))
    return {key: found[name] for key, name in theirs.items()}


def rank_of(where: str, found: Mapping[str, Any], stated: Any) -> int:
    """Rank of the adapters in a WhisperRT file, 0 if there are none; raises `CheckpointError` if it is not `stated`."""
    ranks = {
        value.shape[1]
        for name, value in found.items()
        if name.endswith(".lora_layer.lora_A") and isinstance(value, Tensor) and value.dim() == 2
    }
    rank = min(ranks, default=0)
    if rank == 0 and ranks:
        raise CheckpointError(f"{where}: expected adapters of a rank from 1 on, got 0")
    if stated is not None and stated != rank:
        raise CheckpointError(f"{where}: expected adapters of rank {stated!r:.20}, as its cfg says, got {rank}")
    return rank


def read_chunking(where: str, cfg: Mapping[str, Any], dims: Dims) -> Chunking | None:
    """How the encoder was cut in training, None if `cfg` does not say; raises `CheckpointError` if it is senseless."""
    if "gran" not in cfg:
        return None
    gran, extra = cfg["gran"], cfg.get("extra_gran_blocks", 0)
    for name, value, least in (("gran", gran, 1), ("extra_gran_blocks", extra, 0)):
        if type(value) is not int or value < least:
            raise CheckpointError(f"{where}: cfg {name}: expected an integer from {least} on, got {value!r:.40}")
    chunking = Chunking(gran, extra)
    if chunking.first > dims.n_audio_ctx:
        raise CheckpointError(f"{where}: first block: expected at most {dims.n_audio_ctx} frames, got {chunking.first}")
    return chunking


def _is_size(name: str, value: Any) -> bool:
    return type(value) is int and 1 <= value <= (MOST_LAYERS if name.endswith("_layer") else LARGEST_SIZE)


def _size_problem(name: str, value: Any) -> str:
    largest = MOST_LAYERS if name.endswith("_layer") else LARGEST_SIZE
    return f"{name}: expected an integer from 1 to {largest}, got {value!r:.40}"


def _shape_problems(dims: Dims) -> Iterator[str]:
    if dims.n_audio_state != dims.n_text_state:
        yield f"n_text_state: expected that of the encoder, {dims.n_audio_state}, got {dims.n_text_state}"
    for side in ("audio", "text"):
        width, heads = getattr(dims, f"n_{side}_state"), getattr(dims, f"n_{side}_head")
        if width % heads or width % 2 or width < 4:
            yield f"n_{side}_state: expected an even multiple of {heads} heads, got {width}"


def _same(one: Any, other: Tensor) -> bool:
    return isinstance(one, Tensor) and one.shape == other.shape and torch.equal(one.float(), other.float())
