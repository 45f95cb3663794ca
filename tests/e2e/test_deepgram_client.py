"""Deepgram's own Python client against the shipped recogniser: live streams and files."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
import soundfile
from deepgram import AsyncDeepgramClient, DeepgramClient
from deepgram.core.api_error import ApiError
from deepgram.core.events import EventType
from deepgram.environment import DeepgramClientEnvironment
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from streamer.gateway.server import Addresses
from tests.e2e.recognised import RATE, SAMPLES, SHIPPED, clip, serving_recogniser
from tests.gateway.keyring import ADA, BOB, access_settings
from tests.gateway.serving import with_loop

if TYPE_CHECKING:
    from deepgram.listen.v1.socket_client import V1SocketClient

# The client prefers what `websockets` has deprecated, where that still exists.
pytestmark = pytest.mark.filterwarnings("ignore:websockets:DeprecationWarning")

NAMES = [path.stem for path in SAMPLES]
SILENCE = bytes(2 * 2 * RATE)
FORMAT = {"encoding": "linear16", "sample_rate": RATE}


def environment(addresses: Addresses) -> DeepgramClientEnvironment:
    place = f"{addresses.host}:{addresses.http_port}"
    http, websocket = f"http://{place}", f"ws://{place}"
    return DeepgramClientEnvironment(base=http, production=websocket, agent=websocket, agent_rest=http)


@contextmanager
def client(addresses: Addresses, api_key: str = "none") -> Iterator[DeepgramClient]:
    with httpx.Client(trust_env=False) as plain:
        yield DeepgramClient(api_key=api_key, environment=environment(addresses), httpx_client=plain)


async def transcribe(addresses: Addresses, data: bytes, key: str = "none", **options: Any) -> Any:
    """What a file is answered with."""

    def ask() -> Any:
        with client(addresses, key) as found:
            return found.listen.v1.media.transcribe_file(request=data, **options)

    return await asyncio.to_thread(ask)


class Conversation:
    """One live stream of Deepgram's client: collects what is said while a script talks."""

    def __init__(self, connection: V1SocketClient, addresses: Addresses) -> None:
        self.addresses = addresses
        self.events: list[Any] = []
        self.errors: list[Any] = []
        self._news = threading.Condition()
        self.connection = connection
        connection.on(EventType.MESSAGE, self._take)
        connection.on(EventType.ERROR, self.errors.append)
        self.listening = threading.Thread(target=connection.start_listening)
        self.listening.start()

    def send(self, pcm: bytes, piece: int = 3200) -> None:
        for start in range(0, len(pcm), piece):
            self.connection.send_media(pcm[start : start + piece])

    def wait_for(self, wanted: Callable[[Any], Any], count: int = 1) -> None:
        """Wait until so many events are what is wanted."""
        with self._news:
            assert self._news.wait_for(lambda: sum(map(bool, map(wanted, self.events))) >= count, 60), self.events

    def finish(self) -> list[Any]:
        """Close the stream and return all that was said, the last event apart from it being the summary."""
        self.connection.send_close_stream()
        self.listening.join()
        assert self.errors == []
        assert self.events[-1].type == "Metadata"
        return self.events[:-1]

    def _take(self, event: Any) -> None:
        with self._news:
            self.events.append(event)
            self._news.notify_all()


def talk(addresses: Addresses, script: Callable[[Conversation], Any], key: str = "none", **options: Any) -> Any:
    asked = {"model": "asr-en", **FORMAT, **options}
    with client(addresses, key) as found, found.listen.v1.connect(**asked) as connection:
        return script(Conversation(connection, addresses))


def refusal_of(addresses: Addresses, **options: Any) -> int | None:
    """The status of a refused upgrade."""
    with pytest.raises((ApiError, InvalidStatus)) as caught:
        talk(addresses, said(b""), **options)
    if isinstance(caught.value, InvalidStatus):
        # The client looks for the exception of the deprecated half of `websockets`, and lets this one pass.
        return caught.value.response.status_code
    return caught.value.status_code


