"""Audio messages as samples, and the limits of what a message may hold."""

from __future__ import annotations

import io
import re
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from streamer.audio.encodings import check_format
from streamer.audio.extra import load_av
from streamer.audio.pcm import encode
from streamer.errors import InvalidRequest, MessageTooLarge, TooFast
from streamer.session.hearing import Hearing, longest_ms
from streamer.session.limits import SessionSettings, check_config
from streamer.session.messages import Audio, Config, Done, End, Finalize, Finalized, Warning
from tests.audio.compressed import decoded, flac, opus, opus_pages, silent_flac, speech
from tests.session.driver import Driver, packets, play
from tests.tasks import toy

SETTINGS = SessionSettings()
FLAC = Config("flac", 8000, 1, mode="file")
OPUS = Config("ogg_opus", 48000, 1, mode="file")
HOURS_10 = 36_000


def flac_of_hours() -> bytes:
    """Ten hours of silence as libsndfile writes it."""
    data = io.BytesIO()
    with soundfile.SoundFile(data, "w", 8000, 1, format="FLAC") as file:
        block = np.zeros(8000 * 600, np.int16)
        for _ in range(HOURS_10 // 600):
            file.write(block)
    return data.getvalue()


def opus_of_hours() -> bytes:
    return b"".join(opus_pages([250] * (HOURS_10 // 30)))


@pytest.mark.parametrize(
    ("config", "data", "most_bytes"),
    [
        (FLAC, flac_of_hours(), 1_100_000),
        (FLAC, silent_flac(1 + HOURS_10 * 8000 // 65535), 65_536),
        (OPUS, opus_of_hours(), 1_000_000),
    ],
    ids=["flac", "crafted_flac", "opus"],
)
def test_hours_of_silence_in_a_message_are_refused_within_the_limit(
    config: Config, data: bytes, most_bytes: int
) -> None:
    """A bomb is not decoded beyond the limit of one message, and its memory is bounded by that limit, too."""
    assert len(data) < most_bytes
    hearing = Hearing(config, SETTINGS)
    counted = CountedDecoder(hearing)
    tracemalloc.start()
    try:
        with pytest.raises(MessageTooLarge, match=r"^audio frame decodes to more than the limit of 10000 ms"):
            hearing.take(Audio(data[:65536]), 0, 0.0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # At most the block that goes beyond the limit is decoded, too: 65,535 samples of flac.
    assert counted.samples <= 10 * config.sample_rate + 65_535
    assert peak < 8 * counted.samples + 500_000


class CountedDecoder:
    """Counts what the decoder of a hearing yields."""

    def __init__(self, hearing: Hearing) -> None:
        self.samples = 0
        assert hearing._decoder is not None
        self._decoder = hearing._decoder
        hearing._decoder = self  # type: ignore[assignment]

    def feed(self, data: bytes):
        for block in self._decoder.feed(data):
            self.samples += len(block)
            yield block


def test_live_streams_are_held_to_their_pace() -> None:
    """What counts is decoded audio: small messages that hold too much of it are too fast."""
    hearing = Hearing(replace(OPUS, mode="live"), SETTINGS)
    pages = opus_pages([50] * 4)
    received = 0
    for page in pages[:3]:
        received += len(hearing.take(Audio(page), received, 0.0))
    with pytest.raises(TooFast, match=r"^audio is \d+ ms ahead of real time"):
        hearing.take(Audio(pages[3]), received, 0.0)


def test_the_same_audio_in_time_is_heard() -> None:
    """The clock runs, and so may the audio."""
    hearing = Hearing(replace(OPUS, mode="live"), SETTINGS)
    received = 0
    for second, page in enumerate(opus_pages([50] * 4)):
        received += len(hearing.take(Audio(page), received, 6.0 * second))
    assert received == 200 * 5760 - 312


@pytest.mark.parametrize("config", [FLAC, OPUS])
def test_compressed_audio_has_no_sample_numbers(config: Config) -> None:
    """Bytes of a file are not samples."""
    with pytest.raises(InvalidRequest, match=f"^expected no first_sample with encoding {config.encoding}, got 0$"):
        Hearing(config, SETTINGS).take(Audio(b"fLaC", 0), 0, 0.0)


@pytest.mark.parametrize("config", [FLAC, OPUS])
def test_messages_of_too_many_bytes_are_refused(config: Config) -> None:
    """As with PCM."""
    with pytest.raises(MessageTooLarge, match="^audio frame of 65537 bytes exceeds the limit of 65536 bytes$"):
        Hearing(config, SETTINGS).take(Audio(bytes(65537)), 0, 0.0)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (replace(FLAC, channels=3), "expected 1 or 2 channels, got 3"),
        (replace(FLAC, channels=0), "expected 1 or 2 channels, got 0"),
        (replace(FLAC, sample_rate=96000), "expected an integer sample rate from 8000 to 48000 Hz, got 96000"),
        (replace(OPUS, sample_rate=16000), "expected a sample rate of 48000 Hz, to which opus decodes, got 16000"),
        (replace(FLAC, resumable=True), "expected a pcm encoding for a stream that can be resumed, got flac"),
        (replace(OPUS, resumable=True), "expected a pcm encoding for a stream that can be resumed, got ogg_opus"),
        (Config("pcm_mulaw", 8000, 2), "expected 1 channel, got 2"),
        (Config("pcm_alaw", 4000, 1), "expected an integer sample rate from 8000 to 48000 Hz, got 4000"),
    ],
)
def test_formats_that_cannot_be_served_are_refused(config: Config, message: str) -> None:
    """Before any audio."""
    with pytest.raises(InvalidRequest, match=f"^{message}$"):
        check_config(config)


@pytest.mark.parametrize("encoding", ["flac", "ogg_opus"])
def test_without_pyav_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    """Who lacks the package learns how to get it."""
    load_av.cache_clear()
    monkeypatch.setitem(sys.modules, "av", None)
    try:
        with pytest.raises(InvalidRequest) as caught:
            check_format(encoding, 48000, 1)
    finally:
        load_av.cache_clear()
    assert str(caught.value) == (
        f"encoding {encoding} needs the package av, which is not installed, expected the extra av: "
        "pip install 'streamer-speech[av]'"
    )


@pytest.mark.parametrize(
    ("config", "ms"),
    [
        (Config("pcm_s16le", 16000, 1), 100.0),
        (Config("pcm_f32le", 16000, 1), 50.0),
        (Config("pcm_mulaw", 8000, 1), 400.0),
        (Config("pcm_alaw", 16000, 1), 200.0),
        (FLAC, 10_000),
        (OPUS, 10_000),
    ],
)
def test_waiting_audio_counts_at_its_longest(config: Config, ms: float) -> None:
    """Back-pressure reckons with the most that undecoded bytes can hold."""
    assert longest_ms(Audio(bytes(3200)), config, SETTINGS) == ms


SPEECH = toy.speech([("", 100), ("▁he", 60), ("llo", 60), ("", 100), ("▁wor", 60), ("ld", 60), ("", 300)])
N = len(SPEECH)


def said(driver: Driver) -> list:
    return [message for message in driver.without_flow() if isinstance(message, Finalized | Done | Warning)]


@pytest.mark.parametrize("size", [100, 1000, 60_000])
def test_a_flac_stream_says_what_its_samples_say(folder, size: int) -> None:
    """The toy model hears every sample: its text is that of the decoded file, whatever the pieces."""
    data = flac(SPEECH, 16000)
    pieces = [Audio(data[start : start + size]) for start in range(0, len(data), size)]
    config = Config("flac", 16000, 1, mode="file")
    heard = play(Driver(folder), [config, *pieces, End()])
    expected = play(Driver(folder), [replace(config, encoding="pcm_f32le"), *packets(decoded(data), [1600]), End()])
    assert heard.text() == expected.text() != ""
    assert said(heard) == said(expected) == [Done(N, len(expected.finals()))]


def test_a_finalize_hears_the_frame_before_it(folder) -> None:
    """flac waits for the next frame to end one, but not at a `Finalize`, even if the frame came in small pieces."""
    data = flac(SPEECH, 16000)
    driver = play(Driver(folder), [Config("flac", 16000, 1, mode="file")])
    # A small message does not end a frame of thousands of bytes on its own.
    for start in range(0, len(data), 50):
        driver.send(Audio(data[start : start + 50]))
    assert driver.session.buffered_samples < N
    driver.send(Finalize("all"))
    assert said(driver) == [Finalized("all", N)]


@pytest.mark.parametrize(
    ("config", "data", "lacks", "whole"),
    [
        (
            replace(FLAC, sample_rate=16000),
            flac(SPEECH, 16000)[:-10],
            r"the rest of a frame of which \d+ bytes came",
            8192,
        ),
        (OPUS, opus(speech(96_000, 48000))[:-10], r"the rest of a page or packet of which \d+ bytes came", 47_000),
    ],
    ids=["flac", "ogg_opus"],
)
def test_a_truncated_stream_is_heard_and_said_to_be(
    folder, config: Config, data: bytes, lacks: str, whole: int
) -> None:
    """What came whole is transcribed; a warning says that the end is missing."""
    driver = play(
        Driver(folder), [config, *(Audio(data[start : start + 2000]) for start in range(0, len(data), 2000)), End()]
    )
    warning, done = said(driver)
    assert warning.code == "truncated_audio"
    assert re.fullmatch(f"{config.encoding} stream is truncated, it lacks {lacks}", warning.message)
    assert done.audio_samples >= whole


def test_a_stream_without_its_headers_is_refused(folder) -> None:
    """Nothing was heard that could stand."""
    driver = play(Driver(folder), [FLAC, Audio(b"fLaC")])
    with pytest.raises(InvalidRequest, match="^flac stream is truncated, it lacks its headers$"):
        driver.send(End())


def test_a_stream_of_nothing_ends_well(folder) -> None:
    """As with PCM."""
    assert play(Driver(folder), [OPUS, End()]).without_flow()[-1] == Done(0, 0)


@pytest.mark.parametrize("encoding", ["pcm_mulaw", "pcm_alaw"])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_telephone_audio_says_what_its_samples_say(folder, encoding: str, rate: int) -> None:
    """G.711 at any rate, numbered like other PCM."""
    config = Config(encoding, rate, 1, mode="file")
    spoken = toy.speech([("", 100), ("▁he", 60), ("llo", 60), ("", 100)], rate)
    heard = play(Driver(folder), [config, *packets(spoken, [77], encoding), End()])
    raw = {"format": "RAW", "subtype": "ULAW" if encoding == "pcm_mulaw" else "ALAW", "samplerate": rate, "channels": 1}
    samples = soundfile.read(io.BytesIO(encode(spoken, encoding)), dtype="float32", **raw)[0]
    expected = play(Driver(folder), [replace(config, encoding="pcm_f32le"), *packets(samples, [77]), End()])
    assert heard.text() == expected.text() != ""


def test_compressed_streams_have_no_snapshot(folder) -> None:
    """Their decoders cannot be written down."""
    driver = play(Driver(folder), [FLAC])
    with pytest.raises(InvalidRequest, match="^expected a pcm encoding for a stream that can be resumed, got flac$"):
        driver.session.snapshot()
