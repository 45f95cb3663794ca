"""Speech on the page: a text, its sound while it is made, what it looks like, and the word that is said."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from streamer.client import SynthesisOptions, speak
from streamer.config import EngineSection, Settings
from streamer.host.assemble import running_host
from tests.gateway.fake_host import FakeModelInfo
from tests.gateway.fake_voice import FakeVoiceHost
from tests.page import browser
from tests.page.conftest import Visiting
from tests.page.serving import Loop, SayingHost, Site, site_of
from tests.page.test_looks import CONTRASTS, LEAST_CONTRAST
from tests.toys.token_voice import write_token_voice
from tests.toys.voice import write_voice

RATE = 24_000
TEXT = "Hello, world. \N{GRINNING FACE} Two zorks cost $3.50, good morning!"
LONG = "Good morning, world. " * 60
TRANSFORM = """async ([real, imaginary]) => {
  const { transform } = await import("/page/spectrum.js");
  const parts = [Float32Array.from(real), Float32Array.from(imaginary)];
  transform(...parts);
  return parts.map((part) => [...part]);
}"""
LOUDEST = """async ([hz, rate, sizes]) => {
  const { Spectrum } = await import("/page/spectrum.js");
  const spectrum = new Spectrum(rate);
  const samples = Int16Array.from({ length: rate / 4 }, (_, i) => 3276 * Math.sin((2 * Math.PI * hz * i) / rate));
  const columns = [];
  for (let at = 0, i = 0; at < samples.length; at += sizes[i++ % sizes.length]) {
    columns.push(...spectrum.take(samples.subarray(at, at + sizes[i % sizes.length])));
  }
  return columns.map((column) => [...column]);
}"""
# What a sound card would get, of a context that renders into memory.
PLAYED = """async ([pieces, rate]) => {
  const { SpeechPlayer } = await import("/page/speech_player.js");
  const offline = new OfflineAudioContext(1, rate, rate);
  offline.resume = () => {};
  window.AudioContext = function () {
    return offline;
  };
  const player = new SpeechPlayer(rate);
  pieces.forEach((piece) => player.take(Int16Array.from(piece)));
  const rendered = await offline.startRendering();
  return { sound: [...rendered.getChannelData(0)].map((value) => Math.round(32768 * value)), heard: player.heard };
}"""
HEARD = """async ([text, words, samples]) => {
  const { SpokenText } = await import("/page/spoken_text.js");
  const place = document.createElement("p");
  const spoken = new SpokenText(place);
  spoken.clear(text);
  words.forEach((word) => spoken.take([word]));
  const marked = (name) => [...place.querySelectorAll(`.${name}`)].map((each) => each.textContent);
  const steps = samples.map((sample) => (spoken.show(sample), [marked("said"), marked("now")]));
  return { steps, text: place.textContent };
}"""
# Whether the picture has anything but its ground.
DRAWN = """() => {
  const canvas = document.getElementById("spectrogram");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, Math.floor(canvas.height / 2));
  return new Set(new Uint32Array(data.buffer)).size;
}"""


@pytest.fixture(scope="module")
def voice(loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A real gateway with a voice that can be worked out by hand, and no recogniser."""
    folder = tmp_path_factory.mktemp("voice")
    write_voice(folder)
    yield from speaking_site(loop, folder, "voice", "asr-en")


