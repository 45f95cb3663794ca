"""The Wyoming protocol over a fake host: what is answered, what is refused by name, and that nothing stays behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from wyoming.event import Event, async_read_event, async_write_event

from streamer.errors import ModelFault, Overloaded
from streamer.gateway.server import Addresses
from streamer.gateway.wyoming.transcript import TranscriptWriter
from streamer.session.messages import Audio, Config, Done, End, Hotword, Result
from tests.gateway.fake_host import FakeHost
from tests.gateway.keyring import access_settings
from tests.gateway.serving import gateway_of, serving, with_loop

FORMAT = {"rate": 16000, "width": 2, "channels": 1}
START = Event("audio-start", FORMAT)
STOP = Event("audio-stop", {})
CHUNK = Event("audio-chunk", FORMAT, b"12")


class Client:
    """A raw connection that speaks in the real package's words."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, *events: Event) -> None:
        for event in events:
            await async_write_event(event, self.writer)

    async def read(self) -> Event:
        event = await async_read_event(self.reader)
        assert event is not None
        return event

    async def rest(self) -> list[Event]:
        """Everything that comes until the server closes."""
        events = []
        while (event := await async_read_event(self.reader)) is not None:
            events.append(event)
        return events


@asynccontextmanager
async def connected(addresses: Addresses, *events: Event) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(addresses.host, addresses.wyoming_port)
    try:
        client = Client(reader, writer)
        await client.send(*events)
        yield client
    finally:
        writer.close()


@asynccontextmanager
async def talking(host: FakeHost, *events: Event, **settings: Any) -> AsyncIterator[Client]:
    async with serving(host, wyoming_port=0, **settings) as addresses, connected(addresses, *events) as client:
        yield client


def error(text: str, code: str = "invalid_request") -> Event:
    return Event("error", {"text": text, "code": code})


def said(events: list[Event], kind: str) -> list[str]:
    return [event.data["text"] for event in events if event.type == kind]


@with_loop
async def test_a_stream_from_start_to_stop():
    """What is asked becomes the config; chunks are the new text, the transcript is all of it."""
    host = FakeHost()
    asked = Event(
        "transcribe", {"name": "echo@1", "language": "en_US", "transcript_terms": ["a"], "transcript_names": ["b"]}
    )
    async with talking(host, asked, START, CHUNK, Event("audio-chunk", FORMAT, b"1234"), STOP) as client:
        events = [await client.read() for _ in range(5)]
    assert events == [
        Event("transcript-start", {"language": "en"}),
        Event("transcript-chunk", {"text": "2"}),
        Event("transcript-chunk", {"text": " 4"}),
        Event("transcript", {"text": "2 4", "language": "en"}),
        Event("transcript-stop", {}),
    ]
    (stream,) = host.streams
    config, *rest = stream.got
    assert rest == [Audio(b"12"), Audio(b"1234"), End()]
    assert isinstance(config, Config)
    assert (config.encoding, config.sample_rate, config.channels, config.mode) == ("pcm_s16le", 16000, 1, "file")
    assert (config.model, config.language) == ("echo@1", "en")
    assert config.decoding.hotwords == (Hotword("a"), Hotword("b", 2.0))


@with_loop
async def test_a_request_holds_for_one_stream():
    """One connection serves transcripts one after the other; what was asked for the first is not kept."""
    host = FakeHost()
    async with talking(host, Event("transcribe", {"language": "en"}), START, STOP, START, CHUNK, STOP) as client:
        events = [await client.read() for _ in range(7)]
    assert said(events, "transcript") == ["", "2"]
    assert [stream.got[0].language for stream in host.streams] == ["en", ""]


@with_loop
async def test_describe_and_ping_are_answered_at_any_time():
    """Also while a stream is open; events that nobody knows are dropped."""
    ping, strange = Event("ping", {"text": "still there?"}), Event("voice-started", {"timestamp": 1})
    async with talking(FakeHost(), Event("describe", {}), START, ping, strange, CHUNK, Event("ping", {})) as client:
        info = await client.read()
        others = [await client.read() for _ in range(4)]
        await client.send(STOP)
        assert (await client.read()).data == {"text": "2"}
    (program,) = info.data["asr"]
    assert program["name"] == "streamer"
    assert program["supports_transcript_streaming"] is True
    assert [(model["name"], model["version"], model["languages"]) for model in program["models"]] == [
        ("echo", "1", ["en"])
    ]
    assert said(others, "pong") == ["still there?", ""]
    assert sorted(event.type for event in others) == ["pong", "pong", "transcript-chunk", "transcript-start"]


