"""NVIDIA's client package against the shipped recogniser, called as in its own scripts.

The package blocks, so it runs on threads beside the server's event loop.
"""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import riva.client
import soundfile
from riva.client.proto import riva_asr_pb2

from streamer.gateway.server import Addresses
from tests.e2e.recognised import RATE, SAMPLES, SHIPPED, clip, serving_recogniser, texts_of
from tests.gateway.keyring import ADA, access_settings
from tests.gateway.serving import with_loop

NAMES = [path.stem for path in SAMPLES]


@contextmanager
def service(addresses: Addresses, key: str | None = None) -> Iterator[riva.client.ASRService]:
    metadata = [["authorization", f"Bearer {key}"]] if key else None
    auth = riva.client.Auth(uri=f"{addresses.host}:{addresses.grpc_port}", metadata_args=metadata)
    try:
        yield riva.client.ASRService(auth)
    finally:
        auth.channel.close()


async def in_thread(addresses: Addresses, work: Callable[[riva.client.ASRService], Any], key: str | None = None) -> Any:
    def run() -> Any:
        with service(addresses, key) as asr:
            return work(asr)

    return await asyncio.to_thread(run)


def streaming_config(**values: Any) -> riva.client.StreamingRecognitionConfig:
    config = riva.client.RecognitionConfig(**{"language_code": "en-US", "max_alternatives": 1, **values})
    return riva.client.StreamingRecognitionConfig(config=config, interim_results=True)


def raw_config(**values: Any) -> riva.client.StreamingRecognitionConfig:
    encoding = riva.client.AudioEncoding.LINEAR_PCM
    return streaming_config(encoding=encoding, sample_rate_hertz=RATE, enable_word_time_offsets=True, **values)


def streamed(chunks: Any, config: Any) -> Callable[[riva.client.ASRService], list[Any]]:
    def work(asr: riva.client.ASRService) -> list[Any]:
        responses = asr.streaming_response_generator(chunks, config)
        return [result for response in responses for result in response.results]

    return work


def pieces(data: bytes, size: int = 3200) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def text_of(results: Any) -> str:
    """The finals put together as NVIDIA's scripts do it."""
    finals = (result for result in results if getattr(result, "is_final", True))
    return "".join(result.alternatives[0].transcript for result in finals).strip()


@with_loop
async def test_streaming_gives_the_batch_text(batch_texts: dict[str, str]) -> None:
    """Three clips at once; interim results before finals, words with their times, progress that only grows."""
    async with serving_recogniser() as (_, addresses):
        calls = [in_thread(addresses, streamed(pieces(clip(name)), raw_config())) for name in NAMES]
        heard = await asyncio.gather(*calls)
    assert dict(zip(NAMES, map(text_of, heard), strict=True)) == batch_texts
    for results in heard:
        assert all(
            result.channel_tag == 1 and list(result.alternatives[0].language_code) == ["en"] for result in results
        )
        interims = [result for result in results if not result.is_final]
        assert interims
        assert all(0 < result.stability <= 1 for result in interims)
        progress = [result.audio_processed for result in results]
        assert progress == sorted(progress)
        for result in results:
            best = result.alternatives[0]
            assert " ".join(word.word for word in best.words) == (best.transcript.strip() if result.is_final else "")
            assert all(word.start_time <= word.end_time <= 1000 * result.audio_processed + 1 for word in best.words)


@with_loop
async def test_a_wav_file_as_the_script_for_files_sends_it(tmp_path: Path, batch_texts: dict[str, str]) -> None:
    """The header comes with the audio and the encoding is left out; boosted words, alternatives, end of utterance."""
    file = tmp_path / "ferry.wav"
    soundfile.write(file, np.frombuffer(clip("ferry"), "<i2"), RATE)

    def work(asr: riva.client.ASRService, boosted: bool) -> list[Any]:
        config = streaming_config(profanity_filter=False, verbatim_transcripts=True)
        riva.client.add_audio_file_specs_to_config(config, file)
        if boosted:
            config.config.max_alternatives = 3
            riva.client.add_word_boosting_to_config(config, ["harbour office", "ferry"], 4.0)
            riva.client.add_endpoint_parameters_to_config(config, 0, 0.0, 800, 0, 0.0, 0.0)
        with riva.client.AudioChunkFileIterator(file, 1600) as chunks:
            return streamed(chunks, config)(asr)

    async with serving_recogniser() as (_, addresses):
        plain = await in_thread(addresses, lambda asr: work(asr, False))
        boosted = await in_thread(addresses, lambda asr: work(asr, True))
    assert text_of(plain) == batch_texts["ferry"]
    finals = [result for result in boosted if result.is_final]
    assert "ferry" in text_of(finals).split()
    assert 1 < max(len(result.alternatives) for result in finals) <= 3


