"""A resumable stream against a server whose every word depends on every byte, cut wherever it can be cut."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.client import connect
from streamer.client.reconnect import BufferFull, CannotResume, Reconnect
from streamer.errors import (
    Draining,
    InvalidRequest,
    ModelFault,
    Overloaded,
    StreamTimeout,
    Superseded,
    Unauthenticated,
    UnknownBundle,
)
from streamer.session.messages import (
    Audio,
    Done,
    End,
    Endpointing,
    Finalize,
    Finalized,
    Flow,
    KeepAlive,
    Resume,
    Update,
    Warning,
)
from tests.client.loops import with_loop
from tests.client.scripted import CONFIG, Clock, Server, open_stream, play

ACTIONS = [
    Audio(bytes(range(9))),
    Finalize("a"),
    Audio(b"abcdefghijk"),
    Update(Endpointing(max_segment_s=6.0)),
    Audio(b"xyz" * 9),
    Finalize("a"),
    Finalize("a"),
    KeepAlive(),
    Audio(b"q"),
    Audio(bytes(range(100, 130))),
]


def run(server, actions=ACTIONS, policy=None):
    async def main():
        async with asyncio.timeout(20):
            return await play(await open_stream(server, policy), actions)

    return asyncio.run(main())


def never(index):
    return None


def acknowledge_all(index):
    return 0


async def lose_for_a_while(stream, server, refusals):
    server.errors.extend([ConnectionRefusedError("down")] * refusals)
    server.connections[-1].cut()
    while (await stream.receive()) != Warning("disconnected", "cut"):
        pass


async def until_done(stream):
    return [message async for message in stream]


def messages_of_one_connection():
    server = Server(cuts=deque([10_000]))
    run(server)
    return 10_000 - server.connections[0]._left


UNCUT = run(Server())
# `Config` and `Ready` first; the last one is `Done`, after which nothing is lost.
CUTS = range(2, messages_of_one_connection())


def test_the_script_says_something():
    """Finals, interims, events, answers and Done, so that equality below means something."""
    assert {type(message).__name__ for message in UNCUT} == {"Result", "SpeechEvent", "Finalized", "Done"}
    assert UNCUT.count(Finalized("a", 47)) == 2
    assert sum(getattr(message, "is_final", False) for message in UNCUT) > 6
    assert len(CUTS) > 50


@pytest.mark.parametrize("cut", CUTS)
def test_a_cut_after_any_message_changes_nothing(cut):
    """Whatever was under way when the connection broke, the caller sees what it would have seen without."""
    server = Server(cuts=deque([cut]))
    assert run(server) == UNCUT
    assert len(server.connections) == 2


@pytest.mark.parametrize("cut", CUTS)
def test_without_a_token_the_stream_begins_anew(cut):
    """Everything is still kept, and what was seen already is not shown again."""
    server = Server(cuts=deque([cut]), gives_tokens=False)
    assert run(server) == UNCUT
    assert [config.resume for config in server.configs] == [None, None]


def test_answers_at_one_sample_keep_their_order():
    """Also if some of them were heard before the connection broke."""
    actions = [Audio(b"abcd"), Finalize("b"), Finalize("a"), Finalize("b")]
    for cut in range(2, 20):
        server = Server(cuts=deque([cut]), acks=never)
        assert run(server, actions) == run(Server(), actions)


frames = st.binary(min_size=1, max_size=30).map(Audio)
controls = st.one_of(
    st.sampled_from(["a", "b"]).map(Finalize),
    st.integers(1, 30).map(lambda longest: Update(Endpointing(max_segment_s=float(longest)))),
    st.just(KeepAlive()),
)
acks = st.lists(st.none() | st.integers(0, 60), min_size=1, max_size=8)


streams = given(
    actions=st.lists(st.one_of(frames, frames, controls), max_size=25),
    cuts=st.lists(st.integers(2, 40), max_size=6),
    pattern=acks,
    gives_tokens=st.booleans(),
)


def check_cut_stream(actions, cuts, pattern, gives_tokens):
    server = Server(cuts=deque(cuts), acks=lambda index: pattern[index % len(pattern)], gives_tokens=gives_tokens)
    assert run(server, actions) == run(Server(), actions)


@settings(max_examples=150, deadline=None)
@streams
def test_any_cuts_acks_and_controls_give_the_uninterrupted_run(actions, cuts, pattern, gives_tokens):
    """Random streams, acknowledged as late as it may be, over connections that break again and again."""
    check_cut_stream(actions, cuts, pattern, gives_tokens)


@pytest.mark.soak
@settings(max_examples=10_000, deadline=None)
@streams
def test_ten_thousand_cut_streams(actions, cuts, pattern, gives_tokens):
    """The same, more thoroughly."""
    check_cut_stream(actions, cuts, pattern, gives_tokens)


@with_loop
async def test_the_caller_is_told_of_lost_and_new_connections():
    """Between the results, as warnings; the new connection carries the last token and the number of finals."""
    server = Server(acks=lambda index: 3)
    stream = await open_stream(server)
    await stream.send(bytes(25))
    while not isinstance(message := await stream.receive(), Flow):
        pass
    server.connections[0].cut()
    assert await stream.receive() == Warning("disconnected", "cut")
    assert await stream.receive() == Warning("reconnected", "resumed from sample 22")
    assert message.acked_sample == 22
    assert server.configs[1].resume == Resume(message.resume_token, 1)
    assert server.configs[0].resumable
    assert server.connections[0].closed
    await stream.close()
    assert server.connections[1].closed


@with_loop
async def test_acknowledged_audio_is_not_sent_again():
    """Nor are controls that were acknowledged; the audio in between is cut at the very sample."""
    server = Server(acks=acknowledge_all)
    stream = await open_stream(server)
    await stream.finalize("x")
    await stream.send(b"0123456789")
    while not isinstance(await stream.receive(), Flow):
        pass
    server.acks = lambda index: 4
    await stream.send(b"abcdefgh")
    while not isinstance(await stream.receive(), Flow):
        pass
    await stream.finalize("y")
    server.connections[0].cut()
    await stream.end()
    while not isinstance(await stream.receive(), Done):
        pass
    assert server.connections[1].got[1:] == [Audio(b"efgh"), Finalize("y"), End()]
    await stream.close()


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("no"),
        UnknownBundle("no"),
        Unauthenticated("no"),
        StreamTimeout("no"),
        Superseded("no"),
        ModelFault("no"),
    ],
)
@with_loop
async def test_errors_of_the_stream_itself_are_raised_at_once(error):
    """Both in the middle of the stream and in answer to an attempt to resume it."""
    server = Server()
    stream = await open_stream(server)
    server.connections[0].fail(error)
    with pytest.raises(type(error), match=r"^no$"):
        await stream.receive()
    assert len(server.connections) == 1

    server = Server(errors=deque([None, error, error]))
    stream = await open_stream(server)
    server.connections[0].cut()
    with pytest.raises(type(error), match=r"^no$"):
        await until_done(stream)
    # A token may be what is wrong with a request, so that is tried once without.
    assert len(server.connections) == (3 if isinstance(error, InvalidRequest) else 2)
    # Sending is silent: reading tells.
    await stream.send(b"123")


@with_loop
async def test_a_token_that_does_not_hold_is_done_without_while_all_is_kept():
    """A server that was restarted may not know it any more; what was seen is not shown again."""
    refused = InvalidRequest("resume.token: expected a token that this server can check, got another one")
    server = Server(acks=never, cuts=deque([9]), errors=deque([None, refused]))
    assert await play(await open_stream(server), ACTIONS) == UNCUT
    assert [config.resume is None for config in server.configs] == [True, False, True]

    server = Server(acks=acknowledge_all, errors=deque([None, refused]))
    stream = await open_stream(server)
    await stream.send(bytes(8))
    while not isinstance(await stream.receive(), Flow):
        pass
    server.connections[0].cut()
    with pytest.raises(InvalidRequest, match=r"^resume\.token: "):
        await until_done(stream)


@with_loop
async def test_another_model_does_not_go_on_with_a_stream():
    """Its segments are not those that were heard."""
    server = Server(gives_tokens=False)
    stream = await open_stream(server)
    server.model = "m@2"
    server.connections[0].cut()
    with pytest.raises(CannotResume, match=r"^cannot resume: the stream began with m@1, the server has m@2$"):
        await until_done(stream)
    assert server.connections[1].closed


@with_loop
async def test_a_server_that_leaves_or_is_full_is_tried_again():
    """With growing delays, and not before the server's own hint."""
    clock = Clock()
    errors = [None, Overloaded("full", 3.0), ConnectionRefusedError("refused"), Draining("leaving"), None]
    server = Server(errors=deque(errors))
    stream = await open_stream(server, clock=clock)
    server.connections[0].fail(Draining("leaving"))
    await stream.end()
    seen = [message async for message in stream]
    assert seen[-1] == Done(0, 0)
    assert clock.slept == pytest.approx([0.05, 0.1 + 3.0, 0.2, 0.4])
    assert server.attempts == [0, 1, 2, 3, 4]
    await stream.close()


