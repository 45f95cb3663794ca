"""The vosk protocol over a fake host: one reply per frame, what is refused by name, and that nothing stays behind."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from streamer.errors import ModelFault, Overloaded
from streamer.gateway.vosk.replies import Replies
from streamer.session.messages import Alternative, Audio, Config, Decoding, End, Finalize, Hotword, Result, Word
from tests.gateway.fake_host import FakeHost
from tests.gateway.keyring import ADA, access_settings, bearer
from tests.gateway.serving import serving, until_closed, websocket, with_loop

EOF = '{"eof" : 1}'
RATE = '{ "config" : { "sample_rate" : 8000 } }'


@asynccontextmanager
async def talking(
    host: FakeHost, *sent: str | bytes, path: str = "/", **settings: Any
) -> AsyncIterator[ClientConnection]:
    async with serving(host, **settings) as addresses, websocket(addresses, *sent, path=path) as connection:
        yield connection


async def replies_of(host: FakeHost, *sent: str | bytes, **settings: Any) -> list[Any]:
    """All that is answered to `sent` until the server closes, which it must do well."""
    async with talking(host, *sent, **settings) as connection:
        frames, code, _ = await until_closed(connection)
    assert code == 1000
    return list(map(json.loads, frames))


def final(text: str, words: tuple[Word, ...] = (), alternatives: tuple[Alternative, ...] = ()) -> Result:
    return Result(0, 1, text, len(text), True, True, 0, 0, 0.5, words, alternatives)


def interim(text: str) -> Result:
    return Result(0, 1, text, 0, False, False, 0, 0, 0.5)


@pytest.mark.parametrize("path", ["/", "/vosk"])
@with_loop
async def test_every_frame_is_answered_once(path):
    """In order, also when the client does not wait for its replies; eof is answered last."""
    host = FakeHost()
    sent = (RATE, b"12", b"1234", b"", b"12", EOF)
    assert await replies_of(host, *sent, path=path) == [
        {"text": "2"}, {"text": "4"}, {"partial": ""}, {"text": "2"}, {"text": ""}
    ]  # fmt: skip
    assert host.streams[0].got == [
        Config("pcm_s16le", 8000, 1, mode="file"), Audio(b"12"), Audio(b"1234"), Audio(b"12"), End()
    ]  # fmt: skip


@with_loop
async def test_configs_become_the_config_of_the_stream():
    """Later ones change what they name; the rate may be a float, as Jigasi sends it."""
    host = FakeHost()
    configs = (
        '{"config": {"sample_rate": 48000.0, "words": 0, "model": "other"}}',
        '{"config": {"phrase_list": ["one two [unk]", "[unk]", "ferry", "ferry"], "max_alternatives": 20}}',
        '{"config": {"model": "echo"}}',
    )
    await replies_of(host, *configs, b"12", EOF, adapter_mode="live")
    decoding = Decoding(beam=16, n_best=16, hotwords=(Hotword("one two"), Hotword("ferry")))
    expected = Config("pcm_s16le", 48000, 1, model="echo", mode="live", decoding=decoding)
    assert host.streams[0].got[0] == expected


@with_loop
async def test_reset_finishes_the_words_and_goes_on():
    """Its reply is the final text so far; before audio there is none."""
    host = FakeHost()
    replies = await replies_of(host, RATE, '{"reset": 1}', b"12", '{"reset" : 1}', b"1234", EOF)
    assert replies == [{"text": ""}, {"text": "2"}, {"text": ""}, {"text": "4"}, {"text": ""}]
    assert [type(message) for message in host.streams[0].got] == [Config, Audio, Finalize, Audio, End]


@with_loop
async def test_eof_before_audio_needs_no_rate_and_no_slot():
    """There is nothing to guess."""
    host = FakeHost()
    assert await replies_of(host, EOF) == [{"text": ""}]
    assert host.streams[0].got == []
    assert host.streams[0].aborted.is_set()


@with_loop
async def test_the_rate_of_clients_that_declare_none_is_the_operators():
    """Only a setting stands in for it, and what a client declares goes before."""
    host = FakeHost()
    await replies_of(host, b"12", EOF, vosk_sample_rate=16000)
    await replies_of(host, RATE, b"12", EOF, vosk_sample_rate=16000)
    assert [stream.got[0].sample_rate for stream in host.streams] == [16000, 8000]


@with_loop
async def test_long_frames_are_cut_to_what_a_session_takes():
    """One reply all the same, with all the finals that came of it."""
    host, data = FakeHost(), bytes(80_000)
    assert await replies_of(host, RATE, data, EOF) == [{"text": "32000 32000 16000"}, {"text": ""}]


def test_replies_tell_what_is_known():
    """A partial is the open segment; finals are told once, words in seconds."""
    words = (Word("a", 800, 1600, 0.5), Word("b", 2000, 3001, 0.25))
    replies = Replies(8000, True, 0)
    told = []
    for said in ([], [interim("a")], [], [final("a b", words), interim("c")], [], [final("c"), final("d")]):
        for message in said:
            replies.take(message)
        told.append(json.loads(replies.after_frame()))
    assert told == [
        {"partial": ""},
        {"partial": "a"},
        {"partial": "a"},
        {
            "result": [
                {"conf": 0.5, "end": 0.2, "start": 0.1, "word": "a"},
                {"conf": 0.25, "end": 0.375, "start": 0.25, "word": "b"},
            ],
            "text": "a b",
        },
        {"partial": "c"},
        {"text": "c d"},
    ]
    assert json.loads(replies.result()) == {"text": ""}


def test_alternatives_are_told_best_first():
    """At most as many as asked for; of two segments at once only the best text."""
    texts = (Alternative("a", 0.5), Alternative("b", 0.3), Alternative("c", 0.2))
    replies = Replies(8000, True, 2)
    replies.take(final("a", (Word("a", 0, 800, 0.5),), texts))
    word = {"conf": 0.5, "end": 0.1, "start": 0.0, "word": "a"}
    assert json.loads(replies.result()) == {
        "alternatives": [{"confidence": 0.5, "result": [word], "text": "a"}, {"confidence": 0.3, "text": "b"}]
    }
    replies.take(final("a", (), texts))
    replies.take(final("b", (), texts))
    assert json.loads(replies.result()) == {"alternatives": [{"confidence": 0.5, "text": "a b"}]}
    assert json.loads(replies.result()) == {"alternatives": [{"confidence": 1.0, "text": ""}]}


CONFIG = '{"config": %s}'
KEYS = "config, reset or eof"
BOTH = {"eof": 1, "reset": 1}
BAD: dict[str, tuple[tuple[str | bytes, ...], str]] = {
    "no_rate": (
        (b"12",),
        'expected {"config": {"sample_rate": ...}} before audio, the server has no vosk_sample_rate',
    ),
    "no_json": (("hello",), "message: expected JSON, got 'hello'"),
    "deep": (("[" * 20_000,), f"message: expected JSON, got {'[' * 60!r}"),
    "long": ((" " * 65537,), "message: expected at most 65536 characters, got 65537"),
    "list": (("[1]",), f"message: expected an object with one key, {KEYS}, got [1]"),
    "two_keys": (('{"eof": 1, "reset": 1}',), f"message: expected an object with one key, {KEYS}, got {BOTH}"),
    "unknown_message": (('{"start": 1}',), f"message: expected {KEYS}, got 'start'"),
    "eof_0": (('{"eof": 0}',), "eof: expected 1, got 0"),
    "reset_list": (('{"reset": []}',), "reset: expected 1, got []"),
    "config_3": ((CONFIG % 3,), "config: expected an object, got 3"),
    "unknown_key": (
        (CONFIG % '{"spk": 1}',),
        "config: expected sample_rate, phrase_list, words, max_alternatives or model, got 'spk'",
    ),
    "rate_letters": ((CONFIG % '{"sample_rate": "x"}',), "config sample_rate: expected samples per second, got 'x'"),
    "rate_half": ((CONFIG % '{"sample_rate": 0.5}',), "config sample_rate: expected samples per second, got 0.5"),
    "rate_nan": ((CONFIG % '{"sample_rate": NaN}',), "config sample_rate: expected samples per second, got nan"),
    "rate_true": ((CONFIG % '{"sample_rate": true}',), "config sample_rate: expected samples per second, got True"),
    "phrases": ((CONFIG % '{"phrase_list": "a"}',), "config phrase_list: expected a list of strings, got 'a'"),
    "words": ((CONFIG % '{"words": 2}',), "config words: expected true or false, got 2"),
    "alternatives": (
        (CONFIG % '{"max_alternatives": -1}',),
        "config max_alternatives: expected a number of texts, got -1",
    ),
    "model": ((CONFIG % '{"model": 1}',), "config model: expected a string, got 1"),
    "late_config": ((RATE, b"12", RATE), "expected config before audio"),
    "cut_sample": ((RATE, b"123"), "audio frame of 3 bytes is not a multiple of 2 bytes per sample"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
@with_loop
async def test_what_is_out_of_place_is_refused(name):
    """By name, in the place of a reply, and with the close code of a bad request; the stream is freed."""
    host, (sent, text) = FakeHost(), BAD[name]
    async with talking(host, *sent) as connection:
        frames, code, reason = await until_closed(connection)
    assert json.loads(frames[-1]) == {"error": text, "code": "invalid_request"}
    assert (code, reason) == (4400, "invalid_request")
    assert host.streams[0].aborted.is_set()


@pytest.mark.parametrize(
    ("raised", "told", "close_code"),
    [
        (Overloaded("no slot is free"), {"error": "no slot is free", "code": "overloaded"}, 1013),
        (ModelFault("step failed"), {"error": "step failed", "code": "internal"}, 1011),
        (ValueError("secret"), {"error": "internal error", "code": "internal"}, 1011),
    ],
)
@with_loop
async def test_errors_of_the_host_are_told(raised, told, close_code):
    """With the code that our own protocol has for them; of a bug the client learns nothing."""
    host = FakeHost()
    host.error = raised
    async with talking(host, RATE, b"12") as connection:
        frames, code, _ = await until_closed(connection)
    assert (json.loads(frames[-1]), code) == (told, close_code)
    assert host.streams[0].aborted.is_set()


@with_loop
async def test_without_a_key_nobody_comes_in_where_keys_are_asked_for():
    """Before any audio, and without a stream; a header shows a key, as everywhere."""
    host, keys = FakeHost(), access_settings()
    async with serving(host, access=keys) as addresses:
        for headers, text in (({}, "expected an API key, got none"), (bearer("wrong"), "unknown API key")):
            async with websocket(addresses, path="/", additional_headers=headers) as connection:
                frames, code, _ = await until_closed(connection)
            assert json.loads(frames[-1]) == {"error": text, "code": "unauthenticated"}
            assert code == 4401
        assert host.streams == []
        async with websocket(addresses, RATE, b"12", path="/", additional_headers=bearer(ADA)) as connection:
            assert json.loads(await connection.recv()) == {"text": "2"}


@pytest.mark.parametrize("sent", [(), (RATE,), (RATE, b"12")])
@with_loop
async def test_a_client_that_goes_frees_its_stream(sent):
    """Before its audio as well as after some."""
    host = FakeHost()
    async with talking(host, *sent) as connection:
        await host.connected.wait()
        connection.transport.abort()
        await host.streams[0].aborted.wait()
