"""JSON text and messages."""

from __future__ import annotations

import dataclasses
import json as stdlib_json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import InvalidRequest, Overloaded
from streamer.session.messages import (
    Alternative,
    Audio,
    AudioOut,
    Cancel,
    Config,
    Decoding,
    Done,
    End,
    Endpointing,
    Finalize,
    Finalized,
    Flow,
    Hotword,
    KeepAlive,
    Packets,
    Result,
    Update,
    Word,
)
from streamer.wire import json
from streamer.wire.failure import Failure
from tests.wire.examples import CLIENT_KINDS, client_messages, server_messages

CONFIG = '{"type":"config","encoding":"pcm_s16le","sample_rate":16000,"channels":1}'
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
TYPE_NAMES = st.sampled_from(["config", "audio", "finalize", "keep_alive", "update", "cancel", "end", "ready"])
KEYS = st.sampled_from([field.name for kind in CLIENT_KINDS for field in dataclasses.fields(kind)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CONFIG, Config("pcm_s16le", 16000, 1)),
        (
            CONFIG[:-1] + ',"mode":"file","interim_results":false,"endpointing":{"max_segment_s":5}}',
            Config(
                "pcm_s16le",
                16000,
                1,
                mode="file",
                interim_results=False,
                endpointing=Endpointing(max_segment_s=5.0),
            ),
        ),
        (
            CONFIG[:-1] + ',"decoding":{"beam":8,"hotwords":[{"phrase":"ada"},{"phrase":"turing","boost":3}]}}',
            Config("pcm_s16le", 16000, 1, decoding=Decoding(beam=8, hotwords=(Hotword("ada"), Hotword("turing", 3.0)))),
        ),
        (
            CONFIG[:-1] + ',"decoding":{"lm_scale":0,"n_best":2}}',
            Config("pcm_s16le", 16000, 1, decoding=Decoding(lm_scale=0.0, n_best=2)),
        ),
        (CONFIG[:-1] + ',"decoding":{"lm_scale":null}}', Config("pcm_s16le", 16000, 1)),
        ('{"type":"finalize","id":"a"}', Finalize("a")),
        ('{"type":"finalize"}', Finalize()),
        ('{"type":"keep_alive"}', KeepAlive()),
        ('{"type":"update","endpointing":{"enabled":false}}', Update(Endpointing(enabled=False))),
        ('{"type":"cancel"}', Cancel()),
        ('{"type":"end"}', End()),
        (b"\x01\x02", Audio(b"\x01\x02")),
        (b"", Audio(b"")),
    ],
)
def test_reads_client_frames(text, message):
    """Text frames are controls with defaults filled in, binary frames are audio."""
    assert json.decode_client(text) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "message: expected JSON, got expecting value at character 0"),
        ('{"type":', "message: expected JSON, got expecting value at character 8"),
        ("[]", "message: expected an object, got an array"),
        ("3", "message: expected an object, got 3"),
        ("{}", "type: expected a string, got null"),
        ('{"type":7}', "type: expected a string, got 7"),
        (
            '{"type":"start"}',
            "type: expected one of config, text, finalize, keep_alive, update, interrupt, cancel, end, got 'start'",
        ),
        ('{"type":"end","now":1}', "end: expected no keys but type, got 'now'"),
        ('{"type":"finalize","ID":"a"}', "finalize: expected no keys but type, id, got 'ID'"),
        ('{"type":"finalize","id":1}', "finalize.id: expected a string, got 1"),
        ('{"type":"finalize","id":null}', "finalize.id: expected a string, got null"),
        ('{"type":"finalize","id":"\\ud800"}', "finalize.id: expected a string, got '\\ud800'"),
        ('{"type":"config","encoding":"pcm_s16le"}', "config.sample_rate: expected an integer, got nothing"),
        (CONFIG.replace("16000", '"16000"'), "config.sample_rate: expected an integer, got '16000'"),
        (CONFIG.replace("16000", "16000.0"), "config.sample_rate: expected an integer, got 16000.0"),
        (CONFIG.replace("16000", "true"), "config.sample_rate: expected an integer, got True"),
        (CONFIG.replace("16000", str(2**63)), f"config.sample_rate: expected an integer, got {2**63}"),
        (CONFIG.replace("16000", "9" * 5000), "message: expected numbers of at most 64 bits, got more digits"),
        (CONFIG[:-1] + ',"channels":2}', "message: expected each key once, got 'channels'"),
        (CONFIG[:-1] + ',"interim_results":1}', "config.interim_results: expected true or false, got 1"),
        (CONFIG[:-1] + ',"endpointing":[]}', "config.endpointing: expected an object, got an array"),
        (
            CONFIG[:-1] + ',"endpointing":{"max_segment_s":1e999}}',
            "config.endpointing.max_segment_s: expected a number, got inf",
        ),
        (
            CONFIG[:-1] + ',"decoding":{"beams":4}}',
            "config.decoding: expected no keys but method, beam, lm_scale, hotwords, hotword_boost, n_best, got 'beam",
        ),
        (
            CONFIG[:-1] + ',"decoding":{"hotwords":[{"phrase":"a"},{"word":"b"}]}}',
            "config.decoding.hotwords[1]: expected no keys but phrase, boost, got 'word'",
        ),
        (
            CONFIG[:-1] + ',"decoding":{"hotwords":[{}]}}',
            "config.decoding.hotwords[0].phrase: expected a string, got nothing",
        ),
        (
            CONFIG[:-1] + ',"decoding":{"hotwords":["ada"]}}',
            "config.decoding.hotwords[0]: expected an object, got 'ada'",
        ),
        (CONFIG[:-1] + ',"decoding":{"lm_scale":"1"}}', "config.decoding.lm_scale: expected a number, got '1'"),
        (CONFIG[:-1] + ',"decoding":{"beam":4.5}}', "config.decoding.beam: expected an integer, got 4.5"),
        ('{"type":"finalize","id":NaN}', "message: expected finite numbers, got NaN"),
        ('{"type":"update"}', "update.endpointing: expected an object, got nothing"),
        ("[" * 60000, "message: expected at most three levels of objects, got far more"),
        (" " * 65537, "message: expected at most 65536 characters, got 65537"),
        ('{"type":"finalize","id":{"a":1}}', "finalize.id: expected a string, got an object"),
        (
            f'{{"type":"{"x" * 99}"}}',
            "type: expected one of config, text, finalize, keep_alive, update, interrupt, cancel, end, got '",
        ),
    ],
)
def test_refuses_what_is_not_a_message(text, message):
    """Each refusal names the key, what was expected and what was there, in short."""
    with pytest.raises(InvalidRequest) as refusal:
        json.decode_client(text)
    assert str(refusal.value).startswith(message)
    assert len(str(refusal.value)) < 250


