"""The shipped recogniser on speech: what is heard does not depend on packets, neighbours, rates or the way in."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import itertools
import json
import tarfile
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from streamer.audio.files import open_audio
from streamer.cli.main import app
from streamer.config import EngineSection, Settings
from streamer.host import Host
from streamer.host.assemble import running_host
from streamer.session.messages import (
    Audio,
    Config,
    Decoding,
    Done,
    End,
    Finalize,
    Finalized,
    Hotword,
    Ready,
    Result,
    ServerMessage,
)
from tests.gateway.serving import with_loop

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = sorted((ROOT / "tests" / "samples").glob("*.flac"))
PACK = ROOT.parent / "shared" / "data" / "librispeech_1.tar"
RATE = 16_000
SHORTEST, LONGEST = 1, 2 * RATE
GREEDY = Decoding()


def clip(path: Path) -> np.ndarray:
    with open_audio(path) as audio:
        assert audio.sample_rate == RATE
        return np.concatenate(list(audio.blocks()))


def real_speech(count: int) -> list[np.ndarray]:
    """Utterances of speakers that training never heard; skips where the data is not there."""
    if not PACK.exists():
        pytest.skip(f"needs real speech, expected it in {PACK.parent.relative_to(ROOT.parent)}")
    with tarfile.open(PACK) as tar:
        lines = map(json.loads, tar.extractfile("manifest.jsonl"))
        held_out = [line["audio"] for line in lines if line["split"] == "dev"][:count]
        files = [io.BytesIO(tar.extractfile(name).read()) for name in held_out]
    return [soundfile.read(file, dtype="float32")[0].clip(-1, 1) for file in files]


def hosting(*models: str) -> AbstractAsyncContextManager[Host]:
    """A host of asr-en alone, if no models are named."""
    return running_host(Settings(models=models or ("asr-en",), engine=EngineSection(workers=1, max_streams=40)))


async def heard(
    host: Host, sound: np.ndarray, packets: Iterator[int], rate: int = RATE, decoding: Decoding = GREEDY
) -> list[ServerMessage]:
    """Everything final that the host says of `sound`, sent in packets of the given lengths."""
    stream = host.connect()
    await stream.send(Config("pcm_f32le", rate, 1, mode="file", decoding=decoding))
    assert isinstance(await stream.receive(), Ready)

    async def feed() -> None:
        at = 0
        while at < len(sound):
            packet = sound[at : at + next(packets)]
            await stream.send(Audio(packet.astype("<f4").tobytes()))
            at += len(packet)
        await stream.send(End())

    feeding = asyncio.create_task(feed())
    messages = []
    while (message := await stream.receive()) is not None:
        if isinstance(message, Done) or (isinstance(message, Result) and message.is_final):
            messages.append(message)
    await feeding
    return messages


def random_packets(seed: int, longest: int = LONGEST) -> Iterator[int]:
    rng = np.random.default_rng(seed)
    while True:
        yield int(np.exp(rng.uniform(np.log(SHORTEST), np.log(min(longest, 65536 // 4)))))


def texts(messages: list[ServerMessage]) -> str:
    return " ".join(message.text for message in messages if isinstance(message, Result))


@with_loop
async def test_packets_do_not_matter() -> None:
    """From 1 sample to a second at a time, words, times and confidences are the same."""
    sound = clip(SAMPLES[0])
    async with hosting() as host:
        expected = await heard(host, sound, itertools.repeat(RATE))
        assert texts(expected)
        for seed in range(4):
            assert await heard(host, sound, random_packets(seed)) == expected
        short = sound[:RATE]
        assert await heard(host, short, itertools.repeat(1)) == await heard(host, short, random_packets(9))


def near(messages: list[ServerMessage]) -> list[ServerMessage]:
    """Without confidences: batches of other sizes may round the last bit of a logarithm otherwise."""
    return [
        dataclasses.replace(
            message,
            confidence=0.0,
            words=tuple(dataclasses.replace(word, confidence=0.0) for word in message.words),
        )
        if isinstance(message, Result)
        else message
        for message in messages
    ]


@with_loop
async def test_neighbours_do_not_matter() -> None:
    """32 streams at once, cut and shifted differently, each hear what they hear alone."""
    clips = [clip(path) for path in SAMPLES]
    sounds = [clips[index % len(clips)][100 * index :][: 3 * RATE] for index in range(32)]
    async with hosting() as host:
        alone = [await heard(host, sound, itertools.repeat(RATE)) for sound in sounds]
        together = await asyncio.gather(*(heard(host, sound, random_packets(i)) for i, sound in enumerate(sounds)))
    assert [near(messages) for messages in together] == [near(messages) for messages in alone]


@with_loop
async def test_searches_of_neighbours_do_not_matter() -> None:
    """Greedy streams, beams of other widths, without language model and with hotwords hear what each hears alone."""
    hotwords = (Hotword("harbour office"), Hotword("ferry"))
    decodings = [GREEDY, Decoding("beam"), Decoding("beam", 8, 0.0), Decoding("beam", hotwords=hotwords)] * 2
    sounds = [clip(path)[: 3 * RATE] for path in SAMPLES]
    calls = [(sounds[index % len(sounds)], decoding) for index, decoding in enumerate(decodings)]
    async with hosting() as host:
        alone = [await heard(host, sound, itertools.repeat(RATE), decoding=decoding) for sound, decoding in calls]
        streams = [
            heard(host, sound, random_packets(i), decoding=decoding) for i, (sound, decoding) in enumerate(calls)
        ]
        together = await asyncio.gather(*streams)
    assert [near(messages) for messages in together] == [near(messages) for messages in alone]
    assert len({texts(messages) for messages in alone[:1] + alone[3:4]}) == 2


@with_loop
async def test_real_speech_together_is_real_speech_alone() -> None:
    """The same on people reading books."""
    sounds = [sound[: 8 * RATE] for sound in real_speech(6)]
    async with hosting() as host:
        alone = [await heard(host, sound, itertools.repeat(RATE)) for sound in sounds]
        together = await asyncio.gather(*(heard(host, sound, random_packets(i)) for i, sound in enumerate(sounds)))
    assert [near(messages) for messages in together] == [near(messages) for messages in alone]
    assert all(texts(messages) for messages in alone)


@with_loop
async def test_finalize_loses_nothing_and_the_words_go_on() -> None:
    """After a marker at a pause, the text before it is final and the times after it are those of the audio."""
    first, second = clip(SAMPLES[0]), clip(SAMPLES[1])
    async with hosting() as host:
        stream = host.connect()
        await stream.send(Config("pcm_f32le", RATE, 1, mode="file", interim_results=False))
        for sound, control in ((first, Finalize("pause")), (second, End())):
            for packet in np.array_split(sound, 20):
                await stream.send(Audio(packet.astype("<f4").tobytes()))
            await stream.send(control)
        messages = []
        while (message := await stream.receive()) is not None:
            messages.append(message)
    marker = next(index for index, message in enumerate(messages) if isinstance(message, Finalized))
    before = [message for message in messages[:marker] if isinstance(message, Result)]
    after = [message for message in messages[marker:] if isinstance(message, Result)]
    assert messages[marker] == Finalized("pause", len(first))
    assert before
    assert after
    assert all(word.end_sample <= len(first) for message in before for word in message.words)
    assert all(word.start_sample >= len(first) for message in after for word in message.words)
    assert messages[-1] == Done(len(first) + len(second), len(before) + len(after))


def test_batch_text_is_live_text(tmp_path: Path) -> None:
    """`streamer transcribe` writes what a live stream of the same audio hears, at any rate of the file."""
    for rate, path in zip((8000, 44_100, 48_000), SAMPLES, strict=False):
        slow = clip(path)
        # Played at another rate it is another sound, which is all that is asked of it here.
        soundfile.write(tmp_path / f"{rate}.wav", slow, rate, "FLOAT")
    result = CliRunner().invoke(app, ["transcribe", str(tmp_path), "--format", "jsonl", "--quiet", "--workers", "1"])
    assert result.exit_code == 0, result.output
    batch = {Path(line["file"]).name: line["text"] for line in map(json.loads, result.stdout.splitlines())}

    async def live() -> dict[str, str]:
        async with hosting(*Settings().models) as host:
            return {name: texts(await heard(host, *_read(tmp_path / name))) for name in batch}

    assert len(batch) == 3
    assert all(batch.values())
    assert batch == asyncio.run(live())


def _read(path: Path) -> tuple[np.ndarray, Iterator[int], int]:
    sound, rate = soundfile.read(path, dtype="float32")
    return sound, random_packets(rate), rate
