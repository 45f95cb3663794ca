"""The life of a session: order of messages, limits, timers; every refusal with its exact message."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamer.errors import InvalidRequest, MessageTooLarge, ModelFault, StreamerError, StreamTimeout, TooFast
from streamer.session.messages import (
    Alternative,
    Audio,
    Cancel,
    ClientMessage,
    Config,
    Decoding,
    Done,
    End,
    Endpointing,
    Finalize,
    Finalized,
    Flow,
    KeepAlive,
    Limits,
    Ready,
    Update,
)
from streamer.session.session import Session, SessionSettings, SessionState
from streamer.tasks.transcribe import Transcribe
from tests.session.driver import Driver, config, packets, play
from tests.tasks import toy

S16 = Config("pcm_s16le", 16000, 1)
SPEECH = toy.speech([("", 100), ("▁he", 60), ("llo", 60), ("", 100)])


def opened(folder: Path, first: Config = S16, **settings: int) -> Driver:
    return play(Driver(folder, SessionSettings(**settings)), [first])


def refusal(driver: Driver, *messages: ClientMessage) -> StreamerError:
    """Send messages of which the last one is refused; the session must be closed with that error."""
    for message in messages[:-1]:
        driver.send(message)
    with pytest.raises(StreamerError) as caught:
        driver.send(messages[-1])
    assert driver.session.closed
    assert driver.session.error is caught.value
    assert driver.session.next_step(driver.now) is None
    return caught.value


def test_ready_states_rates_delay_and_limits(folder: Path) -> None:
    """`Ready` follows the config; resampling adds its part to the delay."""
    driver = opened(folder, replace(S16, sample_rate=8000))
    limits = Limits(65536, 2000, 10_000, 30_000, None)
    assert driver.said == [Ready("s1", "toy@1.0.0", 8000, 16000, 50.0, 80.0 + 5.0, limits)]
    assert opened(folder).said[0].delay_ms == 80.0


def test_states(folder: Path) -> None:
    """OPENING, OPEN, FLUSHING, CLOSED."""
    driver = Driver(folder)
    assert driver.session.state is SessionState.OPENING
    assert driver.session.config is None
    driver.send(config())
    assert driver.session.state is SessionState.OPEN
    assert driver.session.config == config()
    driver.send(packets(SPEECH, [9999])[0], run=False)
    driver.send(End(), run=False)
    assert driver.session.state is SessionState.FLUSHING
    driver.run()
    assert driver.session.state is SessionState.CLOSED
    assert driver.session.error is None
    assert driver.said[-1] == Done(len(SPEECH), 1)


def test_takes_s16(folder: Path) -> None:
    """The 16 bit encoding says the same as floats."""
    driver = play(opened(folder), [*packets(SPEECH, [1600], "pcm_s16le"), End()])
    assert driver.text() == "hello"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            replace(S16, encoding=""),
            "expected encoding pcm_s16le, pcm_f32le, pcm_mulaw, pcm_alaw, flac, ogg_opus, snc1 or text, got ''",
        ),
        (
            replace(S16, encoding="opus"),
            "expected encoding pcm_s16le, pcm_f32le, pcm_mulaw, pcm_alaw, flac, ogg_opus, snc1 or text, got 'opus'",
        ),
        (replace(S16, sample_rate=0), "expected an integer sample rate from 8000 to 48000 Hz, got 0"),
        (replace(S16, sample_rate=96000), "expected an integer sample rate from 8000 to 48000 Hz, got 96000"),
        (replace(S16, channels=0), "expected 1 channel, got 0"),
        (replace(S16, channels=2), "expected 1 channel, got 2"),
        (replace(S16, task="translate"), "expected task transcribe or vad or codec or synthesize, got 'translate'"),
        (replace(S16, mode="fast"), "expected mode live or file, got 'fast'"),
        (
            replace(S16, endpointing=Endpointing(silence_after_speech_s=-1.0)),
            "endpointing silence_after_speech_s: expected a finite number of seconds above 0, got -1.0",
        ),
        (
            replace(S16, endpointing=Endpointing(max_segment_s=math.nan)),
            "endpointing max_segment_s: expected a finite number of seconds above 0, got nan",
        ),
        (replace(S16, decoding=Decoding(beam=17)), "decoding beam: expected an integer from 1 to 16, got 17"),
        (
            replace(S16, decoding=Decoding("greedy", n_best=2)),
            "decoding n_best: expected method beam, got greedy",
        ),
    ],
)
def test_refuses_bad_configs(folder: Path, bad: Config, message: str) -> None:
    """A config that cannot be served is refused at once, and is not kept."""
    driver = Driver(folder)
    error = refusal(driver, bad)
    assert type(error) is InvalidRequest
    assert str(error) == message
    assert driver.session.config is None


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([Audio(b"")], "expected config first, got audio"),
        ([Finalize()], "expected config first, got finalize"),
        ([KeepAlive(), End()], "expected config first, got end"),
        ([Update(Endpointing())], "expected config first, got update"),
        ([S16, S16], "expected one config, got a second"),
        ([S16, End(), KeepAlive(), Audio(b"")], "expected no message after the stream closed, got keepalive"),
        ([S16, Cancel(), Audio(b"")], "expected no message after the stream closed, got audio"),
        ([S16, Audio(b"abc")], "audio frame of 3 bytes is not a multiple of 2 bytes per sample"),
        ([S16, Audio(b"abcd", 5)], "expected first_sample 0, got 5"),
        ([S16, Audio(b"abcd"), Audio(b"abcd", 1)], "expected first_sample 2, got 1"),
        ([S16, Finalize("x" * 129)], "expected a finalize id of at most 128 characters, got 129"),
        (
            [S16, Update(Endpointing(max_segment_s=-2))],
            "endpointing max_segment_s: expected a finite number of seconds above 0, got -2",
        ),
        ([S16, "hello"], "unknown message str"),
        (
            [config(), Audio(np.float32([0.5]).tobytes()), Audio(np.float32([0, math.nan]).tobytes())],
            "sample 2 is nan, expected a float from -1 to 1",
        ),
        ([config(), Audio(np.float32([1.01]).tobytes())], "sample 0 is 1.01, expected a float from -1 to 1"),
        ([config(), Audio(np.float32([-math.inf]).tobytes())], "sample 0 is -inf, expected a float from -1 to 1"),
    ],
)
def test_refuses_bad_messages(folder: Path, messages: list[ClientMessage], message: str) -> None:
    """Each breach of the protocol has its own line."""
    driver, refused = Driver(folder), None
    for each in messages:
        try:
            driver.send(each)
        except StreamerError as error:
            refused = error
            break
    assert type(refused) is InvalidRequest
    assert str(refused) == message


def test_refuses_messages_after_end(folder: Path) -> None:
    """While the stream is flushed nothing more may come but `KeepAlive` and `Cancel`."""
    for late, name in ((Audio(b""), "audio"), (Finalize(), "finalize"), (End(), "end"), (S16, "config")):
        driver = play(Driver(folder), [config()])
        driver.send(packets(SPEECH, [9999])[0], run=False)
        driver.send(End(), run=False)
        driver.send(KeepAlive(), run=False)
        with pytest.raises(InvalidRequest, match=f"^expected no message after end, got {name}$"):
            driver.send(late, run=False)


def test_refuses_audio_before_admission() -> None:
    """Audio between the config and the host's word has no model to go to."""
    session = Session("s1", SessionSettings())
    session.receive(S16, 0.0)
    with pytest.raises(InvalidRequest, match=r"^expected no message before the stream is admitted, got audio$"):
        session.receive(Audio(b""), 0.0)


