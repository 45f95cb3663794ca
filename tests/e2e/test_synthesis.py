"""Streams of text over every way to reach the server: of a voice that can be worked out by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from streamer.client import AudioOut, Config, Spoken, SynthesisOptions
from streamer.session.messages import Done, Finalized, Interrupted, ServerMessage
from tests.e2e.serving import TRANSPORTS, serving
from tests.gateway.serving import with_loop
from tests.toys.voice import DELAY, RATE, prior_of, voice_expected, write_voice

every_transport = pytest.mark.parametrize("transport", TRANSPORTS)
FLOATS = SynthesisOptions(output_encoding="pcm_f32le")
FILE = Config("text", RATE, 1, task="synthesize", mode="file", synthesis=FLOATS)
TEXT = "Hello, world. Two zorks cost $3.50, good morning!"


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
async def test_controls(tmp_path, transport):
    """`Finalize` is answered once all is out; `Interrupt` begins anew; `Cancel` says how much was sent."""
    async with serving(tmp_path, transport, write=write_voice) as served:
        alone = pcm(await run(served.connect, FILE, ["Good morning."]))
        async with served.connect(FILE) as stream:
            await stream.say("Hello, world")
            await stream.finalize("a")
            first = [await anext(aiter(stream)) for _ in range(1)]
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
        async with served.connect(replace(FILE, mode="live")) as stream:
            await stream.say(TEXT * 20)
            messages = [await stream.receive()]
            await stream.cancel()
            messages += [message async for message in stream]
            done = messages[-1]
            assert done == Done(len(pcm(messages)) // 4, 0, cancelled=True)
