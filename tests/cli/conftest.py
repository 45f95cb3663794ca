"""A toy model, some audio, and the command line in process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from streamer.cli.main import app
from tests.restored_logging import restored_logging
from tests.toys import write_counter_asr

__all__ = ["restored_logging", "serving", "speech", "streamer", "toys", "write_audio"]


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of bundles with the counter."""
    folder = tmp_path_factory.mktemp("toys")
    write_counter_asr(folder)
    return folder


@pytest.fixture(scope="session")
def serving(toys: Path) -> list[str]:
    """Options of every command that runs a model."""
    return ["--bundle-path", str(toys), "--model", "counter-asr"]


def speech(seconds: float, rate: int = 16000, seed: int = 0) -> np.ndarray:
    """Bursts of noise, which the counter takes for words, with pauses, float32 `[n]` on the grid of 16 bit."""
    rng = np.random.default_rng(seed)
    samples = rng.uniform(-0.5, 0.5, int(seconds * rate))
    samples[(np.arange(len(samples)) * 10 // rate) % 10 > 1] = 0
    return (np.round(samples * 32768) / 32768).astype(np.float32)


def write_audio(path: Path, seconds: float = 1.0, rate: int = 16000, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, speech(seconds, rate, seed), rate, "PCM_16")
    return path


def streamer(*arguments: object) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])
