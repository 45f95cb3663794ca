"""How well confidences tell right words from wrong ones, and the logistic curve that makes them tell it better."""

from collections.abc import Sequence
from dataclasses import dataclass

import jiwer
import numpy as np

from models.common.served_words import Heard, Spoken

_BINS = 10
_NEWTON_STEPS = 50
# As the server clips.
_LEAST = 1e-6


@dataclass(frozen=True)
class Reliability:
    """Figures over all recognised words.

    `calibration_error` is the expected calibration error over ten bins of equal count (Naeini et al., AAAI 2015);
    `ranking` is the probability that a right word has a higher confidence than a wrong one (area under the curve).
    """

    words: int
    right: float
    mean: float
    calibration_error: float
    ranking: float

    def row(self, name: str) -> str:
        """One line of the card's table."""
        shares = " | ".join(f"{100 * value:.1f} %" for value in (self.right, self.mean, self.calibration_error))
        return f"| {name} | {self.words} | {shares} | {self.ranking:.3f} |"


HEADER = (
    "| words of | words | right | mean confidence | calibration error | area under the curve |\n" + "|---" * 6 + "|"
)


def judged(spoken: Sequence[Spoken], heard: Sequence[Heard]) -> tuple[np.ndarray, np.ndarray]:
    """Confidence f64[n] of every recognised word and whether it is right bool[n], by the best word alignment."""
    confidences, right = [], []
    for said, understood in zip(spoken, heard, strict=True):
        words = understood.text.split()
        if not words:
            continue
        correct = np.zeros(len(words), bool)
        for chunk in jiwer.process_words(said.text, understood.text).alignments[0]:
            if chunk.type == "equal":
                correct[chunk.hyp_start_idx : chunk.hyp_end_idx] = True
        confidences += understood.confidences
        right += correct.tolist()
    return np.array(confidences), np.array(right)


def measure(confidences: np.ndarray, right: np.ndarray) -> Reliability:
    """Score confidences f64[n] against `right` bool[n]."""
    order = np.argsort(confidences, kind="stable")
    bins = [part for part in np.array_split(order, _BINS) if len(part)]
    error = sum(len(part) * abs(confidences[part].mean() - right[part].mean()) for part in bins) / len(order)
    return Reliability(
        len(right), float(right.mean()), float(confidences.mean()), float(error), _ranking(confidences, right)
    )


def _ranking(confidences: np.ndarray, right: np.ndarray) -> float:
    """Mann-Whitney: ties count half."""
    _, place, counts = np.unique(confidences, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    good, bad = int(right.sum()), int((~right).sum())
    return float((ranks[right].sum() - good * (good + 1) / 2) / max(good * bad, 1))


def fit(confidences: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Slope and bias of `streamer.tasks.words.Calibration`, from confidences that are geometric mean probabilities.

    Newton's method on the logistic likelihood, with Platt's targets, which keep the curve off zero and one.
    """
    odds = _log_odds(confidences)
    features = np.stack([odds, np.ones_like(odds)], 1)
    good, bad = int(right.sum()), int((~right).sum())
    targets = np.where(right, (good + 1) / (good + 2), 1 / (bad + 2))
    weights = np.array([1.0, 0.0])
    for _ in range(_NEWTON_STEPS):
        found = 1 / (1 + np.exp(-features @ weights))
        curvature = features.T @ (features * (found * (1 - found))[:, None]) + 1e-6 * np.eye(2)
        weights = weights - np.linalg.solve(curvature, features.T @ (found - targets))
    return float(weights[0]), float(weights[1])


def calibrated(confidences: np.ndarray, slope: float, bias: float) -> np.ndarray:
    """What the server makes of plain confidences with these parameters."""
    return 1 / (1 + np.exp(-(slope * _log_odds(confidences) + bias)))


def _log_odds(confidences: np.ndarray) -> np.ndarray:
    clipped = np.clip(confidences, _LEAST, 1 - _LEAST)
    return np.log(clipped / (1 - clipped))
