"""Which files a command line means, and where what is made of them goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from streamer.errors import InvalidRequest

EXTENSIONS = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".webm", ".mka", ".mkv", ".m4a", ".mp4"})
STDIN = "-"
_MAGIC = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Input:
    """A file to work on. `path` None is standard input. `mirror` is its place below an output folder."""

    path: Path | None
    mirror: PurePath

    @property
    def name(self) -> str:
        """What messages and results call it."""
        return STDIN if self.path is None else str(self.path)


def find_inputs(arguments: Iterable[str], extensions: frozenset[str] = EXTENSIONS, noun: str = "audio") -> list[Input]:
    """Expand files, folders (recursively, by `extensions`), patterns and `-`, each file once.

    A named file that is not there stays in the list, to fail on its own. Raises `InvalidRequest` if there is nothing.
    """
    arguments = list(arguments)
    found: dict[Path | None, Input] = {}
    for argument in arguments:
        for item in _expand(argument, extensions):
            found.setdefault(item.path.resolve() if item.path else None, item)
    if not found:
        raise InvalidRequest(f"no {noun} in {', '.join(arguments)}, expected {_listed(extensions)}")
    return list(found.values())


def output_paths(inputs: Iterable[Input], folder: Path, suffix: str, overwrite: bool) -> dict[Input, Path]:
    """Say which file in `folder` each input is written to.

    Inputs that differ only in their extension keep it (`talk.wav.srt`, `talk.mp3.srt`). Raises `InvalidRequest` when
    two would still meet, and when a file is there already unless `overwrite`.
    """
    inputs = list(inputs)
    short = [item.mirror.with_suffix(suffix) for item in inputs]
    paths: dict[Input, Path] = {}
    taken: dict[PurePath, Input] = {}
    for item, wanted in zip(inputs, short, strict=True):
        if short.count(wanted) > 1:
            wanted = item.mirror.with_name(item.mirror.name + suffix)
        if wanted in taken:
            raise InvalidRequest(f"{taken[wanted].name} and {item.name} would both be written to {folder / wanted}")
        if not overwrite and (folder / wanted).exists():
            raise InvalidRequest(f"{folder / wanted} exists, --overwrite replaces it")
        taken[wanted] = item
        paths[item] = folder / wanted
    return paths


def _expand(argument: str, extensions: frozenset[str]) -> Iterator[Input]:
    path = Path(argument)
    if argument == STDIN:
        yield Input(None, PurePath("stdin"))
    elif path.is_dir():
        yield from _folder(path, path, extensions)
    elif path.exists() or not _MAGIC & set(argument):
        yield Input(path, PurePath(path.name))
    else:
        yield from _pattern(path, extensions)


def _folder(folder: Path, root: Path, extensions: frozenset[str]) -> Iterator[Input]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in extensions and path.is_file():
            yield Input(path, path.relative_to(root))


def _pattern(pattern: Path, extensions: frozenset[str]) -> Iterator[Input]:
    """Expand a pattern that no shell has expanded; files mirror their place below its fixed part."""
    fixed = Path(*_fixed_parts(pattern))
    for path in sorted(fixed.glob(str(pattern.relative_to(fixed)))):
        if path.is_dir():
            yield from _folder(path, fixed, extensions)
        else:
            yield Input(path, path.relative_to(fixed))


def _fixed_parts(pattern: Path) -> Iterator[str]:
    for part in pattern.parts:
        if _MAGIC & set(part):
            return
        yield part


def _listed(extensions: frozenset[str]) -> str:
    return " ".join(sorted(extension[1:] for extension in extensions))