@with_loop
async def test_half_a_surrogate_pair_comes_back():
    """Text that UTF-8 cannot hold, which JSON can spell, does no harm."""
    async with talking(FakeHost()) as client:
        client.writer.write(b'{"type": "ping", "data": {"text": "\\ud800"}}\n')
        assert await client.read() == Event("pong", {"text": "\ud800"})


@with_loop
async def test_the_mode_is_set_by_the_operator():
    """The protocol does not say whether audio is live."""
    host = FakeHost()
    async with talking(host, START, adapter_mode="live") as client:
        await client.read()
    assert host.streams[0].got[0].mode == "live"


@with_loop
async def test_long_chunks_are_cut_to_what_a_session_takes():
    """A chunk of 300,000 bytes is neither refused nor changed."""
    host, data = FakeHost(), bytes(range(250)) * 1200
    async with talking(host, START, Event("audio-chunk", FORMAT, data), STOP) as client:
        while (await client.read()).type != "transcript":
            pass
    frames = [message.data for message in host.streams[0].got if isinstance(message, Audio)]
    assert b"".join(frames) == data
    assert max(map(len, frames)) == 64_000


def test_chunks_are_text_that_stays():
    """Of an interim only the stable part is said, of a final the rest; segments are one line."""
    writer = TranscriptWriter("")

    def result(segment: int, text: str, stable: int, is_final: bool = False) -> Result:
        return Result(segment, 0, text, stable, is_final, False, 0, 0, 1.0)

    messages = [
        result(0, "the fer", 0),
        result(0, "the ferry leaves", 3),
        result(0, "the fairy leaves at", 3),
        result(0, "the fairy leaves", 16, True),
        result(1, "at", 0),
        result(1, "at seven", 2),
        result(1, "at seven", 8, True),
        Done(0, 2),
    ]
    events = [event for message in messages for event in writer.events(message)]
    chunks = [event.data["text"] for event in events if event.type == "transcript-chunk"]
    assert chunks == ["the", " fairy leaves", " at", " seven"]
    assert [event.data for event in events if event.type == "transcript"] == [{"text": "".join(chunks)}]


BAD_LINES: dict[str, tuple[bytes, Event]] = {
    "not_json": (b"hello\n", error("event header: expected JSON, got b'hello\\n'")),
    "nothing": (b"\n", error("event header: expected JSON, got b'\\n'")),
    "not_utf8": (b"\xff\xfe\n", error("event header: expected JSON, got b'\\xff\\xfe\\n'")),
    "deep": (b"[" * 20_000 + b"\n", error(f"event header: expected JSON, got {b'[' * 60!r}")),
    "array": (b"[1]\n", error("event header: expected an object, got list")),
    "no_type": (b"{}\n", error("expected an event type, got None")),
    "type_of_numbers": (b'{"type": 3}\n', error("expected an event type, got 3")),
    "data_of_strings": (b'{"type": "ping", "data": "x"}\n', error("event ping data: expected an object, got str")),
    "more_data_of_strings": (
        b'{"type": "ping", "data_length": 3}\n"x"',
        error("event data: expected an object, got str"),
    ),
    "negative": (
        b'{"type": "ping", "data_length": -1}\n',
        error("event data_length: expected a number of bytes, got -1"),
    ),
    "half": (
        b'{"type": "ping", "payload_length": 0.5}\n',
        error("event payload_length: expected a number of bytes, got 0.5"),
    ),
    "long_data": (
        b'{"type": "ping", "data_length": 65537}\n',
        error("event data_length of 65537 bytes exceeds the limit of 65536 bytes", "message_too_large"),
    ),
    "long_payload": (
        b'{"type": "audio-chunk", "payload_length": 1048577}\n',
        error("event payload_length of 1048577 bytes exceeds the limit of 1048576 bytes", "message_too_large"),
    ),
    "long_header": (b" " * 65537, error("event header exceeds the limit of 65536 bytes", "message_too_large")),
}


