"""The files of a sherpa-onnx model: which ones a folder holds, what is in them, and what their metadata says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from streamer.bundle.sherpa.ancestry import all_nodes
from streamer.errors import BundleError

TOKENS = "tokens.txt"
# Parts of a model by how their files are called; any other file is a model of one part.
PARTS = ("encoder", "decoder", "joiner")
WHOLE = "model"
_REDUCED = re.compile(r"int8|uint8|fp16|float16")


@dataclass(frozen=True, slots=True)
class Metadata:
    """The custom metadata of one file; every accessor raises `BundleError` naming the file and the key."""

    file: str
    values: Mapping[str, str]

    def text(self, key: str) -> str:
        """Return the value of `key`."""
        if key not in self.values:
            raise BundleError(f"{self.file}: metadata lacks {key}")
        return self.values[key]

    def integer(self, key: str, least: int = 0) -> int:
        """Return the value of `key`, an integer of at least `least`."""
        value = self.text(key)
        if not re.fullmatch(r"-?\d{1,9}", value.strip()) or int(value) < least:
            raise BundleError(f"{self.file}: metadata {key}: expected an integer from {least}, got {value!r:.60}")
        return int(value)

    def integers(self, key: str, least: int = 0, count: int | None = None) -> tuple[int, ...]:
        """Return the value of `key`: integers of at least `least`, separated by commas, `count` of them if given."""
        fields = self.text(key).split(",")
        if not all(re.fullmatch(r"\s*\d{1,9}\s*", field) for field in fields) or min(map(int, fields)) < least:
            got = self.values[key]
            raise BundleError(f"{self.file}: metadata {key}: expected integers from {least}, got {got!r:.60}")
        if count is not None and len(fields) != count:
            raise BundleError(f"{self.file}: metadata {key}: expected {count} integers, got {len(fields)}")
        return tuple(map(int, fields))


@dataclass(frozen=True, slots=True)
class Model:
    """One ONNX file in memory, its external data included."""

    path: Path
    proto: onnx.ModelProto
    metadata: Metadata

    @property
    def file(self) -> str:
        """The name of the file, for messages."""
        return self.path.name

    @property
    def inputs(self) -> tuple[onnx.ValueInfoProto, ...]:
        """What the model takes, in order; initializers, which old files list too, are left out."""
        weights = {tensor.name for tensor in self.proto.graph.initializer}
        return tuple(value for value in self.proto.graph.input if value.name not in weights)

    @property
    def outputs(self) -> tuple[onnx.ValueInfoProto, ...]:
        """What the model returns, in order."""
        return tuple(self.proto.graph.output)

    @property
    def is_batch_quantised(self) -> bool:
        """Whether the model quantises activations while it runs, with one scale for all rows of a batch.

        A row would then depend on its neighbours, so such a model must run one stream at a time.
        """
        nodes = [*self.proto.graph.node, *(node for function in self.proto.functions for node in function.node)]
        return any("DynamicQuantize" in node.op_type for node in all_nodes(nodes))


@dataclass(frozen=True, slots=True)
class Source:
    """A model to import: `models` by part (`encoder`, `decoder`, `joiner`, or `model` alone).

    `pieces[i]` is the piece of token i, None where `tokens.txt` lists no such id.
    """

    models: Mapping[str, Model]
    tokens: Path
    pieces: Sequence[str | None]

    def token(self, *names: str) -> int | None:
        """Return the id of the first of the pieces `names` that there is."""
        return next((self.pieces.index(name) for name in names if name in self.pieces), None)

    def check_vocabulary(self, size: int) -> None:
        """Check that `tokens.txt` lists the ids 0 to `size` - 1; more may be there if they are symbols like `#0`.

        Raises `BundleError`.
        """
        missing = [token for token in range(size) if token >= len(self.pieces) or self.pieces[token] is None]
        if missing:
            raise BundleError(f"{self.tokens.name}: expected the {size} ids of the model, lacks {missing[0]}")
        extra = [piece for piece in self.pieces[size:] if piece is not None and not piece.startswith("#")]
        if extra:
            raise BundleError(f"{self.tokens.name}: expected the {size} ids of the model, got {extra[0]!r} beyond them")


def find_files(folder: Path, prefer_int8: bool = False) -> dict[str, Path]:
    """Return the ONNX files of `folder` by part.

    Of several variants of a part, one that is not of reduced precision is taken, or the int8 one if `prefer_int8`.
    Raises `BundleError` if parts are missing or several files remain for one.
    """
    if not folder.is_dir():
        raise BundleError(f"expected a folder, got {folder.name!r}")
    by_part: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.onnx")):
        part = next((part for part in PARTS if part in path.name.lower()), WHOLE)
        by_part.setdefault(part, []).append(path)
    if not by_part:
        raise BundleError(f"{folder.name}: expected ONNX files, got none")
    if not (folder / TOKENS).is_file():
        raise BundleError(f"{folder.name}: expected {TOKENS}, which is missing")
    if by_part.keys() & set(PARTS):
        # A file beside them, such as a voice activity detector, is none of the model's.
        by_part.pop(WHOLE, None)
        for part in PARTS[:2]:
            if part not in by_part:
                raise BundleError(f"{folder.name}: expected a file {part}*.onnx, which is missing")
    return {part: _choose(part, paths, prefer_int8) for part, paths in by_part.items()}


def _choose(part: str, paths: list[Path], prefer_int8: bool) -> Path:
    full = [path for path in paths if not _REDUCED.search(path.name.lower())]
    small = [path for path in paths if "int8" in path.name.lower()]
    preferred = (small or full or paths) if prefer_int8 else (full or paths)
    if len(preferred) > 1:
        names = ", ".join(path.name for path in preferred)
        raise BundleError(f"expected one file for the {part}, got {len(preferred)}: {names}")
    return preferred[0]


def read_model(path: Path) -> Model:
    """Read one ONNX file with its external data; raises `BundleError` if it is none."""
    try:
        proto = onnx.load(path)
        onnx.checker.check_model(proto)
    except Exception as error:  # protobuf, the checker and external data each raise their own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].replace(f"{path.parent}/", "")
        raise BundleError(f"{path.name}: cannot be read as ONNX: {reason:.200}") from None
    values = {entry.key: entry.value for entry in proto.metadata_props}
    return Model(path, proto, Metadata(path.name, values))
