"""Realtime sessions over a raw WebSocket, against a fake host."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from streamer.errors import ModelFault, Overloaded
from streamer.gateway.connections import LARGER_MESSAGES
from streamer.gateway.openai.inbox import Inbox
from streamer.session.messages import Audio, Config, End, Finalize, Result, SpeechEvent, Vad
from tests.gateway.fake_host import FakeHost
from tests.gateway.keyring import ADA, access_settings
from tests.gateway.openai.talker import PATH, DetectingHost, Talker, talking
from tests.gateway.serving import serving, until_closed, websocket, with_loop

COMPLETED = "conversation.item.input_audio_transcription.completed"
DELTA = "conversation.item.input_audio_transcription.delta"
MS_100 = bytes(4800)


@with_loop
async def test_a_session_begins_with_its_settings() -> None:
    """Without a detector the client commits; the model is the default one unless the address names another."""
    async with serving(FakeHost(), openai={"aliases": {"gpt-4o-transcribe": "echo"}}) as addresses:
        async with websocket(addresses, path=PATH) as connection:
            session = (await Talker(connection).hear())["session"]
        async with websocket(addresses, path="/v1/realtime?model=gpt-4o-transcribe") as connection:
            named = (await Talker(connection).hear())["session"]
    assert session.pop("id").startswith("sess_")
    assert session == {
        "object": "realtime.transcription_session",
        "type": "transcription",
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24_000},
                "transcription": {"model": "echo", "language": None, "prompt": ""},
                "noise_reduction": None,
                "turn_detection": None,
            }
        },
        "include": None,
    }
    assert named["audio"]["input"]["transcription"]["model"] == "gpt-4o-transcribe"


@with_loop
async def test_what_is_committed_is_transcribed() -> None:
    """Audio is cut into frames of 100 ms; deltas make the transcript."""
    host = FakeHost()
    async with serving(host) as addresses, talking(addresses) as talker:
        await talker.append(MS_100 * 2 + bytes(2))
        await talker.send("input_audio_buffer.commit")
        heard = await talker.until(COMPLETED)
    assert "".join(event["delta"] for event in heard if event["type"] == DELTA) == "4800 4800 2"
    assert heard[-1]["transcript"] == "4800 4800 2"
    assert heard[-1]["usage"] == {"type": "duration", "seconds": 0.2}
    config, *frames, finalize = host.streams[0].got
    assert config == Config("pcm_s16le", 24_000, 1, model="echo@1", mode="file")
    assert frames == [Audio(MS_100), Audio(MS_100), Audio(bytes(2))]
    assert finalize == Finalize(heard[-1]["item_id"])


@pytest.mark.parametrize(("form", "encoding"), [("audio/pcmu", "pcm_mulaw"), ("audio/pcma", "pcm_alaw")])
@with_loop
async def test_telephones_are_heard(form: str, encoding: str) -> None:
    """G.711 at 8 kHz, one byte a sample."""
    host = FakeHost()
    async with serving(host) as addresses, talking(addresses) as talker:
        assert (await talker.update(format={"type": form}))["type"] == "session.updated"
        await talker.append(bytes(801))
        await talker.send("input_audio_buffer.commit")
        completed = (await talker.until(COMPLETED))[-1]
    config = host.streams[0].got[0]
    assert isinstance(config, Config)
    assert (config.encoding, config.sample_rate) == (encoding, 8000)
    assert completed["usage"]["seconds"] == 0.1


@with_loop
async def test_the_detector_takes_turns() -> None:
    """What it says of speech becomes events, and the end of speech commits; live audio keeps its pace."""
    host = DetectingHost()
    async with serving(host) as addresses, talking(addresses) as talker:
        turns = {"type": "server_vad", "threshold": 0.6, "prefix_padding_ms": 0, "silence_duration_ms": 40}
        assert (await talker.update(turn_detection=turns))["type"] == "session.updated"
        await talker.append(MS_100 * 3)
        await host.connected.wait()
        stream = host.streams[0]
        stream.say(SpeechEvent("speech_start", 24))
        started = (await talker.until("input_audio_buffer.speech_started"))[-1]
        stream.say(SpeechEvent("speech_end", 2400))
        heard = await talker.until(COMPLETED)
    config = stream.got[0]
    assert isinstance(config, Config)
    assert (config.mode, config.vad) == ("live", Vad(events=True, threshold=0.6, min_silence_s=0.04))
    stopped = next(event for event in heard if event["type"] == "input_audio_buffer.speech_stopped")
    assert (started["audio_start_ms"], stopped["audio_end_ms"]) == (1, 140)
    assert {event.get("item_id", started["item_id"]) for event in heard} == {started["item_id"]}
    assert Finalize(started["item_id"]) in stream.got


@with_loop
async def test_live_audio_that_comes_at_once_is_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reaches the stream at the pace of speech, though its client sent it all before."""
    waits: list[float] = []

    async def pause(_: Inbox, seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(Inbox, "pause", pause)
    async with serving(DetectingHost()) as addresses, talking(addresses) as talker:
        await talker.append(MS_100 * 600)
        await talker.send("input_audio_buffer.commit")
        await talker.until(COMPLETED)
    # A minute of audio, and nobody has waited: nearly all of it is ahead, but for the second that may be.
    assert 30 < max(waits) < 60


@with_loop
async def test_a_client_that_goes_while_its_audio_is_held_back() -> None:
    """Its slot is free long before that audio would have been heard."""
    host = DetectingHost()
    async with serving(host) as addresses:
        async with talking(addresses) as talker:
            await talker.append(MS_100 * 1000)
            await host.connected.wait()
        await host.streams[0].aborted.wait()


@with_loop
async def test_clearing_drops_what_was_heard() -> None:
    """Its text is nobody's, and the next item begins anew."""
    host = FakeHost()
    async with serving(host) as addresses, talking(addresses) as talker:
        await talker.append(bytes(2))
        await talker.until(DELTA)
        await talker.send("input_audio_buffer.clear")
        await talker.until("input_audio_buffer.cleared")
        await talker.append(bytes(4))
        await talker.send("input_audio_buffer.commit")
        assert (await talker.until(COMPLETED))[-1]["transcript"] == "4"


@pytest.mark.parametrize(
    ("sent", "param", "message"),
    [
        ("junk", "event", "event: expected JSON"),
        ("[]", "event", "event: expected an object, got an array"),
        (b"\0\0", "event", "event: expected JSON text, got 'binary data of 2 bytes'"),
        ({"type": "response.create"}, "type", "type: expected one of session.update, transcription_session.update, "),
        ({"type": "input_audio_buffer.append", "audio": "&"}, "audio", "audio: expected base64"),
        ({"type": "input_audio_buffer.append"}, "audio", "audio: expected a string in base64, got nothing"),
        ({"type": "input_audio_buffer.append", "audio": "AA=="}, None, "audio frame of 1 bytes is not a multiple of 2"),
        ({"type": "input_audio_buffer.append", "audio": "", "rate": 1}, "rate", "rate: is not known in input_audio_"),
        ({"type": "input_audio_buffer.commit"}, "input_audio_buffer", "input_audio_buffer: expected audio to commit"),
        ({"type": "session.update"}, "session", "session: expected an object, got nothing"),
        ({"type": "session.update", "session": {"type": "realtime"}}, "session.type", "session.type: expected transcr"),
        (
            {"type": "transcription_session.update", "session": {"input_audio_transcription": {"model": "whisper-1"}}},
            "session.input_audio_transcription.model",
            "unknown model 'whisper-1', expected one of echo",
        ),
        (
            {"type": "transcription_session.update", "session": {"turn_detection": {"type": "server_vad"}}},
            "session.turn_detection",
            "session.turn_detection: no voice activity detector is served here, expected null",
        ),
        (
            {"type": "transcription_session.update", "session": {"input_audio_transcription": {"language": "de"}}},
            "session.input_audio_transcription.language",
            "session.input_audio_transcription.language: model echo speaks en, got 'de'",
        ),
    ],
)
@with_loop
async def test_what_cannot_be_served_is_an_event(sent: Any, param: str | None, message: str) -> None:
    """It names the event that it answers, and the session goes on as if nothing had been sent."""
    host = FakeHost()
    async with serving(host) as addresses, talking(addresses) as talker:
        named = isinstance(sent, dict)
        await talker.connection.send(json.dumps({"event_id": "mine", **sent}) if named else sent)
        event = await talker.hear()
        await talker.append(bytes(2))
        await talker.send("input_audio_buffer.commit")
        assert (await talker.until(COMPLETED))[-1]["transcript"] == "2"
    assert event["type"] == "error"
    error = event["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert error["message"].startswith(message)
    assert error["event_id"] == ("mine" if named else None)


@with_loop
async def test_settings_change_between_items() -> None:
    """Another stream serves them; while audio waits for its commit they cannot change."""
    host = FakeHost()
    async with serving(host) as addresses, talking(addresses) as talker:
        await talker.append(bytes(2))
        refused = await talker.until_error(format={"type": "audio/pcmu"})
        assert refused["message"] == "session: cannot change while audio is not committed or cleared"
        await talker.send("input_audio_buffer.commit")
        await talker.until(COMPLETED)
        assert (await talker.update(format={"type": "audio/pcmu"}))["type"] == "session.updated"
        await talker.append(bytes(3))
        await talker.send("input_audio_buffer.commit")
        assert (await talker.until(COMPLETED))[-1]["transcript"] == "3"
    first, second = host.streams
    assert first.got[-1] == End()
    assert second.got[1] == Audio(bytes(3))


@with_loop
async def test_a_client_that_rests_frees_its_slot() -> None:
    """Its stream ends in good order; the item goes on with the next audio, over another stream."""
    host = FakeHost()
    async with serving(host, session={"idle_timeout_ms": 40}) as addresses, talking(addresses) as talker:
        await talker.append(bytes(2))
        await talker.until(DELTA)
        await host.streams[0].aborted.wait()
        assert host.streams[0].got[-1] == End()
        await talker.append(bytes(4))
        await talker.until(DELTA)
        await host.streams[1].aborted.wait()
        await talker.send("input_audio_buffer.commit")
        assert (await talker.until(COMPLETED))[-1]["transcript"] == "2 4"


class Door:
    """A stream's room that a test opens, once somebody waits for it."""

    def __init__(self) -> None:
        self.reached, self.opened = asyncio.Event(), asyncio.Event()

    async def wait(self) -> None:
        self.reached.set()
        await self.opened.wait()


@with_loop
async def test_speech_that_ends_while_the_stream_does() -> None:
    """`End` finalizes its item; nothing may follow that."""
    host = DetectingHost()
    async with serving(host, session={"idle_timeout_ms": 40}) as addresses, talking(addresses) as talker:
        await talker.append(bytes(2))
        await host.connected.wait()
        stream, door = host.streams[0], Door()
        stream.say(SpeechEvent("speech_start", 0))
        await talker.until("input_audio_buffer.speech_started")
        stream.room = door  # type: ignore[assignment]
        await door.reached.wait()
        stream.say(SpeechEvent("speech_end", 1))
        await talker.until("conversation.item.done")
        door.opened.set()
        completed = (await talker.until(COMPLETED))[-1]
    assert completed["transcript"] == "2"
    assert stream.got[-1] == End()


@with_loop
async def test_a_fault_fails_the_items_and_closes() -> None:
    """Who waits for text learns that none comes, then why; the close code is that of the error."""
    host = FakeHost()
    host.first_message = Result(0, 0, "", 0, False, False, 0, 0, 1.0)
    async with serving(host) as addresses, talking(addresses) as talker:
        await host_waits(host, talker)
        host.streams[0].end(ModelFault("step failed"))
        frames, code, reason = await until_closed(talker.connection)
    failed, error = (json.loads(frame) for frame in frames)
    assert failed["type"] == "conversation.item.input_audio_transcription.failed"
    assert failed["error"]["message"] == error["error"]["message"] == "step failed"
    assert (code, reason) == (1011, "internal")


async def host_waits(host: FakeHost, talker: Talker) -> None:
    """Commit, while the stream says nothing."""
    await talker.append(bytes(2))
    await talker.until(DELTA)
    host.streams[0].room.clear()
    await talker.send("input_audio_buffer.commit")
    await talker.until("conversation.item.done")


@with_loop
async def test_a_full_server_says_when_audio_comes() -> None:
    """A session takes no slot before; then it is told, and closed as any other stream."""
    host = FakeHost()
    host.error = Overloaded("no slot", 1.5)
    async with serving(host) as addresses, talking(addresses) as talker:
        assert (await talker.update(turn_detection=None))["type"] == "session.updated"
        assert not host.streams
        await talker.append(bytes(2))
        frames, code, _ = await until_closed(talker.connection)
    assert json.loads(frames[-1])["error"]["code"] == "overloaded"
    assert code == 1013


@with_loop
async def test_a_client_that_reads_nothing_loses_its_slot() -> None:
    """What it leaves unread is bounded, here as everywhere."""
    host = FakeHost()
    async with serving(host, session={"unread_limit_ms": 50}) as addresses, talking(addresses) as talker:
        await talker.append(bytes(2))
        await talker.until(DELTA)
        for segment in range(1, 400):
            host.streams[0].say(Result(segment, 0, "x" * 65536, 65536, True, True, 0, 1, 1.0))
        await host.streams[0].aborted.wait()
        talker.connection.transport.abort()


@with_loop
async def test_a_bug_tells_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Its text stays in the log."""
    host = FakeHost()
    host.error = KeyError("/srv/secret")
    async with serving(host) as addresses, talking(addresses) as talker:
        await talker.append(bytes(2))
        frames, code, _ = await until_closed(talker.connection)
    assert json.loads(frames[-1])["error"]["message"] == "internal error"
    assert code == 1011
    assert "realtime session failed" in capsys.readouterr().out


@pytest.mark.parametrize("politely", [True, False])
@with_loop
async def test_a_client_that_goes_frees_its_slot(politely: bool) -> None:
    """With or without a close frame."""
    host = FakeHost()
    async with serving(host) as addresses, talking(addresses) as talker:
        await talker.append(bytes(2))
        await talker.until(DELTA)
        assert not host.streams[0].aborted.is_set()
        if politely:
            await talker.connection.close()
        else:
            talker.connection.transport.abort()
        await host.streams[0].aborted.wait()


@pytest.mark.parametrize(
    ("path", "param", "code"),
    [
        ("/v1/realtime?model=gpt-realtime", "model", 4404),
        ("/v1/realtime?intent=conversation", "intent", 4400),
        ("/v1/realtime?call_id=rtc_1", "call_id", 4400),
    ],
)
@with_loop
async def test_addresses_that_ask_for_more_are_refused(path: str, param: str, code: int) -> None:
    """By name, and then the connection closes."""
    async with serving(FakeHost()) as addresses, websocket(addresses, path=path) as connection:
        frames, closed, _ = await until_closed(connection)
    assert [json.loads(frame)["error"]["param"] for frame in frames] == [param]
    assert closed == code


@pytest.mark.parametrize(
    "options",
    [
        {"additional_headers": {"OpenAI-Beta": "realtime=v1"}},
        {"subprotocols": ["realtime", "openai-beta.realtime-v1"]},
    ],
)
@with_loop
async def test_the_beta_is_spoken_to_who_asks_for_it(options: dict[str, Any]) -> None:
    """Its events have other names; everything else is the same."""
    async with serving(FakeHost()) as addresses, websocket(addresses, path=PATH, **options) as connection:
        talker = Talker(connection)
        created = await talker.hear()
        await talker.send("transcription_session.update", session={"input_audio_format": "g711_ulaw"})
        updated = await talker.hear()
        await talker.append(bytes(2))
        await talker.send("input_audio_buffer.commit")
        kinds = [event["type"] for event in await talker.until(COMPLETED)]
    assert (created["type"], created["session"]["input_audio_format"]) == ("transcription_session.created", "pcm16")
    assert (updated["type"], updated["session"]["input_audio_format"]) == (
        "transcription_session.updated",
        "g711_ulaw",
    )
    assert "conversation.item.created" in kinds


@with_loop
async def test_browsers_show_their_key_as_a_subprotocol() -> None:
    """They can set no header; the subprotocol that is chosen is the one that is no secret."""
    protocols = ["realtime", f"openai-insecure-api-key.{ADA}"]
    async with serving(FakeHost(), access=access_settings()) as addresses:
        async with talking(addresses, subprotocols=protocols) as talker:
            assert talker.connection.subprotocol == "realtime"
        async with websocket(addresses, path=PATH, subprotocols=["realtime"]) as connection:
            frames, code, _ = await until_closed(connection)
    assert json.loads(frames[0])["error"]["code"] == "invalid_api_key"
    assert code == 4401


@with_loop
async def test_audio_of_fifteen_mebibytes_is_one_event() -> None:
    """More is refused with an event, and what no event could be is cut off."""
    host = FakeHost()
    most = 15 << 20
    async with serving(host) as addresses:
        async with talking(addresses) as talker:
            await talker.append(bytes(most + 2))
            assert (await talker.hear())["error"]["code"] == "message_too_large"
            await talker.append(bytes(most))
            await talker.send("input_audio_buffer.commit")
            completed = (await talker.until(COMPLETED))[-1]
        async with talking(addresses) as talker:
            with contextlib.suppress(ConnectionClosed):
                await talker.connection.send(" " * (LARGER_MESSAGES["/v1/realtime"] + 1))
            _, code, _ = await until_closed(talker.connection)
    assert completed["usage"]["seconds"] == round(most / 48_000, 3)
    assert code == 1009