def test_refuses_large_frames(folder: Path) -> None:
    """A frame has a limit in bytes and one in time."""
    error = refusal(opened(folder), Audio(bytes(65538)))
    assert type(error) is MessageTooLarge
    assert str(error) == "audio frame of 65538 bytes exceeds the limit of 65536 bytes"
    error = refusal(opened(folder, replace(S16, sample_rate=8000)), Audio(bytes(32000)), Audio(bytes(32002)))
    assert type(error) is MessageTooLarge
    assert str(error) == "audio frame of 2000.12 ms exceeds the limit of 2000 ms"


def test_refuses_live_audio_that_is_too_fast(folder: Path) -> None:
    """Live audio may be 10 s ahead of the clock since the stream opened, and not a frame more."""
    driver = opened(folder)
    second = Audio(bytes(32000))
    play(driver, [second] * 10)
    error = refusal(driver, second)
    assert type(error) is TooFast
    assert str(error) == "audio is 11000 ms ahead of real time, limit is 10000 ms, mode file has none"
    driver = opened(folder)
    play(driver, [second] * 10)
    driver.send(second, now=1.0)
    assert not driver.session.closed


def test_file_mode_has_no_pace(folder: Path) -> None:
    """Files come as fast as they can."""
    driver = opened(folder, replace(S16, mode="file"))
    play(driver, [Audio(bytes(32000))] * 30)
    assert not driver.session.closed