@pytest.mark.parametrize("name", BAD_LINES)
@with_loop
async def test_bytes_that_are_no_event_are_refused(name):
    """The error says what is wrong, then the connection is closed; no stream was opened."""
    host, (line, expected) = FakeHost(), BAD_LINES[name]
    async with talking(host) as client:
        client.writer.write(line)
        assert await client.rest() == [expected]
    assert host.streams == []


def start(**values: object) -> list[Event]:
    return [Event("audio-start", {**FORMAT, **values})]


def asked(**values: object) -> list[Event]:
    return [Event("transcribe", values)]


BAD_EVENTS: dict[str, tuple[list[Event], str]] = {
    "chunk_first": ([CHUNK], "expected audio-start before audio-chunk"),
    "stop_first": ([STOP], "expected audio-start before audio-stop"),
    "no_rate": ([Event("audio-start", {})], "audio rate: expected samples per second, got None"),
    "rate_of_letters": (start(rate="16000"), "audio rate: expected samples per second, got '16000'"),
    "width": (start(width=4), "audio width: expected 2 bytes per sample, got 4"),
    "channels": (start(channels=2), "audio channels: expected 1, got 2"),
    "other_rate": (
        [START, Event("audio-chunk", {**FORMAT, "rate": 8000}, b"12")],
        "audio-chunk rate: expected 16000, got 8000",
    ),
    "cut_sample": (
        [START, Event("audio-chunk", FORMAT, b"123")],
        "audio frame of 3 bytes is not a multiple of 2 bytes per sample",
    ),
    "second_start": ([START, START], "expected audio-stop before audio-start"),
    "second_request": ([START, *asked()], "expected audio-stop before transcribe"),
    "context": (
        asked(context={"a": 1}),
        "transcribe context: expected none, this server keeps nothing from earlier requests",
    ),
    "sensitivity": (
        asked(vad_sensitivity="relaxed"),
        "transcribe vad_sensitivity: expected default, clients end their audio themselves, got 'relaxed'",
    ),
    "terms": (asked(transcript_terms="ferry"), "transcribe transcript_terms: expected a list of strings, got 'ferry'"),
    "names": (asked(transcript_names=[1]), "transcribe transcript_names: expected a list of strings, got [1]"),
    "language": (asked(language=3), "language: expected a string, got 3"),
    "program": ([Event("select-program", {"name": "piper"})], "select-program: expected streamer, got 'piper'"),
    "speech": ([Event("synthesize", {"text": "hi"})], "this server transcribes, expected no synthesize"),
}


@pytest.mark.parametrize("name", BAD_EVENTS)
@with_loop
async def test_events_out_of_place_are_refused(name):
    """By name, at once; a stream that was open is freed."""
    host, (events, text) = FakeHost(), BAD_EVENTS[name]
    async with talking(host, *events) as client:
        assert (await client.rest())[-1] == error(text)
    assert all(stream.aborted.is_set() for stream in host.streams)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (Overloaded("no slot is free"), error("no slot is free", "overloaded")),
        (ModelFault("step failed"), error("step failed", "internal")),
        (ValueError("secret"), error("internal error", "internal")),
    ],
)
@with_loop
async def test_errors_of_the_host_are_told(raised, expected):
    """With the name of the error as its code; of a bug the client learns nothing."""
    host = FakeHost()
    host.error = raised
    async with talking(host, START, CHUNK) as client:
        assert (await client.rest())[-1] == expected
    assert host.streams[0].aborted.is_set()


@pytest.mark.parametrize("sent", [[START, CHUNK], [START, CHUNK, STOP]])
@with_loop
async def test_a_client_that_goes_frees_its_stream(sent):
    """Whether or not its audio had ended."""
    host = FakeHost()
    async with talking(host, *sent) as client:
        await client.read()
        client.writer.transport.abort()
        await host.streams[0].aborted.wait()


