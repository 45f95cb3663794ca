"""Whole streams through a session and a model: packets, flushes, times, snapshots, random orders."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import StreamerError
from streamer.session.messages import (
    Audio,
    Cancel,
    ClientMessage,
    Decoding,
    Done,
    End,
    Endpointing,
    Finalize,
    Finalized,
    Hotword,
    KeepAlive,
    Ready,
    Result,
    ServerMessage,
    Update,
)
from streamer.session.session import Session, SessionSettings
from tests.session.driver import Driver, config, packets, play
from tests.tasks import toy

RATES = [8000, 11127, 16000, 44100, 48000]
SENTENCE = [
    *[("", 150), ("▁he", 50), ("llo", 50), ("", 120), ("▁wor", 40), ("ld", 60), ("", 400)],
    *[("▁a", 60), ("", 130), ("▁to", 50), ("s", 50), ("", 90), ("▁two", 60)],
]
WORDS = ["hello", "world", "a", "tos", "two"]
STARTS_MS = [150, 370, 870, 1060, 1250]
RULES = Endpointing(silence_after_speech_s=0.3, silence_without_speech_s=0.4, max_segment_s=0.6)
# `Flow` depends on the clock; frames of 2 s at 48 kHz are larger than the usual limit.
QUIET = SessionSettings(flow_interval_ms=10**9, max_frame_bytes=10**6)
FAST = settings(max_examples=25, deadline=None)


def run(folder: Path, rate: int, messages: list[ClientMessage], **changes: Any) -> Driver:
    return play(Driver(folder, QUIET), [config(rate, endpointing=RULES, **changes), *messages])


def check_finals(said: list[ServerMessage]) -> None:
    """Segments come in order, each with growing revisions and one final; stable text stays; words are in order."""
    segment, revision, stable, place, finals = 0, -1, "", 0, 0
    for message in said:
        if not isinstance(message, Result):
            continue
        assert message.segment_id == segment
        assert message.revision == revision + 1
        assert message.text.startswith(stable)
        for word in message.words:
            assert place <= word.start_sample <= word.end_sample
        ends = [word.end_sample for word in message.words]
        assert ends == sorted(ends)
        assert (message.start_sample, message.end_sample) == (message.words[0].start_sample, ends[-1])
        revision, stable = message.revision, message.text[: message.stable_chars]
        if message.is_final:
            segment, revision, stable, place, finals = segment + 1, -1, "", ends[-1], finals + 1
    done = said[-1]
    if isinstance(done, Done) and not done.cancelled:
        assert done.segments == finals
        assert place <= done.audio_samples


@FAST
@given(
    rate=st.sampled_from(RATES),
    sizes=st.lists(st.integers(1, 16000), max_size=8),
    last_size=st.integers(200, 16000),
    lazy=st.booleans(),
)
def test_packets_do_not_matter(folder: Path, rate: int, sizes: list[int], last_size: int, lazy: bool) -> None:
    """Any cut into packets, and any delay of the steps, gives the same results."""
    audio = toy.speech(SENTENCE, rate)
    whole = run(folder, rate, [*packets(audio, [rate]), End()])
    other = Driver(folder, QUIET)
    other.send(config(rate, endpointing=RULES))
    for packet in packets(audio, [*sizes, last_size]):
        other.send(packet, run=not lazy)
    other.send(End())
    assert other.said == whole.said
    assert whole.text().split() == WORDS
    check_finals(whole.said)


@pytest.mark.parametrize("rate", [16000, 44100])
def test_packets_of_one_sample(folder: Path, rate: int) -> None:
    """The smallest packets give the same results as the largest."""
    audio = toy.speech([("", 30), ("▁he", 40), ("llo", 40), ("", 40)], rate)
    expected = run(folder, rate, [*packets(audio, [2 * rate]), End()]).said
    assert run(folder, rate, [*packets(audio, [1]), End()]).said == expected


@pytest.mark.parametrize("rate", RATES)
def test_every_cut_point_is_flushed(folder: Path, rate: int) -> None:
    """Wherever the audio ends, words spoken before that are in the finals."""
    audio = toy.speech([("", 20), ("▁he", 30), ("llo", 30), ("", 30), ("▁a", 30)], rate)
    heard_by_ms = {50: "he", 80: "hello", 140: "hello a"}
    for cut in range(0, len(audio) + 1, max(1, rate // 700)):
        driver = run(folder, rate, [*packets(audio[:cut], [rate]), End()])
        assert driver.said[-1] == Done(cut, len(driver.finals()))
        # A token takes one steady frame; the resampler blurs 5 ms on each side of a step.
        sure = [text for ms, text in heard_by_ms.items() if cut * 1000 >= ms * rate]
        assert driver.text().startswith(sure[-1] if sure else "")
        assert "hello a".startswith(driver.text())


@FAST
@given(rate=st.sampled_from(RATES), gaps=st.lists(st.integers(0, 6), max_size=4, unique=True), data=st.data())
def test_finalize_loses_and_doubles_nothing(folder: Path, rate: int, gaps: list[int], data: st.DataObject) -> None:
    """`Finalize` in any pause gives every word once, at its time, with its answer after its finals."""
    audio = toy.speech(SENTENCE, rate)
    pauses_ms = [(0, 145), (255, 365), (475, 865), (935, 1055), (1165, 1245)]
    cuts = sorted(data.draw(st.integers(*pauses_ms[gap])) * rate // 1000 for gap in gaps if gap < len(pauses_ms))
    messages: list[ClientMessage] = []
    for index, (begin, end) in enumerate(zip([0, *cuts], [*cuts, len(audio)], strict=True)):
        messages += [Audio(packet.data) for packet in packets(audio[begin:end], [rate // 10])]
        if end != len(audio):
            messages.append(Finalize(str(index)))
    driver = run(folder, rate, [*messages, End()])
    assert driver.text().split() == WORDS
    check_finals(driver.said)
    answers = [message for message in driver.said if isinstance(message, Finalized)]
    assert answers == [Finalized(str(index), cut) for index, cut in enumerate(cuts)]
    spoken = [word for final in driver.finals() for word in final.words]
    for word, start_ms in zip(spoken, STARTS_MS, strict=True):
        # A step between frames shows one frame of 10 ms later.
        assert abs(word.start_sample / rate - start_ms / 1000) <= 0.025


def test_times_after_finalize_skip_the_padding(folder: Path) -> None:
    """Padding takes no time: words after it are where the client spoke them."""
    audio = toy.speech([("", 50), ("▁a", 50)])
    first, rest = packets(audio, [len(audio)])[0], packets(audio, [len(audio)])[0]
    driver = run(folder, 16000, [first, *[Finalize(), replace(rest, first_sample=None)] * 5, End()])
    starts = [final.words[0].start_sample for final in driver.finals()]
    assert starts == [800 + index * 1600 for index in range(6)]
    ends = [final.words[0].end_sample for final in driver.finals()]
    assert all(end <= (index + 1) * 1600 for index, end in enumerate(ends))
    assert not any(final.end_of_turn for final in driver.finals())


def test_finalize_without_audio(folder: Path) -> None:
    """Nothing to flush is answered at once, also several times in a row and before `End`."""
    driver = run(folder, 16000, [Finalize("a"), Finalize("b"), KeepAlive()])
    assert driver.said[1:] == [Finalized("a", 0), Finalized("b", 0)]
    audio = packets(toy.speech([("", 50), ("▁a", 50)]), [1600])
    driver = run(folder, 16000, [*audio, Finalize("c"), Finalize("d"), End()])
    tail = [message for message in driver.said if not isinstance(message, Result)]
    assert tail[1:] == [Finalized("c", 1600), Finalized("d", 1600), Done(1600, 1)]
    assert driver.text() == "a"
    assert run(folder, 16000, [End()]).said[1:] == [Done(0, 0)]


def test_finalize_is_answered_after_its_words_only(folder: Path) -> None:
    """While steps are missing the answer waits; audio sent meanwhile belongs to the next segment."""
    audio = packets(toy.speech([("", 50), ("▁a", 50)]), [1600])
    driver = run(folder, 16000, [])
    for message in (*audio, Finalize("x"), replace(audio[0], first_sample=1600)):
        driver.send(message, run=False)
    driver.run(most=1)
    assert not any(isinstance(message, Finalized) for message in driver.said)
    driver.run()
    place = driver.said.index(Finalized("x", 1600))
    assert driver.said[place - 1].text == "a"  # type: ignore[union-attr]
    driver.send(End())
    assert driver.text() == "a a"


def test_search_restarts_and_encoder_stays(folder: Path) -> None:
    """After an endpoint or `Finalize` the search counts from one again, and the encoder goes on."""
    audio = toy.speech([("", 50), ("▁a", 50), ("", 50), ("▁to", 50), ("", 500), ("▁a", 50), ("", 50)])
    driver = run(folder, 16000, [*packets(audio, [1600]), Finalize(), *packets(audio[:0], [1]), End()])
    first = [[round(-100 * np.log(word.confidence)) for word in final.words] for final in driver.finals()]
    assert first == [[1, 2], [1]]


def test_update_acts_at_its_place_in_the_audio(folder: Path) -> None:
    """New rules hold for the chunks that come after the update, however late the steps run."""
    audio = toy.speech([("", 50), ("▁a", 50), ("", 900), ("▁to", 50)])
    rules = Update(Endpointing(silence_after_speech_s=5.0))
    said = []
    for lazy in (False, True):
        driver = play(Driver(folder, QUIET), [config(endpointing=Endpointing(silence_after_speech_s=0.5))])
        for message in (*packets(audio[:6000], [100]), rules, *[Audio(p.data) for p in packets(audio[6000:], [100])]):
            driver.send(message, run=not lazy)
        driver.send(End())
        said.append(driver.said)
    assert said[0] == said[1]
    assert driver.text() == "a to"
    assert len(driver.finals()) == 1


def test_the_rules_end_turns(folder: Path) -> None:
    """Real silence ends a turn; a cut for length and the end of the stream do not."""
    driver = run(folder, 16000, [*packets(toy.speech(SENTENCE), [3200]), End()])
    assert [(final.text, final.end_of_turn) for final in driver.finals()] == [
        ("hello world", True),
        ("a tos two", False),
    ]
    short = replace(RULES, max_segment_s=0.2)
    driver = play(Driver(folder, QUIET), [config(endpointing=short), *packets(toy.speech(SENTENCE), [3200]), End()])
    assert driver.text().split() == WORDS
    assert len(driver.finals()) > 2
    check_finals(driver.said)


def script(rate: int) -> list[ClientMessage]:
    audio = toy.speech(SENTENCE, rate)
    pieces = [Audio(packet.data) for packet in packets(audio, [rate // 9, rate // 50, rate // 3])]
    return [
        *pieces[:2],
        Finalize("one"),
        *pieces[2:4],
        Update(replace(RULES, silence_after_speech_s=0.2)),
        KeepAlive(),
        *pieces[4:],
        Finalize("two"),
        Finalize("three"),
        pieces[0],
        End(),
    ]


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("steps", [None, 1, 0])
def test_snapshot_at_every_message(folder: Path, rate: int, steps: int | None) -> None:
    """A stream that is restored after every message, with steps done, pending or out, says the same."""

    def through_json(driver: Driver) -> None:
        driver.run(most=steps)
        if not driver.session.closed:
            # With a step out: it is asked for again.
            driver.session.next_step(driver.now)
            driver.reborn()

    expected = run(folder, rate, script(rate)).said
    driver = Driver(folder, QUIET)
    driver.send(config(rate, endpointing=RULES))
    for message in script(rate):
        driver.send(message, run=False)
        if not driver.session.closed:
            through_json(driver)
    driver.run()
    assert driver.said == expected


def test_a_snapshot_holds_the_config(folder: Path) -> None:
    """A restored stream was asked for the same, so that whoever restores it can make the same task."""
    task = play(Driver(folder), [config()]).task()
    decoding = Decoding("beam", 8, 0.0, (Hotword("ada", 2.0), Hotword("turing")), 1.0, 3)
    asked = config(endpointing=RULES, interim_results=False, decoding=decoding)
    session = Session("s1", QUIET)
    session.receive(asked, 0.0)
    session.open(task, "toy@1.0.0", 0.0)
    snapshot = json.loads(json.dumps(session.snapshot()))
    assert Session.restored(snapshot, QUIET, task, 0.0).config == asked


def test_a_snapshot_moves_to_another_clock(folder: Path) -> None:
    """Pace, idle time and lag go on from where they were, whatever the new clock says."""
    driver = Driver(folder)
    driver.send(config(mode="live"), now=100.0)
    packet = Audio(np.zeros(16000, np.float32).tobytes())
    for _ in range(10):
        driver.send(packet, now=101.0)
    driver.now = 5.0
    driver.reborn()
    driver.session.tick(35.0)
    driver.send(packet, now=5.0)
    with pytest.raises(StreamerError, match="ahead of real time"):
        driver.send(packet, now=5.0)


def test_snapshot_versions(folder: Path) -> None:
    """A snapshot of another version is refused."""
    driver = run(folder, 16000, [])
    snapshot = {**driver.session.snapshot(), "version": 7}
    with pytest.raises(StreamerError, match=r"^expected a snapshot of version 3, got 7$"):
        type(driver.session).restored(snapshot, QUIET, driver.task(), 0.0)
    driver.send(End())
    with pytest.raises(RuntimeError, match=r"^a closed session has no snapshot$"):
        driver.session.snapshot()


def test_long_streams_stay_small(folder: Path) -> None:
    """Many segments and flushes later the stream is as small as after the first."""
    driver = run(folder, 44100, [])
    piece = [Audio(packet.data) for packet in packets(toy.speech([("", 20), ("▁a", 30), ("", 450)], 44100), [22050])]
    sizes = []
    for index in range(60):
        play(driver, [*piece, *([Finalize()] if index % 2 else [])])
        sizes.append(len(str(driver.session.snapshot())))
    assert max(sizes[30:]) <= 1.1 * max(sizes[:30])
    assert len(driver.finals()) == 60


MESSAGES = st.one_of(
    st.builds(Audio, st.sampled_from([b"", b"abcd", b"abc", bytes(40_000), bytes(100_000)])),
    st.builds(Audio, st.just(bytes(400)), st.integers(0, 400)),
    st.builds(Audio, st.binary(max_size=64)),
    st.builds(Audio, st.integers(0, 14).map(lambda level: np.full(2000, level / 20, np.float32).tobytes())),
    st.builds(Audio, st.integers(0, 14).map(lambda level: np.full(2000, level / 20, np.float32).tobytes())),
    st.builds(Finalize, st.sampled_from(["", "x", "x" * 200])),
    st.just(KeepAlive()),
    st.just(End()),
    st.just(Cancel()),
    st.builds(Update, st.builds(Endpointing, silence_after_speech_s=st.sampled_from([0.1, 1.2, -1.0, float("nan")]))),
    st.builds(config, st.sampled_from([0, 8000, 16000, 44100, 50000]), st.sampled_from(["live", "file", ""])),
)


@settings(max_examples=300, deadline=None)
@given(
    first=st.sampled_from([config(16000), config(44100), config(8000, "live")]),
    steps=st.lists(st.tuples(MESSAGES, st.floats(0, 5), st.integers(0, 3)), max_size=25),
)
def test_random_orders(folder: Path, first: ClientMessage, steps: list[tuple[ClientMessage, float, int]]) -> None:
    """Whatever a client sends, only `StreamerError` comes out, once, and what was said before keeps the rules."""
    driver = Driver(folder)
    driver.send(first)
    for message, pause, n_steps in steps:
        was_closed = driver.session.closed
        try:
            driver.send(message, now=driver.now + pause, run=False)
            driver.run(most=n_steps)
            driver.session.tick(driver.now)
        except StreamerError:
            assert driver.session.closed
            assert was_closed or driver.session.error is not None
        driver.said += driver.session.take_messages()
        assert driver.session.buffered_samples >= 0
    driver.run()
    said = driver.without_flow()
    assert isinstance(said[0], Ready)
    assert sum(isinstance(message, Done) for message in said) == (driver.session.closed and not driver.session.error)
    assert not any(isinstance(message, Done) for message in said[:-1])
    check_finals(said)
