"""The shipped recogniser hears a compressed stream as the command line hears the file."""

from __future__ import annotations

import asyncio

import pytest
import soundfile
import soxr

from streamer.client import connect
from streamer.session.messages import Config
from tests.audio.compressed import container, opus
from tests.e2e.recognised import RATE, SAMPLES, serving_recogniser, texts_of
from tests.e2e.test_encodings import send_pieces
from tests.e2e.test_streams import rest_of, text_of
from tests.gateway.serving import with_loop


async def heard(address: str, config: Config, data: bytes) -> str:
    async with connect(address, config) as stream:
        sender = asyncio.create_task(send_pieces(stream, data, [1, 999, 4000]))
        messages = await rest_of(stream)
        await sender
    return text_of(messages)


@pytest.mark.parametrize("transport", ["grpc", "websocket"])
@with_loop
async def test_flac_and_opus_say_what_their_files_say(tmp_path, transport):
    """Every sample clip as flac, and one as Ogg Opus: word for word the text of batch transcription."""
    wide = soxr.resample(soundfile.read(SAMPLES[0], dtype="float32")[0], RATE, 48000)
    packed = tmp_path / "packed.opus"
    packed.write_bytes(opus(wide))
    expected = await texts_of(*SAMPLES, packed)
    async with serving_recogniser() as (_, addresses):
        address = getattr(addresses, transport)
        flac = Config("flac", RATE, 1, mode="file")
        for path in SAMPLES:
            assert await heard(address, flac, path.read_bytes()) == expected[path.stem]
        assert (
            await heard(address, Config("ogg_opus", 48000, 1, mode="file"), packed.read_bytes()) == expected["packed"]
        )


@with_loop
async def test_containers_hold_the_same_words(tmp_path):
    """webm and m4a of a clip say nearly what the clip says: their coders lose a little."""
    path = SAMPLES[0]
    wide = soxr.resample(soundfile.read(path, dtype="float32")[0], RATE, 48000)
    (tmp_path / "a.webm").write_bytes(container("webm", "libopus", wide, 48000))
    (tmp_path / "b.m4a").write_bytes(container("mp4", "aac", wide, 48000))
    texts = await texts_of(path, tmp_path / "a.webm", tmp_path / "b.m4a")
    words = set(texts[path.stem].split())
    for name in ("a", "b"):
        common = words & set(texts[name].split())
        assert len(common) >= 0.6 * len(words), texts
