"""The streaming resampler, against sines, soxr and itself."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.audio.resample import MAX_HOLD_BACK_S, Resampler

RATES = [(48000, 16000), (44100, 16000), (8000, 16000), (11127, 16000), (47999, 16000), (22050, 24000), (16000, 8000)]


def whole(samples: np.ndarray, rate_in: int, rate_out: int) -> np.ndarray:
    resampler = Resampler(rate_in, rate_out)
    return np.concatenate((resampler.push(samples), resampler.flush()))


def sine(hz: float, rate: int, seconds: float = 0.5) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate).astype(np.float32)


def middle(samples: np.ndarray) -> np.ndarray:
    return samples[len(samples) // 4 : 3 * len(samples) // 4]


@pytest.mark.parametrize(("rate_in", "rate_out"), RATES)
def test_passband_keeps_phase_and_level(rate_in: int, rate_out: int) -> None:
    """Up to 0.9 of the lower Nyquist frequency a sine comes out as itself, in time: error below -65 dB."""
    for part in (0.01, 0.2, 0.5, 0.7, 0.85, 0.9):
        hz = part * min(rate_in, rate_out) / 2
        got = whole(sine(hz, rate_in), rate_in, rate_out)
        error = middle(got - sine(hz, rate_out, 0.5)[: len(got)])
        assert 20 * np.log10(np.abs(error).max()) < -65, part


@pytest.mark.parametrize(("rate_in", "rate_out"), [(a, b) for a, b in RATES if a > b])
def test_stopband(rate_in: int, rate_out: int) -> None:
    """From the output's Nyquist frequency on at least 65 dB are taken away, so nothing audible folds back."""
    for hz in np.linspace(rate_out / 2, rate_in / 2 * 0.999, 25):
        got = middle(whole(sine(float(hz), rate_in), rate_in, rate_out))
        assert 20 * np.log10(np.sqrt(2) * got.std() + 1e-9) < -65, hz


@pytest.mark.parametrize(("rate_in", "rate_out"), RATES)
def test_agrees_with_soxr(rate_in: int, rate_out: int) -> None:
    """For noise below 0.85 of the lower Nyquist frequency, the best quality of soxr gives the same samples."""
    rng = np.random.default_rng(3)
    n = rate_in // 2
    spectrum = rng.normal(size=n // 2 + 1) + 1j * rng.normal(size=n // 2 + 1)
    spectrum[np.fft.rfftfreq(n, 1 / rate_in) > 0.85 * min(rate_in, rate_out) / 2] = 0
    noise = np.fft.irfft(spectrum, n)
    noise = (0.5 * noise / np.abs(noise).max()).astype(np.float32)
    expected = soxr.resample(noise, rate_in, rate_out, quality="VHQ")
    got = whole(noise, rate_in, rate_out)
    length = min(len(got), len(expected))
    error = middle(got[:length] - expected[:length])
    assert 20 * np.log10(error.std() / middle(expected).std()) < -60


@pytest.mark.parametrize(("rate_in", "rate_out"), [(8000, 16000), (11127, 16000)])
def test_images(rate_in: int, rate_out: int) -> None:
    """Raising the rate adds no image above 1.1 of the input's Nyquist frequency that is less than 60 dB down."""
    got = middle(whole(sine(0.9 * rate_in / 2, rate_in, 1.0), rate_in, rate_out))
    spectrum = np.abs(np.fft.rfft(got * np.blackman(len(got))))
    frequencies = np.fft.rfftfreq(len(got), 1 / rate_out)
    assert 20 * np.log10(spectrum[frequencies > 1.05 * rate_in / 2].max() / spectrum.max()) < -60


@pytest.mark.parametrize("rate_in", [8000, 11025, 11127, 16000, 22050, 44100, 47999, 48000])
def test_length_and_hold_back(rate_in: int) -> None:
    """Whatever its length, the output covers the input exactly, and no more than 5 ms of it are held back."""
    assert Resampler(rate_in, 16000).hold_back_samples <= MAX_HOLD_BACK_S * rate_in
    for n in (0, 1, 2, 79, 80, 441, 1000, 1001):
        samples = np.random.default_rng(n).uniform(-1, 1, n).astype(np.float32)
        resampler = Resampler(rate_in, 16000)
        ready = resampler.push(samples)
        assert len(ready) + len(resampler.flush()) == -(-n * 16000 // rate_in)
        assert len(ready) >= (n - MAX_HOLD_BACK_S * rate_in) * 16000 / rate_in - 1


def test_dc_is_exact_and_silence_stays_silence() -> None:
    """A constant keeps its level."""
    assert np.abs(middle(whole(np.full(4410, 0.5, np.float32), 44100, 16000)) - 0.5).max() < 1e-6
    assert not whole(np.zeros(4410, np.float32), 44100, 16000).any()


@settings(max_examples=40, deadline=None)
@given(
    rate_in=st.one_of(st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000]), st.integers(8000, 48000)),
    rate_out=st.sampled_from([8000, 16000, 24000]),
    sizes=st.lists(st.integers(0, 900), min_size=1, max_size=12),
    seed=st.integers(0, 99),
)
def test_any_partition_is_bit_identical(rate_in: int, rate_out: int, sizes: list[int], seed: int) -> None:
    """The output is the same to the last bit however the input is cut, through JSON at every cut, and after a flush."""
    samples = np.random.default_rng(seed).uniform(-1, 1, sum(sizes)).astype(np.float32)
    resampler, parts, place = Resampler(rate_in, rate_out), [], 0
    resampler.push(samples[:100])
    resampler.flush()
    for size in sizes:
        parts.append(resampler.push(samples[place : place + size]))
        place += size
        other = Resampler(rate_in, rate_out)
        other.restore(json.loads(json.dumps(resampler.state())))
        resampler = other
    parts.append(resampler.flush())
    np.testing.assert_array_equal(np.concatenate(parts), whole(samples, rate_in, rate_out))


@pytest.mark.parametrize("rate_in", [44100, 48000, 11127])
def test_single_samples(rate_in: int) -> None:
    """Pushes of one sample give the same bits as one push."""
    samples = np.random.default_rng(1).uniform(-1, 1, 700).astype(np.float32)
    resampler = Resampler(rate_in, 16000)
    parts = [resampler.push(samples[index : index + 1]) for index in range(len(samples))]
    np.testing.assert_array_equal(np.concatenate([*parts, resampler.flush()]), whole(samples, rate_in, 16000))


def test_equal_rates_pass_through() -> None:
    """Nothing is held back or changed when the rates are equal."""
    resampler, samples = Resampler(16000, 16000), sine(440, 16000, 0.01)
    assert resampler.hold_back_samples == 0
    assert resampler.push(samples) is samples
    assert len(resampler.flush()) == 0


def test_state_does_not_grow() -> None:
    """An hour of stream leaves as much state as a second."""
    resampler = Resampler(48000, 16000)
    sizes = set()
    for _ in range(50):
        resampler.push(np.zeros(960, np.float32))
        sizes.add(len(resampler.state()["input"]))
    assert max(sizes) < 4 * 4 * resampler.hold_back_samples


def test_is_fast() -> None:
    """A second of 48 kHz audio takes a few milliseconds at most (about 1.5 on one core)."""
    resampler, samples = Resampler(48000, 16000), sine(440, 48000, 1.0)
    took = []
    for _ in range(8):
        begin = time.thread_time()
        resampler.push(samples)
        took.append(time.thread_time() - begin)
    assert min(took) < 0.005
