"""The vocoder: pulses, filters, exactness for any chunks, causality."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.flow_tts.config import FRAME, HALVES, MELS, RATE  # noqa: E402
from models.flow_tts.vocoder import BINS, DELAY, HOP, LENGTH, TURN, Vocoder, pulse_train  # noqa: E402
from tests.models.voice_toys import mels, normal, pitches, toy_vocoder  # noqa: E402

FRAMES = 48
CUTTINGS = ([1] * FRAMES, [10, 25, 13], [5, 1, 30, 12], [FRAMES])


@pytest.fixture(scope="module")
def model() -> Vocoder:
    return toy_vocoder()


def in_steps(model: Vocoder, lengths: list[int], batch: int = 1) -> torch.Tensor:
    mel, pitch, noise = mels(FRAMES, batch), pitches(FRAMES, batch), normal(FRAMES, FRAME, batch)
    cache, phase = torch.zeros(batch, model.caches.size), torch.zeros(batch, dtype=torch.int64)
    parts, at = [], 0
    for length in lengths:
        where = slice(at, at + length)
        part, cache, phase = model.step(mel[:, where], pitch[:, where], noise[:, where], cache, phase)
        parts.append(part)
        at += length
    return torch.cat(parts, 1)


def test_any_chunks_are_the_whole(model: Vocoder) -> None:
    """Whatever the cutting, samples differ by rounding alone: phases are exact."""
    with torch.no_grad():
        whole = model(mels(FRAMES, 2), pitches(FRAMES, 2), normal(FRAMES, FRAME, 2))
        assert whole.std() > 0.05
        for lengths in CUTTINGS:
            assert (in_steps(model, lengths, 2) - whole).abs().max() < 1e-4


def test_an_hour_of_pitch_leaves_the_phase_exact() -> None:
    """The phase after many chunks is the product that whole numbers give, modulo a turn."""
    pitch = torch.full((1, 100), 200 * 16 + 3)
    phase = torch.zeros(1, dtype=torch.int64)
    for _ in range(3600):
        _, phase = pulse_train(pitch, phase)
    assert int(phase) == 3600 * 100 * HOP * (200 * 16 + 3) % TURN


@pytest.mark.parametrize("hertz", [75, 123, 220, 390])
def test_pulses_have_all_harmonics_equally_loud_and_nothing_else(hertz: int) -> None:
    """A second of pulses: power 1, lines at multiples of the pitch up to half the rate."""
    pulses, _ = pulse_train(torch.full((1, 100), hertz * 16), torch.zeros(1, dtype=torch.int64))
    samples = pulses[0].double().numpy()
    assert np.mean(samples**2) == pytest.approx(1.0, rel=0.03)
    lines = np.abs(np.fft.rfft(samples)) / len(samples)
    harmonics = lines[hertz : hertz * (RATE // 2 // hertz - 1) : hertz]
    assert harmonics.min() == pytest.approx(harmonics.max(), rel=1e-3)
    between = np.delete(lines, np.arange(0, len(lines), hertz))
    assert between.max() < harmonics.min() * 1e-3


def test_pulses_hardly_change_with_the_smallest_change_of_pitch() -> None:
    """Also where one more harmonic fits below half the rate."""
    phase = torch.zeros(1, dtype=torch.int64)
    for steps in (RATE // 2 * 16 // 60, 3333):
        one, other = (pulse_train(torch.full((1, 1), steps + change), phase)[0][:, :24] for change in (0, 1))
        assert (one - other).abs().max() < 0.01 * one.abs().max()


def test_no_voice_is_silent_and_the_phase_stands_still() -> None:
    pulses, phase = pulse_train(torch.zeros(1, 3, dtype=torch.int64), torch.tensor([77]))
    assert pulses.abs().max() == 0
    assert int(phase) == 77


def test_the_harmonic_filter_has_minimum_phase(model: Vocoder) -> None:
    """Of a filter known to have it, the phase follows from its magnitudes."""
    response = np.zeros(LENGTH)
    response[:3] = 1, -0.9, 0.5
    spectrum = np.fft.rfft(response)
    phase = np.log(np.abs(spectrum)) @ model.hilbert.double().numpy()
    assert np.abs(np.angle(spectrum) - phase).max() < 1e-5
    assert model.hilbert.shape == (BINS, BINS)


def test_nothing_comes_before_its_frame(model: Vocoder) -> None:
    """What changes at frame t changes no sample before that frame; the delay is that of the overlap."""
    mel, pitch, noise = mels(FRAMES), pitches(FRAMES), normal(FRAMES, FRAME)
    changed = mel.clone()
    changed[:, 20:] += 1
    with torch.no_grad():
        differs = (model(mel, pitch, noise) - model(changed, pitch, noise)).abs().flatten() > 1e-7
    assert int(differs.int().argmax()) >= 20 * FRAME
    assert DELAY == 3 * HOP


def test_unfiltered_noise_comes_back_in_its_place() -> None:
    """Analysis and synthesis are each other's inverse: with a flat filter, noise is only delayed."""
    model = toy_vocoder()
    with torch.no_grad():
        model.filters.weight.zero_()
        model.filters.bias[:BINS] = -30.0
        model.filters.bias[BINS:] = 0.0
        noise = normal(20, FRAME)
        out = model(mels(20), torch.zeros(1, 20, HALVES, dtype=torch.int64), noise).flatten()
    assert (out[DELAY : -DELAY or None] - noise.flatten()[: -2 * DELAY]).abs().max() < 1e-4
    assert MELS == 80
