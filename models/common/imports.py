"""What every importer of foreign checkpoints does around its own work: names, a folder that is whole or not there."""

import argparse
import logging
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from models.common.bundle_writer import sha256
from models.common.safe_files import SAFETENSORS, CheckpointError
from streamer.bundle.manifest import MANIFEST_NAME
from streamer.engine.check import check_bundle
from streamer.errors import BundleError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_VERSION = re.compile(r"\d+\.\d+\.\d+")
# They remark on packages and attributes that no model here has.
_TRACERS = ("torch.onnx", "onnx_ir", "onnxscript")


def run_import(import_checkpoint: Callable[[argparse.Namespace], None], settings: argparse.Namespace) -> int:
    """Import by `settings` (`threads`, `out` and what the importer wants); the status of the process.

    That is 1, after one message on standard error, for what is wrong with a file or a setting.
    """
    torch.set_num_threads(settings.threads)
    for logger in _TRACERS:
        logging.getLogger(logger).setLevel(logging.ERROR)
    try:
        import_checkpoint(settings)
    except (CheckpointError, BundleError, ValueError) as error:
        print(f"import_checkpoint: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"import_checkpoint: cannot write {error.filename or settings.out}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def require_names(name: str, version: str) -> None:
    """Raise `CheckpointError` for a name or version that a manifest would refuse."""
    for key, value, form in (("name", name, _NAME), ("version", version, _VERSION)):
        if not form.fullmatch(value):
            raise CheckpointError(f"--{key}: expected the form {form.pattern}, got {value!r:.60}")


def name_of(path: Path, default: str) -> str:
    """A bundle's name by that of the checkpoint's file, or of the folder of a `.safetensors` file."""
    stem = path.absolute().name if path.is_dir() else path.stem
    if path.suffix == SAFETENSORS:
        stem = path.absolute().parent.name
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._") or default


def file_rows(files: tuple[Path, ...]) -> list[str]:
    """Rows of a card's table of the files that a bundle was made of."""
    rows = [f"| {path.name} | {path.stat().st_size} | {sha256(path)} |" for path in files]
    return ["| file | bytes | sha256 |", "|---|---|---|", *rows]


@contextmanager
def new_folder(target: Path, force: bool) -> Iterator[Path]:
    """A folder beside `target`, which becomes it if all goes well and is gone if not.

    With `force`, a bundle that is there is replaced. Raises `CheckpointError` if anything else is there.
    """
    target = target.absolute()
    if target.exists() and not force:
        raise CheckpointError(f"expected a new folder, got {target}, which exists; --force replaces a bundle")
    if target.exists() and not (target / MANIFEST_NAME).is_file():
        raise CheckpointError(f"--force: expected a bundle, got {target}, which is none")
    above = next(parent for parent in target.parents if parent.exists())
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=above))
    try:
        yield partial
        partial.chmod(0o755)
        target.parent.mkdir(parents=True, exist_ok=True)
        _take_place(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def require_sound(folder: Path, but_for: Collection[str] = ()) -> None:
    """Raise `BundleError` if `streamer bundle check` would find anything wrong, `but_for` the checks of those names."""
    failed = [check for check in check_bundle(folder).checks if not check.ok and check.name not in but_for]
    if failed:
        raise BundleError(f"the imported bundle fails a check: {failed[0].name}: {failed[0].detail}")


def _take_place(partial: Path, target: Path) -> None:
    """Rename; what was there goes only once the new one is in its place."""
    if not target.exists():
        partial.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    target.rename(old / target.name)
    try:
        partial.rename(target)
    except OSError:
        (old / target.name).rename(target)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
