"""Active speech level: of a steady sound its power, of speech what pauses do not change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

pytestmark = pytest.mark.train

pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.common.speech_level import active_level, to_level  # noqa: E402

SAMPLES = Path(__file__).parents[1] / "samples"
RATE = 16_000


@pytest.mark.parametrize("dbov", [-50.0, -26.0, -6.0])
def test_a_steady_tone_has_the_level_of_its_power(dbov: float) -> None:
    """Ten seconds of it, whatever its level."""
    tone = np.sqrt(2) * 10 ** (dbov / 20) * np.sin(np.arange(10 * RATE) * 0.3)
    assert active_level(tone, RATE) == pytest.approx(dbov, abs=0.1)


def test_pauses_do_not_change_the_level_of_speech() -> None:
    """Seconds of silence around and within: a tenth of a dB, though its power falls by three."""
    speech = soundfile.read(SAMPLES / "ferry.flac", dtype="float32")[0]
    parts = np.split(speech, [3 * RATE])
    silence = np.zeros(2 * RATE, np.float32)
    paused = np.concatenate([silence, parts[0], silence, parts[1], silence])
    assert active_level(paused, RATE) == pytest.approx(active_level(speech, RATE), abs=0.3)
    assert 10 * np.log10(np.mean(paused**2) / np.mean(speech**2)) < -3


def test_the_rate_does_not_matter() -> None:
    """Time constants are in seconds."""
    noise = np.random.default_rng(1).standard_normal(48_000) * 0.05
    bursts = noise * (np.arange(48_000) // 12_000 % 2)
    assert active_level(bursts, 24_000) == pytest.approx(active_level(np.repeat(bursts, 2), 48_000), abs=0.05)


def test_speech_is_brought_to_a_level() -> None:
    """Quiet and loud alike; what would leave full scale is clipped; silence stays silence."""
    speech = soundfile.read(SAMPLES / "honey.flac", dtype="float32")[0]
    for gain in (0.01, 3.0):
        assert active_level(to_level(gain * speech, RATE), RATE) == pytest.approx(-26, abs=0.1)
    assert np.abs(to_level(speech, RATE, 0.0)).max() == 1
    assert not to_level(np.zeros(100, np.float32), RATE).any()
    assert active_level(np.zeros(0, np.float32), RATE) == float("-inf")
