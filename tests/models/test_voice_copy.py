"""Copy synthesis: a vocoder says a recording at its own rate, as long as it is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.flow_tts.config import FRAME, MELS, RATE, VocoderConfig  # noqa: E402
from models.flow_tts.copy_synthesis import copy_synthesis  # noqa: E402
from models.flow_tts.vocoder import Vocoder  # noqa: E402

SAMPLES = Path(__file__).parents[1] / "samples"


def test_a_recording_is_copied(tmp_path: Path) -> None:
    """At another rate; as long, in whole frames."""
    torch.manual_seed(0)
    config = VocoderConfig(width=16, inner=16, blocks=1)
    torch.save({"config": asdict(config), "average": dict(Vocoder(config).named_parameters())}, tmp_path / "made.pt")
    np.savez(tmp_path / "mel.npz", mean=np.zeros(MELS, np.float32), deviation=np.ones(MELS, np.float32))
    samples, rate = soundfile.read(SAMPLES / "ferry.flac", dtype="float32")
    copied, made_rate = copy_synthesis(tmp_path / "made.pt", tmp_path)((samples[:rate], rate))
    assert made_rate == RATE
    assert len(copied) == RATE
    assert len(copied) % FRAME == 0
    assert np.isfinite(copied).all()
    assert np.abs(copied).max() > 0
