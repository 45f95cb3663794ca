"""What the page makes of what a server says: markup, refusals, warnings, keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from streamer.errors import Draining, InvalidRequest, ModelFault, QuotaExceeded
from streamer.session.messages import Audio, Flow, Resume, Warning
from tests.gateway.keyring import ADA, access_settings
from tests.page import browser
from tests.page.conftest import Visiting
from tests.page.serving import Loop, SayingHost, Site, site_of

MARKUP = '<img src=x onerror="document.title=1"><script>document.title=2</script> & "quoted"'


@contextmanager
def saying(loop: Loop, text: str = "", error: BaseException | None = None, **settings: Any) -> Iterator[Site]:
    host = SayingHost(text)
    host.error = error
    with site_of(loop, host, **settings) as site:
        yield site


def open_file(page: browser.Visit, path: Path) -> None:
    page.page.set_input_files("#file", path)


def test_markup_is_text(mute: Any, loop: Loop, visit: Visiting, speech: Path) -> None:
    """Text that looks like HTML is shown and saved as text, and nothing of it is loaded or run."""
    with saying(loop, MARKUP) as site:
        page = visit(mute, site)
        open_file(page, speech)
        page.state_is("Done")
        assert page.text() == MARKUP
        assert page.page.locator("main img, main script").count() == 0
        assert page.page.title() == "streamer"
        assert b"&lt;img" in page.saved("VTT")


def test_inline_scripts_are_against_the_policy(mute: Any, loop: Loop, visit: Visiting) -> None:
    """The browser enforces the policy that the page is served with; violations are noticed by these tests."""
    with saying(loop) as site:
        page = visit(mute, site)
        with pytest.raises(browser.playwright.Error, match="TrustedHTML"):
            page.call("() => { document.body.innerHTML = '<p>'; }")
        with pytest.raises(browser.playwright.Error, match="Failed to fetch"):
            page.call("() => fetch('http://plain.test/')")
        page.call("() => document.body.append(document.createElement('style'))")
        page.call("() => { document.querySelector('body > style').textContent = 'p { color: red }'; }")
        violated = {line.split(" ")[0] for line in page.call("() => window.violations.splice(0)")}
        assert violated == {"require-trusted-types-for", "connect-src", "style-src-elem"}


@pytest.mark.parametrize(
    ("error", "title", "text"),
    [
        (InvalidRequest("expected this, got that"), "The server refused the request", "Expected this, got that."),
        (ModelFault("a graph failed"), "The server failed", "A graph failed."),
    ],
)
def test_an_error_is_shown_as_the_server_said_it(
    error: Exception, title: str, text: str, mute: Any, loop: Loop, visit: Visiting, speech: Path
) -> None:
    """The page stops, with the server's message."""
    with saying(loop, error=error) as site:
        page = visit(mute, site)
        open_file(page, speech)
        page.has_text("notice-title", title)
        page.has_text("notice-text", text)
        page.state_is("Stopped")


def test_a_limit_is_waited_for(mute: Any, loop: Loop, visit: Visiting, speech: Path) -> None:
    """A key at its limit is told so, and tried again when the server said."""
    with saying(loop, "hello", QuotaExceeded("key ada: expected at most 1 stream", 1.2)) as site:
        page = visit(mute, site)
        open_file(page, speech)
        page.state_is("Limit reached")
        page.has_text("notice-text", "Key ada: expected at most 1 stream. Trying again in 1 s.")
        site.host.error = None
        page.state_is("Done")
        assert page.text() == "hello"


def test_a_draining_server_is_tried_again(mute: Any, loop: Loop, visit: Visiting, speech: Path) -> None:
    """A server that takes no new streams is taken for one that will be back."""
    with saying(loop, "hello", Draining("server is shutting down")) as site:
        page = visit(mute, site)
        open_file(page, speech)
        page.state_is("Reconnecting")
        page.has_text("notice-text", re.compile("^Server is shutting down. It goes on when"))
        site.host.error = None
        page.state_is("Done")
        assert page.text() == "hello"


