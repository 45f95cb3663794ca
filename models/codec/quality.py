"""Objective quality of decoded speech at 16 kHz: PESQ-WB, STOI, ViSQOL, DNSMOS and PLCMOS.

PESQ (ITU-T P.862.2), STOI (Taal et al. 2011) and ViSQOL (Hines et al. 2015, Chinen et al. 2020) compare with the
original; DNSMOS (Reddy et al. 2022) and PLCMOS (Diener et al. 2023) judge the decoded signal alone. The packages come
with the dependency group `codec-evaluation`; figures of ViSQOL depend on its version and mapping, so compare them
within one table only.
"""

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np

from models.common import dnsmos as networks

SAMPLE_RATE = 16_000
REACH = 2000
"""How far `lag` looks, in samples either way."""

Pair = tuple[np.ndarray, np.ndarray]
"""Original and decoded, f32[n] each."""

PACKAGES = {"pesq": "pesq", "pystoi": "pystoi", "visqol": "visqol-python", "speechmos": "speechmos"}
# Of the windows of DNSMOS, one each second, every fourth is taken: they overlap by eight ninths, and this is by far the
# dearest figure.
_DNSMOS_HOP_S = 4
_PLCMOS_SEED = 0


def missing_packages() -> list[str]:
    """The packages of the metrics that are not installed, as pip calls them."""
    return [package for module, package in PACKAGES.items() if importlib.util.find_spec(module) is None]


def quick(pairs: Iterable[Pair], metrics: Sequence[str] = ("pesq", "stoi", "visqol")) -> dict[str, float]:
    """Means of the metrics over pairs of signals, for tuning: each pair is aligned by itself.

    `metrics` names keys of `METRICS`. Pairs for which PESQ finds no speech are left out of its mean.
    """
    scores = [score(reference, decoded, lag([(reference, decoded)]), metrics) for reference, decoded in pairs]
    return {name: float(np.nanmean([each[name] for each in scores])) for name in scores[0]}


def score(reference: np.ndarray, decoded: np.ndarray, late: int, metrics: Sequence[str]) -> dict[str, float]:
    """All figures of the named `METRICS` for one pair; `late` is the `lag` of the decoded signal."""
    pair = aligned(reference, decoded, late)
    return {name: value for metric in metrics for name, value in METRICS[metric](*pair).items()}


def lag(pairs: Sequence[Pair], reach: int = REACH) -> int:
    """By how many samples the decoded signals are late, one number for all pairs: the delay of their codec.

    Codecs that keep no phases correlate with the original at any pitch period, so the envelopes are correlated first,
    from -reach to +reach, then the signals within a millisecond of where that peaks. Correlations are normalised and
    summed over the pairs.
    """
    coarse = _peak([(_envelope(reference), _envelope(decoded)) for reference, decoded in pairs], 0, reach)
    return _peak(pairs, coarse, SAMPLE_RATE // 1000)


def aligned(reference: np.ndarray, decoded: np.ndarray, late: int) -> Pair:
    """Cut both to what they share once the decoded signal is moved `late` samples earlier."""
    reference, decoded = reference[max(-late, 0) :], decoded[max(late, 0) :]
    length = min(len(reference), len(decoded))
    return reference[:length], decoded[:length]


def pesq_wb(reference: np.ndarray, decoded: np.ndarray) -> dict[str, float]:
    """PESQ-WB, 1.0 to 4.64; not a number where it finds no utterance."""
    from pesq import PesqError, pesq

    value = pesq(SAMPLE_RATE, reference, decoded, "wb", on_error=PesqError.RETURN_VALUES)
    return {"pesq": float(value) if value > 0 else float("nan")}


def stoi(reference: np.ndarray, decoded: np.ndarray) -> dict[str, float]:
    """STOI, 0 to 1."""
    from pystoi import stoi as measure

    return {"stoi": float(measure(reference, decoded, SAMPLE_RATE))}


def visqol(reference: np.ndarray, decoded: np.ndarray) -> dict[str, float]:
    """ViSQOL in speech mode, 1 to 5; the lattice mapping, the reference implementation's default."""
    measured = _visqol().measure_from_arrays(reference.astype(float), decoded.astype(float), SAMPLE_RATE)
    return {"visqol": float(measured.moslqo)}


def dnsmos(reference: np.ndarray, decoded: np.ndarray) -> dict[str, float]:
    """DNSMOS P.835: speech, background and overall; the mean over windows of 9.01 s each 4 s, short clips repeated."""
    del reference
    return networks.p835(decoded, _DNSMOS_HOP_S)


def plcmos(reference: np.ndarray, decoded: np.ndarray) -> dict[str, float]:
    """PLCMOS v2, 1 to 5: how concealed losses sound; its random raters are drawn alike for every clip."""
    del reference
    np.random.seed(_PLCMOS_SEED)  # the package draws from numpy's global generator
    return {"plcmos": float(_plcmos().get_mos(np.clip(decoded, -1, 1)))}


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], dict[str, float]]] = {
    "pesq": pesq_wb,
    "stoi": stoi,
    "visqol": visqol,
    "dnsmos": dnsmos,
    "plcmos": plcmos,
}
"""By name: (original, decoded), aligned, to figures."""


def _peak(pairs: Sequence[Pair], centre: int, reach: int) -> int:
    """Where the summed cross-correlation is highest, from centre - reach to centre + reach."""
    lags = np.arange(centre - reach, centre + reach + 1)
    return int(lags[np.argmax(sum(_correlation(*pair, lags) for pair in pairs))])


def _correlation(reference: np.ndarray, decoded: np.ndarray, lags: np.ndarray) -> np.ndarray:
    size = 1 << (max(len(reference), len(decoded)) + int(np.abs(lags).max())).bit_length()
    product = np.conj(np.fft.rfft(reference, size)) * np.fft.rfft(decoded, size)
    norm = np.linalg.norm(reference) * np.linalg.norm(decoded)
    return np.fft.irfft(product, size)[lags] / max(norm, 1e-9)


def _envelope(samples: np.ndarray) -> np.ndarray:
    """Smoothed size of the differences between samples, f32[n]; the root keeps loud vowels from deciding alone."""
    smooth = np.convolve(np.abs(np.diff(samples, prepend=0)), np.hanning(32), "same") ** 0.5
    return smooth - smooth.mean()


@cache
def _visqol() -> Any:
    from visqol import VisqolApi

    api = VisqolApi()
    api.create(mode="speech", use_lattice_model=True)
    return api


@cache
def _plcmos() -> Any:
    from speechmos.plcmos import PLCMOS

    found = PLCMOS()
    found.session = networks.network("plcmos_models/plcmos_v2.onnx")
    return found