@with_loop
async def test_attempts_end_when_the_stream_gets_nowhere():
    """The limit counts from the first failure, however many connections were opened in between."""
    clock = Clock()
    server = Server(cuts=deque([1000] + [2] * 1000))
    stream = await open_stream(server, Reconnect(give_up_after_s=30.0), clock)
    server.connections[0].cut()
    with pytest.raises(ConnectionError, match=r"^no way to resume for (29|2[5-9])\.\d s, gave up: cut$"):
        await until_done(stream)
    assert sum(clock.slept) <= 30.0
    assert max(clock.slept) == 2.5


@with_loop
async def test_progress_renews_the_patience():
    """A stream that gets somewhere between its cuts is not given up, however long that lasts."""
    clock = Clock()
    server = Server(acks=acknowledge_all)
    stream = await open_stream(server, Reconnect(give_up_after_s=1.0), clock)
    for _ in range(50):
        await lose_for_a_while(stream, server, 3)
        await stream.send(bytes(4))
        while not isinstance(await stream.receive(), Flow):
            pass
    assert sum(clock.slept) == pytest.approx(50 * (0.05 + 0.1 + 0.2 + 0.4))
    await stream.end()
    assert (await until_done(stream))[-1] == Done(200, 10)
    await stream.close()


@with_loop
async def test_the_first_connection_is_not_retried():
    """Nothing is lost yet, and a caller wants to know at once."""
    server = Server(errors=deque([Overloaded("full")]))
    with pytest.raises(Overloaded):
        await open_stream(server)
    assert server.connections[0].closed
    with pytest.raises(ConnectionRefusedError):
        await open_stream(Server(errors=deque([ConnectionRefusedError()])))


