"""The log-mel front end."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.common.features import CARRY, DFT, FLOOR, HOP, MELS, WINDOW, LogMel, mel_filters  # noqa: E402


def noise(samples: int, rows: int = 1) -> torch.Tensor:
    return torch.randn(rows, samples, generator=torch.Generator().manual_seed(1)) * 0.1


def test_two_products_equal_an_fft() -> None:
    """The matrix form agrees with torch.stft on the same windows."""
    signal = noise(40 * HOP)
    padded = torch.nn.functional.pad(signal, (CARRY, DFT - WINDOW))
    frames = padded.unfold(1, DFT, HOP).clone()
    frames[..., WINDOW:] = 0
    frames[..., :WINDOW] *= torch.hann_window(WINDOW)
    expected = torch.log(torch.fft.rfft(frames).abs() ** 2 @ mel_filters() + FLOOR)
    torch.testing.assert_close(LogMel()(signal), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("frames", [1, 2, 5, 8])
def test_chunks_equal_whole(frames: int) -> None:
    """240 carried samples make every chunking equal to the whole."""
    front, signal = LogMel(), noise(40 * HOP, rows=2)
    carry, parts = torch.zeros(2, CARRY), []
    for part in signal.split(frames * HOP, 1):
        rows, carry = front.step(part, carry)
        parts.append(rows)
    torch.testing.assert_close(torch.cat(parts, 1), front(signal))


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
