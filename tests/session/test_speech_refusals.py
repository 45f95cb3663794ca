"""What streams of text are refused for, and when."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streamer.errors import InvalidRequest, MessageTooLarge, StreamerError, TooFast
from streamer.session.messages import Audio, End, Endpointing, Finalize, Interrupt, Text, Update, Vad
from tests.session.codec_driver import CodecBench, encoding
from tests.session.speech_driver import FILE, LIVE, SpeechBench, SpeechStream, speaking
from tests.toys.voice import RATE


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> SpeechBench:
    return SpeechBench(tmp_path_factory.mktemp("voice"))


REFUSED: dict[str, tuple[list[Any], type[StreamerError], str]] = {
    "audio": ([Audio(b"\0\0")], InvalidRequest, "expected text in a stream of task synthesize, got audio"),
    "update": (
        [Update(Endpointing())],
        InvalidRequest,
        "expected no update in a stream of task synthesize, which hears no pauses",
    ),
    "control": (["Hello\0."], InvalidRequest, "text: expected no control characters, got U+0000 at character 5"),
    "escape": (["\x1b[2J"], InvalidRequest, "text: expected no control characters, got U+001B at character 0"),
    "c1": (["h\u00e9\u0090"], InvalidRequest, "text: expected no control characters, got U+0090 at character 2"),
    "surrogate": (["a\ud800"], InvalidRequest, "text: expected no lone surrogates, got U+D800 at character 1"),
    "large": (
        ["é" * 40_000],
        MessageTooLarge,
        "text of 80000 bytes exceeds the limit of 65536 bytes, send smaller parts",
    ),
    "much": (
        ["Hello. " * 9000, "Hello. " * 9000],
        TooFast,
        "126000 characters of text wait to be spoken, limit is 65536, mode file has none",
    ),
    "id": ([Finalize("x" * 129)], InvalidRequest, "expected a finalize id of at most 128 characters, got 129"),
    "interrupt id": (
        [Interrupt("x" * 129)],
        InvalidRequest,
        "expected an interrupt id of at most 128 characters, got 129",
    ),
    "controls": (
        ["Hello", *[Finalize()] * 65],
        InvalidRequest,
        "expected at most 64 controls that wait for earlier audio",
    ),
    "text after end": ([End(), "a"], InvalidRequest, "expected no message after the stream closed, got text"),
    "interrupt after end": (["Hi", End(), Interrupt()], InvalidRequest, "expected no message after end, got interrupt"),
}


def send_all(bench: SpeechBench, stream: SpeechStream, messages: list[Any]) -> None:
    for message in messages:
        stream.send(message)
        if isinstance(message, str):
            bench.step(stream)


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_what_cannot_be_spoken(bench: SpeechBench, name: str) -> None:
    """Each refusal says what was expected and what came, and ends the stream."""
    messages, kind, refusal = REFUSED[name]
    stream = bench.open(LIVE)
    with pytest.raises(kind) as error:
        send_all(bench, stream, messages)
    assert str(error.value) == refusal
    assert stream.session.closed


CONFIGS = {
    "voice": (speaking(voice="bob"), "synthesis voice: expected one of ada, got 'bob'"),
    "slow": (speaking(speed=0.4), "synthesis speed: expected a number from 0.5 to 2, got 0.4"),
    "speed": (speaking(speed=float("nan")), "synthesis speed: expected a number from 0.5 to 2, got nan"),
    "temperature": (speaking(temperature=3.0), "synthesis temperature: expected a number from 0 to 2, got 3.0"),
    "lead": (speaking(lead_s=0.1), "synthesis lead_s: expected a number from 0.5 to 60, got 0.1"),
    "seed": (speaking(seed=-1), "synthesis seed: expected an integer from 0 to 9223372036854775807, got -1"),
    "output": (
        speaking(output_encoding="flac"),
        "synthesis output_encoding: expected one of pcm_s16le, pcm_f32le, pcm_mulaw, pcm_alaw or nothing, got 'flac'",
    ),
    "pieces": (
        speaking(pieces="letters"),
        "synthesis pieces: expected one of clauses, words or nothing, got 'letters'",
    ),
    "phonemes": (speaking(phonemes="x"), "synthesis phonemes: expected espeak or nothing, got 'x'"),
    "encoding": (replace(FILE, encoding="pcm_s16le"), "expected encoding text for task synthesize, got pcm_s16le"),
    "task": (replace(FILE, task="transcribe"), "expected task synthesize for encoding text, got 'transcribe'"),
    "other": (
        replace(encoding(), synthesis=speaking().synthesis),
        "expected no synthesis options for task codec, got some",
    ),
    "rate": (replace(FILE, sample_rate=7999), "expected an integer sample rate from 8000 to 48000 Hz, got 7999"),
    "channels": (replace(FILE, channels=2), "expected 1 channel, got 2"),
    "vad": (
        replace(FILE, vad=Vad(events=True)),
        "expected no vad in a stream of task synthesize, got vad.events or vad.gate",
    ),
    "resumable": (
        replace(FILE, resumable=True),
        "expected a task of words for a stream that can be resumed, got synthesize",
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_refuses_configs(bench: SpeechBench, name: str) -> None:
    """At once, before any text."""
    config, refusal = CONFIGS[name]
    with pytest.raises(InvalidRequest) as error:
        bench.open(config)
    assert str(error.value) == refusal


def test_streams_of_audio_take_no_text(tmp_path: Path) -> None:
    """Nor are they interrupted."""
    for message, refusal in (
        (Text("a"), "expected audio in a stream of task codec, got text"),
        (Interrupt(), "expected no interrupt in a stream of task codec, which does not speak"),
    ):
        stream = CodecBench(tmp_path / type(message).__name__).open(encoding())
        with pytest.raises(InvalidRequest) as error:
            stream.send(message)
        assert str(error.value) == refusal


def test_a_file_that_is_full_of_text_says_so(bench: SpeechBench) -> None:
    """More text than may wait counts as more audio than may, so its client is held up; a live one is never."""
    stream, live = bench.open(FILE), bench.open(LIVE, 1)
    assert stream.session.buffered_samples == 0
    for each in (stream, live):
        each.send("Hello. " * 8000)
    full = bench.settings.max_ahead_ms * RATE / 1000
    assert stream.session.buffered_samples == pytest.approx(full * 56_000 / 65_536, rel=1e-3)
    assert live.session.buffered_samples == 0
    stream.send("Hello. " * 8000)
    assert stream.session.buffered_samples > full
    assert stream.session.longest_ms(Text("a" * 65_536)) == bench.settings.max_ahead_ms