# 8000 samples a second: 100 samples.
SMALL = {"buffer_s": 0.0125}


async def lose_for_good(stream, server):
    """Cut, and refuse until the test lets connections in again."""
    await lose_for_a_while(stream, server, 10_000)


@with_loop
async def test_sending_waits_when_the_buffer_is_full_and_the_server_gone():
    """Back-pressure, until the server is back; nothing is lost."""
    server = Server(acks=acknowledge_all)
    stream = await open_stream(server, Reconnect(**SMALL, give_up_after_s=1e9))
    await lose_for_good(stream, server)
    for _ in range(10):
        await stream.send(bytes(10))
    waiting = asyncio.create_task(stream.send(bytes(10)))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not waiting.done()
    server.errors.clear()
    await waiting
    await stream.end()
    assert [message async for message in stream][-1] == Done(110, 6)
    await stream.close()


@with_loop
async def test_a_full_buffer_is_an_error_for_those_who_ask():
    """The frame is not taken; what was taken is sent when the server is back."""
    server = Server(acks=acknowledge_all)
    stream = await open_stream(server, Reconnect(**SMALL, overflow="error", give_up_after_s=1e9))
    await lose_for_good(stream, server)
    await stream.send(bytes(100))
    with pytest.raises(BufferFull, match=r"^connection lost, 0\.0125 s of audio are waiting to be sent$"):
        await stream.send(bytes(1))
    server.errors.clear()
    await stream.end()
    assert [message async for message in stream][-1] == Done(100, 5)
    await stream.close()


