"""What is installed is listed, shown and checked; damage is found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamer.bundle.manifest import manifest_schema
from tests.cli.conftest import streamer
from tests.toys import write_counter_asr


def test_list(toys: Path) -> None:
    """The table has a row per bundle, JSON an object."""
    assert "counter-asr" in streamer("bundle", "list", "--bundle-path", toys).stdout
    found = json.loads(streamer("bundle", "list", "--bundle-path", toys, "--json").stdout)
    assert {
        "name": "counter-asr",
        "version": "1.0.0",
        "folder": str(toys / "counter-asr"),
        "task": "transcribe",
        "languages": ["en"],
        "sample_rate": 16000,
        "description": "toy bundle counter-asr",
    } in found


def test_show(toys: Path) -> None:
    """The manifest for people, and as it is."""
    text = streamer("bundle", "show", "counter-asr", "--bundle-path", toys).stdout
    assert all(word in text for word in ("counter-asr@1.0.0", "16000 Hz", "unbounded", "token_ids=step.ids", "20 ms"))
    shown = json.loads(streamer("bundle", "show", "counter-asr", "--bundle-path", toys, "--json").stdout)
    assert shown["graphs"][0]["audio"]["hop_samples"] == 320


@pytest.mark.parametrize("by", ["name", "key", "folder"])
def test_check(toys: Path, by: str) -> None:
    """A sound bundle passes, however it is named."""
    name = {"name": "counter-asr", "key": "counter-asr@1.0.0", "folder": toys / "counter-asr"}[by]
    result = streamer("bundle", "check", name, "--bundle-path", toys, "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["bundle"], found["ok"]) == (0, "counter-asr@1.0.0", True)
    assert "starts forget the slot's past" in [check["name"] for check in found["checks"]]


def test_check_finds_damage(tmp_path: Path) -> None:
    """A file that changed after it was written fails the check, with status 1, as a table and as JSON."""
    folder = write_counter_asr(tmp_path)
    (folder / "tokens.txt").write_text("other\n")
    result = streamer("bundle", "check", folder)
    assert result.exit_code == 1
    assert "FAIL" in result.stdout
    found = json.loads(streamer("bundle", "check", folder, "--json").stdout)
    assert not found["ok"]
    assert "sha256 of tokens.txt: expected " in found["checks"][0]["detail"]


def test_damaged_bundle_is_listed_as_such(tmp_path: Path) -> None:
    """One damaged bundle hides no other and is not shown."""
    folder = write_counter_asr(tmp_path)
    (folder / "manifest.json").write_text("{}")
    found = json.loads(streamer("bundle", "list", "--bundle-path", tmp_path, "--json").stdout)
    [damaged] = [entry for entry in found if entry["name"] == "counter-asr"]
    assert "error" in damaged
    assert "damaged:" in streamer("bundle", "list", "--bundle-path", tmp_path).stdout
    assert streamer("bundle", "show", "counter-asr", "--bundle-path", tmp_path).exit_code == 1


def test_unknown(toys: Path) -> None:
    """A name that is not there is an error that lists those that are."""
    result = streamer("bundle", "check", "none", "--bundle-path", toys)
    assert result.exit_code == 1
    assert result.stderr.startswith("streamer: unknown bundle 'none', expected one of ")


def test_schema() -> None:
    """The schema is the published one."""
    assert streamer("bundle", "schema").stdout == manifest_schema()
