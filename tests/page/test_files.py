"""Opening audio files on the page."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.page import browser
from tests.page.conftest import RATE, SAMPLES, Visiting
from tests.page.heard import transcript_of, transcripts_of
from tests.page.serving import Site, process

CODECS = {"mp4": ("aac", "m4a"), "webm": ("libopus", "webm")}


def open_file(page: browser.Visit, path: Path) -> None:
    page.page.set_input_files("#file", path)


def compressed(folder: Path, container: str) -> Path:
    """A clip as M4A or WebM."""
    av = pytest.importorskip("av", reason="needs the package av, to write what is read")
    codec, suffix = CODECS[container]
    sound, rate = soundfile.read(SAMPLES / "ferry.flac", dtype="int16", frames=3 * RATE)
    path = folder / f"ferry.{suffix}"
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(sound[None], format="s16", layout="mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=48_000, frame_size=1024)
        frames = [*resampler.resample(frame), *resampler.resample(None)]
        for packet in (packet for frame in [*frames, None] for packet in stream.encode(frame)):
            file.mux(packet)
    return path


def test_a_wav_file_is_sent_as_it_is(mute: Any, site: Site, visit: Visiting, speech: Path, tmp_path: Path) -> None:
    """16-bit mono goes to the server sample by sample; text, times and formats equal the command line's."""
    page = visit(mute, site)
    open_file(page, speech)
    page.state_is("Done")
    sent = page.saved("WAV")
    assert sent == speech.read_bytes()
    assert page.text() == transcript_of(sent, tmp_path)["text"]
    assert page.page.locator("#progress").evaluate("bar => bar.value / bar.max") == 1
    assert json.loads(page.saved("JSON"))["file"] == "ferry.wav"
    assert page.saved("TXT").decode().replace("\n", " ").strip() == page.text()
    assert re.match(rb"1\n00:00:0\d,\d{3} --> 00:00:0\d,\d{3}\n", page.saved("SRT"))
    assert page.saved("VTT").startswith(b"WEBVTT\n\n00:00:0")


def test_files_of_all_kinds(mute: Any, site: Site, visit: Visiting, tmp_path: Path) -> None:
    """What is sent is mono at the rate of the model or of the file, and the text is the command line's for it."""
    sound, rate = soundfile.read(SAMPLES / "ferry.flac", dtype="int16", frames=3 * RATE)
    page = visit(mute, site)
    sent, texts = {}, {}
    for path in files_of_all_kinds(tmp_path, sound, rate):
        open_file(page, path)
        page.has_text("clock", re.compile("0:0[23]"))
        page.state_is("Done")
        sent[path.name], texts[path.name] = page.saved("WAV"), page.text()
        heard, heard_rate = soundfile.read(io.BytesIO(sent[path.name]), dtype="int16", always_2d=True)
        assert (heard_rate, heard.shape[1]) == (RATE, 1)
        assert len(heard) == pytest.approx(len(sound), abs=0.15 * RATE)
        if path.suffix in (".flac", ".wav"):
            assert np.array_equal(heard[:, 0], sound)
    assert len(set(sent.values())) >= 5
    assert all(len(text.split()) > 4 for text in texts.values())
    assert texts == {name: found["text"] for name, found in transcripts_of(sent, tmp_path / "sent").items()}


def files_of_all_kinds(folder: Path, sound: np.ndarray, rate: int) -> Iterator[Path]:
    for suffix in ("flac", "ogg", "mp3"):
        soundfile.write(folder / f"ferry.{suffix}", sound, rate)
        yield folder / f"ferry.{suffix}"
    soundfile.write(folder / "stereo.wav", np.stack([sound, sound], 1), rate, "PCM_24")
    yield folder / "stereo.wav"
    yield compressed(folder, "mp4")
    yield compressed(folder, "webm")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.mp3", b"not a sound" * 100, re.compile("^This browser cannot decode it")),
        ("nothing.wav", b"", "The file is empty."),
        ("silent.wav", None, "The file holds no sound."),
    ],
)
def test_what_is_no_sound_is_refused(
    name: str, content: bytes | None, message: Any, mute: Any, site: Site, visit: Visiting, tmp_path: Path
) -> None:
    """The page says what is wrong with a file, before it asks for a place on the server."""
    path = tmp_path / name
    if content is None:
        soundfile.write(path, np.zeros(0, np.int16), RATE, "PCM_16")
    else:
        path.write_bytes(content)
    page = visit(mute, site)
    open_file(page, path)
    page.has_text("notice-text", message)
    page.state_is("Stopped")
    assert not [url for url in page.requests if url.endswith("v1/stream")]


