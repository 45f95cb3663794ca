"""Decoding options over every transport: each stream is searched as it asks, whoever shares its batches."""

from __future__ import annotations

import asyncio
import dataclasses

import numpy as np
import pytest

from streamer.errors import InvalidRequest
from streamer.session.messages import Config, Decoding, Endpointing, Hotword
from tests.e2e.serving import TRANSPORTS, serving
from tests.e2e.test_streams import finals, text_of, transcribe
from tests.gateway.serving import with_loop
from tests.toys import vowels_pcm, write_vowels

CONFIG = Config("pcm_s16le", 16000, 1, mode="file", endpointing=Endpointing(enabled=False))
# Frame by frame "a" and then "o" are likeliest, as a pair "a u".
HEARD = {
    Decoding(): "a o",
    Decoding("greedy"): "a o",
    Decoding("beam"): "a u",
    Decoding("beam", 1): "a u",
    Decoding(hotwords=(Hotword("e u"),)): "e u",
    Decoding(hotwords=(Hotword("e u", 0.0),)): "a u",
    Decoding(hotwords=(Hotword("e u"),), hotword_boost=0.1): "a u",
    Decoding("beam", lm_scale=0.0): "a u",
}
PCM = (vowels_pcm("a o") * 32768).astype(np.int16)

every_transport = pytest.mark.parametrize("transport", TRANSPORTS)


def asking(decoding: Decoding) -> Config:
    return dataclasses.replace(CONFIG, decoding=decoding)


@every_transport
@with_loop
async def test_each_stream_is_searched_as_it_asks(tmp_path, transport):
    """Streams of all options at once say what each says alone."""
    async with serving(tmp_path, transport, write=write_vowels) as served:
        streams = [transcribe(served.connect, asking(decoding), PCM, packet=777) for decoding in HEARD]
        said = await asyncio.gather(*streams)
    assert dict(zip(HEARD, map(text_of, said), strict=True)) == HEARD


@every_transport
@with_loop
async def test_finals_list_what_else_was_likely(tmp_path, transport):
    """As many texts as were asked for, the best first with the confidence of the final; interims list none."""
    config = dataclasses.replace(asking(Decoding(n_best=3)), interim_results=True)
    async with serving(tmp_path, transport, write=write_vowels) as served:
        messages = await transcribe(served.connect, config, PCM)
        plain = await transcribe(served.connect, asking(Decoding("beam")), PCM)
    (final,) = finals(messages)
    assert [best.text for best in final.alternatives] == ["a u", "e o", "e u"]
    assert final.alternatives[0].confidence == final.confidence
    interims = [message for message in messages if getattr(message, "is_final", None) is False]
    assert interims
    assert not any(interim.alternatives for interim in interims)
    assert finals(plain)[0].alternatives == ()


@every_transport
@pytest.mark.parametrize(
    ("decoding", "message"),
    [
        (Decoding(lm_scale=0.5), r"^model vowels has no language model, got decoding lm_scale 0\.5$"),
        (
            Decoding(hotwords=(Hotword("a"), Hotword("xyz"))),
            r"^hotword 'xyz': expected characters that the model writes",
        ),
    ],
)
@with_loop
async def test_what_the_model_cannot_do_is_refused(tmp_path, transport, decoding, message):
    """Before any audio, by the option or the phrase."""
    async with serving(tmp_path, transport, write=write_vowels) as served:
        with pytest.raises(InvalidRequest, match=message):
            async with served.connect(asking(decoding)):
                pass
