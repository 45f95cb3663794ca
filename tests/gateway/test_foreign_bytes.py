"""Whatever bytes come in protocols of others: what is read of them is right, or the error is one of ours."""

from __future__ import annotations

import asyncio
import contextlib
import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamer.errors import InvalidRequest, MessageTooLarge
from streamer.gateway.head import AudioHead
from streamer.gateway.relay import ClientGone
from streamer.gateway.riva import messages
from streamer.gateway.riva.requests import parse, read_request
from streamer.gateway.vosk.requests import Change, Eof, Reset, Settings, read_text
from streamer.gateway.wyoming.events import MAX_HEADER_BYTES, Event, encode, read_event
from streamer.gateway.wyoming.requests import read_format
from streamer.gateway.wyoming.requests import read_request as read_transcribe
from streamer.session.limits import check_config
from tests.gateway.fake_host import FakeModelInfo

# The machine may be busy; how long an example takes says nothing here.
any_time = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=5,
)
format_keys = st.sampled_from(["rate", "width", "channels"])
request_keys = st.sampled_from(
    ["name", "language", "context", "vad_sensitivity", "transcript_names", "transcript_terms"]
)
config_keys = st.sampled_from(["sample_rate", "phrase_list", "words", "max_alternatives", "model"])


def events_in(data: bytes) -> list[Event]:
    async def read() -> list[Event]:
        reader = asyncio.StreamReader(limit=MAX_HEADER_BYTES)
        reader.feed_data(data)
        reader.feed_eof()
        events = []
        while (event := await read_event(reader)) is not None:
            events.append(event)
        return events

    return asyncio.run(read())


@any_time
@given(
    st.lists(
        st.tuples(
            st.text(max_size=9), st.dictionaries(st.text(max_size=5), json_values, max_size=2), st.binary(max_size=9)
        ),
        max_size=3,
    )
)
def test_events_are_read_as_they_were_written(parts):
    """One after the other, with any values, text and payload."""
    events = [Event(kind, data, payload) for kind, data, payload in parts]
    read = events_in(b"".join(map(encode, events)))
    assert list(map(repr, read)) == list(map(repr, events))


@any_time
@given(st.binary(max_size=200) | st.lists(json_values.map(json.dumps)).map(lambda lines: "\n".join(lines).encode()))
def test_bytes_that_are_no_events(data):
    """They end in an error that the client can be told, or in the end of the connection."""
    with contextlib.suppress(InvalidRequest, MessageTooLarge, ClientGone):
        events_in(data)


@any_time
@given(st.dictionaries(format_keys | request_keys, json_values))
def test_any_values_of_wyoming_requests(data):
    """What is let through is of the declared kind."""
    with contextlib.suppress(InvalidRequest):
        assert type(read_format(data)) is int
    with contextlib.suppress(InvalidRequest):
        request = read_transcribe(data)
        assert isinstance(request.model, str)
        assert isinstance(request.language, str)


@any_time
@given(
    st.text(max_size=50)
    | st.dictionaries(st.sampled_from(["eof", "reset", "config"]), json_values, max_size=2).map(json.dumps)
    | st.dictionaries(config_keys, json_values).map(lambda config: json.dumps({"config": config}))
)
def test_any_text_of_vosk_clients(text):
    """A config that is let through makes a config that a session can judge."""
    with contextlib.suppress(InvalidRequest):
        message = read_text(text)
        assert isinstance(message, Change | Reset | Eof)
        if isinstance(message, Change):
            check_config(message.apply(Settings()).config(16000, "file"))


MAGIC = st.sampled_from([b"", b"RIFF\0\0\0\0WAVE", b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0", b"fLaC", b"OggS"])


@any_time
@given(
    MAGIC,
    st.lists(st.binary(max_size=40), max_size=6),
    st.sampled_from([None, "pcm_s16le", "pcm_mulaw", "flac", "ogg_opus"]),
    st.sampled_from([0, 8000, 16000]),
)
def test_any_beginning_of_audio(magic, pieces, declared, rate):
    """Audio is passed on only once its format is known, and never more than came."""
    head, passed = AudioHead(declared, rate), 0
    with contextlib.suppress(InvalidRequest):
        for piece in (magic, *pieces):
            passed += len(head.feed(piece))
            assert head.format is not None or not passed
        passed += len(head.finish())
        assert head.format is not None
    assert passed <= len(magic) + sum(map(len, pieces))


@any_time
@given(st.binary(max_size=60))
def test_any_bytes_for_riva(data):
    """They are a request that is checked, or an error of ours."""
    with contextlib.suppress(InvalidRequest):
        request = parse(messages.StreamingRecognizeRequest, data)
        asked = read_request(request.streaming_config.config, True, "file", (FakeModelInfo(),))
        audio_format = asked.head().format
        if audio_format is not None:
            check_config(asked.stream_config(audio_format))
