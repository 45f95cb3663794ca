"""When the audio of a text is made, how much at a time, and what timers say meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamer.errors import StreamTimeout
from streamer.session.messages import (
    End,
    Flow,
    Ready,
)
from streamer.session.session import SessionSettings
from tests.session.speech_driver import FILE, LIVE, SpeechBench, SpeechStream, speaking
from tests.toys.voice import DELAY, FRAME, RATE

TEXT = "Hello, world. Two zorks cost $3.50, good morning! One more"
OTHERS = ("Good morning.", "One, two, three: hello world!", "Three worlds; one morning - two hellos.", "A zork.")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> SpeechBench:
    return SpeechBench(tmp_path_factory.mktemp("voice"))


@pytest.fixture(autouse=True)
def _clock(bench: SpeechBench) -> None:
    bench.now, bench.settings = 0.0, SessionSettings()


def test_a_live_stream_is_paced(bench: SpeechBench) -> None:
    """Audio is never made more than `lead_s` ahead of playback, nor too late for it; chunks grow from ten frames on."""
    config = speaking(LIVE, lead_s=2.0)
    stream = bench.open(config)
    stream.send(TEXT * 3)
    stream.send(End())
    while not stream.session.closed:
        bench.run(stream)
        ahead_s = len(stream.samples) / RATE - bench.now
        assert 0 < ahead_s <= 2.0
        bench.now += 0.25
    # As long as the audio, but for what was made ahead.
    assert len(stream.samples) / RATE - 2.0 <= bench.now <= len(stream.samples) / RATE
    assert stream.pcm == bench.whole(FILE, TEXT * 3).pcm


def frames_of(stream: SpeechStream) -> list[int]:
    """The frames of each step, but for what the model's delay has taken from the first one."""
    return [-(-len(message.data) // (4 * FRAME)) for message in stream.audio]


@pytest.mark.parametrize("mode", ["live", "file"])
def test_chunks_grow(bench: SpeechBench, mode: str) -> None:
    """The first is short, to be heard soon; the largest ones are for files, for they hold up who begins to speak."""
    stream = bench.open(replace(FILE, mode=mode))
    stream.send("hello world " * 60)
    bench.run(stream)
    first, *rest = frames_of(stream)
    assert first <= 10
    # 9 frames and a bit are 0.18 s; then 0.68 s, then more than a second.
    assert rest[:2] == [25, 25]
    if mode == "file":
        assert set(rest[2:-1]) == {50}
    else:
        assert set(rest[2:-1]) == {25}
        assert len(stream.samples) <= 3 * RATE


def test_first_chunks_go_first(bench: SpeechBench) -> None:
    """A step is due when its listener has heard the rest; of a listener who has nothing yet, when the text came."""
    early, late = bench.open(LIVE, 0), bench.open(LIVE, 1)
    early.send(TEXT)
    bench.step(early)
    bench.now = 0.1
    late.send(TEXT)
    for stream in (early, late):
        assert stream.session.next_step(bench.now) is not None
    assert early.session.deadline() == pytest.approx(len(early.samples) / RATE)
    assert late.session.deadline() == 0.1


def test_lag_is_the_wait_for_audio(bench: SpeechBench) -> None:
    """From the arrival of the text that completes a piece to its audio."""
    stream = bench.open(LIVE)
    stream.send("Hello, wor")
    bench.run(stream)
    bench.now = 5.0
    stream.send("ld. Good")
    step = stream.session.next_step(bench.now)
    assert step is not None
    bench.now = 5.03
    bench.finish([(stream, step)])
    assert stream.session.lag_s == pytest.approx(0.03)


def test_idle_streams_end(bench: SpeechBench) -> None:
    """A client that sends no text is told so; one that is being spoken to, or listens, is not idle."""
    bench.settings = SessionSettings(idle_timeout_ms=2000)
    stream = bench.open(LIVE)
    stream.send(TEXT * 3)
    bench.run(stream)
    for _ in range(8):
        bench.now += 1.0
        stream.session.tick(bench.now)
        bench.run(stream)
    while stream.session.next_step(bench.now) is not None or stream.session.is_early:
        bench.now += 0.25
        bench.run(stream)
    stream.session.tick(bench.now + 1.9)
    with pytest.raises(StreamTimeout, match="no message within 2 s"):
        stream.session.tick(bench.now + 4.0)


def test_ready_and_flow(bench: SpeechBench) -> None:
    """`Ready` tells the rate of what comes out, the first chunk and the delay; `Flow` how much was said."""
    stream = bench.open(replace(LIVE, sample_rate=16000))
    ready = stream.said[0]
    assert isinstance(ready, Ready)
    assert (ready.wire_rate, ready.model_rate, ready.chunk_ms) == (16000, RATE, 200.0)
    assert ready.delay_ms == pytest.approx(1000 * DELAY / RATE + 5.0)
    stream.send(TEXT)
    bench.run(stream)
    bench.now = 1.5
    stream.session.tick(bench.now)
    stream.take()
    flow = next(message for message in stream.said if isinstance(message, Flow))
    assert flow.received_sample == flow.processed_sample > 0
    assert stream.session.heard_s == flow.received_sample / 16000
