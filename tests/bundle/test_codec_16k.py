"""The shipped codec in the server's runner: codes that do not depend on the batch, silence, and an hour of stream."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

import streamer
from streamer.bundle.loader import Bundle, load_bundle
from streamer.engine.check import check_bundle
from streamer.engine.runner import Runner, open_sessions
from streamer.engine.settings import EngineSettings
from streamer.work import Array, Lease, Row

FOLDER = Path(streamer.__file__).parent / "bundles" / "codec-16k"
SAMPLES = sorted((Path(__file__).parents[1] / "samples").glob("*.flac"))
CLEAN = Path(__file__).parents[3] / "shared" / "data" / "clean_speech.tar"
SEED = 29
ROWS = 16

pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the codec is not among the shipped bundles")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(FOLDER)


@pytest.fixture
def runner(bundle: Bundle) -> Runner:
    settings = EngineSettings(max_batch=ROWS)
    return Runner(bundle, open_sessions(bundle, settings), {"stream": ROWS}, settings)


def speech_like(rng: np.random.Generator, frames: int, rate: int = 16_000) -> Array:
    """Noise with the spectrum of a voice, in syllables and pauses: f32[frames, 320]."""
    samples = frames * 320
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    hz = np.fft.rfftfreq(samples, 1 / rate)
    shaped = np.fft.irfft(spectrum * (hz > 80) / (1 + (hz / 500) ** 2), samples)
    syllables = np.repeat(rng.choice([0.0, 0.02, 0.1, 0.3], -(-samples // 3200)), 3200)[:samples]
    return (shaped / shaped.std() * syllables).astype(np.float32).reshape(frames, 320)


def step(runner: Runner, graph: str, inputs: list[dict[str, Array]], start: bool) -> list[Array]:
    """One step of streams in the slots from 0; returns the one output of each."""
    entry = runner.bundle.manifest.graph(graph)
    rows = [
        Row((Lease(runner.bundle.key, "stream", slot, 0),), given, frozenset(entry.groups if start else ()))
        for slot, given in enumerate(inputs)
    ]
    results = runner.run(graph, rows)
    assert all(result.error is None for result in results)
    return [np.array(result.outputs[entry.outputs[0].name]) for result in results]


def encode(runner: Runner, streams: list[Array], frames: int) -> list[Array]:
    """Encode streams of equal length together, `frames` frames a step."""
    parts = [
        step(runner, "encode", [{"pcm": stream[at : at + frames]} for stream in streams], at == 0)
        for at in range(0, len(streams[0]), frames)
    ]
    return [np.concatenate(codes) for codes in zip(*parts, strict=True)]


def decode(runner: Runner, codes: Array, kinds: Array, frames: int) -> Array:
    """Decode one stream, `frames` frames a step."""
    return np.concatenate(
        [
            step(runner, "decode", [{"codes": codes[at : at + frames], "kind": kinds[at : at + frames]}], at == 0)[0]
            for at in range(0, len(codes), frames)
        ]
    )


def test_it_checks(bundle: Bundle) -> None:
    """Hashes, reference runs, and state that is updated in place."""
    report = check_bundle(bundle.folder)
    assert report.ok, report


def test_codes_of_noise_are_the_same_alone_and_in_a_batch(runner: Runner) -> None:
    """Sixteen streams, a minute of audio together: one frame or five a step, alone or all at once, bit for bit."""
    rng = np.random.default_rng(SEED)
    streams = [speech_like(rng, 190) for _ in range(ROWS)]
    batched = encode(runner, streams, 1)
    for found in (encode(runner, streams, 5), encode(runner, streams[:7], 19)):
        for codes, expected in zip(found, batched, strict=False):
            np.testing.assert_array_equal(codes, expected)
    for stream, expected in zip(streams, batched, strict=True):
        np.testing.assert_array_equal(encode(runner, [stream], 1)[0], expected)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_codes_of_speech_are_the_same_alone_and_in_a_batch(runner: Runner, path: Path) -> None:
    """A voice, beside itself at other levels and beside noise."""
    audio, _ = soundfile.read(path, dtype="float32")
    speech = audio[: len(audio) // 320 * 320].reshape(-1, 320)
    noise = speech_like(np.random.default_rng(SEED), len(speech))
    streams = [speech, *(speech * level for level in (0.01, 0.1, 0.5)), noise, *[speech] * 11]
    together = encode(runner, streams, 1)
    alone = encode(runner, [speech], 5 if len(speech) % 5 == 0 else 1)[0]
    for index in (0, *range(5, ROWS)):
        np.testing.assert_array_equal(together[index], alone)


def test_codes_of_people_are_the_same_alone_and_in_a_batch(runner: Runner) -> None:
    """Sixteen speakers of the data that training was judged on."""
    if not CLEAN.exists():
        pytest.skip("the shared data is not here")
    with tarfile.open(CLEAN) as pack:
        files = [pack.extractfile(name) for name in pack.getnames() if name.endswith(".flac")][:ROWS]
        voices = [soundfile.read(file, dtype="float32", frames=150 * 320)[0] for file in files]
    streams = [np.pad(voice, (0, 150 * 320 - len(voice))).reshape(150, 320) for voice in voices]
    for stream, expected in zip(streams, encode(runner, streams, 1), strict=True):
        np.testing.assert_array_equal(encode(runner, [stream], 5)[0], expected)


@pytest.mark.parametrize("books", [3, 6, 12])
def test_silence_stays_silent(runner: Runner, books: int) -> None:
    """From the first frame on, at every bitrate."""
    codes = encode(runner, [np.zeros((150, 320), np.float32)], 5)[0]
    codes[:, books:] = -1
    assert np.abs(decode(runner, codes, np.zeros(150, np.int64), 5)).max() < 1e-3


def test_a_stream_of_losses_is_never_loud(runner: Runner) -> None:
    """Concealment ends in something near silence, and stays there."""
    audio, _ = soundfile.read(SAMPLES[0], dtype="float32")
    speech = audio[: 100 * 320].reshape(-1, 320)
    codes = np.concatenate([encode(runner, [speech], 5)[0], np.zeros((400, 12), np.int64)])
    kinds = np.repeat([0, 1], [100, 400])
    found = decode(runner, codes, kinds, 5)
    assert np.abs(found).max() < 2 * np.abs(speech).max()
    assert np.abs(found[200:]).max() < 0.01


@pytest.mark.soak
def test_an_hour_of_stream_does_not_drift(runner: Runner) -> None:
    """State stays bounded, and the last minute sounds as the same audio does in a stream of its own."""
    rng = np.random.default_rng(SEED)
    minute = speech_like(rng, 3000)
    largest, codes = 0.0, np.zeros(0)
    for _ in range(60):
        parts = []
        for at in range(0, 3000, 20):
            start = not largest
            (found,) = step(runner, "encode", [{"pcm": minute[at : at + 20]}], start)
            (samples,) = step(runner, "decode", [{"codes": found, "kind": np.zeros(20, np.int64)}], start)
            states = [arena.read([0]) for arena in runner.arenas.front.values()]
            largest = max(largest, *(float(np.abs(state).max()) for state in states))
            parts.append((found, samples))
        codes, last = (np.concatenate(part) for part in zip(*parts, strict=True))
    assert largest < 1e3
    again = encode(runner, [np.concatenate([minute[-100:], minute])], 20)[0]
    np.testing.assert_array_equal(codes, again[100:])
    fresh = decode(runner, again, np.zeros(len(again), np.int64), 20)
    np.testing.assert_allclose(last, fresh[100:], rtol=0, atol=1e-5)
