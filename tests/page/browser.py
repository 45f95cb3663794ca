"""Debian's Chromium without a screen, with a microphone that plays a file, with none, or with one that is refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")

# Against hanging only.
PATIENCE_MS = 60_000
playwright.expect.set_options(timeout=PATIENCE_MS)
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A name that is not localhost, for pages without a secure origin.
    "--host-resolver-rules=MAP plain.test 127.0.0.1",
)
NO_MICROPHONE = ("--use-fake-ui-for-media-stream",)
REFUSED_MICROPHONE = ("--use-fake-ui-for-media-stream=deny", "--use-fake-device-for-media-stream")
# Runs before any script of the page.
_WATCH = """
  window.violations = [];
  document.addEventListener("securitypolicyviolation", (event) =>
    window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""


def microphone_of(wav: Path) -> tuple[str, ...]:
    """Flags of a microphone that plays `wav` once."""
    return (
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={wav}%noloop",
    )


def chromium() -> str:
    """The path of the browser; skips where there is none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("needs chromium: apt-get install chromium")
    return path


@contextmanager
def launched(driver: Any, flags: tuple[str, ...]) -> Iterator[Any]:
    """A browser with a profile of its own."""
    browser = driver.chromium.launch(executable_path=chromium(), args=[*_FLAGS, *flags])
    try:
        yield browser
    finally:
        browser.close()


@dataclass
class Visit:
    """A page that is open, and what it must not have done."""

    page: Any
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def has_text(self, identifier: str, text: Any) -> None:
        """Wait until the element shows `text` (a string, or a pattern)."""
        playwright.expect(self.page.locator(f"#{identifier}")).to_have_text(text)

    def state_is(self, text: str) -> None:
        """Wait until the page says that it is in this state."""
        self.has_text("status-text", text)

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def saved(self, name: str) -> bytes:
        """What the button `name` saves."""
        with self.page.expect_download() as download:
            self.press(name)
        return Path(download.value.path()).read_bytes()

    def text(self) -> str:
        """The final text on the page, as a transcript has it."""
        lines = self.page.locator("#finals .words").all_text_contents()
        return " ".join(lines)

    def call(self, script: str, argument: Any = None) -> Any:
        """Run an async function in the page."""
        return self.page.evaluate(script, argument)


@contextmanager
def visiting(browser: Any, url: str, **options: Any) -> Iterator[Visit]:
    """Open `url`; afterwards nothing must have been asked of elsewhere, thrown, or against the page's policy."""
    context = browser.new_context(**options)
    try:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.add_init_script(_WATCH)
        visit = Visit(page)
        page.on("request", lambda request: visit.requests.append(request.url))
        page.on("websocket", lambda socket: visit.requests.append(socket.url.replace("ws:", "http:")))
        page.on("pageerror", lambda error: visit.errors.append(str(error)))
        page.goto(url)
        yield visit
        assert visit.errors == []
        assert page.evaluate("window.violations") == []
        origin = page.evaluate("location.origin")
        assert [asked for asked in visit.requests if not asked.startswith((origin, f"blob:{origin}"))] == []
    finally:
        context.close()
