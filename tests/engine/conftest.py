"""Toy bundles, written and loaded once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from streamer.bundle.loader import Bundle, load_bundle

Toys = Callable[[Callable[[Path], Path]], Bundle]


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toys:
    """`toy(write_counter_asr)` is the loaded bundle."""
    return cache(lambda write: load_bundle(write(tmp_path_factory.mktemp("toys"))))
