"""Whisper's log-mel front end, beside openai-whisper and its own definition."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")
peer = pytest.importorskip("whisper.audio", reason="openai-whisper is not installed")

from models.careless_whisper.features import (  # noqa: E402
    HALF,
    HOP,
    SILENT,
    WINDOW,
    WhisperMel,
    mel_filters,
    normalise,
    offline,
    running,
)

torch.set_num_threads(1)
SAMPLES = 3 * 16_000
TIME = np.arange(SAMPLES) / 16_000


def noise(level: float, seed: int = 0) -> np.ndarray:
    return level * np.random.default_rng(seed).standard_normal(SAMPLES)


def voice() -> np.ndarray:
    """A buzz of gliding pitch through three gliding formants, in syllables with silence between them."""
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(3 * TIME)) / 16_000
    pitch = np.gradient(phase) * 16_000 / (2 * np.pi)
    formants = (500 + 200 * np.sin(5 * TIME), 1500 + 500 * np.sin(4 * TIME), 2500 + 200 * np.sin(7 * TIME))
    wave = np.zeros(SAMPLES)
    for k in range(1, 50):
        gain = sum(1 / (1 + ((k * pitch - formant) / 120) ** 2) for formant in formants) / k**0.5
        wave += gain * np.sin(k * phase)
    return 0.2 * wave * np.clip(np.sin(2 * np.pi * 2 * TIME), 0, 1)


def sound(name: str) -> np.ndarray:
    made = {
        "noise": noise(0.1),
        "quiet noise": noise(1e-4),
        "clipped noise": np.clip(noise(0.5), -1, 1),
        "rumble": 0.9 * np.diff(np.cumsum(noise(1.0)) % 40, prepend=0) / 40,
        "voice in noise": voice() + noise(1e-3),
        "voice of 16 bits in noise": np.round((voice() + noise(1e-3)) * 32768) / 32768,
        "tone": 0.5 * np.sin(2 * np.pi * 440 * TIME),
        "offset": 0.3 + noise(0.01),
        "voice and silence": np.round(voice() * 32768) / 32768,
    }
    return made[name].astype(np.float32)


SOUNDS = ["noise", "quiet noise", "clipped noise", "rumble", "voice in noise"]
# Loud in few bands and all but silent in others: there openai-whisper's float32 shows, by up to 6e-5.
HARD_SOUNDS = ["tone", "offset", "voice and silence", "voice of 16 bits in noise"]


def defined(samples: np.ndarray, mels: int) -> np.ndarray:
    """Offline features f64[rows, mels] by the definition, in float64 and with an FFT."""
    padded = np.pad(samples.astype(np.float64), HALF, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    index = np.arange(len(samples) // HOP)[:, None] * HOP + np.arange(WINDOW)
    power = np.abs(np.fft.rfft(padded[index] * window)) ** 2 @ mel_filters(mels).numpy()
    log = np.log10(np.maximum(power, 1e-10))
    return (np.maximum(log, log.max() - 8) + 4) / 4


def ours(samples: np.ndarray, mels: int) -> np.ndarray:
    return offline(WhisperMel(mels)(torch.from_numpy(samples[None])))[0].numpy()


@pytest.mark.parametrize("mels", [80, 128])
def test_filters_are_those_of_openai_whisper(mels: int) -> None:
    """Its file holds the same triangles, rounded to float32."""
    np.testing.assert_allclose(mel_filters(mels).numpy().T, peer.mel_filters("cpu", mels).numpy(), rtol=2e-7, atol=1e-9)


@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize("name", SOUNDS)
def test_rows_are_those_of_openai_whisper(name: str, mels: int) -> None:
    """The features of a clip are equal to 1e-5."""
    samples = sound(name)
    np.testing.assert_allclose(ours(samples, mels), peer.log_mel_spectrogram(samples, mels).numpy().T, atol=1e-5)


@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize("name", SOUNDS + HARD_SOUNDS)
def test_rows_are_the_definition_s(name: str, mels: int) -> None:
    """No rounding shows but that of the result; what openai-whisper's rows differ by is their own rounding."""
    samples = sound(name)
    truth, theirs = defined(samples, mels), peer.log_mel_spectrogram(samples, mels).numpy().T
    np.testing.assert_allclose(ours(samples, mels), truth, atol=3e-7)
    assert np.abs(theirs - truth).max() < 1e-4


@pytest.mark.parametrize("rows", [1, 4, 30])
def test_chunks_equal_whole(rows: int) -> None:
    """Rows of any run of samples are those of the whole clip, bit by bit."""
    front, clip = WhisperMel(), torch.from_numpy(noise(0.1)[: 60 * HOP].astype(np.float32))[None]
    whole = front(clip)
    padded = torch.nn.functional.pad(clip[:, None], (HALF, HALF), mode="reflect")[:, 0]
    parts = [front.rows(padded[:, m * HOP : (m + rows - 1) * HOP + WINDOW], rows) for m in range(0, 60, rows)]
    assert torch.equal(torch.cat(parts, 1), whole)


def test_a_row_is_the_same_in_any_batch() -> None:
    """What else is computed in the same call changes no bit."""
    front, clips = WhisperMel(), torch.from_numpy(np.stack([noise(0.1, seed)[:4800] for seed in range(5)])).float()
    assert torch.equal(front(clips)[2], front(clips[2:3])[0])


def test_silence_and_shapes() -> None:
    """Digital silence is the floor; a row comes each 160 samples."""
    rows = WhisperMel(128)(torch.zeros(2, 799))
    assert rows.shape == (2, 4, 128)
    assert rows.dtype == torch.float32
    torch.testing.assert_close(rows, torch.full_like(rows, SILENT))


def test_running_normalisation_is_that_of_calls() -> None:
    """Each call is clamped by the largest value up to its own end; the first has one row more, earlier rows stay."""
    log_mel = torch.randn(2, 3 * 4 + 1, 5, generator=torch.Generator().manual_seed(0)) * 5
    parts, loudest = [], torch.full((2,), SILENT)
    for rows in (log_mel[:, :5], log_mel[:, 5:9], log_mel[:, 9:]):
        loudest = loudest.maximum(rows.amax((1, 2)))
        parts.append(normalise(rows, loudest))
    assert torch.equal(running(log_mel, 4), torch.cat(parts, 1))
    # A clip that ends within a call.
    assert torch.equal(running(log_mel[:, :11], 4)[:, :9], torch.cat(parts[:2], 1))
