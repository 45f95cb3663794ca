"""What the yaml file of a checkpoint says, read without making anything of its tags.

Those files are HyperPyYAML: loading them makes objects and calls functions by name. Here they are only parsed into
nodes, of which plain scalars are read; tags are looked at to be refused or ignored, and nothing is made.
"""

from dataclasses import dataclass
from pathlib import Path

import yaml

from models.common.safe_files import CheckpointError, listed, require_readable
from models.flow_tts.cosyvoice.config import CHUNK, GUIDANCE, RATE, TOKEN_FRAMES

_MOST_BYTES = 1 << 20
_PYTHON = "tag:yaml.org,2002:python/"
# A formula over other keys, which say what they are where they stand.
_REFERENCE = "!ref"
# By the last part of a key: what is fixed here.
_FIXED: dict[str, float] = {
    "sample_rate": RATE,
    "token_frame_rate": RATE // 480 // TOKEN_FRAMES,
    "token_mel_ratio": TOKEN_FRAMES,
    "inference_cfg_rate": GUIDANCE,
}
# As the two versions call it.
_HEAD_WIDTHS = tuple(f"flow.decoder.estimator.{name}" for name in ("attention_head_dim", "dim_head"))
# Of other parts: features of training, and the rate of prompts for the tokeniser.
_WHERE = {"sample_rate": ("sample_rate",)}


@dataclass(frozen=True)
class Sampling:
    """How the next speech token is drawn: of the likeliest `top_k` that make up `top_p`.

    If it was drawn at least `tau_r * win_size` times among the last `win_size`, another is, of all.
    """

    top_p: float = 0.8
    top_k: int = 25
    win_size: int = 10
    tau_r: float = 0.1


@dataclass(frozen=True)
class Settings:
    """What is not told by tensors: tokens of a chunk, the width of a head of the estimator's, and sampling."""

    chunk: int = CHUNK
    head_width: int = 64
    sampling: Sampling = Sampling()


def read_settings(path: Path) -> Settings:
    """Read a yaml file; raises `CheckpointError` where it cannot be, or says what cannot be done here."""
    found = scalars(path)
    problems = [
        f"{key}: expected {expected:g}, got {value!s:.40}"
        for key, value in found.items()
        if (expected := _fixed(key)) is not None and value != expected
    ]
    if problems:
        raise CheckpointError(listed(f"{path.name}: expected what this importer can do", problems))
    usual = Settings()
    chunk = _whole(path, found, "chunk_size", usual.chunk, 1000)
    head = next((key for key in _HEAD_WIDTHS if key in found), _HEAD_WIDTHS[0])
    head_width = _whole(path, found, head, usual.head_width, 1024)
    names = {name: f"llm.sampling.{name}" for name in ("top_p", "top_k", "win_size", "tau_r")}
    sampling = Sampling(
        top_p=_share(path, found, names["top_p"], usual.sampling.top_p),
        top_k=_whole(path, found, names["top_k"], usual.sampling.top_k, 10_000),
        win_size=_whole(path, found, names["win_size"], usual.sampling.win_size, 10_000),
        tau_r=_share(path, found, names["tau_r"], usual.sampling.tau_r),
    )
    return Settings(chunk, head_width, sampling)


def scalars(path: Path) -> dict[str, float | str]:
    """All scalars of a yaml file but references, by keys joined by dots; raises `CheckpointError`, makes no objects."""
    require_readable(path)
    data = path.read_bytes()
    if len(data) > _MOST_BYTES:
        raise CheckpointError(f"{path.name}: expected at most {_MOST_BYTES} bytes, got {len(data)}")
    try:
        root = yaml.compose(data.decode("utf-8"), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path.name}: expected yaml, got a file that is none: {reason:.120}") from None
    return _walk(path, root)


def _walk(path: Path, root: yaml.Node | None) -> dict[str, float | str]:
    """Every node once, however often it is referred to."""
    found: dict[str, float | str] = {}
    todo, seen = [("", root)] if root is not None else [], set()
    while todo:
        key, node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.tag.startswith(_PYTHON):
            raise CheckpointError(
                f"{path.name}: expected plain data, got the tag {node.tag!r:.80}, which makes objects"
            )
        prefix = f"{key}." if key else ""
        if node.tag == _REFERENCE:
            continue
        if isinstance(node, yaml.ScalarNode):
            found[key] = _value(node)
        elif isinstance(node, yaml.MappingNode):
            todo += [(f"{prefix}{name.value!s}", value) for name, value in node.value if _is_plain(path, name)]
        else:
            todo += [(f"{prefix}{index}", value) for index, value in enumerate(node.value)]
    return found


def _is_plain(path: Path, name: yaml.Node) -> bool:
    if name.tag.startswith(_PYTHON):
        raise CheckpointError(f"{path.name}: expected plain data, got the tag {name.tag!r:.80}, which makes objects")
    return isinstance(name, yaml.ScalarNode)


def _value(node: yaml.ScalarNode) -> float | str:
    try:
        number = float(node.value)
    except ValueError:
        return str(node.value)
    return int(number) if number.is_integer() else number


def _fixed(key: str) -> float | None:
    name = key.rpartition(".")[2]
    return _FIXED.get(name) if key in _WHERE.get(name, (key,)) else None


def _whole(path: Path, found: dict[str, float | str], key: str, usual: int, most: int) -> int:
    value = found.get(key, usual)
    if not isinstance(value, int) or not 1 <= value <= most:
        raise CheckpointError(f"{path.name}: {key}: expected 1 to {most}, got {value!s:.40}")
    return value


def _share(path: Path, found: dict[str, float | str], key: str, usual: float) -> float:
    value = found.get(key, usual)
    if isinstance(value, str) or not 0 < value <= 1:
        raise CheckpointError(f"{path.name}: {key}: expected more than 0 and at most 1, got {value!s:.40}")
    return float(value)
