"""Ways a bundle on disk can be wrong; each function damages the counter's bundle in place."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.toys.bundle import edit_manifest


def wrong_hash(folder: Path) -> None:
    (folder / "tokens.txt").write_bytes(b"<blk> 0\n")


def missing_file(folder: Path) -> None:
    (folder / "step.onnx").unlink()


def missing_input(folder: Path) -> None:
    _rename(folder, "inputs", "audio_in")
    edit_manifest(folder, lambda manifest: manifest["graphs"][0].pop("audio"))
    edit_manifest(folder, lambda manifest: manifest["task"]["roles"].pop("pcm"))


def missing_output(folder: Path) -> None:
    _rename(folder, "outputs", "tokens")
    edit_manifest(folder, lambda manifest: manifest["task"]["roles"].pop("token_ids"))


def undeclared_output(folder: Path) -> None:
    edit_manifest(folder, lambda manifest: manifest["graphs"][0]["outputs"].pop(1))
    edit_manifest(folder, lambda manifest: manifest["task"]["roles"].pop("token_logp"))


def wrong_shape(folder: Path) -> None:
    edit_manifest(folder, lambda manifest: manifest["graphs"][0]["inputs"][0].update(dims=[160]))


def wrong_rank(folder: Path) -> None:
    edit_manifest(folder, lambda manifest: manifest["graphs"][0]["inputs"][0].update(dims=[320, 1]))


def wrong_type(folder: Path) -> None:
    edit_manifest(folder, lambda manifest: manifest["graphs"][0]["outputs"][0].update(data_type="TYPE_INT32"))


def wrong_state_shape(folder: Path) -> None:
    edit_manifest(folder, lambda manifest: manifest["states"][0].update(dims=[2]))


def not_onnx(folder: Path) -> None:
    (folder / "step.onnx").write_bytes(b"no graph")
    digest = hashlib.sha256(b"no graph").hexdigest()
    edit_manifest(folder, lambda manifest: manifest["graphs"][0].update(sha256=digest))


def _rename(folder: Path, kind: str, name: str) -> None:
    edit_manifest(folder, lambda manifest: manifest["graphs"][0][kind][0].update(name=name))