def test_too_many_controls(folder: Path) -> None:
    """Controls that wait for audio are bounded; `End` is always taken."""
    driver = opened(folder)
    for _ in range(64):
        driver.send(Audio(b"ab"), run=False)
        driver.send(Finalize(), run=False)
    driver.send(End(), run=False)
    driver.run()
    assert sum(isinstance(message, Finalized) for message in driver.said) == 64
    driver = opened(folder)
    for _ in range(64):
        driver.send(Audio(b"ab"), run=False)
        driver.send(Finalize(), run=False)
    with pytest.raises(InvalidRequest, match=r"^expected at most 64 controls that wait for earlier audio$"):
        driver.send(Finalize(), run=False)


def test_cancel(folder: Path) -> None:
    """`Cancel` drops what is pending, at any time; a late result is dropped too."""
    driver = play(Driver(folder), [KeepAlive(), Cancel()])
    assert driver.said == [Done(0, 0, cancelled=True)]
    driver = play(Driver(folder), [config()])
    driver.send(packets(SPEECH, [9999])[0], run=False)
    step = driver.session.next_step(0.0)
    assert step is not None
    driver.send(End(), run=False)
    driver.send(Cancel(), run=False)
    assert driver.said[-1] == Done(len(SPEECH), 0, cancelled=True)
    assert driver.session.closed
    assert driver.session.error is None
    driver.session.complete(driver.model.run(step), 1.0)
    driver.session.tick(1000.0)
    assert driver.session.take_messages() == []
    assert driver.session.buffered_samples == 0


