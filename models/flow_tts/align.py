"""When each symbol of a text is said: phone models learned from the recordings themselves, from a flat start.

Hidden Markov models of phones, three states each with Gaussian mixtures over cepstra, trained by Viterbi (Rabiner,
1989; as HTK begins). Pauses between words share one state and may be left out. No alignment from elsewhere is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.fft import dct

from models.flow_tts.config import FRAME, RATE
from models.flow_tts.symbols import BEGIN, GAP, PAUSES

HOP = FRAME // 2
_WINDOW, _DFT, _BANDS, _CEPSTRA = 600, 1024, 40, 13
_STATES = 3
_SILENCE = "sil"
# Rounds of training, by the number of Gaussians of a state.
_ROUNDS = {1: 8, 2: 4, 4: 4, 8: 4}
_LEAST_VARIANCE = 0.02
# At the start whatever is so much quieter than the loudest 10 ms is silence: 30 dB.
_QUIET = 10 ** (-30 / 10)


@dataclass
class Spoken:
    """A recording to align: features f64[T, D], one row per 10 ms, and its symbols.

    `quiet` bool[T] marks rows that are silent beyond doubt, to begin from. `owner` i64[T] is the symbol of each row.
    """

    features: np.ndarray
    symbols: Sequence[str]
    quiet: np.ndarray
    owner: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


def spoken(samples: np.ndarray, symbols: Sequence[str]) -> Spoken:
    """Prepare whole frames f32[T * FRAME] whose text is `symbols`."""
    padded = np.pad(samples.astype(np.float64), (_WINDOW // 2 - HOP // 2, _WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::HOP][: len(samples) // HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW), _DFT)) ** 2
    cepstra = dct(np.log(power @ _filters() + 1e-7), norm="ortho")[:, :_CEPSTRA]
    cepstra -= cepstra.mean(0)
    slopes = np.gradient(cepstra, axis=0)
    features = np.concatenate([cepstra, slopes * 2, np.gradient(slopes, axis=0) * 4], 1)
    loudness = (frames**2).mean(1)
    return Spoken(features, symbols, loudness < _QUIET * np.quantile(loudness, 0.98))


class Aligner:
    """Phone models, trained on the recordings that they align."""

    def __init__(self) -> None:
        self._mixtures: dict[str, _Mixture] = {}

    def align(self, recordings: Sequence[Spoken]) -> None:
        """Fill in `owner` of all recordings; prints the mean log likelihood of each round."""
        chains = [_Chain(recording.symbols) for recording in recordings]
        scale = np.concatenate([recording.features for recording in recordings]).std(0)
        for recording in recordings:
            recording.features = recording.features / scale
        paths = [chain.flat(recording.quiet) for chain, recording in zip(chains, recordings, strict=True)]
        for gaussians, rounds in _ROUNDS.items():
            for _ in range(rounds):
                self._fit(chains, recordings, paths, gaussians)
                scored = [self._best_path(chain, one) for chain, one in zip(chains, recordings, strict=True)]
                paths = [path for path, _ in scored]
                mean = sum(score for _, score in scored) / sum(len(path) for path in paths)
                print(f"{gaussians} gaussians: {mean:.3f}", flush=True)
        for chain, recording, path in zip(chains, recordings, paths, strict=True):
            recording.owner = chain.owners[path]

    def _fit(
        self, chains: Sequence["_Chain"], recordings: Sequence[Spoken], paths: Sequence[np.ndarray], gaussians: int
    ) -> None:
        rows: dict[str, list[np.ndarray]] = {}
        for chain, recording, path in zip(chains, recordings, paths, strict=True):
            for state in np.unique(path):
                rows.setdefault(chain.states[state], []).append(recording.features[path == state])
        for name, parts in rows.items():
            data = np.concatenate(parts)
            self._mixtures[name] = _fitted(data, self._mixtures.get(name), gaussians)

    def _best_path(self, chain: "_Chain", recording: Spoken) -> tuple[np.ndarray, float]:
        names = sorted(set(chain.states))
        scores = np.stack([self._mixtures[name].score(recording.features) for name in names], 1)
        return chain.best_path(scores[:, [names.index(state) for state in chain.states]])


class _Chain:
    """The states of a text in order, which of them may be left out, and whose they are."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self.states: list[str] = []
        owners, optional = [], []
        for index, symbol in enumerate(symbols):
            pause = symbol in (BEGIN, GAP, *PAUSES)
            names = [_SILENCE] if pause else [f"{_model(symbol)}{part}" for part in range(_STATES)]
            self.states += names
            owners += [index] * len(names)
            optional += [pause] * len(names)
        self.owners, self._optional = np.array(owners), np.array(optional)

    def flat(self, quiet: np.ndarray) -> np.ndarray:
        """A first guess, i64[T]: silence at both ends as it is heard, all other states equally long."""
        loud = np.flatnonzero(~quiet)
        first, last = (int(loud[0]), int(loud[-1]) + 1) if len(loud) else (0, len(quiet))
        path = np.zeros(len(quiet), np.int64)
        inner = np.flatnonzero(~self._optional)
        path[first:last] = inner[np.arange(last - first) * len(inner) // (last - first)]
        path[last:] = len(self.states) - 1
        return path

    def best_path(self, scores: np.ndarray) -> tuple[np.ndarray, float]:
        """Viterbi over log likelihoods f64[T, S]: states i64[T] and the score."""
        frames, count = scores.shape
        total = np.full(count, -np.inf)
        total[0] = scores[0, 0]
        if count > 1 and self._optional[0]:
            total[1] = scores[0, 1]
        back = np.zeros((frames, count), np.int8)
        skip = np.concatenate([[False, False], self._optional[1:-1]])
        for t in range(1, frames):
            one = np.concatenate([[-np.inf], total[:-1]])
            two = np.where(skip, np.concatenate([[-np.inf, -np.inf], total[:-2]]), -np.inf)
            ways = np.stack([total, one, two])
            back[t] = ways.argmax(0)
            total = ways.max(0) + scores[t]
        state = count - 1
        if count > 1 and self._optional[-1] and total[-2] > total[-1]:
            state = count - 2
        best = float(total[state])
        path = np.empty(frames, np.int64)
        for t in range(frames - 1, -1, -1):
            path[t] = state
            state -= int(back[t, state])
        return path, best


@dataclass
class _Mixture:
    """Gaussians with diagonal covariance: weights [K], means [K, D], variances [K, D]."""

    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray

    def parts(self, rows: np.ndarray) -> np.ndarray:
        """Log densities f64[n, K] of f64[n, D], times the weights."""
        precise = 1 / self.variances
        squares = (rows**2) @ precise.T - 2 * rows @ (self.means * precise).T + (self.means**2 * precise).sum(1)
        return np.log(self.weights) - 0.5 * (squares + np.log(2 * np.pi * self.variances).sum(1))

    def score(self, rows: np.ndarray) -> np.ndarray:
        """Log likelihoods f64[n]."""
        return np.logaddexp.reduce(self.parts(rows), axis=1)


def _fitted(rows: np.ndarray, before: _Mixture | None, gaussians: int) -> _Mixture:
    mean, variance = rows.mean(0), np.maximum(rows.var(0), _LEAST_VARIANCE)
    # Too few rows for more.
    gaussians = max(1, min(gaussians, len(rows) // 40))
    if before is None or gaussians == 1:
        return _Mixture(np.ones(1), mean[None], variance[None])
    mixture = before
    while len(mixture.weights) < gaussians:
        mixture = _split(mixture)
    shares = mixture.parts(rows)
    shares = np.exp(shares - np.logaddexp.reduce(shares, axis=1)[:, None])
    counts = shares.sum(0) + 1e-3
    means = (shares.T @ rows + 1e-3 * mean) / counts[:, None]
    variances = np.maximum((shares.T @ rows**2 + 1e-3 * mean**2) / counts[:, None] - means**2, _LEAST_VARIANCE)
    return _Mixture(counts / counts.sum(), means, variances)


def _split(mixture: _Mixture) -> _Mixture:
    """Every Gaussian becomes two, a fifth of a deviation apart on either side."""
    apart = 0.2 * np.sqrt(mixture.variances)
    return _Mixture(
        np.concatenate([mixture.weights, mixture.weights]) / 2,
        np.concatenate([mixture.means - apart, mixture.means + apart]),
        np.concatenate([mixture.variances, mixture.variances]),
    )


def _model(symbol: str) -> str:
    """Stress changes how long and how high a vowel is, not what it sounds like, but for the neutral one."""
    return symbol if symbol == "AH0" else symbol.rstrip("012")


def _filters() -> np.ndarray:
    """Triangles f64[_DFT / 2 + 1, _BANDS] on a mel scale up to 8 kHz."""
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), _BANDS + 2) / 2595) - 1)
    hz = np.arange(_DFT // 2 + 1) * RATE / _DFT
    rise = (hz[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - hz[:, None]) / (edges[2:] - edges[1:-1])
    return np.maximum(np.minimum(rise, fall), 0)
