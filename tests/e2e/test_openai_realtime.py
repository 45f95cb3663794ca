"""OpenAI's own Python client against the shipped recogniser: Realtime transcription sessions."""

from __future__ import annotations

import asyncio
import base64
import difflib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import soundfile
import soxr
from openai import AsyncOpenAI, OpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from openai.types.realtime import ConversationItemInputAudioTranscriptionCompletedEvent as Completed
from openai.types.realtime import ConversationItemInputAudioTranscriptionDeltaEvent as Delta
from openai.types.realtime import (
    InputAudioBufferCommittedEvent,
    RealtimeErrorEvent,
    SessionCreatedEvent,
    SessionUpdatedEvent,
)

from streamer.gateway.openai.inbox import Inbox
from tests.e2e.recogniser import CLIPS, Running, heard, recogniser
from tests.gateway.keyring import ADA, access_settings
from tests.gateway.serving import with_loop

CLIP = CLIPS[0]
# Subtype of the same samples in a wav file, by the format of the session.
SUBTYPES = {"audio/pcm": "PCM_16", "audio/pcmu": "ULAW", "audio/pcma": "ALAW"}


def recorded(
    folder: Path, form: str, clip: Path = CLIP, seconds: float | None = None, silence_s: float = 0.0
) -> tuple[Path, bytes]:
    """The clip, or its first seconds and then silence, in the format of a session: as a file, and the bytes to send."""
    rate = 24_000 if form == "audio/pcm" else 8000
    sound, own = soundfile.read(clip, dtype="float32")
    sound = np.concatenate(
        [sound[: None if seconds is None else round(seconds * own)], np.zeros(round(silence_s * own))]
    )
    wav, raw = folder / "a.wav", folder / "a.raw"
    for path, kind in ((wav, "WAV"), (raw, "RAW")):
        soundfile.write(path, soxr.resample(sound, own, rate).clip(-1, 1), rate, SUBTYPES[form], format=kind)
    return wav, raw.read_bytes()


def transcription(form: str = "audio/pcm", **given: Any) -> Any:
    """A session whose client commits."""
    audio = {"format": {"type": form}, "transcription": {"model": "asr-en", "language": "en"}, "turn_detection": None}
    return {"type": "transcription", "audio": {"input": {**audio, **given}}}


@asynccontextmanager
async def connected(server: Running, api_key: str = "none", **query: str) -> AsyncIterator[AsyncRealtimeConnection]:
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    async with (
        AsyncOpenAI(api_key=api_key, base_url=server.base_url, http_client=http) as client,
        client.realtime.connect(
            extra_query={"intent": "transcription", **query}, websocket_connection_options={"proxy": None}
        ) as connection,
    ):
        yield connection


async def send(connection: AsyncRealtimeConnection, data: bytes, size: int = 4800) -> None:
    for start in range(0, len(data), size):
        await connection.input_audio_buffer.append(audio=base64.b64encode(data[start : start + size]).decode())


def alike(text: str, alone: str) -> bool:
    """Whether it is the same sentence. What was heard before is context for the encoder, so some letters may differ."""
    return difflib.SequenceMatcher(None, text, alone).ratio() > 0.75


async def until_completed(connection: AsyncRealtimeConnection) -> tuple[list[Any], Completed]:
    events = []
    while not isinstance(event := await connection.recv(), Completed):
        assert not isinstance(event, RealtimeErrorEvent), event
        events.append(event)
    return events, event


@pytest.mark.parametrize("form", list(SUBTYPES))
def test_a_session_hears_what_the_command_line_hears(form: str, tmp_path: Path) -> None:
    """In every format; deltas come while audio is sent, and together they are the transcript."""
    wav, data = recorded(tmp_path, form)
    expected = heard(wav)

    @with_loop
    async def talk() -> None:
        async with recogniser() as server, connected(server) as connection:
            assert isinstance(await connection.recv(), SessionCreatedEvent)
            await connection.session.update(session=transcription(form))
            assert isinstance(await connection.recv(), SessionUpdatedEvent)
            await send(connection, data)
            first = await connection.recv()
            assert isinstance(first, Delta)
            await connection.input_audio_buffer.commit()
            events, completed = await until_completed(connection)
        committed = next(event for event in events if isinstance(event, InputAudioBufferCommittedEvent))
        deltas = [event for event in [first, *events] if isinstance(event, Delta)]
        assert "".join(event.delta or "" for event in deltas) == completed.transcript == expected["text"]
        assert {event.item_id for event in deltas} == {completed.item_id} == {committed.item_id}
        assert completed.usage.to_dict() == {"type": "duration", "seconds": expected["duration_s"]}

    talk()
    assert expected["text"]


