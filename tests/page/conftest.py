"""Browsers and servers are shared by all tests of the page; both are slow to start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.page import browser
from tests.page.serving import Loop, Process, Site, looping, recogniser, site_of
from tests.restored_logging import restored_logging

__all__ = ["restored_logging"]

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
RATE = 16_000
# After the last word, so that its end is heard before the test stops talking.
PAUSE_S = 0.5
SPOKEN_S = 3.5

Visiting = Callable[..., browser.Visit]


# Not longer than the package: while it runs, this thread has an event loop.
@pytest.fixture(scope="package")
def driver() -> Iterator[Any]:
    browser.chromium()
    with browser.playwright.sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="package")
def loop() -> Iterator[Loop]:
    with looping() as loop:
        yield loop


@pytest.fixture(scope="package")
def site(loop: Loop) -> Iterator[Site]:
    """A real gateway with asr-en."""
    with recogniser(loop) as host, site_of(loop, host) as site:
        yield site


@pytest.fixture(scope="package")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some seconds of speech as 16-bit WAV."""
    sound, rate = soundfile.read(SAMPLES / "ferry.flac", dtype="int16")
    assert rate == RATE
    path = tmp_path_factory.mktemp("speech") / "ferry.wav"
    soundfile.write(
        path, np.concatenate([sound[: int(SPOKEN_S * rate)], np.zeros(int(PAUSE_S * rate), np.int16)]), rate, "PCM_16"
    )
    return path


@pytest.fixture(scope="package")
def talking(driver: Any, speech: Path) -> Iterator[Any]:
    """A browser whose microphone plays `speech`."""
    with browser.launched(driver, browser.microphone_of(speech)) as launched:
        yield launched


@pytest.fixture(scope="package")
def mute(driver: Any) -> Iterator[Any]:
    """A browser without a microphone."""
    with browser.launched(driver, browser.NO_MICROPHONE) as launched:
        yield launched


@pytest.fixture
def visit() -> Iterator[Visiting]:
    """Opens pages until the end of the test."""
    with ExitStack() as stack:

        def opened(which: Any, site: Site | Process, name: str = "localhost", **options: Any) -> browser.Visit:
            visit = stack.enter_context(browser.visiting(which, site.url(name), **options))
            browser.playwright.expect(visit.page.locator("#record")).to_be_enabled()
            return visit

        yield opened
