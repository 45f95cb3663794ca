"""What the command line hears in a file that the page saved."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from streamer.cli.main import app


def transcript_of(wav: bytes, folder: Path, *options: str) -> dict[str, Any]:
    """The JSON of `streamer transcribe` of the bytes of a WAV file."""
    return transcripts_of({"wav": wav}, folder / "sent", *options)["wav"]


def transcripts_of(wavs: dict[str, bytes], folder: Path, *options: str) -> dict[str, dict[str, Any]]:
    """The same for several files, by their names; `folder` must not exist."""
    folder.mkdir()
    for name, wav in wavs.items():
        (folder / f"{name}.wav").write_bytes(wav)
    quickly = ("--model", "asr-en", "--workers", "1", "--quiet")
    arguments = ["transcribe", str(folder), "--format", "jsonl", *quickly, *options]
    results: list[Any] = []
    # The thread of the test has an event loop already, the browser's.
    thread = threading.Thread(target=lambda: results.append(CliRunner().invoke(app, arguments)))
    thread.start()
    thread.join()
    (result,) = results
    assert result.exit_code == 0, result.output
    return {Path(line["file"]).stem: line for line in map(json.loads, result.stdout.splitlines())}
