"""The wheel holds the server, its default bundles and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_has_one_top_level_package(names: set[str]) -> None:
    """Only `streamer` is installed, beside its metadata."""
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"streamer"}


def test_the_wheel_ships_every_default_bundle(names: set[str]) -> None:
    """Every file of every bundle in the checkout is in the wheel."""
    bundles = ROOT / "streamer" / "bundles"
    files = {str(path.relative_to(ROOT)) for path in bundles.rglob("*") if path.is_file()}
    assert any(name.endswith("manifest.json") for name in files)
    assert files <= names


def test_the_wheel_ships_the_page(names: set[str]) -> None:
    """Every file of the browser page is in the wheel."""
    page = ROOT / "streamer" / "gateway" / "page" / "static"
    files = {str(path.relative_to(ROOT)) for path in page.iterdir()}
    assert any(name.endswith("index.html") for name in files)
    assert files <= names


def test_the_wheel_is_typed_and_has_its_schema(names: set[str]) -> None:
    """Type checkers see our annotations; the manifest's schema is published."""
    assert {"streamer/py.typed", "streamer/bundle/manifest.schema.json", "streamer/v1/speech_pb2.pyi"} <= names


def test_the_default_bundles_stay_small() -> None:
    """Together at most 80 MB; one recogniser at most 30 MB."""
    sizes = {
        folder.name: sum(path.stat().st_size for path in folder.iterdir())
        for folder in (ROOT / "streamer" / "bundles").iterdir()
        if folder.is_dir()
    }
    assert sum(sizes.values()) <= 80e6
    assert sizes["asr-en"] <= 30e6