@with_loop
async def test_an_event_cut_short_frees_the_stream():
    """The connection ends inside a chunk."""
    host = FakeHost()
    async with talking(host, START) as client:
        await client.read()
        client.writer.write(json.dumps({"type": "audio-chunk", "data": FORMAT, "payload_length": 9}).encode() + b"\n12")
        client.writer.write_eof()
        await host.streams[0].aborted.wait()
        assert await client.rest() == []


@with_loop
async def test_silent_connections_are_closed():
    """Between two streams the idle limit of sessions holds."""
    async with talking(FakeHost(), session={"idle_timeout_ms": 1}) as client:
        assert await client.rest() == [error("no event within 0.001 s", "timeout")]


@with_loop
async def test_connections_without_a_stream_are_counted():
    """Beyond `access.max_opening` they are refused at once; those with a stream open do not count."""
    ping = Event("ping", {})
    access = {"max_opening": 1}
    async with serving(FakeHost(), wyoming_port=0, access=access) as addresses, connected(addresses, START) as busy:
        assert (await busy.read()).type == "transcript-start"
        async with connected(addresses, ping) as idle:
            assert (await idle.read()).type == "pong"
            async with connected(addresses, ping) as third:
                told = error("1 connections have no stream open, try again later", "overloaded")
                assert await third.rest() == [told]
        await busy.send(STOP)
        assert (await busy.read()).type == "transcript"


@with_loop
async def test_a_client_that_does_not_read_is_cut_off():
    """Results that cannot leave do not wait for ever."""
    host = FakeHost()
    async with talking(host, START, session={"unread_limit_ms": 50}) as client:
        await host.connected.wait()
        text = "x" * 65536
        for index in range(400):
            host.streams[0].say(Result(index, 0, text, len(text), True, True, 0, 0, 1.0))
        await host.streams[0].aborted.wait()
        client.writer.transport.abort()


@with_loop
async def test_without_credentials_nobody_comes_in_where_keys_are_asked_for():
    """Every connection gets one error; `wyoming_open` lets everybody in all the same."""
    host, keys = FakeHost(), access_settings()
    for sent in ([START, CHUNK], [Event("describe", {})]):
        async with talking(host, *sent, access=keys) as client:
            assert await client.rest() == [error("expected an API key, got none", "unauthenticated")]
    assert host.streams == []
    async with talking(host, START, CHUNK, STOP, access=keys, wyoming_open=True) as client:
        assert (await client.read()).type == "transcript-start"


@with_loop
async def test_drain_ends_open_streams_and_closes_the_port():
    """A stream that outlives the deadline ends with an error, an idle connection without one."""
    host = FakeHost()
    gateway = gateway_of(host, wyoming_port=0)
    addresses = await gateway.start()
    assert addresses.wyoming == f"tcp://127.0.0.1:{addresses.wyoming_port}"
    async with connected(addresses, START) as client, connected(addresses, Event("ping", {})) as idle:
        await client.read()
        await idle.read()
        await gateway.drain()
        assert await client.rest() == [error("server shut down before the stream ended", "draining")]
        assert await idle.rest() == []
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(addresses.host, addresses.wyoming_port)


@with_loop
async def test_stopping_cuts_streams_off():
    """`stop` waits for nobody."""
    host = FakeHost()
    gateway = gateway_of(host, wyoming_port=0)
    async with connected(await gateway.start(), START) as client:
        await client.read()
        await gateway.stop()
        assert host.streams[0].aborted.is_set()


@with_loop
async def test_a_taken_port_is_a_failed_start():
    """No other port of the server stays open."""
    async with serving(FakeHost(), wyoming_port=0) as addresses:
        gateway = gateway_of(FakeHost(), wyoming_port=addresses.wyoming_port)
        with pytest.raises(OSError, match=r"^cannot bind wyoming to 127\.0\.0\.1:"):
            await gateway.start()


@with_loop
async def test_there_is_no_port_unless_it_is_asked_for():
    """Off by default."""
    async with serving(FakeHost()) as addresses:
        assert (addresses.wyoming_port, addresses.wyoming) == (None, None)
