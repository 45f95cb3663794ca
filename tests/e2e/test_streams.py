"""One set of cases for every way to reach the server."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools

import numpy as np
import pytest

from streamer.client import ClientStream
from streamer.errors import (
    Draining,
    InvalidRequest,
    MessageTooLarge,
    Overloaded,
    StreamTimeout,
    TooFast,
    UnknownBundle,
)
from streamer.session.messages import Config, Done, Endpointing, Finalized, Result, Warning
from tests.e2e.serving import TRANSPORTS, serving
from tests.gateway.serving import with_loop
from tests.toys import counter_expected
from tests.toys.counter import CHUNK, PIECES

LIVE = Config("pcm_s16le", 16000, 1, endpointing=Endpointing(enabled=False))
FILE = dataclasses.replace(LIVE, mode="file", interim_results=False)

every_transport = pytest.mark.parametrize("transport", TRANSPORTS)


def audio(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise whose loudness changes from chunk to chunk, so that the counter has something to say."""
    random = np.random.default_rng(seed)
    chunks = round(seconds * 16000 / CHUNK)
    loudness = random.integers(0, 3000, (chunks, 1))
    return (random.uniform(-1, 1, (chunks, CHUNK)) * loudness).astype(np.int16).reshape(-1)


def expected_text(pcm: np.ndarray) -> str:
    """What the counter hears in whole chunks, spelt."""
    ids = counter_expected(pcm.astype(np.float32) / 32768)
    return "".join(PIECES[token] for token in ids[ids > 0]).replace("▁", " ").strip()


async def send_all(stream: ClientStream, pcm: np.ndarray, packet: int = 1600) -> None:
    data = pcm.tobytes()
    for start in range(0, len(data), packet * 2):
        await stream.send(data[start : start + packet * 2])


async def rest_of(stream: ClientStream) -> list:
    return [message async for message in stream]


def finals(messages: list) -> list[Result]:
    return [message for message in messages if isinstance(message, Result) and message.is_final]


def text_of(messages: list) -> str:
    return " ".join(final.text for final in finals(messages))


async def transcribe(connect, config: Config, pcm: np.ndarray, packet: int = 1600) -> list:
    async with connect(config) as stream:
        sender = asyncio.create_task(send_and_end(stream, pcm, packet))
        messages = await rest_of(stream)
        await sender
    return messages


async def send_and_end(stream: ClientStream, pcm: np.ndarray, packet: int) -> None:
    await send_all(stream, pcm, packet)
    await stream.end()


@every_transport
@pytest.mark.parametrize("packet", [37, 320, 16000])
@with_loop
async def test_any_packets_give_the_same_text(tmp_path, transport, packet):
    """What the model hears depends on the audio only."""
    pcm = audio(2.0)
    async with serving(tmp_path, transport) as served:
        messages = await transcribe(served.connect, LIVE, pcm, packet)
    assert text_of(messages) == expected_text(pcm)
    assert messages[-1] == Done(len(pcm), 1)


@every_transport
@with_loop
async def test_ready_states_the_terms(tmp_path, transport):
    """Model, rates and limits are known before the first sample is sent."""
    async with serving(tmp_path, transport) as served, served.connect(LIVE) as stream:
        ready = stream.ready
    assert (ready.model, ready.wire_rate, ready.model_rate, ready.chunk_ms) == ("counter-asr@1.0.0", 16000, 16000, 20.0)
    assert (ready.limits.max_frame_bytes, ready.limits.idle_timeout_ms) == (65536, 30_000)


@every_transport
@with_loop
async def test_results_grow_and_finals_stay(tmp_path, transport):
    """Revisions count up, what is called stable stays, and a segment has one final, its last result."""
    pcm = audio(3.0)
    async with serving(tmp_path, transport) as served:
        messages = await transcribe(served.connect, LIVE, pcm)
    results = [message for message in messages if isinstance(message, Result)]
    for before, after in itertools.pairwise(results):
        assert not before.is_final or after.segment_id == before.segment_id + 1
        if after.segment_id == before.segment_id:
            assert after.text[: before.stable_chars] == before.text[: before.stable_chars]
            assert after.is_final or after.revision > before.revision
    assert all(
        0 <= word.start_sample <= word.end_sample <= len(pcm) for final in finals(messages) for word in final.words
    )


