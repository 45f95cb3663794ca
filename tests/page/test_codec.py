"""The codec on the page: sound to packets and back, what they cost, what is left when some are lost."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from streamer.audio.snc1 import Packet
from streamer.audio.snc1_description import describe
from streamer.audio.snc1_reader import PacketReader
from streamer.config import EngineSection, Settings
from streamer.host.assemble import running_host
from tests.page import browser
from tests.page.conftest import RATE, Visiting
from tests.page.serving import Loop, SayingHost, Site, site_of
from tests.page.test_looks import CONTRASTS, LEAST_CONTRAST
from tests.toys.codec import codec_expected, write_codec

SPLIT = """async ([bytes, sizes]) => {
  const { PacketSplitter } = await import("/page/snc1.js");
  const splitter = new PacketSplitter();
  const items = [];
  for (let at = 0, i = 0; at < bytes.length; at += sizes[i++ % sizes.length]) {
    const part = new Uint8Array(bytes.slice(at, at + sizes[i % sizes.length]));
    items.push(...[...splitter.feed(part.buffer)].map((item) => ({ ...item, bytes: [...item.bytes] })));
  }
  return { items, header: splitter.header, samples: splitter.samples };
}"""
LOSE = """(percent) => {
  const slider = document.getElementById("loss");
  slider.value = percent;
  for (const name of ["input", "change"]) slider.dispatchEvent(new Event(name));
}"""


@pytest.fixture(scope="module")
def codec(loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A real gateway with a codec that can be worked out by hand."""
    folder = tmp_path_factory.mktemp("codec")
    write_codec(folder)
    running = running_host(Settings(bundle_path=(folder,), models=("codec",), engine=EngineSection(workers=1)))
    host = loop.run(running.__aenter__())
    try:
        with site_of(loop, host) as site:
            yield site
    finally:
        loop.run(running.__aexit__(None, None, None))


def opened(visit: Visiting, which: Any, site: Site, **options: Any) -> browser.Visit:
    """Where nothing else is served, the page is the codec's."""
    page = visit(which, site, **options)
    browser.playwright.expect(page.page.locator("#codec-record")).to_be_enabled()
    return page


def coded(page: browser.Visit, path: Path, frames: int = 10) -> None:
    page.page.select_option("select[name=frames]", str(frames))
    page.page.set_input_files("#codec-file", path)
    page.has_text("codec-status-text", "Done")


def samples_of(wav: bytes) -> np.ndarray:
    sound, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
    assert rate == RATE
    return sound


def test_a_server_without_a_codec_says_nothing_of_one(mute: Any, loop: Loop, visit: Visiting) -> None:
    """Not even to those who ask for it."""
    with site_of(loop, SayingHost()) as site:
        page = visit(mute, site)
        page.page.goto(f"{site.url()}#codec")
        assert not page.page.locator("#views").is_visible()
        assert not page.page.locator("#codec").is_visible()
        assert page.page.locator("#record").is_visible()


def test_there_and_back(mute: Any, codec: Site, visit: Visiting, speech: Path) -> None:
    """The file that is saved is a whole stream, its figures are those on the page, and its sound is the codec's."""
    page = opened(visit, mute, codec)
    assert not page.page.locator("#record").is_visible()
    coded(page, speech)
    found = describe(page.saved("SNC"))
    sound = samples_of(speech.read_bytes())
    assert (found.missing, found.total_samples, found.header.frames_per_packet) == (None, len(sound), 10)
    page.has_text("packet-count", f"{found.n_packets}, 0 lost")
    page.has_text("byte-count", f"{found.packet_bytes} bytes")
    page.has_text("rate-mean", f"{found.bits_per_second / 1000:.2f} kbit/s")
    page.has_text("rate-payload", f"{found.payload_bits_per_second / 1000:.2f} kbit/s")
    page.has_text("decoded-length", f"{len(sound) / RATE:.2f} s")
    page.has_text("codec-info", re.compile(r"^codec@1\.0\.0, a packet every 50 ms"))
    assert page.saved("Original WAV") == speech.read_bytes()
    np.testing.assert_allclose(samples_of(page.saved("Decoded WAV")), codec_expected(sound), atol=1 / 32768)


def test_packets_are_lost_here(mute: Any, codec: Site, visit: Visiting, speech: Path) -> None:
    """What was coded stays whole; what is decoded keeps its length, and sounds otherwise."""
    page = opened(visit, mute, codec)
    coded(page, speech)
    stream, sound = page.saved("SNC"), samples_of(page.saved("Decoded WAV"))
    page.call(LOSE, 30)
    page.has_text("loss-text", "30 %")
    page.has_text("packet-count", re.compile(r"^\d+, [1-9]\d* lost$"))
    page.has_text("codec-status-text", "Done")
    assert page.saved("SNC") == stream
    thinned = samples_of(page.saved("Decoded WAV"))
    assert len(thinned) == len(sound)
    assert np.abs(thinned - sound).max() > 0.01
    lost = int(re.findall(r", (\d+) lost", page.page.inner_text("#packet-count"))[0])
    assert 0.1 < lost / describe(stream).n_packets < 0.5


