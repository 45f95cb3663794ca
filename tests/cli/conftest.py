"""A toy model, some audio, and the command line in process."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import structlog
from typer.testing import CliRunner, Result

from streamer.cli.main import app
from tests.toys import write_counter_asr


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Commands set up logging for their process; here that is everybody's."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


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
