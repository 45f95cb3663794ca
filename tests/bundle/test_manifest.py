"""The manifest: cross-references, exact messages, and the published schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.bundle import manifest as module
from streamer.bundle.manifest import manifest_schema, parse_manifest, read_manifest
from streamer.errors import BundleError
from tests.toys import write_beams, write_counter_asr


@pytest.fixture
def counter(tmp_path: Path) -> dict[str, Any]:
    return json.loads((write_counter_asr(tmp_path) / "manifest.json").read_text())


def test_the_schema_is_up_to_date() -> None:
    """The published schema is what the classes generate."""
    assert Path(module.__file__).with_name("manifest.schema.json").read_text() == manifest_schema()


def test_reads_names_types_and_roles(tmp_path: Path) -> None:
    """Graphs, states and roles are found by name, and data types are numpy types."""
    manifest = read_manifest(write_counter_asr(tmp_path))
    assert manifest.graph("step").inputs[0].dtype == np.float32
    assert manifest.state("last").dtype == np.int64
    assert manifest.role("token_ids") == ("step", "ids")


@pytest.mark.parametrize("missing", ["graph", "state", "role"])
def test_an_unknown_name_is_a_key_error(tmp_path: Path, missing: str) -> None:
    """Graphs, states and roles that are not there raise KeyError."""
    with pytest.raises(KeyError):
        getattr(read_manifest(write_beams(tmp_path)), missing)("none")


def _repeat(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest[key].append(manifest[key][0])


PROBLEMS: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (_repeat("pools"), "pool stream is declared 2 times, expected once"),
    (_repeat("states"), "state total is declared 2 times, expected once"),
    (_repeat("graphs"), "graph step is declared 2 times, expected once"),
    (
        lambda manifest: manifest["states"][0].update(pool="beam"),
        "state total: expected a pool of ['stream'], got 'beam'",
    ),
    (
        lambda manifest: manifest["graphs"][0]["reads"].append("cache"),
        "graph step: expected a state of ['last', 'total'], got 'cache'",
    ),
    (
        lambda manifest: manifest["graphs"][0].update(reads=["total"]),
        "graph step: state last is written and must be listed in reads too",
    ),
    (lambda manifest: manifest["graphs"][0].update(pools=[]), "graph step: pools lacks ['stream']"),
    (lambda manifest: manifest["graphs"][0].update(groups=["search"]), "graph step: groups lacks ['encoder']"),
    (
        lambda manifest: manifest["graphs"][0].update(n_valid="count"),
        "graph step: expected an output of ['ids', 'logp'], got 'count'",
    ),
    (
        lambda manifest: manifest["graphs"][0]["audio"].update(input="audio"),
        "graph step: audio input 'audio' is not among its inputs",
    ),
    (
        lambda manifest: manifest.pop("sample_rate"),
        "graph step: consumes audio, so the manifest needs a sample_rate",
    ),
    (
        lambda manifest: manifest["task"]["assets"].update(tokens="words.txt"),
        "task asset tokens: expected a file of ['tokens.txt'], got 'words.txt'",
    ),
    (
        lambda manifest: manifest["task"]["roles"].update(pcm="step.audio"),
        "role pcm: expected graph.tensor, got 'step.audio', which no graph has",
    ),
    (
        lambda manifest: manifest.update(references=[{"graph": "stop", "file": "a.npz", "sha256": "0" * 64}]),
        "reference a.npz: unknown graph 'stop'",
    ),
]


@pytest.mark.parametrize(("change", "message"), PROBLEMS, ids=[message for _, message in PROBLEMS])
def test_a_wrong_cross_reference_is_named(
    counter: dict[str, Any], change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    """Every cross-reference that leads nowhere is an error that names it."""
    change(counter)
    with pytest.raises(BundleError) as caught:
        parse_manifest(json.dumps(counter), "toy")
    assert str(caught.value).startswith(f"bundle toy: manifest: Value error, {message}, got ")


def test_an_unknown_key_is_an_error(counter: dict[str, Any]) -> None:
    """A key that the format does not know is refused by name."""
    counter["graphs"][0]["optset"] = 17
    with pytest.raises(BundleError, match=r"^bundle toy: graphs\.0\.optset: Extra inputs are not permitted, got 17$"):
        parse_manifest(json.dumps(counter), "toy")


def test_a_file_name_is_not_a_path(counter: dict[str, Any]) -> None:
    """File names cannot lead out of the bundle's folder."""
    counter["graphs"][0]["file"] = "../step.onnx"
    with pytest.raises(BundleError, match=r"^bundle toy: graphs\.0\.file: String should match pattern"):
        parse_manifest(json.dumps(counter), "toy")


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    """A folder without manifest says so, without its path."""
    with pytest.raises(BundleError) as caught:
        read_manifest(tmp_path / "empty")
    assert str(caught.value) == "bundle empty: cannot read manifest.json: No such file or directory"