def encoded(pcm: bytes, format: str, subtype: str, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.frombuffer(pcm, "<i2"), rate, format=format, subtype=subtype)
    return file.getvalue()


@with_loop
async def test_offline_recognition(tmp_path: Path) -> None:
    """Files that say what they are, and samples of which the config does, give the batch text of the same audio."""
    pcm = clip("honey")[: 3 * 2 * RATE]
    wav, mulaw, flac = (
        encoded(pcm, "WAV", "PCM_16"),
        encoded(pcm, "WAV", "ULAW", 8000),
        encoded(pcm, "FLAC", "PCM_16"),
    )
    codes = mulaw[mulaw.index(b"data") + 8 :]
    encoding = riva.client.AudioEncoding
    cases: list[tuple[bytes, dict[str, Any], str]] = [
        (wav, {}, "plain"),
        (pcm, {"encoding": encoding.LINEAR_PCM, "sample_rate_hertz": RATE}, "plain"),
        (flac, {"encoding": encoding.FLAC}, "plain"),
        (mulaw, {}, "telephone"),
        (codes, {"encoding": encoding.MULAW, "sample_rate_hertz": 8000}, "telephone"),
    ]
    files = {"plain": wav, "telephone": mulaw}
    for name, data in files.items():
        (tmp_path / f"{name}.wav").write_bytes(data)
    expected = await texts_of(*(tmp_path / f"{name}.wav" for name in files))

    def recognise(audio: bytes, values: dict[str, Any]) -> Callable[[riva.client.ASRService], Any]:
        config = riva.client.RecognitionConfig(language_code="en-US", **values)
        return lambda asr: asr.offline_recognize(audio, config)

    async with serving_recogniser() as (host, addresses):
        for audio, values, name in cases:
            response = await in_thread(addresses, recognise(audio, values))
            assert text_of(response.results) == expected[name]
        await host.until_empty()


@with_loop
async def test_the_scripts_find_the_model() -> None:
    """What `--list-models` prints."""

    def work(asr: riva.client.ASRService) -> Any:
        return asr.stub.GetRivaSpeechRecognitionConfig(riva_asr_pb2.RivaSpeechRecognitionConfigRequest())

    async with serving_recogniser(models=SHIPPED) as (_, addresses):
        (config,) = (await in_thread(addresses, work)).model_config
    assert config.model_name == "asr-en"
    assert {"type": "online", "language_code": "en", "sample_rate": "16000"}.items() <= dict(config.parameters).items()


@with_loop
async def test_refusals_reach_the_client(batch_texts: dict[str, str]) -> None:
    """As statuses, with the field or the name in the details, also without a key; no slot stays taken."""
    code = grpc.StatusCode
    cases = [
        (raw_config(model="parakeet"), ADA, code.NOT_FOUND, "unknown model 'parakeet', expected one of asr-en@0.2.0"),
        (raw_config(language_code="de-CH"), ADA, code.INVALID_ARGUMENT, "model asr-en speaks en, got language 'de-CH'"),
        (
            raw_config(enable_automatic_punctuation=True),
            ADA,
            code.INVALID_ARGUMENT,
            "enable_automatic_punctuation: expected false, no model here does that",
        ),
        (raw_config(), None, code.UNAUTHENTICATED, "expected an API key, got none"),
        (raw_config(), "wrong", code.UNAUTHENTICATED, "unknown API key"),
    ]
    async with serving_recogniser(models=SHIPPED, access=access_settings()) as (host, addresses):
        for config, key, status, details in cases:
            with pytest.raises(grpc.RpcError) as caught:
                await in_thread(addresses, streamed(pieces(clip("ferry")), config), key)
            assert (caught.value.code(), caught.value.details()) == (status, details)
        await host.until_empty()
        results = await in_thread(addresses, streamed(pieces(clip("ferry")), raw_config()), ADA)
    assert text_of(results) == batch_texts["ferry"]


@with_loop
async def test_a_client_that_hangs_up_frees_its_slot() -> None:
    """In the middle of its audio, after a first result."""
    go_on = threading.Event()

    def chunks() -> Iterator[bytes]:
        yield from pieces(clip("honey"))[:30]
        go_on.wait(30)

    def work(asr: riva.client.ASRService) -> None:
        next(asr.streaming_response_generator(chunks(), raw_config()))

    async with serving_recogniser() as (host, addresses):
        # The channel is closed as soon as there is a result.
        await in_thread(addresses, work)
        await host.until_empty()
        go_on.set()