def said(pcm: bytes) -> Callable[[Conversation], list[Any]]:
    def script(conversation: Conversation) -> list[Any]:
        conversation.send(pcm)
        return conversation.finish()

    return script


def finals(events: list[Any]) -> list[Any]:
    return [event for event in events if event.type == "Results" and event.is_final]


def text_of(events: list[Any]) -> str:
    return " ".join(filter(None, (event.channel.alternatives[0].transcript for event in finals(events))))


@with_loop
async def test_the_text_is_that_of_the_command_line(batch_texts: dict[str, str]) -> None:
    """With interims before it, words in their places, and confidences that are not all the same."""
    async with serving_recogniser() as (host, addresses):
        for name in NAMES:
            events = await asyncio.to_thread(talk, addresses, said(clip(name)), interim_results=True, language="en-US")
            assert text_of(events) == batch_texts[name]
            assert len(events) - len(finals(events)) > 5
            words = [word for event in finals(events) for word in event.channel.alternatives[0].words]
            assert " ".join(word.word for word in words) == batch_texts[name]
            assert all(0 <= word.start <= word.end <= len(clip(name)) / 2 / RATE for word in words)
            assert len({word.confidence for word in words}) > 5
            assert {event.metadata.model_info.name for event in events} == {"asr-en"}
        await host.until_empty()


@with_loop
async def test_without_interims_only_finals_come(batch_texts: dict[str, str]) -> None:
    """As is the default at Deepgram; a header stands for the format."""
    file = io.BytesIO()
    soundfile.write(file, np.frombuffer(clip("honey"), "<i2"), RATE, format="WAV")
    options = {"encoding": None, "sample_rate": None}
    async with serving_recogniser() as (_, addresses):
        events = await asyncio.to_thread(talk, addresses, said(file.getvalue()), **options)
    assert events == finals(events)
    assert text_of(events) == batch_texts["honey"]


@with_loop
async def test_finalize_brings_the_words_at_once(batch_texts: dict[str, str]) -> None:
    """Their last final says that it is the answer; the stream goes on, kept alive in between."""

    def script(conversation: Conversation) -> list[Any]:
        for count, name in enumerate(NAMES, 1):
            conversation.send(clip(name))
            conversation.connection.send_finalize()
            conversation.connection.send_keep_alive()
            conversation.wait_for(lambda event: event.from_finalize, count)
        return conversation.finish()

    async with serving_recogniser() as (_, addresses):
        events = await asyncio.to_thread(talk, addresses, script)
    answers = [event for event in events if event.from_finalize]
    assert len(answers) == len(NAMES)
    assert all(event.channel.alternatives[0].transcript for event in answers)
    assert text_of(events[: events.index(answers[0]) + 1]) == batch_texts[NAMES[0]]
    assert not any(event.speech_final for event in answers)


@with_loop
async def test_turns_and_utterances(batch_texts: dict[str, str]) -> None:
    """Two clips with silence behind each: speech is told twice, and the end of what was said twice."""
    pcm = clip("honey") + SILENCE + clip("river") + SILENCE
    options = {"interim_results": True, "utterance_end_ms": 1000, "vad_events": True, "endpointing": 500}
    async with serving_recogniser(models=("asr-en", "vad")) as (_, addresses):
        events = await asyncio.to_thread(talk, addresses, said(pcm), **options)
    starts = [event.timestamp for event in events if event.type == "SpeechStarted"]
    second = (len(clip("honey")) + len(SILENCE)) / 2 / RATE
    assert starts[0] < 1.0
    assert any(second - 0.2 < start < second + 1.0 for start in starts)
    ends = [event for event in events if event.type == "UtteranceEnd"]
    turns = [event for event in finals(events) if event.speech_final]
    assert len(ends) == 2
    assert text_of([event for event in events if event not in turns]) == ""
    for end in ends:
        before = finals(events[: events.index(end)])
        assert end.last_word_end == before[-1].channel.alternatives[0].words[-1].end
    assert text_of(turns[:1]) == batch_texts["honey"]


