"""DNSMOS P.835 and P.808 (Reddy et al. 2021, 2022): how a crowd of listeners would rate speech at 16 kHz, no reference.

The networks are those of the package `speechmos`, run here without its loader of audio files. Figures depend on the
level of the speech: bring what is compared to one level first.
"""

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from models.common.mel_filters import slaney_filters

SAMPLE_RATE = 16_000
HOP_SECONDS = 1
"""Seconds from window to window in the reference implementation."""
# Each judgement is of this many samples, 9.01 s.
_WINDOW = 144_160
# From the network's outputs to the scale of listeners (DNS Challenge, dnsmos_local.py), highest power first.
_SCALE = {
    "sig": (-0.08397278, 1.22083953, 0.0052439),
    "bak": (-0.13166888, 1.60915514, -0.39604546),
    "ovrl": (-0.06766283, 1.11546468, 0.04602535),
}
# Mel spectrum of the P.808 network: frames of 321 samples each 160, 120 bands, the last hop of a window left out.
_FFT, _HOP, _MELS = 321, 160, 120
_DYNAMIC_RANGE_DB = 80


def p835(samples: np.ndarray, hop_s: int = HOP_SECONDS) -> dict[str, float]:
    """Speech, background and overall quality, 1 to 5, of f32[n]: `sig`, `bak`, `ovrl`.

    The mean over windows of 9.01 s, one each `hop_s` seconds; shorter clips are repeated until they fill one.
    """
    session = network("dnsmos_models/sig_bak_ovr.onnx")
    raw = [session.run(None, {"input_1": window[None]})[0][0] for window in _windows(samples, hop_s)]
    columns = zip(_SCALE.items(), np.transpose(raw), strict=True)
    return {name: float(np.polyval(scale, values).mean()) for (name, scale), values in columns}


def p808(samples: np.ndarray, hop_s: int = HOP_SECONDS) -> dict[str, float]:
    """One figure of quality, 1 to 5, of f32[n], over the same windows: `p808`."""
    session = network("dnsmos_models/model_v8.onnx")
    mels = (_log_mel(window[:-_HOP]) for window in _windows(samples, hop_s))
    return {"p808": float(np.mean([session.run(None, {"input_1": mel[None]})[0] for mel in mels]))}


@cache
def network(model: str) -> Any:
    """An ONNX session, of one thread, of a network of the package `speechmos`, by its path there."""
    import onnxruntime

    spec = importlib.util.find_spec("speechmos")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("expected the package speechmos, found none: pip install --group codec-evaluation")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(Path(spec.submodule_search_locations[0]) / model), options)


def _windows(samples: np.ndarray, hop_s: int) -> list[np.ndarray]:
    samples = np.clip(samples, -1, 1).astype(np.float32)
    while len(samples) < _WINDOW:
        samples = np.tile(samples, 2)
    # The reference implementation drops the fraction of a second, and with it the last window of most clips.
    count = int(len(samples) // SAMPLE_RATE - _WINDOW / SAMPLE_RATE) + 1
    return [samples[s : s + _WINDOW] for s in range(0, count * SAMPLE_RATE, hop_s * SAMPLE_RATE)]


def _log_mel(samples: np.ndarray) -> np.ndarray:
    """Mel spectrum f32[frames, 120] in units of 40 dB about -40 dB of its peak, as librosa's `power_to_db` has it."""
    padded = np.pad(samples, _FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FFT) / _FFT)
    power = np.abs(np.fft.rfft(frames * window)) ** 2 @ _filters()
    level = 10 * np.log10(np.maximum(power, 1e-10))
    level = np.maximum(level - level.max(), -_DYNAMIC_RANGE_DB)
    return ((level + 40) / 40).astype(np.float32)


@cache
def _filters() -> np.ndarray:
    return slaney_filters(np.fft.rfftfreq(_FFT, 1 / SAMPLE_RATE), _MELS, SAMPLE_RATE / 2)
