"""Keys are shown once, and what is printed lets them in."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamer.cli.main import app
from streamer.config import KeySection, load_settings
from streamer.gateway.keys import KeyRing, digest, read_keys


def new(*arguments: str) -> tuple[str, str]:
    """The key, and the lines for the settings."""
    result = CliRunner().invoke(app, ["keys", "new", *arguments])
    assert result.exit_code == 0, result.stderr
    shown = re.fullmatch(r"key of \S+, shown this once: (streamer_[\w-]{43})\n", result.stderr)
    assert shown
    return shown[1], result.stdout


def test_the_lines_are_settings(tmp_path: Path) -> None:
    """What is printed for the settings file lets in exactly this key, with the limits that were asked for."""
    options = ("--max-streams", "3", "--expires", "2031-02-03", "--admin", "--audio-s-per-minute", "90.5")
    key, lines = new("ada", *options)
    (tmp_path / "streamer.toml").write_text(lines)
    (section,) = load_settings(tmp_path / "streamer.toml", {}).access.keys
    assert section == KeySection(
        name="ada",
        hash=digest(key),
        max_streams=3,
        audio_s_per_minute=90.5,
        expires=datetime(2031, 2, 3, tzinfo=UTC),
        admin=True,
    )


def test_the_lines_are_a_keys_file(tmp_path: Path) -> None:
    """Lines of several keys make a keys file; each key finds itself."""
    (ada, ada_lines), (bob, bob_lines) = new("ada", "--table", "keys"), new("bob", "--table", "keys")
    (tmp_path / "keys.toml").write_text(ada_lines + bob_lines)
    ring = KeyRing(read_keys(tmp_path / "keys.toml"))
    assert [ring.find(key).name for key in (ada, bob)] == ["ada", "bob"]  # type: ignore[union-attr]


def test_the_key_is_in_no_line() -> None:
    """The lines hold a digest only, and no two keys are the same."""
    (first, lines), (second, _) = new("ada"), new("ada")
    assert first not in lines
    assert first != second
    assert lines == f'[[access.keys]]\nname = "ada"\nhash = "{digest(first)}"\n'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a b"], "name: expected at most 64 of a-z, A-Z, 0-9, '.', '_' and '-', got 'a b'"),
        (["ada", "--max-streams", "0"], "max_streams: input should be greater than or equal to 1, got 0"),
    ],
)
def test_what_cannot_be_a_key_is_named(arguments: list[str], message: str) -> None:
    """A bad name or limit makes no key."""
    result = CliRunner().invoke(app, ["keys", "new", *arguments])
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"streamer: {message}\n")