def test_alternatives_reach_the_client(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a task says of a segment beside its text is said to the client."""
    best = (Alternative("hello", 0.5), Alternative("hallo", 0.25))
    closes = Transcribe.finish_segment
    monkeypatch.setattr(
        Transcribe, "finish_segment", lambda task: [replace(said, alternatives=best) for said in closes(task)]
    )
    driver = play(Driver(folder), [config(), *packets(SPEECH, [1600]), End()])
    assert [final.alternatives for final in driver.finals()] == [best]


def test_fail_keeps_the_first_error(folder: Path) -> None:
    """The host may end a stream; a second error changes nothing."""
    driver = opened(folder)
    error = ModelFault("model broke")
    driver.session.fail(error)
    driver.session.fail(ModelFault("again"))
    assert driver.session.error is error
    assert driver.session.closed
    assert driver.session.deadline() == math.inf


def test_model_faults_close(folder: Path) -> None:
    """Outputs that break the manifest end this stream."""
    driver = opened(folder)
    driver.send(Audio(bytes(4000)), run=False)
    assert driver.session.next_step(0.0) is not None
    with pytest.raises(ModelFault, match="graph step returned no ids"):
        driver.session.complete({}, 0.0)
    assert driver.session.closed


def test_misuse_by_the_host(folder: Path) -> None:
    """A host that opens twice or completes nothing has a bug."""
    session = Session("s1", SessionSettings())
    driver = opened(folder)
    with pytest.raises(RuntimeError, match="opened once"):
        session.open(driver.task(), "toy", 0.0)
    with pytest.raises(RuntimeError, match="opened once"):
        driver.session.open(driver.task(), "toy", 0.0)
    with pytest.raises(RuntimeError, match="no step is out"):
        driver.session.complete({}, 0.0)
    with pytest.raises(RuntimeError, match="not open yet"):
        session.snapshot()


def test_one_step_at_a_time(folder: Path) -> None:
    """The next step comes once the one that is out is complete; its deadline is one hop after its audio."""
    driver = opened(folder)
    assert driver.session.next_step(0.0) is None
    assert driver.session.deadline() == math.inf
    driver.send(Audio(bytes(2 * toy.CHUNK - 2)), now=1.0, run=False)
    assert driver.session.next_step(1.0) is None
    driver.send(Audio(bytes(2 * (toy.HOP + 1))), now=2.0, run=False)
    step = driver.session.next_step(2.0)
    assert step is not None
    assert driver.session.next_step(2.0) is None
    assert driver.session.deadline() == pytest.approx(2.05)
    driver.session.complete(driver.model.run(step), 2.2)
    assert driver.session.lag_s == pytest.approx(0.2)
    assert driver.session.next_step(2.2) is not None


def test_buffered_samples(folder: Path) -> None:
    """What has been received and no completed step has consumed."""
    driver = opened(folder)
    assert driver.session.buffered_samples == 0
    driver.send(Audio(bytes(2 * 2000)), run=False)
    assert driver.session.buffered_samples == 2000
    step = driver.session.next_step(0.0)
    assert driver.session.buffered_samples == 2000
    assert step is not None
    driver.session.complete(driver.model.run(step), 0.0)
    assert driver.session.buffered_samples == 2000 - toy.CHUNK
    driver.run()
    driver.send(Finalize())
    assert driver.session.buffered_samples == 0


def test_idle_timeout(folder: Path) -> None:
    """Thirty seconds without a message end the stream; `KeepAlive` restarts the timer."""
    driver = opened(folder)
    driver.session.tick(30.0)
    driver.send(KeepAlive(), now=30.0)
    driver.session.tick(60.0)
    with pytest.raises(StreamTimeout, match=r"^no message within 30 s$"):
        driver.session.tick(60.1)
    assert isinstance(driver.session.error, StreamTimeout)
    driver.session.tick(1000.0)


def test_idle_timeout_before_the_config() -> None:
    """A client that never says anything is timed from the first tick."""
    session = Session("s1", SessionSettings(idle_timeout_ms=1000))
    session.tick(100.0)
    with pytest.raises(StreamTimeout, match=r"^no message within 1 s$"):
        session.tick(101.1)


def test_no_idle_timeout_while_the_server_is_behind(folder: Path) -> None:
    """A client that waits for a slow server is not idle."""
    driver = opened(folder)
    driver.send(Audio(bytes(3000)), run=False)
    driver.session.tick(100.0)
    step = driver.session.next_step(100.0)
    driver.session.tick(200.0)
    assert step is not None
    driver.session.complete(driver.model.run(step), 210.0)
    driver.session.tick(239.0)
    with pytest.raises(StreamTimeout):
        driver.session.tick(241.0)


def test_session_cap(folder: Path) -> None:
    """A stream that reaches its maximal length ends."""
    driver = opened(folder, max_session_ms=5000)
    driver.send(KeepAlive(), now=4.9)
    driver.session.tick(5.0)
    with pytest.raises(StreamTimeout, match=r"^stream reached its maximal length of 5 s$"):
        driver.session.tick(5.1)


def test_flow(folder: Path) -> None:
    """`Flow` comes at most once per interval, and only while something moves."""
    driver = opened(folder)
    driver.session.tick(5.0)
    assert driver.session.take_messages() == []
    driver.send(Audio(bytes(2 * 1600)), now=5.5, run=False)
    step = driver.session.next_step(5.5)
    assert step is not None
    driver.session.complete(driver.model.run(step), 5.6)
    assert driver.session.take_messages() == [Flow(1600, toy.CHUNK, 40.0, pytest.approx(100.0))]
    driver.send(Audio(bytes(2)), now=5.7)
    driver.session.tick(6.5)
    assert driver.session.take_messages() == []
    driver.session.tick(6.7)
    assert driver.session.take_messages() == [Flow(1601, toy.CHUNK, pytest.approx(40.0625), pytest.approx(100.0))]
    driver.session.tick(8.0)
    assert driver.session.take_messages() == []


def test_interims_can_be_switched_off(folder: Path) -> None:
    """Without interims only finals are sent, and they are the same, but that there were no revisions before."""
    script = [*packets(SPEECH, [800]), End()]
    with_interims = play(Driver(folder), [config(), *script])
    without = play(Driver(folder), [config(interim_results=False), *script])
    assert len(with_interims.results()) > len(without.results()) == 1
    assert [replace(final, revision=0) for final in with_interims.finals()] == without.finals()