@every_transport
@with_loop
async def test_without_interims_only_finals_come(tmp_path, transport):
    """`interim_results=False` leaves the finals as they are."""
    pcm = audio(1.0)
    config = dataclasses.replace(LIVE, interim_results=False)
    async with serving(tmp_path, transport) as served:
        messages = await transcribe(served.connect, config, pcm)
    assert [type(message) for message in messages] == [Result, Done]
    assert text_of(messages) == expected_text(pcm)


@every_transport
@with_loop
async def test_finalize_flushes_and_the_stream_goes_on(tmp_path, transport):
    """Everything said before the marker is final when the marker comes back."""
    pcm = audio(1.0)
    async with serving(tmp_path, transport) as served, served.connect(LIVE) as stream:
        await send_all(stream, pcm)
        await stream.finalize("first")
        before = []
        while not isinstance(message := await stream.receive(), Finalized):
            before.append(message)
        assert message == Finalized("first", len(pcm))
        assert text_of(before) == expected_text(pcm)
        await send_all(stream, pcm)
        await stream.end()
        after = await rest_of(stream)
    assert after[-1] == Done(2 * len(pcm), 2)
    assert finals(after)[0].start_sample >= len(pcm)


@every_transport
@with_loop
async def test_cancel_drops_the_rest(tmp_path, transport):
    """`Done` says that the stream was cancelled."""
    async with serving(tmp_path, transport) as served, served.connect(LIVE) as stream:
        await stream.cancel()
        assert await rest_of(stream) == [Done(0, 0, cancelled=True)]


@every_transport
@with_loop
async def test_neighbours_do_not_matter(tmp_path, transport):
    """Streams that share batches say what they say alone."""
    pcms = [audio(1.0 + seed / 10, seed) for seed in range(8)]
    async with serving(tmp_path, transport) as served:
        transcripts = await asyncio.gather(*(transcribe(served.connect, FILE, pcm, 800) for pcm in pcms))
    assert [text_of(messages) for messages in transcripts] == [expected_text(pcm) for pcm in pcms]


@every_transport
@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        (Config("pcm_s16le", 0, 1), InvalidRequest, "sample_rate|rate"),
        (Config("pcm_s16le", 16000, 2), InvalidRequest, "channel"),
        (Config("", 16000, 1), InvalidRequest, "encoding"),
        (Config("pcm_s16le", 16000, 1, task="sing"), InvalidRequest, "task"),
        (Config("pcm_s16le", 16000, 1, language="xx"), InvalidRequest, "language"),
        (Config("pcm_s16le", 16000, 1, model="other"), UnknownBundle, "unknown model 'other'"),
    ],
)
@with_loop
async def test_bad_configs_are_refused(tmp_path, transport, config, error, message):
    """Before any audio, with the same error everywhere."""
    async with serving(tmp_path, transport) as served:
        with pytest.raises(error, match=message):
            async with served.connect(config):
                pass


@every_transport
@with_loop
async def test_a_frame_above_the_limit_is_refused(tmp_path, transport):
    """The limit is the one that Ready states."""
    async with serving(tmp_path, transport) as served, served.connect(LIVE) as stream:
        await stream.send(bytes(stream.ready.limits.max_frame_bytes + 2))
        with pytest.raises(MessageTooLarge, match=r"65538 bytes exceeds the limit of 65536 bytes"):
            await rest_of(stream)


@every_transport
@with_loop
async def test_half_a_sample_is_refused(tmp_path, transport):
    """A frame holds whole samples."""
    async with serving(tmp_path, transport) as served, served.connect(LIVE) as stream:
        await stream.send(b"123")
        with pytest.raises(InvalidRequest):
            await rest_of(stream)