def test_a_server_that_has_forgotten_the_stream(talking: Any, loop: Loop, visit: Visiting) -> None:
    """A token that is refused is dropped, and the rest becomes a stream of its own."""
    with saying(loop, "hello") as site:
        page = visit(talking, site)
        page.press("Start talking")
        page.has_text("finals", re.compile("hello"))
        site.close()
        page.state_is("Reconnecting")
        site.open()
        page.state_is("Listening")
        page.press("Stop")
        page.state_is("Done")
        resumed = [stream.got[0].resume for stream in site.host.streams]
        assert resumed == [None, Resume("token-of-s1", 1), None]
        # Each final once: the new stream began after the first one.
        assert page.text() == "hello hello"
        assert page.page.locator("#finals .time").count() == 2


def test_only_what_is_wanted_is_sent_again(talking: Any, loop: Loop, visit: Visiting) -> None:
    """With the latest token the stream goes on at the sample that the server names, without a gap or an overlap."""
    with saying(loop, "hello") as site:
        page = visit(talking, site)
        page.press("Start talking")
        page.has_text("finals", re.compile("hello"))
        site.say(Flow(8000, 8000, 0.0, 5.0, acked_sample=5000, acked_controls=0, resume_token="a later token"))
        page.has_text("lag-text", re.compile("ms"))
        site.close()
        page.state_is("Reconnecting")
        site.host.resumes_at = 6001
        site.open()
        page.state_is("Listening")
        page.press("Stop")
        page.state_is("Done")
        _, resumed = site.host.streams
        assert resumed.got[0].resume == Resume("a later token", 1)
        again = b"".join(message.data for message in resumed.got if isinstance(message, Audio))
        assert again == page.saved("WAV")[44 + 2 * 6001 :]


def test_the_wait_can_be_left(mute: Any, loop: Loop, visit: Visiting, speech: Path) -> None:
    """Stop waits for the rest of the text; pressed again it does not."""
    with saying(loop, "hello", Draining("server is shutting down")) as site:
        page = visit(mute, site)
        open_file(page, speech)
        page.state_is("Reconnecting")
        page.press("Stop")
        page.press("Leave the rest")
        page.state_is("Done")


def test_a_warning_is_shown_while_the_stream_goes_on(talking: Any, loop: Loop, visit: Visiting) -> None:
    """Before a restart the page says so and keeps listening."""
    with saying(loop, "hello") as site:
        page = visit(talking, site)
        page.press("Start talking")
        page.has_text("finals", re.compile("hello"))
        site.say(Warning("draining", "server shuts down, finish within 30 s"))
        page.has_text("notice-title", "The server is about to restart")
        page.has_text("notice-text", "Server shuts down, finish within 30 s.")
        page.state_is("Listening")
        page.press("Stop")
        page.state_is("Done")


def test_a_key_is_asked_for_and_kept_to_itself(mute: Any, loop: Loop, speech: Path) -> None:
    """A wrong key is refused, the right one opens; it leaves the page in a header only, never in an address."""
    with saying(loop, "hello", access=access_settings()) as site, browser.visiting(mute, site.url()) as page:
        page.has_text("notice-title", "This server wants an API key")
        key = page.page.get_by_label("API key")
        browser.playwright.expect(key).to_be_focused()
        sockets: list[str] = []
        page.page.on("websocket", lambda socket: sockets.append(socket.url))
        key.fill("wrong")
        key.press("Enter")
        page.has_text("notice-text", "Unknown API key.")
        key.fill(ADA)
        key.press("Enter")
        browser.playwright.expect(page.page.locator("#record")).to_be_enabled()
        browser.playwright.expect(page.page.locator("#notice")).to_be_hidden()
        open_file(page, speech)
        page.state_is("Done")
        assert page.text() == "hello"
        assert sockets == [f"ws://localhost:{site.port}/v1/stream"]
        assert not [url for url in page.requests if ADA in url]
        assert page.call("() => localStorage.length + sessionStorage.length + document.cookie.length") == 0


def test_the_server_is_waited_for(mute: Any, loop: Loop) -> None:
    """A page that was open before its server was restarted recovers by itself."""
    with saying(loop) as site, browser.visiting(mute, site.url()) as page:
        browser.playwright.expect(page.page.locator("#record")).to_be_enabled()
        site.close()
        page.page.locator("#key").evaluate("field => field.dispatchEvent(new Event('change'))")
        page.has_text("notice-title", "The server cannot be reached")
        site.open()
        browser.playwright.expect(page.page.locator("#notice")).to_be_hidden()
