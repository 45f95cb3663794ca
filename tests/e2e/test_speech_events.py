"""Voice activity over every transport: beside a recogniser, as a task of its own, and as a gate."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from streamer.audio.pcm import encode
from streamer.errors import StreamerError
from streamer.session.messages import (
    Config,
    Done,
    Finalized,
    Result,
    ServerMessage,
    SpeechEvent,
    Vad,
)
from tests.e2e.serving import TRANSPORTS, Served, serving
from tests.gateway.serving import with_loop
from tests.toys import vowels_pcm, write_listener, write_vowels
from tests.toys.listener import FRAME

VAD = Vad(events=True, min_speech_s=0.01, min_silence_s=0.05)
CONFIG = Config("pcm_f32le", 16000, 1, mode="file", vad=VAD)
AUDIO = np.concatenate([np.zeros(20 * FRAME, np.float32), np.full(6 * FRAME, 0.2, np.float32)] * 2)
AUDIO = np.concatenate([AUDIO, np.zeros(40 * FRAME, np.float32)])
EVENTS = [
    *[SpeechEvent("speech_start", 20 * FRAME), SpeechEvent("speech_end", 26 * FRAME)],
    *[SpeechEvent("speech_start", 46 * FRAME), SpeechEvent("speech_end", 52 * FRAME)],
]

hearing = partial(serving, write=write_vowels, also=write_listener)


async def said(served: Served, config: Config, audio: np.ndarray, packet: int = 1000) -> list[ServerMessage]:
    async with served.connect(config) as stream:
        for start in range(0, len(audio), packet):
            await stream.send(encode(audio[start : start + packet], "pcm_f32le"))
        await stream.end()
        return [message async for message in stream]


def events(messages: list[ServerMessage]) -> list[SpeechEvent]:
    return [message for message in messages if isinstance(message, SpeechEvent)]


def finals(messages: list[ServerMessage]) -> list[Result]:
    return [message for message in messages if isinstance(message, Result) and message.is_final]


@pytest.mark.parametrize("transport", TRANSPORTS)
@with_loop
async def test_a_recogniser_tells_of_speech_too(tmp_path: Path, transport: str) -> None:
    """Events come beside results, before `Done`, at the samples where the sound begins and ends."""
    async with hearing(tmp_path, transport) as served:
        messages = await said(served, CONFIG, AUDIO)
        plain = await said(served, replace(CONFIG, vad=Vad()), AUDIO)
    assert events(messages) == EVENTS
    assert isinstance(messages[-1], Done)
    assert finals(messages) == finals(plain) != []
    assert events(plain) == []


@pytest.mark.parametrize("transport", TRANSPORTS)
@with_loop
async def test_the_task_vad_says_nothing_else(tmp_path: Path, transport: str) -> None:
    """A stream of the task vad gets events and `Done`; a finalize ends speech that goes on."""
    async with hearing(tmp_path, transport) as served:
        messages = await said(served, replace(CONFIG, task="vad", vad=replace(VAD, events=False)), AUDIO)
        assert events(messages) == EVENTS
        assert finals(messages) == []
        async with served.connect(replace(CONFIG, task="vad")) as stream:
            await stream.send(encode(AUDIO[: 24 * FRAME], "pcm_f32le"))
            await stream.finalize("x")
            await stream.end()
            cut = [message async for message in stream]
    assert cut[:3] == [EVENTS[0], SpeechEvent("speech_end", 24 * FRAME), Finalized("x", 24 * FRAME)]


@with_loop
async def test_a_gate_leaves_the_text_as_it_was(tmp_path: Path) -> None:
    """A gated stream says what an ungated one says, for every packet size."""
    audio = vowels_pcm("a o a", gap_frames=500)
    rules = replace(CONFIG, vad=Vad(threshold=0.2, min_speech_s=0.0))
    async with hearing(tmp_path, "in_process") as served:
        plain = finals(await said(served, rules, audio))
        gated = replace(rules, vad=replace(rules.vad, gate=True))
        for packet in (77, 1000, 16000):
            assert finals(await said(served, gated, audio, packet)) == plain
    assert [final.text for final in plain] == ["a", "o", "a"]


@pytest.mark.parametrize("transport", TRANSPORTS)
@with_loop
async def test_no_detector_no_stream(tmp_path: Path, transport: str) -> None:
    """Without a detector the request is refused at once by the name of what it asks for."""
    async with serving(tmp_path, transport) as served:
        with pytest.raises(StreamerError, match=r"^vad\.events and vad\.gate need a model for task 'vad', and none is"):
            await said(served, CONFIG, AUDIO)
        assert served.host.workers[0].free_slots("counter-asr@1.0.0") == 16


@with_loop
async def test_both_slots_or_none(tmp_path: Path) -> None:
    """A stream that finds no slot for its detector leaves the recogniser's slot free; a stream that ends frees both."""
    async with hearing(tmp_path, "in_process", max_streams=1) as served:
        worker = served.host.workers[0]
        async with served.connect(replace(CONFIG, task="vad")):
            with pytest.raises(StreamerError, match=r"listener"):
                await said(served, CONFIG, AUDIO)
            assert worker.free_slots("vowels@1.0.0") == 1
        await served.host.until_empty()
        assert len(events(await said(served, CONFIG, AUDIO))) == 4
        await served.host.until_empty()
        assert worker.free_slots("vowels@1.0.0") == worker.free_slots("listener@1.0.0") == 1


@with_loop
async def test_a_detector_has_nothing_to_gate_or_search(tmp_path: Path) -> None:
    """Options that mean nothing to the task vad are refused by name."""
    async with hearing(tmp_path, "in_process") as served:
        with pytest.raises(StreamerError, match=r"^model listener detects speech itself, got vad\.gate$"):
            await said(served, replace(CONFIG, task="vad", vad=replace(VAD, gate=True)), AUDIO)
