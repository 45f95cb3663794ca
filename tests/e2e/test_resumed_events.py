"""Speech events of streams whose connections break, with the shipped models, the Python client and both transports."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from streamer.audio.pcm import encode
from streamer.audio.resample import Resampler
from streamer.client import connect
from streamer.config import ResumeSection
from streamer.session.messages import Config, Done, Result, SpeechEvent, Vad
from tests.e2e.cutting import cutting
from tests.e2e.recognised import clip, serving_recogniser
from tests.e2e.test_reconnect import both_transports, budgets, play
from tests.gateway.serving import with_loop

RATE = 16_000
PAUSE = bytes(3 * RATE)
MODELS = ("asr-en", "vad")
CONFIG = Config("pcm_s16le", RATE, 1, mode="file", vad=Vad(events=True, min_silence_s=0.2))


def parts(seen: list) -> tuple[list, list, list]:
    """What each lane says, in its order: between the lanes there is none. Confidences may differ in the last bit."""
    finals = [
        (m.text, [(w.word, w.start_sample, w.end_sample) for w in m.words]) for m in seen if isinstance(m, Result)
    ]
    return finals, [m for m in seen if isinstance(m, SpeechEvent)], [m for m in seen if isinstance(m, Done)]


@both_transports
@pytest.mark.parametrize("wire_rate", [8000, RATE, 44_100])
@with_loop
async def test_cut_at_random_bytes_texts_and_events_are_the_same(transport, wire_rate):
    """Speech in two clips with pauses, cut in some places: nothing is lost, and nothing is told twice."""
    pcm = clip("ferry") + PAUSE + clip("honey") + PAUSE
    resampled = Resampler(RATE, wire_rate).push(np.frombuffer(pcm, "<i2") / np.float32(32768))
    pcm = encode(np.clip(resampled, -1, 0.999), "pcm_s16le")
    config = replace(CONFIG, sample_rate=wire_rate)
    async with serving_recogniser(models=MODELS, resume=ResumeSection(interval_ms=100)) as (_, addresses):
        url = getattr(addresses, transport)
        expected = parts(await play(url, config, pcm, resumable=False))
        dice = random.Random(wire_rate)
        places = [dice.randint(len(pcm) // 8, len(pcm) // 2), *budgets(wire_rate, 4, len(pcm))]
        async with cutting(url, places) as (proxied, proxy):
            assert parts(await play(proxied, config, pcm)) == expected
    assert proxy.cuts >= 3
    finals, events, ends = expected
    assert (len(finals) >= 2, len(events) >= 4, len(ends)) == (True, True, 1)
    assert [event.kind for event in events] == ["speech_start", "speech_end"] * (len(events) // 2)


@with_loop
async def test_a_detector_takes_little_room_in_the_token():
    """Its state is replayed, so it is its host loop alone."""
    pcm = clip("ferry")
    medians = {}
    async with serving_recogniser(models=MODELS, resume=ResumeSection(interval_ms=0)) as (_, addresses):
        for vad in (Vad(), CONFIG.vad):
            async with connect(addresses.websocket, replace(CONFIG, vad=vad, resumable=True)) as stream:
                for start in range(0, len(pcm), 3200):
                    await stream.send(pcm[start : start + 3200])
                await stream.end()
                tokens = [m.resume_token async for m in stream if getattr(m, "resume_token", None)]
            assert len(tokens) > 10
            medians[vad.events] = np.median([len(token) for token in tokens])
    assert medians[False] < medians[True] < medians[False] + 400