@with_loop
async def test_telephone_audio(batch_texts: dict[str, str]) -> None:
    """Eight bits at 8 kHz, live, and as a file without a header: the same text."""
    samples = np.frombuffer(clip("river"), "<i2")[::2].astype(np.float64) / 32768
    file = io.BytesIO()
    soundfile.write(file, samples, 8000, subtype="ULAW", format="RAW")
    data, options = file.getvalue(), {"encoding": "mulaw", "sample_rate": 8000}
    async with serving_recogniser() as (_, addresses):
        events = await asyncio.to_thread(talk, addresses, said(data), **options)
        # Deepgram's client has no parameter for the rate of files.
        extra = {"additional_query_parameters": {"sample_rate": 8000}}
        answer = await transcribe(addresses, data, encoding="mulaw", request_options=extra)
    assert text_of(events) == answer.results.channels[0].alternatives[0].transcript
    assert text_of(events).split()[:2] == batch_texts["river"].split()[:2]


@with_loop
async def test_compressed_streams(batch_texts: dict[str, str]) -> None:
    """FLAC whose header says all, and Ogg Opus that is declared; Opus is another sound, but nearly."""
    path = next(path for path in SAMPLES if path.stem == "river")
    opus = io.BytesIO()
    soundfile.write(opus, np.repeat(np.frombuffer(clip("river"), "<i2"), 3), 48_000, format="OGG", subtype="OPUS")
    async with serving_recogniser() as (_, addresses):
        for options in ({"encoding": None, "sample_rate": None}, {"encoding": "flac", "sample_rate": RATE}):
            events = await asyncio.to_thread(talk, addresses, said(path.read_bytes()), **options)
            assert text_of(events) == batch_texts["river"]
        for options in ({"encoding": "ogg-opus", "sample_rate": 48_000}, {"encoding": None, "sample_rate": None}):
            events = await asyncio.to_thread(talk, addresses, said(opus.getvalue()), **options)
            assert text_of(events).split()[:2] == batch_texts["river"].split()[:2]


@with_loop
async def test_files(batch_texts: dict[str, str]) -> None:
    """Whole, with words, utterances and what was sent."""
    async with serving_recogniser() as (host, addresses):
        for path in SAMPLES:
            answer = await transcribe(addresses, path.read_bytes(), model="asr-en", utterances=True)
            (best,) = answer.results.channels[0].alternatives
            assert best.transcript == batch_texts[path.stem]
            assert " ".join(word.word for word in best.words) == best.transcript
            assert " ".join(each.transcript for each in answer.results.utterances) == best.transcript
            assert answer.metadata.duration == pytest.approx(len(clip(path.stem)) / 2 / RATE)
        await host.until_empty()


@with_loop
async def test_channels(batch_texts: dict[str, str]) -> None:
    """Each is recognised by itself; they may differ in length no more than a file can say."""
    left, right = (np.frombuffer(clip(name), "<i2") for name in ("ferry", "honey"))
    both = np.zeros((max(len(left), len(right)), 2), np.int16)
    both[: len(left), 0], both[: len(right), 1] = left, right
    file = io.BytesIO()
    soundfile.write(file, both, RATE, format="FLAC")
    async with serving_recogniser() as (_, addresses):
        answer = await transcribe(addresses, file.getvalue(), multichannel=True)
    texts = [channel.alternatives[0].transcript for channel in answer.results.channels]
    assert answer.metadata.channels == 2
    assert texts == [batch_texts["ferry"], batch_texts["honey"]]