@pytest.fixture(scope="module")
def token_voice(loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The same with a voice of speech tokens, which knows no times of words."""
    folder = tmp_path_factory.mktemp("token_voice")
    write_token_voice(folder)
    yield from speaking_site(loop, folder, "voice", "asr-en")


def speaking_site(loop: Loop, folder: Path, *models: str) -> Iterator[Site]:
    running = running_host(Settings(bundle_path=(folder,), models=models, engine=EngineSection(workers=1)))
    host = loop.run(running.__aenter__())
    try:
        with site_of(loop, host) as site:
            yield site
    finally:
        loop.run(running.__aexit__(None, None, None))


def opened(visit: Visiting, which: Any, site: Site, text: str = TEXT, **options: Any) -> browser.Visit:
    page = visit(which, site, **options)
    page.page.get_by_role("link", name="Speak", exact=True).click()
    browser.playwright.expect(page.page.locator("#speech-speak")).to_be_enabled()
    page.page.fill("#speech-text", text)
    return page


def said(page: browser.Visit) -> np.ndarray:
    """Speak to the end, and return what is saved then."""
    page.page.locator("#speech-speak").click()
    page.has_text("speech-status-text", "Done")
    return saved(page)


def saved(page: browser.Visit) -> np.ndarray:
    """The samples of the file that is saved, `int16 [n]`."""
    sound, rate = soundfile.read(io.BytesIO(page.saved("Save as WAV")), dtype="int16")
    assert rate == RATE
    return sound


def expected(loop: Loop, site: Site, options: SynthesisOptions = SynthesisOptions()) -> np.ndarray:  # noqa: B008
    """What our own client gets for the same text."""
    url = site.url().replace("http:", "ws:").rstrip("/")
    return np.frombuffer(loop.run(speak(url, TEXT, options, sample_rate=RATE)).data, "<i2")


def test_a_server_without_a_voice_says_nothing_of_one(mute: Any, loop: Loop, visit: Visiting) -> None:
    """Not even to those who ask for it."""
    with site_of(loop, SayingHost()) as site:
        page = visit(mute, site)
        page.page.goto(f"{site.url()}#speech")
        assert not page.page.locator("#views").is_visible()
        assert not page.page.locator("#speech").is_visible()
        assert page.page.locator("#record").is_visible()


def test_a_voice_alone_has_no_link_to_a_codec(mute: Any, voice: Site, visit: Visiting) -> None:
    """Only what the server does is offered."""
    page = opened(visit, mute, voice)
    assert page.page.locator("#views a:visible").all_inner_texts() == ["Transcribe", "Speak"]
    assert page.page.url.endswith("#speech")
    assert not page.page.locator("#status").is_visible()


def test_a_server_that_only_speaks(mute: Any, loop: Loop, visit: Visiting) -> None:
    """Its page is the view that speaks, and there is nothing to choose."""
    with site_of(loop, SpeakingHost()) as site:
        page = visit(mute, site)
        browser.playwright.expect(page.page.locator("#speech-speak")).to_be_visible()
        assert not page.page.locator("#views").is_visible()
        assert not page.page.locator("#record").is_visible()


class SpeakingHost(FakeVoiceHost):
    """Has no recogniser."""

    def models(self) -> tuple[FakeModelInfo, ...]:
        return super().models()[1:]


def test_a_text_is_spoken(mute: Any, voice: Site, loop: Loop, visit: Visiting) -> None:
    """The sound that is saved is that of every other client; it is drawn, and all its words are marked."""
    page = opened(visit, mute, voice)
    sound = said(page)
    np.testing.assert_array_equal(sound, expected(loop, voice))
    page.has_text("speech-first", re.compile(r"^\d+ ms$"))
    page.has_text("speech-length", f"{len(sound) / RATE:.2f} s")
    page.has_text("speech-words", "8")
    page.has_text("speech-info", "voice@1.0.0, 24 kHz")
    page.has_text("spoken", TEXT)
    words = page.page.locator("#spoken span")
    assert words.all_inner_texts() == ["Hello", "world", "Two", "zorks", "cost", "$3.50", "good", "morning"]
    assert page.page.locator("#spoken .said").count() == 8
    assert page.page.locator("#spoken .now").count() == 0
    assert page.call(DRAWN) > 10


def test_a_voice_without_word_times_is_heard(mute: Any, token_voice: Site, loop: Loop, visit: Visiting) -> None:
    """As every other client hears it; no word is marked, and nobody is told of a failure."""
    page = opened(visit, mute, token_voice)
    sound = said(page)
    assert len(sound) > RATE / 4
    np.testing.assert_array_equal(sound, expected(loop, token_voice))
    page.has_text("spoken", TEXT)
    assert page.page.locator("#spoken .said").count() == 0
    assert not page.page.locator("#speech-notice").is_visible()


def test_settings_reach_the_voice(mute: Any, voice: Site, loop: Loop, visit: Visiting) -> None:
    """Speed and seed are those of the form, which offers the voices of the model."""
    page = opened(visit, mute, voice)
    assert page.page.eval_on_selector_all("#speech-voices option", "all => all.map(one => one.value)") == ["ada"]
    page.page.locator("#speed").fill("1.5")
    page.has_text("speed-text", "1.50\N{MULTIPLICATION SIGN}")
    page.page.fill("input[name=seed]", "7")
    np.testing.assert_array_equal(said(page), expected(loop, voice, SynthesisOptions(speed=1.5, seed=7)))


def test_words_are_marked_while_they_are_heard(mute: Any, voice: Site, visit: Visiting) -> None:
    """One at a time; before the end there are some that were not heard yet."""
    page = opened(visit, mute, voice, LONG)
    page.page.locator("#speech-speak").click()
    page.has_text("speech-status-text", "Speaking")
    now = page.page.locator("#spoken .now")
    browser.playwright.expect(now).to_have_count(1)
    page.page.locator("#spoken .said").nth(2).wait_for()
    assert page.page.locator("#spoken span:not(.said, .now)").count() > 0
    page.has_text("speech-clock", re.compile(r"^0:0[1-9]$"))


def test_stop_and_speaking_anew(mute: Any, voice: Site, loop: Loop, visit: Visiting) -> None:
    """Both end what is said, and free its slot; what was made of it can be saved."""
    page = opened(visit, mute, voice, LONG)
    for stop in ("button", "key"):
        page.page.locator("#speech-speak").click()
        page.has_text("speech-status-text", "Speaking")
        if stop == "button":
            page.page.locator("#speech-stop").click()
        else:
            page.page.locator("#speech-text").press("Escape")
        page.has_text("speech-status-text", "Ready")
        assert page.page.locator("#speech-stop").is_disabled()
        assert len(saved(page)) > 0
    page.page.locator("#speech-speak").click()
    page.has_text("speech-speak-label", "Speak anew")
    page.page.fill("#speech-text", TEXT)
    # From the keyboard, while the long text is spoken.
    page.page.locator("#speech-text").press("Control+Enter")
    page.has_text("spoken", TEXT)
    page.has_text("speech-status-text", "Done")
    np.testing.assert_array_equal(saved(page), expected(loop, voice))


def test_leaving_the_view_is_silence(mute: Any, voice: Site, visit: Visiting) -> None:
    """There is no button to stop it with elsewhere."""
    page = opened(visit, mute, voice, LONG)
    page.page.locator("#speech-speak").click()
    page.has_text("speech-status-text", "Speaking")
    page.page.get_by_role("link", name="Transcribe", exact=True).click()
    page.page.get_by_role("link", name="Speak", exact=True).click()
    page.has_text("speech-status-text", "Ready")


def test_a_refusal_is_shown_as_text(mute: Any, voice: Site, visit: Visiting) -> None:
    """A voice that there is not: the server's words, and the next try works."""
    page = opened(visit, mute, voice)
    page.page.fill("input[name=voice]", "<b>nobody</b>")
    page.page.locator("#speech-speak").click()
    page.has_text("speech-status-text", "Stopped")
    page.has_text("speech-notice-title", "The server refused the request")
    assert "'<b>nobody</b>'" in page.page.inner_text("#speech-notice-text")
    page.page.fill("input[name=voice]", "")
    page.page.fill("#speech-text", "Hello.")
    assert len(said(page)) > 0
    assert not page.page.locator("#speech-notice").is_visible()


def test_nothing_is_not_spoken(mute: Any, voice: Site, visit: Visiting) -> None:
    """Nor is a seed that is none."""
    page = opened(visit, mute, voice, "  ")
    page.page.locator("#speech-speak").click()
    page.page.fill("#speech-text", "Hello.")
    page.page.fill("input[name=seed]", "-1")
    page.page.locator("#speech-speak").click()
    page.has_text("speech-status-text", "Ready")
    assert not any("v1/stream" in asked for asked in page.requests)


def test_the_transform_is_fouriers(mute: Any, voice: Site, visit: Visiting) -> None:
    """As NumPy has it."""
    page = visit(mute, voice)
    values = np.random.default_rng(0).standard_normal((2, 256))
    real, imaginary = page.call(TRANSFORM, values.tolist())
    wanted = np.fft.fft(values[0] + 1j * values[1])
    np.testing.assert_allclose(real, wanted.real, atol=1e-4)
    np.testing.assert_allclose(imaginary, wanted.imag, atol=1e-4)


@pytest.mark.parametrize("hz", [100, 1000, 7000])
def test_a_tone_is_where_it_belongs(mute: Any, voice: Site, visit: Visiting, hz: int) -> None:
    """In the mel band of its frequency, at its level, a column for each hundredth of a second, however it is cut."""
    page = visit(mute, voice)
    columns = page.call(LOUDEST, [hz, RATE, [RATE]])
    assert page.call(LOUDEST, [hz, RATE, [1, 700, 33]]) == columns
    assert len(columns) == 25
    mel = 2595 * np.log10(1 + np.array([hz, RATE / 2]) / 700)
    assert abs(int(np.argmax(columns[-1])) + 1 - 81 * mel[0] / mel[1]) <= 1.5
    assert 210 <= max(columns[-1]) < 255
    assert np.median(columns[-1]) < 60


def test_pieces_are_played_without_gaps(mute: Any, voice: Site, visit: Visiting) -> None:
    """Sample after sample as they came, once there was time to begin."""
    page = visit(mute, voice)
    sound = np.random.default_rng(0).integers(-30_000, 30_000, 12_000)
    pieces = [piece.tolist() for piece in np.split(sound, [1, 480, 481, 4801, 7003])]
    found = page.call(PLAYED, [pieces, RATE])
    played = np.array(found["sound"])
    begin = int(np.flatnonzero(played)[0])
    assert begin == round(0.08 * RATE)
    np.testing.assert_array_equal(played[begin : begin + len(sound)], sound)
    assert not played[begin + len(sound) :].any()
    assert found["heard"] == len(sound)


def test_marks_follow_the_sound(mute: Any, voice: Site, visit: Visiting) -> None:
    """By samples; characters are those of Unicode, whatever JavaScript makes of them; back as well as forth."""
    page = visit(mute, voice)
    text = "\N{GRINNING FACE} one, <i>two</i>"
    words = [
        {"start_char": 2, "end_char": 5, "start_sample": 100, "end_sample": 200},
        {"start_char": 10, "end_char": 13, "start_sample": 250, "end_sample": 300},
    ]
    found = page.call(HEARD, [text, words, [0, 150, 220, 260, 400, 150]])
    one, two = ["one"], ["two"]
    assert found["text"] == text
    assert found["steps"] == [[[], []], [[], one], [one, []], [one, two], [one + two, []], [[], one]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_can_be_read(mute: Any, voice: Site, visit: Visiting, scheme: str) -> None:
    """No scrolling sideways, and text that stands out from what is behind it, marked or not."""
    phone = {"viewport": {"width": 360, "height": 700}, "is_mobile": True, "has_touch": True, "color_scheme": scheme}
    page = opened(visit, mute, voice, "Hello, world. " + "extraordinarily" * 8, **phone)
    said(page)
    page.call("() => document.querySelector('#spoken span').classList.replace('said', 'now')")
    assert page.call("() => document.scrollingElement.scrollWidth") <= 360
    assert [each for each in page.call(CONTRASTS) if each[2] < LEAST_CONTRAST] == []
    box = page.page.locator("#speech-speak").bounding_box()
    assert box["y"] + box["height"] <= 700


def test_every_control_has_a_name(mute: Any, voice: Site, visit: Visiting) -> None:
    """For screen readers."""
    page = opened(visit, mute, voice)
    unnamed = page.call("""() => [...document.querySelectorAll("#speech :is(button, input, select, textarea)")]
      .filter((control) => !control.textContent.trim() && !control.labels?.length && !control.ariaLabel)
      .map((control) => control.id || control.name)""")
    assert unnamed == []
