"""The command as a whole: fast help, one line for each error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from streamer import __version__
from tests.cli.conftest import streamer, write_audio

HEAVY = ("numpy", "onnxruntime", "onnx", "grpc", "pydantic", "soundfile", "soxr", "starlette", "uvicorn", "structlog")


def test_help_imports_nothing_heavy() -> None:
    """Help needs neither models nor transports, so it does not wait for them."""
    code = f"import sys, streamer.cli.main; print([name for name in {HEAVY!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_help_lists_commands() -> None:
    """Every command but the demo is listed."""
    text = streamer("--help").stdout
    assert all(f" {name} " in text for name in ("serve", "transcribe", "bundle", "bench"))
    assert " demo " not in text


def test_version() -> None:
    """It is that of the package that is installed."""
    result = streamer("--version")
    assert (result.exit_code, result.stdout) == (0, f"streamer {__version__}\n")


@pytest.mark.parametrize("command", ["serve", "transcribe", "bench", "demo", "bundle", "bundle check"])
def test_every_command_has_help(command: str) -> None:
    """Help of each command works."""
    assert streamer(*command.split(), "--help").exit_code == 0


@pytest.mark.parametrize("command", ["serve", "transcribe"])
def test_missing_runtime_names_both_extras(command: str, tmp_path: Path) -> None:
    """Without onnxruntime there is one line that says what to install."""
    (tmp_path / "onnxruntime.py").write_text("raise ModuleNotFoundError('no', name='onnxruntime')\n")
    arguments = [command, str(write_audio(tmp_path / "a.wav"))] if command == "transcribe" else [command]
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from streamer.cli.main import main; main()"
    found = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert found.stderr == (
        "streamer: onnxruntime is not installed, expected one of two extras: pip install 'streamer-speech[cpu]', "
        "or pip install 'streamer-speech[gpu]' for NVIDIA GPUs\n"
    )


def test_reader_that_has_seen_enough(serving: list[str], tmp_path: Path) -> None:
    """A closed pipe behind the output is no traceback."""
    path = write_audio(tmp_path / "a.wav")
    command = [sys.executable, "-m", "streamer.cli.main", "transcribe", str(path), "-q", *serving]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(30) == 1
        assert process.stderr.read() == b""


def test_settings_of_the_wrong_kind(tmp_path: Path) -> None:
    """An unknown key in the settings is named, in one line."""
    (tmp_path / "bad.toml").write_text("colour = 1\n")
    result = streamer("serve", "--config", tmp_path / "bad.toml")
    assert result.exit_code == 1
    assert result.stderr.startswith("streamer: setting colour: expected one of host, grpc_port, ")
    assert result.stderr.endswith(", got an unknown key\n")
