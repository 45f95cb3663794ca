"""Talking to the page in a real browser, and what it does when the microphone or the server is not there."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from tests.page import browser
from tests.page.conftest import Visiting
from tests.page.heard import transcript_of
from tests.page.serving import Site

# All of the speech, and a little of the silence after it.
SPOKEN = re.compile("0:0[4-9]")


def words_of(transcript: dict[str, Any]) -> list[tuple[str, float, float]]:
    return [(word["word"], word["start_s"], word["end_s"]) for word in transcript["words"]]


def test_the_page_hears_what_the_command_line_hears(talking: Any, site: Site, visit: Visiting, tmp_path: Path) -> None:
    """Text and word times on the page equal those of the batch command on the sound that the page sent."""
    page = visit(talking, site)
    frames: list[str | bytes] = []
    page.page.on("websocket", lambda socket: socket.on("framesent", lambda sent: frames.append(sent)))
    page.press("Start talking")
    page.state_is("Listening")
    page.has_text("interim", re.compile("wind"))
    page.has_text("clock", SPOKEN)
    page.press("Stop")
    page.state_is("Done")
    wav = page.saved("WAV")
    expected = transcript_of(wav, tmp_path)
    assert len(expected["words"]) > 6
    assert page.text() == expected["text"]
    assert words_of(json.loads(page.saved("JSON"))) == words_of(expected)
    sound, rate = soundfile.read(io.BytesIO(wav), dtype="int16")
    assert rate == page.call("() => new AudioContext().sampleRate")
    assert len(sound) > 4 * rate
    config, *audio, end = frames
    assert json.loads(config)["sample_rate"] == rate
    assert json.loads(end) == {"type": "end"}
    assert b"".join(audio) == sound.tobytes()
    # The last one is what was left; more than one frame at a time only before the server was ready.
    assert all(0.04 <= len(frame) / 2 / rate <= 0.1 for frame in audio[:-1])
    assert np.abs(sound).max() > 3000
    page.has_text("lag-text", re.compile(r"^\d+ ms$|^\d\.\d s$"))


def test_what_is_said_while_the_server_is_full_is_kept(talking: Any, site: Site, visit: Visiting) -> None:
    """The page says so, tries again by itself, and then sends everything from the first sample on."""
    page = visit(talking, site)
    with site.full():
        page.press("Start talking")
        page.state_is("Server full")
        page.has_text("notice-title", "The server is full")
        page.has_text("notice-text", re.compile(r"^All slots of asr-en\S+ are taken, .* Trying again in 1 s\."))
        page.has_text("clock", "0:01")
    page.state_is("Listening")
    browser.playwright.expect(page.page.locator("#notice")).to_be_hidden()
    page.has_text("clock", SPOKEN)
    page.press("Stop")
    page.state_is("Done")
    assert page.text() == site.heard(page.saved("WAV"))


def test_a_server_that_goes_away_and_comes_back(talking: Any, site: Site, visit: Visiting) -> None:
    """The page goes on by itself; no word is lost and none is said twice."""
    page = visit(talking, site)
    page.press("Start talking")
    page.has_text("clock", "0:01")
    site.close()
    page.state_is("Reconnecting")
    page.has_text("notice-text", re.compile("What you say is kept and sent when the server is back"))
    site.open()
    page.state_is("Listening")
    browser.playwright.expect(page.page.locator("#notice")).to_be_hidden()
    page.has_text("clock", SPOKEN)
    page.press("Stop")
    page.state_is("Done")
    assert page.text() == site.heard(page.saved("WAV"))


def test_a_refused_microphone_is_explained(driver: Any, site: Site) -> None:
    """Without permission the page says what to do, and a file can still be opened."""
    with (
        browser.launched(driver, browser.REFUSED_MICROPHONE) as refusing,
        browser.visiting(refusing, site.url()) as page,
    ):
        page.press("Start talking")
        page.has_text("notice-title", "The microphone is not allowed")
        page.state_is("Stopped")
        browser.playwright.expect(page.page.locator("#open")).to_be_visible()


def test_a_missing_microphone_is_explained(mute: Any, site: Site, visit: Visiting) -> None:
    """Without a device the page says so."""
    page = visit(mute, site)
    page.press("Start talking")
    page.has_text("notice-title", "There is no microphone")
    page.state_is("Stopped")


def test_an_insecure_address_is_explained(talking: Any, site: Site, visit: Visiting) -> None:
    """Over http and another name than localhost browsers give no microphone; the page knows before it is asked for."""
    page = visit(talking, site, "plain.test")
    page.has_text("notice-title", "The microphone needs a secure address")
    page.press("Start talking")
    page.state_is("Stopped")
    page.has_text("notice-title", "The microphone needs a secure address")


def test_browsers_leave_the_sound_alone_unless_asked(talking: Any, site: Site, visit: Visiting) -> None:
    """Echo cancelling, noise suppression and gain control are off by default, and on with the option."""
    page = visit(talking, site)
    page.call("""() => {
      const devices = navigator.mediaDevices;
      const ask = devices.getUserMedia.bind(devices);
      devices.getUserMedia = (wanted) => ((window.wanted = wanted), ask(wanted));
    }""")
    page.page.get_by_text("Options").click()
    for processing, name in ((False, "Start talking"), (True, "New recording")):
        page.page.get_by_label("Let the browser cancel echo").set_checked(processing)
        page.press(name)
        page.state_is("Listening")
        wanted = page.call("() => window.wanted.audio")
        assert {wanted[name] for name in ("echoCancellation", "noiseSuppression", "autoGainControl")} == {processing}
        page.press("Stop")
        page.state_is("Done")