def test_several_items_in_a_row(tmp_path: Path) -> None:
    """Each hears its own audio, the next in order after it; one that is cleared leaves nothing behind."""
    wav, data = recorded(tmp_path, "audio/pcm")
    expected = heard(wav)["text"]

    @with_loop
    async def talk() -> None:
        async with recogniser() as server, connected(server, model="asr-en") as connection:
            await connection.recv()
            await connection.session.update(session=transcription())
            await connection.recv()
            await send(connection, data)
            await connection.input_audio_buffer.commit()
            _, first = await until_completed(connection)
            await send(connection, data[: len(data) // 2])
            await connection.input_audio_buffer.clear()
            await send(connection, data)
            await connection.input_audio_buffer.commit()
            events, last = await until_completed(connection)
            assert server.host.open_streams == 1
        committed = next(event for event in events if isinstance(event, InputAudioBufferCommittedEvent))
        assert committed.previous_item_id == first.item_id
        assert first.transcript == expected
        assert alike(last.transcript, expected)
        await server.host.until_empty()

    talk()


@with_loop
async def test_live_audio_is_held_back_instead_of_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A second of audio in one event is more than this server takes at once; the session takes it as it is spoken."""
    _, data = recorded(tmp_path_factory.mktemp("clip"), "audio/pcm")
    async with (
        recogniser(adapter_mode="live", session={"max_ahead_ms": 300}) as server,
        connected(server) as connection,
    ):
        await connection.recv()
        await connection.session.update(session=transcription())
        await connection.recv()
        await send(connection, data[:48_000], size=48_000)
        await connection.input_audio_buffer.commit()
        _, completed = await until_completed(connection)
    assert completed.usage.to_dict() == {"type": "duration", "seconds": 1.0}


def test_the_detector_takes_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sentences with silence behind each are two items, in the order of events that clients rely on."""

    async def at_once(*_: Any) -> None:
        """Audio comes faster than it is spoken here, turn by turn."""

    monkeypatch.setattr(Inbox, "pause", at_once)
    turns = []
    for name, clip in zip("ab", CLIPS, strict=False):
        (tmp_path / name).mkdir()
        wav, data = recorded(tmp_path / name, "audio/pcm", clip, seconds=2.5, silence_s=1.0)
        turns.append((heard(wav)["text"], data))

    @with_loop
    async def talk() -> None:
        async with recogniser(models=["asr-en", "vad"]) as server, connected(server) as connection:
            created = await connection.recv()
            session = created.to_dict()["session"]
            assert session["audio"]["input"]["turn_detection"]["type"] == "server_vad"  # type: ignore[index,call-overload]
            await connection.session.update(session=transcription(turn_detection=DETECTION))
            await connection.recv()
            for number, (text, data) in enumerate(turns):
                await send(connection, data)
                events, completed = await until_completed(connection)
                assert turn_of(events) == TURN
                deltas = [event.delta or "" for event in events if isinstance(event, Delta)]
                assert "".join(deltas) == completed.transcript
                assert completed.transcript == text if number == 0 else alike(completed.transcript, text)

    talk()
    assert all(text for text, _ in turns)


DETECTION = {"type": "server_vad", "threshold": 0.5, "silence_duration_ms": 400}
TURN = ["speech_started", "speech_stopped", "committed", "added", "done"]


def turn_of(events: list[Any]) -> list[str]:
    """The events of one turn but for its text."""
    return [event.type.rpartition(".")[2] for event in events if not isinstance(event, Delta)]


@with_loop
async def test_errors_leave_the_session_open() -> None:
    """Each names what cannot be served and the event that asked for it."""
    refused = [
        (transcription(noise_reduction={"type": "near_field"}), "session.audio.input.noise_reduction"),
        (transcription(turn_detection={"type": "semantic_vad"}), "session.audio.input.turn_detection.type"),
        (transcription(transcription={"model": "whisper-1"}), "session.audio.input.transcription.model"),
        ({"type": "realtime", "instructions": "Be kind."}, "session.instructions"),
    ]
    async with recogniser() as server, connected(server) as connection:
        await connection.recv()
        for session, param in refused:
            await connection.session.update(session=session, event_id="mine")
            event = await connection.recv()
            assert isinstance(event, RealtimeErrorEvent)
            assert (event.error.param, event.error.event_id) == (param, "mine")
        await connection.input_audio_buffer.commit()
        event = await connection.recv()
        assert isinstance(event, RealtimeErrorEvent)
        assert event.error.code == "input_audio_buffer_commit_empty"
        await connection.response.create()
        event = await connection.recv()
        assert isinstance(event, RealtimeErrorEvent)
        assert event.error.param == "type"
        await connection.session.update(session=transcription())
        assert isinstance(await connection.recv(), SessionUpdatedEvent)


@with_loop
async def test_the_blocking_client(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The same over the client without an event loop, with a key."""
    _, data = recorded(tmp_path_factory.mktemp("clip"), "audio/pcm")

    def talk(base_url: str) -> str:
        http = openai.DefaultHttpxClient(trust_env=False)
        options: Any = {"proxy": None}
        with (
            OpenAI(api_key=ADA, base_url=base_url, http_client=http) as client,
            client.realtime.connect(model="asr-en", websocket_connection_options=options) as connection,
        ):
            connection.session.update(session=transcription())
            connection.input_audio_buffer.append(audio=base64.b64encode(data).decode())
            connection.input_audio_buffer.commit()
            return next(event for event in connection if isinstance(event, Completed)).transcript

    async with recogniser(access=access_settings()) as server:
        assert await asyncio.to_thread(talk, server.base_url)
        async with connected(server, "sk-nobody") as connection:
            event = await connection.recv()
            assert isinstance(event, RealtimeErrorEvent)
            assert event.error.code == "invalid_api_key"