@settings(deadline=None)
@given(st.text() | st.binary())
def test_any_frame_is_a_message_or_refused(frame):
    """No frame of a client raises anything but InvalidRequest."""
    try:
        assert isinstance(json.decode_client(frame), CLIENT_KINDS)
    except InvalidRequest as error:
        str(error).encode()


@settings(deadline=None)
@given(TYPE_NAMES | st.text(), st.dictionaries(KEYS | st.text(), JSON_VALUES, max_size=4))
def test_any_object_is_a_message_or_refused(name, values):
    """Nor does any JSON object, and what is accepted can be sent again."""
    try:
        message = json.decode_client(stdlib_json.dumps({"type": name, **values}))
    except InvalidRequest as error:
        str(error).encode()
    else:
        assert json.decode_client(json.encode_client(message)) == message


@settings(deadline=None)
@given(client_messages)
def test_client_messages_survive(message):
    """Every client message reads back as it was written."""
    if isinstance(message, Audio):
        message = Audio(message.data)
    assert json.decode_client(json.encode_client(message)) == message


@settings(deadline=None)
@given(server_messages, st.integers(1, 192_000))
def test_server_messages_survive(message, wire_rate):
    """Every server message reads back as it was written, whatever is derived beside it; sound and packets are bare."""
    frame = json.encode_server(message, wire_rate)
    if isinstance(message, Packets | AudioOut):
        assert frame == message.data
    else:
        assert json.decode_server(frame) == message


