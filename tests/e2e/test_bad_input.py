"""Bad input over every transport: a precise error for who sent it, and nothing for who streams beside it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from streamer.client.stream import Transport
from streamer.errors import (
    InvalidRequest,
    MessageTooLarge,
    StreamerError,
    TooFast,
    UnknownBundle,
)
from streamer.session.messages import (
    Audio,
    Cancel,
    ClientMessage,
    Decoding,
    End,
    Endpointing,
    Finalize,
    Hotword,
    Update,
)
from tests.e2e.serving import TRANSPORTS, serving
from tests.e2e.test_streams import LIVE, audio, expected_text, rest_of, send_all, text_of
from tests.gateway.serving import with_loop

FLOATS = dataclasses.replace(LIVE, encoding="pcm_f32le")
TELEPHONE = dataclasses.replace(LIVE, sample_rate=8000)


def floats(*samples: float) -> Audio:
    return Audio(np.array(samples, "<f4").tobytes())


def changed(**changes: object) -> list[ClientMessage]:
    return [dataclasses.replace(LIVE, **changes)]  # type: ignore[arg-type]


ENCODING = "expected encoding pcm_s16le, pcm_f32le, pcm_mulaw, pcm_alaw, flac, ogg_opus, snc1 or text, got ''"
RATE = "expected an integer sample rate from 8000 to 48000 Hz, got "
RANGE = "expected a float from -1 to 1"

CASES: dict[str, tuple[list[ClientMessage], type[StreamerError], str]] = {
    "encoding_missing": (changed(encoding=""), InvalidRequest, ENCODING),
    "rate_missing": (changed(sample_rate=0), InvalidRequest, RATE + "0"),
    "rate_too_low": (changed(sample_rate=7999), InvalidRequest, RATE + "7999"),
    "rate_too_high": (changed(sample_rate=96000), InvalidRequest, RATE + "96000"),
    "channels_missing": (changed(channels=0), InvalidRequest, "expected 1 channel, got 0"),
    "two_channels": (changed(channels=2), InvalidRequest, "expected 1 channel, got 2"),
    "task_unknown": (
        changed(task="sing"),
        InvalidRequest,
        "expected task transcribe or vad or codec or synthesize, got 'sing'",
    ),
    "language_unknown": (changed(language="xx"), InvalidRequest, "model counter-asr speaks en, got language 'xx'"),
    "model_unknown": (
        changed(model="other"),
        UnknownBundle,
        "unknown model 'other', expected one of counter-asr@1.0.0",
    ),
    "endpointing_negative": (
        changed(endpointing=Endpointing(max_segment_s=-1.0)),
        InvalidRequest,
        "endpointing max_segment_s: expected a finite number of seconds above 0, got -1.0",
    ),
    "method_unknown": (
        changed(decoding=Decoding("viterbi")),
        InvalidRequest,
        "decoding method: expected greedy, beam or nothing, got 'viterbi'",
    ),
    "beam_of_none": (
        changed(decoding=Decoding(beam=0)),
        InvalidRequest,
        "decoding beam: expected an integer from 1 to 16, got 0",
    ),
    "beam_too_wide": (
        changed(decoding=Decoding("beam", 17)),
        InvalidRequest,
        "decoding beam: expected an integer from 1 to 16, got 17",
    ),
    "lm_scale_negative": (
        changed(decoding=Decoding(lm_scale=-0.5)),
        InvalidRequest,
        "decoding lm_scale: expected a number from 0 to 5, got -0.5",
    ),
    "more_alternatives_than_hypotheses": (
        changed(decoding=Decoding(beam=2, n_best=3)),
        InvalidRequest,
        "decoding n_best: expected an integer from 1 to beam, 2, got 3",
    ),
    "hotword_empty": (
        changed(decoding=Decoding(hotwords=(Hotword("ada"), Hotword("")))),
        InvalidRequest,
        "decoding hotwords[1]: expected a phrase, got ''",
    ),
    "hotword_too_long": (
        changed(decoding=Decoding(hotwords=(Hotword("x" * 65),))),
        InvalidRequest,
        "decoding hotwords[0]: expected at most 64 characters, got 65",
    ),
    "hotword_boost_too_large": (
        changed(decoding=Decoding(hotwords=(Hotword("ada", 20.5),))),
        InvalidRequest,
        "decoding hotwords[0] boost: expected a number from 0 to 20, got 20.5",
    ),
    "hotwords_too_many": (
        changed(decoding=Decoding(hotwords=tuple(Hotword(str(index)) for index in range(501)))),
        InvalidRequest,
        "decoding hotwords: expected at most 500 phrases, got 501",
    ),
    "hotwords_without_a_beam": (
        changed(decoding=Decoding("greedy", hotwords=(Hotword("ada"),))),
        InvalidRequest,
        "decoding hotwords: expected method beam, got greedy",
    ),
    "beam_that_the_model_lacks": (
        changed(decoding=Decoding("beam")),
        InvalidRequest,
        "model counter-asr has no beam search, got decoding method beam",
    ),
    "audio_first": ([Audio(bytes(320))], InvalidRequest, "expected config first, got audio"),
    "end_first": ([End()], InvalidRequest, "expected config first, got end"),
    "second_config": ([LIVE, Audio(bytes(320)), LIVE], InvalidRequest, "expected one config, got a second"),
    "half_a_sample": (
        [LIVE, Audio(b"123")],
        InvalidRequest,
        "audio frame of 3 bytes is not a multiple of 2 bytes per sample",
    ),
    "half_a_float": (
        [FLOATS, Audio(bytes(6))],
        InvalidRequest,
        "audio frame of 6 bytes is not a multiple of 4 bytes per sample",
    ),
    "nan": ([FLOATS, floats(0.5), floats(0.0, math.nan)], InvalidRequest, f"sample 2 is nan, {RANGE}"),
    "infinity": ([FLOATS, floats(-math.inf)], InvalidRequest, f"sample 0 is -inf, {RANGE}"),
    "out_of_range": ([FLOATS, floats(1.0, -1.0, 1.5)], InvalidRequest, f"sample 2 is 1.5, {RANGE}"),
    "frame_of_many_bytes": (
        [LIVE, Audio(bytes(65538))],
        MessageTooLarge,
        "audio frame of 65538 bytes exceeds the limit of 65536 bytes",
    ),
    "frame_of_many_seconds": (
        [TELEPHONE, Audio(bytes(40000))],
        MessageTooLarge,
        "audio frame of 2500 ms exceeds the limit of 2000 ms",
    ),
    "finalize_id_too_long": (
        [LIVE, Finalize("x" * 129)],
        InvalidRequest,
        "expected a finalize id of at most 128 characters, got 129",
    ),
    "update_out_of_range": (
        [LIVE, Update(Endpointing(max_segment_s=121.0))],
        InvalidRequest,
        "endpointing max_segment_s: expected at most 120 seconds, got 121.0",
    ),
}


async def refusal(connection: Transport, messages: list[ClientMessage]) -> StreamerError:
    """The error that ends a stream of these messages; it may come before they have all left."""
    for message in messages:
        await connection.write(message)
    try:
        while True:
            await connection.read()
    except StreamerError as error:
        return error


@pytest.mark.parametrize("transport", TRANSPORTS)
@with_loop
async def test_bad_input_is_named_and_no_neighbour_notices(tmp_path: Path, transport: str) -> None:
    """Every bad client is told what was wrong; the text of the stream beside them is what it is without them."""
    pcm = audio(2.0)
    pieces = np.array_split(pcm, len(CASES))
    told = {}
    async with serving(tmp_path, transport) as served:
        async with served.connect(LIVE) as neighbour:
            for piece, (name, (messages, _, _)) in zip(pieces, CASES.items(), strict=True):
                await send_all(neighbour, piece)
                async with served.dial() as bad:
                    error = await refusal(bad, messages)
                told[name] = (type(error), str(error))
            await neighbour.end()
            assert text_of(await rest_of(neighbour)) == expected_text(pcm)
        await served.host.until_empty()
        assert served.host.workers[0].free_slots("counter-asr@1.0.0") == 16
    assert told == {name: (kind, message) for name, (_, kind, message) in CASES.items()}


@pytest.mark.parametrize("transport", TRANSPORTS)
@with_loop
async def test_who_is_too_fast_is_refused_and_no_neighbour_notices(tmp_path: Path, transport: str) -> None:
    """Live audio that runs ahead is refused, not slowed down, while the stream beside it goes on."""
    pcm = audio(2.0)
    async with serving(tmp_path, transport) as served, served.connect(LIVE) as neighbour:
        await send_all(neighbour, pcm[:16000])
        async with served.dial() as bad:
            with pytest.raises(TooFast, match=r"^audio is 1\d{4} ms ahead of real time, limit is 10000 ms, mode file"):
                raise await refusal(bad, [LIVE, *[Audio(bytes(32000))] * 13])
        await send_all(neighbour, pcm[16000:])
        await neighbour.end()
        assert text_of(await rest_of(neighbour)) == expected_text(pcm)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    "last", [Audio(bytes(3200)), Finalize("a"), Cancel(), End()], ids=["audio", "finalize", "cancel", "end"]
)
@with_loop
async def test_who_is_gone_is_forgotten_and_no_neighbour_notices(
    tmp_path: Path, transport: str, last: ClientMessage
) -> None:
    """A client that hangs up without reading leaves no slot leased and no trace in the stream beside it."""
    pcm = audio(2.0)
    async with serving(tmp_path, transport) as served:
        async with served.connect(LIVE) as neighbour:
            await send_all(neighbour, pcm[:16000])
            async with served.dial() as bad:
                for message in (LIVE, Audio(pcm.tobytes()[:6400]), last):
                    await bad.write(message)
            await send_all(neighbour, pcm[16000:])
            await neighbour.end()
            assert text_of(await rest_of(neighbour)) == expected_text(pcm)
        await served.host.until_empty()
        assert served.host.workers[0].free_slots("counter-asr@1.0.0") == 16


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("field", ["model", "language", "task"])
@with_loop
async def test_an_error_about_a_long_text_arrives(tmp_path: Path, transport: str, field: str) -> None:
    """What is repeated to the client is cut, so that the error fits into the trailers of gRPC."""
    async with serving(tmp_path, transport) as served, served.dial() as bad:
        error = await refusal(bad, changed(**{field: "\u65e5" * 10_000}))
    assert type(error) is (UnknownBundle if field == "model" else InvalidRequest)
    assert "'\u65e5\u65e5" in str(error)


@with_loop
async def test_encodings_that_are_none(tmp_path: Path) -> None:
    """Text transports can name an encoding that there is not; protobuf clients cannot."""
    message = "expected encoding pcm_s16le, pcm_f32le, pcm_mulaw, pcm_alaw, flac, ogg_opus, snc1 or text, got 'opus'"
    for transport in ("websocket", "in_process"):
        async with serving(tmp_path / transport, transport) as served, served.dial() as bad:
            assert str(await refusal(bad, changed(encoding="opus"))) == message
