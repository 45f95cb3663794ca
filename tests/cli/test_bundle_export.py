"""`streamer bundle export` writes the files of another program, or says why not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from streamer.bundle.manifest import read_manifest
from streamer.bundle.registry import SHIPPED_BUNDLES
from tests.cli.conftest import streamer

SHIPPED = SHIPPED_BUNDLES / "asr-en"


@pytest.mark.skipif("encoded" not in read_manifest(SHIPPED).task.roles, reason="the shipped asr-en cannot be exported")
@pytest.mark.parametrize("name", ["asr-en", str(SHIPPED)])
def test_sherpa(tmp_path: Path, name: str) -> None:
    """The shipped recogniser, by name or folder, becomes four files, which are listed."""
    found = streamer("bundle", "export", "sherpa", name, "--out", tmp_path / "new" / "asr-en")
    assert found.exit_code == 0
    assert found.stdout.split() == [
        str(tmp_path / "new" / "asr-en" / file)
        for file in ("decoder.onnx", "encoder.onnx", "joiner.onnx", "tokens.txt")
    ]
    assert all(Path(file).is_file() for file in found.stdout.split())


def test_a_bundle_that_cannot_be_exported(toys: Path, tmp_path: Path) -> None:
    """One line says what it lacks; status 1, and nothing is written."""
    found = streamer("bundle", "export", "sherpa", "counter-asr", "--out", tmp_path / "out", "--bundle-path", toys)
    assert found.exit_code == 1
    assert found.stderr.startswith(
        "streamer: bundle counter-asr: cannot be exported to sherpa-onnx: lacks role encoded"
    )
    assert not (tmp_path / "out").exists()


def test_without_onnx(toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server without the package `onnx` says which extra to install."""
    for module in [name for name in sys.modules if name.startswith("streamer.bundle.sherpa.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "onnx", None)
    found = streamer("bundle", "export", "sherpa", "counter-asr", "--out", tmp_path / "out", "--bundle-path", toys)
    assert found.exit_code == 1
    assert found.stderr == (
        "streamer: onnx is not installed, expected the extra convert: pip install 'streamer-speech[convert]'\n"
    )
