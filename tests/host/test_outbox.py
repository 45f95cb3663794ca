"""What waits for a client that reads slowly."""

from __future__ import annotations

import pytest

from streamer.errors import Draining, InvalidRequest, SlowReader
from streamer.host.outbox import Outbox
from streamer.session.messages import AudioOut, Done, Flow, Packets, Result


def result(segment: int, revision: int, *, final: bool = False) -> Result:
    return Result(segment, revision, "hello", 5, final, final, 0, 100, 0.9)


def drain(outbox: Outbox) -> list:
    messages = []
    while (message := outbox.take()) is not None:
        messages.append(message)
    return messages


def test_messages_come_in_order() -> None:
    """What is put first is taken first."""
    outbox = Outbox(10.0)
    outbox.put(result(0, 1, final=True), 0.0)
    outbox.put(Done(100, 1), 0.0)
    assert drain(outbox) == [result(0, 1, final=True), Done(100, 1)]


def test_an_unread_interim_is_replaced_by_its_successor() -> None:
    """Only the newest revision of a segment waits, be it interim or final."""
    outbox = Outbox(10.0)
    for revision in range(5):
        outbox.put(result(0, revision), float(revision))
    outbox.put(result(0, 5, final=True), 5.0)
    assert drain(outbox) == [result(0, 5, final=True)]


def test_what_is_replaced_need_not_be_the_last() -> None:
    """Interims and flows take turns on a busy stream; of each only the newest waits."""
    outbox = Outbox(10.0)
    for second in range(5):
        outbox.put(result(0, second), float(second))
        outbox.put(Flow(second, second, 0.0, 0.0), float(second))
    assert drain(outbox) == [result(0, 4), Flow(4, 4, 0.0, 0.0)]


def test_finals_are_never_replaced() -> None:
    """A final stays, whatever follows it."""
    outbox = Outbox(10.0)
    outbox.put(result(0, 1, final=True), 0.0)
    outbox.put(result(1, 0), 0.0)
    outbox.put(result(1, 1), 0.0)
    assert drain(outbox) == [result(0, 1, final=True), result(1, 1)]


def test_an_unread_flow_is_replaced() -> None:
    """Only the newest flow waits."""
    outbox = Outbox(10.0)
    outbox.put(Flow(100, 0, 6.25, 0.0), 0.0)
    outbox.put(Flow(200, 100, 6.25, 1.0), 1.0)
    assert drain(outbox) == [Flow(200, 100, 6.25, 1.0)]


def token(second: int) -> Flow:
    return Flow(second, second, 0.0, 0.0, 10 * second, 0, f"token {second}")


def test_a_token_comes_after_what_it_covers() -> None:
    """A flow with a newer token moves behind the finals that were put after the unread one."""
    outbox = Outbox(10.0)
    outbox.put(token(1), 0.0)
    outbox.put(result(0, 0, final=True), 1.0)
    outbox.put(token(2), 2.0)
    outbox.put(result(1, 0), 3.0)
    assert drain(outbox) == [result(0, 0, final=True), token(2), result(1, 0)]


def test_a_token_is_not_lost_to_a_flow_without() -> None:
    """A plain flow brings an unread token up to date where it is, and does not go behind it."""
    outbox = Outbox(10.0)
    outbox.put(token(1), 0.0)
    outbox.put(result(0, 0, final=True), 1.0)
    outbox.put(Flow(3, 2, 1.0, 2.0), 2.0)
    assert drain(outbox) == [Flow(3, 2, 1.0, 2.0, 10, 0, "token 1"), result(0, 0, final=True)]


def test_tokens_do_not_hide_a_stuck_reader() -> None:
    """A flow that moved to the end is as old as the first one that was not read."""
    outbox = Outbox(10.0)
    for second in range(0, 12, 2):
        outbox.put(token(second), float(second))
        outbox.put(result(second, 0, final=True), float(second))
    with pytest.raises(SlowReader, match=r"^results left unread for 10\.5 s"):
        outbox.check(10.5)
    while outbox.take() != result(8, 0, final=True):
        pass
    outbox.check(10.5 - 2.0)
    with pytest.raises(SlowReader):
        outbox.check(10.5)


def test_a_stuck_reader_is_found_in_spite_of_replacement() -> None:
    """Replacing interims keeps the age of the first one, so a client that reads nothing is told after the limit."""
    outbox = Outbox(10.0)
    for second in range(11):
        outbox.put(result(0, second), float(second))
        outbox.put(Flow(second, second, 0.0, 0.0), float(second))
    outbox.check(10.0)
    with pytest.raises(SlowReader, match=r"^results left unread for 10\.5 s, expected to be read within 10 s$"):
        outbox.check(10.5)


def test_a_reader_that_keeps_up_is_left_alone() -> None:
    """Taken messages do not age."""
    outbox = Outbox(10.0)
    outbox.put(result(0, 0), 0.0)
    outbox.take()
    outbox.check(1000.0)


def test_the_error_comes_after_what_was_said_before_it() -> None:
    """Messages before the end are delivered, then the error, every time one asks."""
    outbox = Outbox(10.0)
    outbox.put(result(0, 0), 0.0)
    outbox.close(InvalidRequest("second config"))
    assert outbox.take() == result(0, 0)
    for _ in range(2):
        with pytest.raises(InvalidRequest, match="^second config$"):
            outbox.take()
    assert not outbox.finished


def test_the_first_close_decides_and_nothing_follows_it() -> None:
    """A later error or message of a closed stream is dropped."""
    outbox = Outbox(10.0)
    outbox.close()
    outbox.close(Draining("too late"))
    outbox.put(Done(0, 0), 0.0)
    assert outbox.take() is None
    assert outbox.finished


def test_coded_and_decoded_audio_is_kept() -> None:
    """No packet replaces another one, whatever comes between; what is unread is counted until it is read."""
    outbox = Outbox(10.0)
    messages = [Packets(b"a", 0, 320), AudioOut(b"b", 0), Packets(b"a", 0, 320), AudioOut(b"b", 0)]
    for message in messages:
        outbox.put(message, 0.0)
        outbox.put(Flow(1, 1, 0.0, 0.0), 0.0)
    assert [message for message in drain(outbox) if not isinstance(message, Flow)] == messages
    for _ in range(2):
        assert not outbox.is_full
        outbox.put(AudioOut(bytes(1 << 17), 0), 0.0)
    assert outbox.is_full
    outbox.take()
    assert not outbox.is_full
