"""The log-mel front end."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.common.features import CARRY, DFT, FLOOR, HOP, MELS, LogMel, mel_filters  # noqa: E402


def noise(samples: int, rows: int = 1) -> torch.Tensor:
    return torch.randn(rows, samples, generator=torch.Generator().manual_seed(1)) * 0.1


def kaldi_frame(signal: np.ndarray, index: int) -> np.ndarray:
    """Frame `index` of Kaldi's filterbank (`snip_edges` off, no dither) in float64, step by step as its options say."""
    place = np.arange(400) + 160 * index + 80 - 200
    wave = signal.astype(np.float64)[np.where(place < 0, -place - 1, place)]
    wave = wave - wave.mean()
    wave = wave - 0.97 * np.append(wave[0], wave[:-1])
    wave = wave * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85
    power = np.abs(np.fft.rfft(wave, 512)) ** 2
    energies = [sum(triangle(k, band) * power[k] for k in range(256)) for band in range(80)]
    return np.log(np.maximum(energies, np.finfo(np.float32).eps))


def triangle(k: int, band: int) -> float:
    """What DFT bin `k` weighs in `band` of 80 between 20 and 7600 Hz."""
    low, high, here = (1127 * math.log(1 + hz / 700) for hz in (20, 7600, k * 16_000 / 512))
    width = (high - low) / 81
    return max(0.0, 1 - abs((here - low) / width - (band + 1)))


def test_rows_are_kaldi_s_frames_one_later() -> None:
    """Row t is Kaldi's frame t - 1 by its definition, the mirrored first frame among them; row 0 is silence."""
    signal = noise(12 * HOP) + 0.3 * torch.sin(torch.arange(12 * HOP) / 7) + 0.05
    rows = LogMel()(signal)[0].numpy()
    expected = np.stack([kaldi_frame(signal[0].numpy(), t) for t in range(11)])
    np.testing.assert_allclose(rows[1:], expected, atol=2e-4)
    np.testing.assert_array_equal(rows[0], np.full(MELS, np.log(np.float32(FLOOR))))


@pytest.mark.parametrize("frames", [1, 2, 5, 8])
def test_chunks_equal_whole(frames: int) -> None:
    """The carried samples make every chunking equal to the whole, also for a stream that joins later."""
    front, signal = LogMel(), noise(40 * HOP, rows=2)
    # The second stream begins one chunk later, and what its slot carried before is dirt.
    carry, parts = torch.ones(2, CARRY), []
    for i, part in enumerate(signal.split(frames * HOP, 1)):
        rows, carry = front.step(part, carry, torch.tensor([i == 0, i <= 1]))
        parts.append(rows)
    found = torch.cat(parts, 1)
    torch.testing.assert_close(found[:1], front(signal[:1]))
    torch.testing.assert_close(found[1:, frames:], front(signal[1:, frames * HOP :]))


def test_a_frame_never_sees_a_later_sample() -> None:
    """Changing the samples from 160 t on leaves the frames before t as they were."""
    front, signal = LogMel(), noise(20 * HOP)
    changed = signal.clone()
    changed[:, 10 * HOP :] = 0.5
    before, after = front(signal), front(changed)
    assert torch.equal(before[:, :10], after[:, :10])
    assert not torch.equal(before[:, 10], after[:, 10])


def test_a_tone_is_loudest_in_its_own_band() -> None:
    """A pure tone peaks in the band whose triangle is centred nearest to it."""
    tone = torch.sin(2 * torch.pi * 1000 / 16_000 * torch.arange(4000))[None]
    peak = int(LogMel()(tone)[0, 10].argmax())
    assert peak == int(mel_filters()[1000 * DFT // 16_000].argmax())


def test_silence_is_the_logarithm_of_the_floor() -> None:
    """Digital silence, which flushes a stream, gives the value that pads training batches."""
    rows = LogMel()(torch.zeros(1, 4 * HOP))
    torch.testing.assert_close(rows, torch.full((1, 4, MELS), FLOOR).log())