def test_a_long_file_waits_for_the_server(mute: Any, site: Site, visit: Visiting, tmp_path: Path) -> None:
    """Half an hour is read as it is sent: neither memory nor the socket holds more than some seconds of it."""
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(1800 * RATE, np.int16), RATE, "PCM_16")
    page = visit(mute, site)
    page.call("""() => {
      window.most = 0;
      const send = WebSocket.prototype.send;
      WebSocket.prototype.send = function (data) {
        send.call(this, data);
        window.most = Math.max(window.most, this.bufferedAmount);
      };
    }""")
    open_file(page, path)
    page.state_is("Transcribing")
    browser.playwright.expect(page.page.locator("#progress")).not_to_have_attribute("value", "0")
    minutes = int(page.page.locator("#clock").inner_text().split(":")[0])
    page.press("Stop")
    page.press("Leave the rest")
    page.state_is("Done")
    # What is ahead of the progress: 90 s sent, 10 s and a piece read.
    done_s = page.page.locator("#progress").evaluate("bar => bar.value") / RATE
    assert minutes < done_s / 60 + 3
    assert 0 < page.call("() => window.most") <= (1 << 20) + 2 * RATE


def test_a_killed_server_costs_no_word(mute: Any, site: Site, visit: Visiting, tmp_path: Path) -> None:
    """SIGKILL after the first final, and a new server: the text is that of a stream that was never cut."""
    parts = [soundfile.read(path, dtype="int16")[0] for path in sorted(SAMPLES.glob("*.flac"))]
    pause = np.zeros(int(1.5 * RATE), np.int16)
    path = tmp_path / "long.wav"
    soundfile.write(path, np.concatenate([part for sound in parts for part in (sound, pause)]), RATE, "PCM_16")
    with process(tmp_path / "state") as server:
        page = visit(mute, server)
        configs: list[dict[str, Any]] = []
        page.page.on(
            "websocket", lambda socket: socket.once("framesent", lambda sent: configs.append(json.loads(sent)))
        )
        # Nothing after the first twelve seconds leaves the page before the cut.
        page.call("""() => {
          const send = WebSocket.prototype.send;
          let frames = 0;
          window.isHeld = true;
          WebSocket.prototype.send = function (data) {
            if (!window.isHeld || frames++ < 24) send.call(this, data);
          };
        }""")
        open_file(page, path)
        browser.playwright.expect(page.page.locator("#finals .segment").first).to_be_visible()
        server.kill()
        page.state_is("Reconnecting")
        before = page.text()
        page.call("() => { window.isHeld = false; }")
        server.open()
        page.state_is("Done")
        assert page.saved("WAV") == path.read_bytes()
        assert page.text().startswith(before)
        assert len(page.text()) > len(before)
        assert page.text() == site.heard(path.read_bytes())
        assert [config.get("resume", {}).get("next_segment", 0) > 0 for config in configs] == [False, True]


def test_options_reach_the_search(mute: Any, site: Site, visit: Visiting, speech: Path, tmp_path: Path) -> None:
    """A beam with hotwords hears on the page what the command line hears with the same options."""
    page = visit(mute, site)
    page.page.get_by_text("Options").click()
    page.page.get_by_label("Names and phrases").fill("harbour office :3\nferry")
    page.page.get_by_label("Hypotheses kept").fill("6")
    assert page.page.get_by_label("Beam, more accurate").is_checked()
    open_file(page, speech)
    page.state_is("Done")
    names = tmp_path / "names.txt"
    names.write_text("harbour office :3\nferry\n")
    wav = page.saved("WAV")
    expected = transcript_of(wav, tmp_path, "--beam", "6", "--hotwords", str(names))
    with_beam = page.text()
    assert with_beam == expected["text"]
    page.page.get_by_label("Greedy, the fastest").check()
    open_file(page, speech)
    page.state_is("Transcribing")
    page.state_is("Done")
    assert page.text() != with_beam


def test_an_option_out_of_range_is_refused_at_its_field(mute: Any, site: Site, visit: Visiting, speech: Path) -> None:
    """Nothing starts until the value is one that can be."""
    page = visit(mute, site)
    page.page.get_by_text("Options").click()
    page.page.get_by_label("Hypotheses kept").fill("17")
    page.page.get_by_text("Options").click()
    open_file(page, speech)
    browser.playwright.expect(page.page.get_by_label("Hypotheses kept")).to_be_focused()
    page.state_is("Ready")
