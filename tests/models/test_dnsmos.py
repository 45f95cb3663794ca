"""DNSMOS without its package's loader: the figures of the reference implementation, and filters beyond torchaudio's."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytestmark = pytest.mark.train

pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.common import dnsmos  # noqa: E402
from models.common.mel_filters import slaney_filters  # noqa: E402

SAMPLES = Path(__file__).parents[1] / "samples"
# Of speechmos 0.0.1.1 with librosa 0.11, `speechmos.dnsmos.run(samples, 16000)`.
REFERENCE = {
    "ferry": {"ovrl": 2.343173, "sig": 2.620378, "bak": 3.797822, "p808": 3.453945},
    "honey": {"ovrl": 3.353021, "sig": 3.565468, "bak": 4.150755, "p808": 3.698444},
}


@pytest.mark.parametrize("name", REFERENCE)
def test_figures_are_those_of_the_reference_implementation(name: str) -> None:
    """All four, of clips shorter than a window, which are repeated."""
    if find_spec("speechmos") is None:
        pytest.skip("speechmos not installed: make evaluate-voice installs it")
    samples = soundfile.read(SAMPLES / f"{name}.flac", dtype="float32")[0]
    assert dnsmos.p835(samples) | dnsmos.p808(samples) == pytest.approx(REFERENCE[name], abs=2e-4)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install is in the message."""
    monkeypatch.setattr(dnsmos.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="expected the package speechmos, found none"):
        dnsmos.network("not_there.onnx")


def test_filters_are_those_of_torchaudio_where_it_has_them() -> None:
    """An even transform: the same triangles."""
    from torchaudio.functional import melscale_fbanks

    bins_hz = np.fft.rfftfreq(512, 1 / 16_000)
    theirs = melscale_fbanks(257, 0.0, 8000.0, 80, 16_000, "slaney", "slaney").numpy()
    assert np.abs(slaney_filters(bins_hz, 80, 8000.0) - theirs).max() < 1e-6
