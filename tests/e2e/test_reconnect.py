"""The Python client over connections that break at random bytes, against real servers and both transports."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import random

import numpy as np
import pytest

from streamer.client import ClientStream, Reconnect, connect
from streamer.session.messages import Config, Done, Endpointing, Flow, Result, Warning
from tests.e2e.cutting import cutting
from tests.e2e.recognised import clip, serving_recogniser
from tests.e2e.serving import serving
from tests.e2e.test_streams import audio
from tests.gateway.serving import with_loop

both_transports = pytest.mark.parametrize("transport", ["grpc", "websocket"])
# Real time passes while a client waits for its next attempt.
SOON = Reconnect(first_delay_s=0.005, longest_delay_s=0.02, give_up_after_s=20.0)
FRAME = 3200


async def play(url: str, config: Config, pcm: bytes, finalize_at: tuple[int, ...] = (), resumable: bool = True) -> list:
    """What a caller keeps of a stream, its interims being checked and dropped."""
    async with connect(url, config, resumable=resumable, reconnect=SOON) as stream:
        sender = asyncio.create_task(send(stream, pcm, finalize_at))
        seen = [message async for message in stream]
        await sender
    return kept(seen)


def kept(seen: list) -> list:
    """Finals, answers and Done. Servers skip interims that newer ones supersede, but no caller sees time run back."""
    results = [message for message in seen if isinstance(message, Result)]
    for before, after in itertools.pairwise(results):
        assert after.segment_id == before.segment_id + before.is_final
        assert before.is_final or after.revision > before.revision or after.is_final
        assert before.is_final or after.text[: before.stable_chars] == before.text[: before.stable_chars]
    assert any(not result.is_final for result in results)
    return [m for m in seen if not isinstance(m, Flow | Warning) and not (isinstance(m, Result) and not m.is_final)]


async def send(stream: ClientStream, pcm: bytes, finalize_at: tuple[int, ...]) -> None:
    for index, start in enumerate(range(0, len(pcm), FRAME)):
        if index in finalize_at:
            await stream.finalize(f"at {index}")
            await stream.update(Endpointing(max_segment_s=1.0 + index / 100))
        await stream.send(pcm[start : start + FRAME])
    await stream.end()


def budgets(seed: int, cuts: int, most: int) -> list[int]:
    """After how many bytes, both ways together, each connection breaks; mostly before its end."""
    dice = random.Random(seed)
    return [dice.randint(1, most) for _ in range(cuts)]


TOY = Config("pcm_s16le", 16000, 1, mode="file", endpointing=Endpointing(max_segment_s=0.7))


@both_transports
@pytest.mark.parametrize("seed", range(6))
@with_loop
async def test_cut_at_random_bytes_the_stream_is_the_same(tmp_path, transport, seed):
    """Every final with words and times, and answers to controls, of a model that remembers all it heard."""
    pcm = audio(6.0, seed).tobytes()
    async with serving(tmp_path, transport) as served:
        url = getattr(served.addresses, transport)
        expected = await play(url, TOY, pcm, (7, 30, 31), resumable=False)
        # From the second on: the first connection is the caller's to make.
        async with cutting(url, [20_000 + 40_000 * (seed % 4), *budgets(seed, 4, 150_000)]) as (proxied, proxy):
            assert await play(proxied, TOY, pcm, (7, 30, 31)) == expected
        assert proxy.cuts > 1
    assert isinstance(expected[-1], Done)
    assert len(expected) > 8


@both_transports
@with_loop
async def test_the_shipped_recogniser_says_the_same(transport):
    """Speech in two clips with a pause, cut in five places."""
    pause = bytes(2 * 16000 * 2)
    pcm = clip("ferry") + pause + clip("honey") + pause
    config = Config("pcm_s16le", 16000, 1, mode="file")
    async with serving_recogniser() as (_, addresses):
        url = getattr(addresses, transport)
        expected = await play(url, config, pcm, resumable=False)
        async with cutting(url, [60_000, *budgets(1, 4, len(pcm))]) as (proxied, proxy):
            assert await play(proxied, config, pcm) == expected
    assert proxy.cuts >= 3
    assert sum(getattr(message, "is_final", False) for message in expected) >= 2


@both_transports
@with_loop
async def test_a_live_stream_outlives_cuts(tmp_path, transport):
    """Live audio goes on while the connection is down; the server lets the client catch up."""
    pcm = audio(2.0).tobytes()
    config = dataclasses.replace(TOY, mode="live")
    seen, reconnected = [], asyncio.Semaphore(0)

    async def read(stream: ClientStream) -> None:
        async for message in stream:
            seen.append(message)
            if isinstance(message, Warning) and message.code == "reconnected":
                reconnected.release()

    async with serving(tmp_path, transport) as served:
        url = getattr(served.addresses, transport)
        expected = await play(url, config, pcm, resumable=False)
        async with (
            cutting(url) as (proxied, proxy),
            connect(proxied, config, resumable=True, reconnect=SOON) as stream,
        ):
            reader = asyncio.create_task(read(stream))
            for index, start in enumerate(range(0, len(pcm), FRAME)):
                await stream.send(pcm[start : start + FRAME])
                if index in (3, 4, 11):
                    proxy.cut_all()
                    await reconnected.acquire()
            await stream.end()
            await reader
    assert kept(seen) == expected
    assert proxy.cuts == 3
    codes = [message.code for message in seen if isinstance(message, Warning)]
    assert codes == ["disconnected", "reconnected"] * 3


@both_transports
@with_loop
async def test_another_server_goes_on_where_one_went_down(tmp_path, transport):
    """They share a secret and nothing else: the client brings what the second one needs to know."""
    pcm = audio(3.0).tobytes()
    resume = {"secret": "a secret of at least thirty-two characters"}
    async with (
        serving(tmp_path / "first", transport, resume=resume) as first,
        serving(tmp_path / "second", transport, resume=resume) as second,
    ):
        urls = [getattr(served.addresses, transport) for served in (first, second)]
        expected = await play(urls[1], TOY, pcm, resumable=False)
        policy = dataclasses.replace(SOON, urls=(urls[1],))
        async with connect(urls[0], TOY, resumable=True, reconnect=policy) as stream:
            for start in range(0, len(pcm), FRAME):
                if start == 12 * FRAME:
                    await first.gateway.stop()
                await stream.send(pcm[start : start + FRAME])
            await stream.end()
            seen = [message async for message in stream]
    assert kept(seen) == expected


@pytest.mark.soak
def test_two_hundred_cuts_change_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """The shipped recogniser over both transports, until two hundred connections have been broken."""

    async def run() -> int:
        pause = bytes(2 * 16000 * 2)
        pcm = b"".join(clip(name) + pause for name in ("ferry", "honey", "river"))
        config = Config("pcm_s16le", 16000, 1, mode="file")
        cuts = 0
        async with serving_recogniser() as (_, addresses):
            expected = await play(addresses.grpc, config, pcm, resumable=False)
            for seed in range(1000):
                url = addresses.grpc if seed % 2 else addresses.websocket
                async with cutting(url, [30_000, *budgets(seed, 7, len(pcm))]) as (proxied, proxy):
                    assert await play(proxied, config, pcm) == expected, f"seed {seed}"
                cuts += proxy.cuts
                if cuts >= 200:
                    return cuts
        raise AssertionError("too few cuts")

    cuts = asyncio.run(run())
    with capsys.disabled():
        print(f"\n{cuts} cut connections, all streams equal")  # noqa: T201
    assert cuts >= 200


@pytest.mark.soak
def test_an_hour_keeps_little(capsys: pytest.CaptureFixture[str]) -> None:
    """Acknowledging advances through an hour of speech: what the client keeps is bounded, also across cuts."""
    rate = 16_000
    pause = bytes(2 * rate * 2)
    period = b"".join(clip(name) + pause for name in ("ferry", "honey", "river"))
    config = Config("pcm_s16le", rate, 1, mode="file")
    held = []

    async def run() -> list:
        async with (
            serving_recogniser() as (_, addresses),
            cutting(addresses.websocket) as (url, proxy),
            connect(url, config, resumable=True, reconnect=SOON) as stream,
        ):
            sender = asyncio.create_task(send_hour(stream, proxy))
            seen = [message async for message in stream]
            await sender
        assert proxy.cuts >= 5
        return seen

    async def send_hour(stream: ClientStream, proxy) -> None:
        sent = 0
        while sent < 3600 * rate:
            for start in range(0, len(period), FRAME):
                await stream.send(period[start : start + FRAME])
            sent += len(period) // 2
            held.append(stream._transport._journal.held_samples / rate)
            if len(held) % 25 == 0:
                proxy.cut_all()
        await stream.end()

    seen = asyncio.run(run())
    with capsys.disabled():
        print(f"\nseconds of audio kept: at most {max(held):.0f}, at the end {held[-1]:.0f}")  # noqa: T201
    finals = [message for message in seen if isinstance(message, Result) and message.is_final]
    assert isinstance(seen[-1], Done)
    assert [final.segment_id for final in finals] == list(range(len(finals)))
    assert max(held) <= 120.0
    per_period = np.diff([final.start_sample for final in finals])
    assert per_period.min() > 0