def test_numbered_audio_is_refused():
    """Raw binary frames cannot hold first_sample, and dropping it silently would be a lie."""
    with pytest.raises(InvalidRequest, match=r"audio\.first_sample: expected nothing over websocket"):
        json.encode_client(Audio(b"", 4))


def test_server_messages_carry_milliseconds():
    """Each sample position has its time beside it, for results and for their words."""
    words = (Word("hi", 8000, 16000, 0.5),)
    text = json.encode_server(Result(0, 1, "hi", 2, True, True, 0, 16001, 0.5, words), 16000)
    assert text == (
        '{"type":"result","segment_id":0,"revision":1,"text":"hi","stable_chars":2,"is_final":true,'
        '"end_of_turn":true,"start_sample":0,"end_sample":16001,"confidence":0.5,"words":[{"word":"hi",'
        '"start_sample":8000,"end_sample":16000,"confidence":0.5,"start_ms":500.0,"end_ms":1000.0}],'
        '"alternatives":[],"start_ms":0.0,"end_ms":1000.062}'
    )


def test_alternatives_are_said_in_order():
    """Each alternative is an object of its text and its confidence."""
    best = (Alternative("hi", 0.5), Alternative("high", 0.25))
    plain = stdlib_json.loads(json.encode_server(Result(0, 1, "hi", 2, True, True, 0, 1, 0.5, (), best), 16000))
    assert plain["alternatives"] == [{"text": "hi", "confidence": 0.5}, {"text": "high", "confidence": 0.25}]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Finalized("a", 8000), '{"type":"finalized","id":"a","sample":8000,"ms":1000.0}'),
        (
            Flow(16000, 8000, 1000.0, 2.5),
            '{"type":"flow","received_sample":16000,"processed_sample":8000,"buffered_ms":1000.0,"lag_ms":2.5,'
            '"received_ms":2000.0,"processed_ms":1000.0}',
        ),
        (
            Done(12, 1),
            '{"type":"done","audio_samples":12,"segments":1,"cancelled":false,"audio_ms":1.5}',
        ),
    ],
)
def test_server_text_is_compact(message, text):
    """The exact text of the small messages, at 8 kHz."""
    assert json.encode_server(message, 8000) == text


def test_a_client_skips_keys_it_does_not_know():
    """Newer servers may say more in a message."""
    assert json.decode_server('{"type":"finalized","id":"a","sample":1,"ms":0.1,"new":[]}') == Finalized("a", 1)


def test_an_error_frame_becomes_its_exception():
    """Code, message and retry hint come back as the class that the server raised."""
    text = json.encode_error(Failure.of(Overloaded("no slot", 0.25)))
    assert text == '{"type":"error","code":"overloaded","message":"no slot","retry_after_ms":250}'
    error = json.decode_server(text)
    assert isinstance(error, Overloaded)
    assert (str(error), error.retry_after_s) == ("no slot", 0.25)


RESULT = json.encode_server(Result(0, 1, "hi", 2, True, True, 0, 1, 0.5), 16000)


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"hello"}',
        '{"type":"finalized"}',
        "[]",
        *(RESULT.replace('"words":[]', f'"words":{bad}') for bad in ("3", "[3]")),
    ],
)
def test_a_client_refuses_other_messages(text):
    """A server that speaks something else is noticed."""
    with pytest.raises(InvalidRequest):
        json.decode_server(text)
