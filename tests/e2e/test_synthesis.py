"""Streams of text over every way to reach the server: of a voice that can be worked out by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import replace
from typing import Any

import grpc
import numpy as np
import pytest

from streamer.client import AudioOut, Client, Config, Spoken, SynthesisOptions, speak, synthesize
from streamer.errors import InvalidRequest, MessageTooLarge, StreamerError, TooFast
from streamer.session.messages import Done, Finalized, Interrupted, ServerMessage
from streamer.tasks.text.numbers import load
from streamer.v1 import speech_pb2 as pb
from streamer.v1 import speech_pb2_grpc
from streamer.wire import protobuf
from tests.e2e.serving import TRANSPORTS, serving
from tests.gateway.serving import with_loop
from tests.toys.voice import DELAY, RATE, prior_of, voice_expected, write_voice

every_transport = pytest.mark.parametrize("transport", TRANSPORTS)
FLOATS = SynthesisOptions(output_encoding="pcm_f32le")
FILE = Config("text", RATE, 1, task="synthesize", mode="file", synthesis=FLOATS)
TEXT = "Hello, world. Two zorks cost $3.50, good morning!"


@pytest.fixture(scope="module", autouse=True)
def _numbers_can_be_read() -> None:
    """Once per process, which takes seconds: not within the time of a test."""
    load()


async def run(connect: Any, config: Config, parts: Iterable[str]) -> list[ServerMessage]:
    """Send `parts` and return what is said."""
    async with connect(config) as stream:
        for part in parts:
            await stream.say(part)
        await stream.end()
        return [message async for message in stream]


def pcm(messages: Iterable[Any]) -> bytes:
    return b"".join(message.data for message in messages if isinstance(message, AudioOut))


def words(messages: Iterable[Any]) -> list[Any]:
    return [word for message in messages if isinstance(message, Spoken) for word in message.words]


@every_transport
@with_loop
async def test_a_text_is_spoken(tmp_path, transport):
    """As the toy's arithmetic says, whatever pieces the text came in; positions have no gaps, words have places."""
    expected = voice_expected([prior_of(["^", "HH", "AH0", "L", "OW1", ",", "W", "ER1", "L", "D", "."])])
    told = replace(FILE, synthesis=replace(FLOATS, word_times=True))
    async with serving(tmp_path, transport, write=write_voice) as served:
        messages = await run(served.connect, FILE, ["Hello, world."])
        heard = np.frombuffer(pcm(messages), np.float32)
        assert messages[-1] == Done(len(heard), 0)
        assert len(heard) == len(expected)
        # What pushes out the last samples is like the last frame, and its sound is not.
        np.testing.assert_array_equal(heard[:-DELAY], expected[:-DELAY])
        audio = [message for message in messages if isinstance(message, AudioOut)]
        assert [message.first_sample for message in audio] == [
            sum(len(before.data) // 4 for before in audio[:index]) for index in range(len(audio))
        ]
        whole = await run(served.connect, told, [TEXT])
        for parts in (list(TEXT), [TEXT[:20], "", TEXT[20:]]):
            other = await run(served.connect, told, parts)
            assert pcm(other) == pcm(whole)
            assert words(other) == words(whole)
        assert [TEXT[word.start_char : word.end_char] for word in words(whole)] == [word.word for word in words(whole)]
        assert [word.word for word in words(whole)] == [
            "Hello",
            "world",
            "Two",
            "zorks",
            "cost",
            "$3.50",
            "good",
            "morning",
        ]


@every_transport
@with_loop
async def test_finalize_and_interrupt(tmp_path, transport):
    """One is answered once all is out, the other at once, and what follows it is as in a new stream."""
    async with serving(tmp_path, transport, write=write_voice) as served:
        alone = pcm(await run(served.connect, FILE, ["Good morning."]))
        async with served.connect(FILE) as stream:
            await stream.say("Hello, world")
            await stream.finalize("a")
            first = [await stream.receive()]
            while not isinstance(first[-1], Finalized):
                first.append(await stream.receive())
            n = len(pcm(first)) // 4
            assert first[-1] == Finalized("a", n)
            await stream.say("Two zorks")
            await stream.interrupt("b")
            assert await stream.receive() == Interrupted("b", n)
            await stream.say("Good morning.")
            await stream.end()
            rest = [message async for message in stream]
        assert pcm(rest) == alone
        assert rest[-1] == Done(n + len(alone) // 4, 0)


@every_transport
@with_loop
async def test_cancel_in_the_middle(tmp_path, transport):
    """The stream says how much was sent, and its slot is free."""
    live = replace(FILE, mode="live")
    async with serving(tmp_path, transport, max_streams=1, write=write_voice) as served:
        alone = pcm(await run(served.connect, FILE, [TEXT]))
        for _ in range(2):
            async with served.connect(live) as stream:
                await stream.say(TEXT * 20)
                messages = [await stream.receive()]
                await stream.cancel()
                messages += [message async for message in stream]
            assert messages[-1] == Done(len(pcm(messages)) // 4, 0, cancelled=True)
        # Hanging up does the same.
        async with served.connect(live) as stream:
            await stream.say(TEXT * 20)
            await stream.receive()
        await until_free(served)
        assert pcm(await run(served.connect, FILE, [TEXT])) == alone


async def until_free(served: Any) -> None:
    async with asyncio.timeout(10):
        await served.host.until_empty()


BAD: dict[str, tuple[Config, list[str | bytes], type[StreamerError], str]] = {
    "control": (FILE, ["a\0"], InvalidRequest, "text: expected no control characters, got U+0000 at character 1"),
    "audio": (FILE, [b"\0\0"], InvalidRequest, "expected text in a stream of task synthesize, got audio"),
    "voice": (
        replace(FILE, synthesis=SynthesisOptions(voice="eve")),
        [],
        InvalidRequest,
        "synthesis voice: expected one of ada, got 'eve'",
    ),
    "speed": (
        replace(FILE, synthesis=SynthesisOptions(speed=9.0)),
        [],
        InvalidRequest,
        "synthesis speed: expected a number from 0.5 to 2, got 9.0",
    ),
    "encoding": (
        replace(FILE, encoding="pcm_s16le"),
        [],
        InvalidRequest,
        "expected encoding text for task synthesize, got pcm_s16le",
    ),
    "large": (
        FILE,
        ["\u00e9" * 60_000],
        MessageTooLarge,
        "text of 120000 bytes exceeds the limit of 65536 bytes, send smaller parts",
    ),
    "much": (
        replace(FILE, mode="live"),
        ["Hello world " * 5000] * 2,
        TooFast,
        "120000 characters of text wait to be spoken, limit is 65536, mode file has none",
    ),
}


@every_transport
@pytest.mark.parametrize("name", BAD)
@with_loop
async def test_bad_input(tmp_path, transport, name):
    """The same refusal over every transport, in the class that it has at the server; others are served on."""
    config, sent, kind, refusal = BAD[name]
    async with serving(tmp_path, transport, max_streams=1, write=write_voice) as served:
        with pytest.raises(kind) as error:
            await refused(served.connect, config, sent)
        # Some was spoken of text that is too much.
        assert str(error.value)[6:] == refusal[6:]
        await until_free(served)
        assert pcm(await run(served.connect, FILE, ["Hello."]))


async def refused(connect: Any, config: Config, sent: list[str | bytes]) -> None:
    async with connect(config) as stream:
        for part in sent:
            await (stream.say(part) if isinstance(part, str) else stream.send(part))
        async for _ in stream:
            pass


@with_loop
async def test_the_service_takes_its_task_alone(tmp_path):
    """`Synthesize` fills in the task, and refuses another one; `StreamingRecognize` takes the task by name."""
    async with serving(tmp_path, "grpc", write=write_voice) as served:
        address = served.addresses.grpc.removeprefix("grpc://")
        async with grpc.aio.insecure_channel(address) as channel:
            method = speech_pb2_grpc.SynthesisStub(channel).Synthesize
            for task in ("", "synthesize"):
                config = protobuf.encode_client(FILE)
                config.config.task = task
                answers = [
                    answer async for answer in method(requests(config, pb.ClientMessage(text=pb.Text(text="Hello."))))
                ]
                assert answers[-1].done.audio_samples > 0
            config.config.task = "codec"
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await method(requests(config)).read()
            assert error.value.details() == "Synthesize: expected task synthesize, got 'codec'"


async def requests(*messages: pb.ClientMessage) -> AsyncIterator[pb.ClientMessage]:
    for message in messages:
        yield message


@pytest.mark.parametrize("transport", ["grpc", "websocket"])
@with_loop
async def test_client_functions(tmp_path, transport):
    """Text of every kind, with an event loop and without: the same audio, and words in their places."""

    async def written() -> AsyncIterator[str]:
        for part in (TEXT[:9], TEXT[9:]):
            await asyncio.sleep(0)
            yield part

    told = replace(FLOATS, word_times=True)
    async with serving(tmp_path, transport, write=write_voice) as served:
        url = getattr(served.addresses, transport)
        sound = await speak(url, TEXT, FLOATS, sample_rate=RATE)
        assert (sound.encoding, sound.sample_rate) == ("pcm_f32le", RATE)
        for text in (TEXT, [TEXT[:5], TEXT[5:]], written()):
            messages = [message async for message in synthesize(url, text, told, sample_rate=RATE)]
            assert pcm(messages) == sound.data
            assert "".join(word.word for word in words(messages)) == "HelloworldTwozorkscost$3.50goodmorning"
        assert await asyncio.to_thread(without_loop, url) == (sound.data, sound.data)


def without_loop(url: str) -> tuple[bytes, bytes]:
    with Client(url) as client:
        streamed = client.synthesize(iter([TEXT[:30], TEXT[30:]]), FLOATS, sample_rate=RATE)
        return pcm(list(streamed)), client.speak(TEXT, FLOATS, sample_rate=RATE).data


@pytest.mark.parametrize("transport", ["grpc", "websocket"])
@with_loop
async def test_text_that_cannot_be_read(tmp_path, transport):
    """What the writer raises ends the stream, and is raised."""

    def broken() -> Iterator[str]:
        yield "Hello"
        raise ValueError("no more")

    async with serving(tmp_path, transport, write=write_voice) as served:
        url = getattr(served.addresses, transport)
        with pytest.raises(ValueError, match=r"^no more$"):
            [message async for message in synthesize(url, broken(), FLOATS, sample_rate=RATE)]
        await until_free(served)