def test_talking(talking: Any, codec: Site, visit: Visiting) -> None:
    """Packets come while one speaks; after Stop there is sound of the same length."""
    page = opened(visit, talking, codec)
    page.page.locator("#codec-record").click()
    page.has_text("codec-status-text", "Listening")
    page.has_text("packet-count", re.compile(r"^\d{2,}, 0 lost$"))
    page.page.locator("#codec-record").click()
    page.has_text("codec-status-text", "Done")
    recorded, _ = soundfile.read(io.BytesIO(page.saved("Original WAV")))
    decoded, rate = soundfile.read(io.BytesIO(page.saved("Decoded WAV")))
    original_rate = soundfile.info(io.BytesIO(page.saved("Original WAV"))).samplerate
    assert len(decoded) / rate == pytest.approx(len(recorded) / original_rate, abs=0.001)


def test_changing_over_while_it_plays(mute: Any, codec: Site, visit: Visiting, speech: Path) -> None:
    """The other recording goes on where the first one was."""
    page = opened(visit, mute, codec)
    coded(page, speech)
    page.page.locator("#codec-play").click()
    page.has_text("codec-play-label", "Pause")
    page.has_text("codec-place", re.compile(r"^[1-9]|^0\.[3-9]"))
    before = float(page.page.inner_text("#codec-place").split(" ")[0])
    page.press("Decoded")
    assert page.page.locator("#hear-decoded").get_attribute("aria-pressed") == "true"
    page.has_text("codec-place", re.compile(rf"^(?!{before:.1f} ).*$"))
    assert float(page.page.inner_text("#codec-place").split(" ")[0]) >= before
    page.press("Pause")
    page.has_text("codec-play-label", "Play")


def test_a_refusal_is_shown_as_text(mute: Any, codec: Site, visit: Visiting, speech: Path) -> None:
    """A rate that the model does not have: the server's words, and the next try works."""
    page = opened(visit, mute, codec)
    page.page.select_option("select[name=bitrate]", "1500")
    page.page.set_input_files("#codec-file", speech)
    page.has_text("codec-status-text", "Stopped")
    page.has_text("codec-notice-title", "The server refused the request")
    assert "1500" in page.page.inner_text("#codec-notice-text")
    page.page.select_option("select[name=bitrate]", "0")
    coded(page, speech)
    assert not page.page.locator("#codec-notice").is_visible()


def test_files_that_are_no_sound(mute: Any, codec: Site, visit: Visiting, tmp_path: Path) -> None:
    """Are said to be none."""
    path = tmp_path / "none.wav"
    path.write_text("no audio")
    page = opened(visit, mute, codec)
    page.page.set_input_files("#codec-file", path)
    page.has_text("codec-notice-title", "The file cannot be read")


def test_packets_are_split_as_the_server_does(mute: Any, codec: Site, visit: Visiting, speech: Path) -> None:
    """However the bytes are cut: header, packets with their payloads, the end."""
    page = opened(visit, mute, codec)
    page.page.locator("input[name=fec]").check()
    page.page.locator("input[name=dtx]").check()
    coded(page, speech, frames=16)
    stream = page.saved("SNC")
    reader = PacketReader()
    packets = [packet for packet in [*reader.feed(stream), *reader.finish()] if isinstance(packet, Packet)]
    header = reader.header
    assert header is not None
    for sizes in ([1], [7, 300, 2], [len(stream)]):
        found = page.call(SPLIT, [list(stream), sizes])
        items = [item for item in found["items"] if item["kind"] == "packet"]
        assert [(item["payload"], item["books"], item["isSilence"], item["isRedundant"]) for item in items] == [
            (len(packet.payload), packet.n_books, packet.is_silence, packet.has_fec) for packet in packets
        ]
        assert b"".join(bytes(item["bytes"]) for item in found["items"]) == stream
        assert (found["samples"], found["header"]["framesPerPacket"]) == (reader.total_samples, 16)
        assert (found["header"]["rate"], found["header"]["frameSamples"]) == (header.sample_rate, header.frame_samples)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_can_be_read(mute: Any, codec: Site, visit: Visiting, speech: Path, scheme: str) -> None:
    """No scrolling sideways, and text that stands out from what is behind it."""
    phone = {"viewport": {"width": 360, "height": 700}, "is_mobile": True, "has_touch": True, "color_scheme": scheme}
    page = opened(visit, mute, codec, **phone)
    coded(page, speech)
    assert page.call("() => document.scrollingElement.scrollWidth") <= 360
    assert [each for each in page.call(CONTRASTS) if each[2] < LEAST_CONTRAST] == []