@every_transport
@with_loop
async def test_live_audio_that_runs_ahead_is_refused(tmp_path, transport):
    """More than ten seconds ahead of the clock is a file, not a microphone."""
    async with serving(tmp_path, transport) as served:
        with pytest.raises(TooFast, match="ahead of real time"):
            await transcribe(served.connect, LIVE, audio(13.0), 16000)


@every_transport
@with_loop
async def test_a_file_may_run_ahead(tmp_path, transport):
    """Mode file takes the same audio as fast as it can be served."""
    pcm = audio(13.0)
    async with serving(tmp_path, transport) as served:
        messages = await transcribe(served.connect, FILE, pcm, 16000)
    assert text_of(messages) == expected_text(pcm)


@every_transport
@with_loop
async def test_audio_after_the_end_is_refused(tmp_path, transport):
    """The protocol has an order."""
    async with serving(tmp_path, transport) as served, served.connect(FILE) as stream:
        await send_all(stream, audio(1.0))
        await stream.end()
        await stream.send(bytes(2))
        try:
            messages = await rest_of(stream)
        except InvalidRequest as error:
            assert str(error) == "expected no message after end, got audio"  # noqa: PT017 - either may come first
        else:
            assert isinstance(messages[-1], Done)


@pytest.mark.parametrize("transport", ["grpc", "in_process"])
@with_loop
async def test_a_gap_is_noticed(tmp_path, transport):
    """A frame that names its position must be there; WebSocket frames name none."""
    async with serving(tmp_path, transport) as served, served.connect(LIVE) as stream:
        await stream.send(bytes(320), 0)
        await stream.send(bytes(320), 161)
        with pytest.raises(InvalidRequest, match=r"^expected first_sample 160, got 161$"):
            await rest_of(stream)


@every_transport
@with_loop
async def test_a_full_house_refuses_and_a_client_that_leaves_makes_room(tmp_path, transport):
    """Without a free slot the refusal is immediate; a slot is free again when its client hangs up."""
    async with serving(tmp_path, transport, max_streams=1) as served:
        async with served.connect(LIVE):
            with pytest.raises(Overloaded, match=r"^all slots of counter-asr@1\.0\.0 are taken") as refusal:
                async with served.connect(LIVE):
                    pass
            assert refusal.value.retry_after_s == 1.0
        await nobody(served.host)
        assert text_of(await transcribe(served.connect, LIVE, audio(1.0))) == expected_text(audio(1.0))


async def nobody(host) -> None:
    while host.open_streams:  # noqa: ASYNC110 - the host tells nobody but its metrics
        await asyncio.sleep(0)


@every_transport
@with_loop
async def test_idle_streams_time_out(tmp_path, transport):
    """A client that says nothing is told so."""
    session = {"idle_timeout_ms": 50}
    async with serving(tmp_path, transport, session=session) as served, served.connect(LIVE) as stream:
        with pytest.raises(StreamTimeout, match=r"^no message within 0\.05 s$"):
            await rest_of(stream)


@every_transport
@with_loop
async def test_a_drain_warns_then_ends(tmp_path, transport):
    """Streams are told, those that end in time end well, the others end as draining, and new ones are refused."""
    async with serving(tmp_path, transport, drain_deadline_s=1.0) as served:
        async with served.connect(LIVE) as quick, served.connect(LIVE) as slow:
            drain = asyncio.create_task(served.gateway.drain())
            assert await quick.receive() == Warning("draining", "server shuts down, finish within 1 s")
            with pytest.raises(Draining):
                async with served.connect(LIVE):
                    pass
            await quick.end()
            assert await rest_of(quick) == [Done(0, 0)]
            assert isinstance(await slow.receive(), Warning)
            with pytest.raises(Draining, match=r"^server shut down before the stream ended$"):
                await rest_of(slow)
            await drain
        assert not served.host.ready