@with_loop
async def test_the_asynchronous_client(batch_texts: dict[str, str]) -> None:
    """It is built on another implementation of WebSockets, and is served the same."""
    async with serving_recogniser() as (_, addresses), httpx.AsyncClient(trust_env=False) as plain:
        found = AsyncDeepgramClient(api_key="none", environment=environment(addresses), httpx_client=plain)
        async with found.listen.v1.connect(model="asr-en", **FORMAT) as connection:
            for piece in pieces(clip("ferry")):
                await connection.send_media(piece)
            await connection.send_close_stream()
            events = [event async for event in connection]
        answer = await found.listen.v1.media.transcribe_file(request=SAMPLES[0].read_bytes())
    assert text_of(events[:-1]) == batch_texts["ferry"]
    assert answer.results.channels[0].alternatives[0].transcript == batch_texts[SAMPLES[0].stem]


def pieces(pcm: bytes) -> Iterator[bytes]:
    for start in range(0, len(pcm), 3200):
        yield pcm[start : start + 3200]


@with_loop
async def test_refusals_reach_the_client() -> None:
    """As the errors of its package: before any audio with the status, later with the codes of the close frame."""
    async with serving_recogniser(models=SHIPPED) as (host, addresses):
        for options, status in (
            ({"diarize": True}, 400),
            ({"punctuate": True}, 400),
            ({"model": "nova-3"}, 404),
            ({"language": "de"}, 400),
            ({"keyterm": ["Ferry"]}, 400),
            ({"channels": 2}, 400),
        ):
            assert await asyncio.to_thread(refusal_of, addresses, **options) == status
        with pytest.raises(ApiError) as caught:
            await transcribe(addresses, SAMPLES[0].read_bytes(), smart_format=True)
        assert caught.value.body["err_msg"] == "smart_format: is not supported, no model here does that"
        with pytest.raises(ApiError) as caught, client(addresses) as found:
            await asyncio.to_thread(found.listen.v1.media.transcribe_url, url="http://there.example/a.wav")
        assert caught.value.body["err_msg"].startswith("url: is not supported")
        broken = await asyncio.to_thread(talk, addresses, until_failed, encoding="linear32")
        assert (broken.rcvd.code, broken.rcvd.reason[:9]) == (1008, "DATA-0000")
        await host.until_empty()


def until_failed(conversation: Conversation) -> ConnectionClosedError:
    conversation.send(b"\xff" * 3200)
    conversation.listening.join()
    assert conversation.events[-1].type == "Error"
    (error,) = conversation.errors
    assert isinstance(error, ConnectionClosedError)
    return error


@with_loop
async def test_keys(batch_texts: dict[str, str]) -> None:
    """A good one opens both, a wrong one neither, and the limit of a key is that of its streams here too."""
    async with serving_recogniser(access=access_settings()) as (_, addresses):
        assert await asyncio.to_thread(talk, addresses, second_of_one, key=BOB) == 429
        assert await asyncio.to_thread(refusal_of, addresses, key="guess") == 401
        data = SAMPLES[0].read_bytes()
        with pytest.raises(ApiError) as caught:
            await transcribe(addresses, data, key="guess")
        assert (caught.value.status_code, caught.value.body["err_code"]) == (401, "INVALID_AUTH")
        answer = await transcribe(addresses, data, key=ADA)
        assert answer.results.channels[0].alternatives[0].transcript == batch_texts[SAMPLES[0].stem]


def second_of_one(first: Conversation) -> int | None:
    """Open another stream with the same key; the first one is none the worse for it."""
    status = refusal_of(first.addresses, key=BOB)
    assert text_of(said(clip("ferry"))(first))
    return status


@with_loop
async def test_a_client_that_hangs_up_frees_its_slot() -> None:
    """In the middle of a word."""
    async with serving_recogniser() as (host, addresses):

        def hang_up(conversation: Conversation) -> None:
            conversation.send(clip("honey")[:64000])
            conversation.wait_for(lambda event: event.type == "Results")
            assert host.open_streams == 1
            conversation.connection._websocket.socket.close()
            conversation.listening.join()

        await asyncio.to_thread(talk, addresses, hang_up, interim_results=True)
        await host.until_empty()