@with_loop
async def test_a_server_that_never_acknowledges_does_not_stop_a_stream():
    """What is sent and processed is forgotten when the buffer is full; only a lost connection then ends the stream."""
    server = Server(acks=lambda index: 10**9)
    stream = await open_stream(server, Reconnect(**SMALL))
    for _ in range(30):
        await stream.send(bytes(10))
        while not isinstance(await stream.receive(), Flow):
            pass
    server.connections[0].cut()
    with pytest.raises(CannotResume, match=r"^cannot resume: the server wants audio from sample 0 on, kept is 200 on$"):
        await until_done(stream)


@with_loop
async def test_audio_that_the_server_has_not_processed_is_waited_for():
    """Forgetting it could only harm: the acknowledgement is on its way."""
    server = Server(acks=never)
    stream = await open_stream(server, Reconnect(**SMALL))
    for _ in range(10):
        await stream.send(bytes(10))
    waiting = asyncio.create_task(stream.send(bytes(10)))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not waiting.done()
    server.connections[0].say(Flow(100, 100, 0.0, 0.0, 50, 0, server.token(server.connections[0]._past[50])))
    await waiting
    server.connections[0].cut()
    await stream.end()
    assert [message async for message in stream][-1] == Done(110, 6)
    await stream.close()


@with_loop
async def test_a_server_without_room_is_back_pressure():
    """Sending waits for a live connection as it does without resuming, and goes on if that breaks."""
    server = Server()
    stream = await open_stream(server)
    server.connections[0].room.clear()
    waiting = asyncio.create_task(stream.send(bytes(10)))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not waiting.done()
    server.connections[0].cut()
    await waiting
    await stream.end()
    assert [message async for message in stream][-1] == Done(10, 1)
    await stream.close()


@with_loop
async def test_cancel_is_remembered_and_drops_the_rest():
    """After a lost connection nothing is sent again but the wish to stop."""
    server = Server()
    stream = await open_stream(server)
    await lose_for_good(stream, server)
    await stream.send(bytes(10))
    await stream.cancel()
    server.errors.clear()
    assert [message async for message in stream][-1] == Done(0, 0, cancelled=True)
    assert [type(message).__name__ for message in server.connections[-1].got] == ["Config", "Cancel"]
    await stream.close()


@with_loop
async def test_numbered_audio_is_checked_here():
    """A gap is refused before anything is sent, whatever the transport."""
    server = Server()
    stream = await open_stream(server)
    await stream.send(b"123", 0)
    with pytest.raises(InvalidRequest, match=r"^expected first_sample 3, got 4$"):
        await stream.send(b"123", 4)
    assert server.connections[0].got[1:] == [Audio(b"123")]
    await stream.close()


@with_loop
async def test_compressed_audio_is_not_resumable():
    """Its samples cannot be counted here."""
    with pytest.raises(InvalidRequest, match=r"^encoding: expected one of pcm_s16le, .*, got 'flac'$"):
        async with connect("ws://127.0.0.1:1", replace(CONFIG, encoding="flac"), resumable=True):
            pass


@with_loop
async def test_closing_while_reconnecting_ends_everything():
    """No task and no connection is left behind."""
    server = Server()
    stream = await open_stream(server, Reconnect(give_up_after_s=1e9))
    await lose_for_good(stream, server)
    await stream.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert all(connection.closed for connection in server.connections)


@with_loop
async def test_reading_stops_when_nobody_takes_results():
    """The inbox is bounded; reports in a row count once."""
    server = Server(acks=never)
    stream = await open_stream(server)
    for _ in range(3000):
        server.connections[0].say(Flow(0, 0, 0.0, 0.0))
    for index in range(3000):
        server.connections[0].say(Warning("loud", str(index)))
    for _ in range(10_000):
        await asyncio.sleep(0)
    assert 1500 < len(server.connections[0]._said) < 3000
    seen = [await stream.receive() for _ in range(3001)]
    assert seen == [Flow(0, 0, 0.0, 0.0), *(Warning("loud", str(index)) for index in range(3000))]
    await stream.close()
