"""Precision, recall and F1 by rows of 10 ms on noisy mixes of unseen speakers and noises, beside silero-vad.

The mixes of the test are never looked at for tuning: thresholds and shifts are chosen on the tuning clips.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.common.features import HOP
from models.vad.labels import fill_runs
from models.vad.listeners import Bundle, Listen, Silero
from models.vad.mixtures import RATE, add_noise, at_level, looped
from models.vad.pool import Pool, write_pool

BUNDLE = Path(__file__).parents[2] / "streamer" / "bundles" / "vad"
SNRS = (20, 10, 5, 0)
_SEEDS = {"tune": 11, "test": 12}
_THRESHOLDS = np.linspace(0.05, 0.95, 19)
# Rows by which the probabilities of a detector may be moved to fit the labels.
_SHIFTS = range(-6, 7)
_LONG_PAUSE = 30


@dataclass(frozen=True)
class Mix:
    """A recording f32[n] and its labels bool[n // 160]; `name` says what it is."""

    name: str
    samples: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class Score:
    """Counts of rows; `false` of them were called speech and were not."""

    hits: int
    false: int
    missed: int
    rows: int

    @property
    def precision(self) -> float:
        """Share of what was called speech that is."""
        return self.hits / max(self.hits + self.false, 1)

    @property
    def recall(self) -> float:
        """Share of speech that was found."""
        return self.hits / max(self.hits + self.missed, 1)

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        return 2 * self.hits / max(2 * self.hits + self.false + self.missed, 1)


@dataclass(frozen=True)
class Working:
    """At which threshold, and moved by how many rows, a detector's probabilities are read."""

    threshold: float = 0.5
    shift: int = 0

    def speech(self, values: np.ndarray) -> np.ndarray:
        """Decide for each row."""
        return moved(values, self.shift) >= self.threshold


def main() -> None:
    """Run from the command line; see --help."""
    arguments = _parse()
    if not (arguments.pool / "clips.json").exists():
        write_pool(arguments.data, arguments.pool)
    detectors: dict[str, Listen] = {"silero-vad": Silero(), "vad": Bundle(arguments.bundle)}
    tuning, mixes = ([*noisy(Pool(arguments.pool, split), split, arguments.every)] for split in ("tune", "test"))
    noise = [*noise_alone(Pool(arguments.pool, "test"))]
    seconds = sum(len(mix.samples) for mix in [*mixes, *noise]) / RATE
    print(f"{len(mixes)} noisy mixes, {len(noise)} of noise alone, {seconds / 60:.0f} minutes\n")
    print(
        "| detector | read at | SNR | precision | recall | F1 | F1, long pauses only |\n|---|---|---|---|---|---|---|"
    )
    curves, cpu, alone = {}, {}, {}
    for name, listen in detectors.items():
        best = tuned(tuning, hear(listen, tuning)[0])
        heard, cpu[name] = hear(listen, [*mixes, *noise])
        for working in (Working(), best):
            print_rows(name, working, mixes, heard)
        alone[name] = {kind: false_share(noise, heard[len(mixes) :], kind) for kind in ("", *kinds(noise))}
        curves[name] = [pooled(mixes, heard, Working(float(level))) for level in _THRESHOLDS]
    print(f"\n| noise alone, called speech at 0.5 | {' | '.join(alone)} |\n|---{'|---' * len(alone)}|")
    for kind in ("", *kinds(noise)):
        print(f"| {kind or 'all'} | {' | '.join(_percent(shares[kind]) for shares in alone.values())} |")
    print(f"\n{'; '.join(f'{name}: {1000 * used / seconds:.2f} ms' for name, used in cpu.items())} of CPU per second")
    _, used = hear(Bundle(arguments.bundle, streams=8), [*mixes, *noise])
    print(f"vad, eight streams in a batch: {1000 * used / seconds:.2f} ms of CPU per second")
    if arguments.plot:
        draw(curves, arguments.plot)


def noisy(pool: Pool, split: str, every: int = 1) -> list[Mix]:
    """Every utterance with a pause before and after it, in a noise clip, at each SNR of the speech."""
    rng, mixes = np.random.default_rng(_SEEDS[split]), []
    for clip in pool.speech[::every]:
        samples, rows = pool.load(clip)
        before, after = (int(100 * rng.uniform(0.5, 3)) for _ in range(2))
        samples = np.pad(samples, (before * HOP, after * HOP))
        rows = np.pad(rows, (before, after))
        noise, _ = pool.load(pool.noise[rng.integers(len(pool.noise))])
        noise = looped(noise, len(samples), int(rng.integers(len(noise))))
        level = rng.uniform(-35, -20)
        mixes += [
            Mix(f"{snr} dB", at_level(add_noise(samples, rows, noise, snr), level).clip(-1, 1), rows) for snr in SNRS
        ]
    return mixes


def noise_alone(pool: Pool) -> list[Mix]:
    """Every noise clip as it is."""
    return [Mix(clip.source, *pool.load(clip)) for clip in pool.noise]


def hear(listen: Listen, mixes: list[Mix]) -> tuple[list[np.ndarray], float]:
    """Probabilities of each mix by row, and CPU seconds."""
    return listen([mix.samples for mix in mixes])


def score(truth: np.ndarray, speech: np.ndarray) -> Score:
    """Compare decisions with labels."""
    hits = int((truth & speech).sum())
    return Score(hits, int(speech.sum()) - hits, int(truth.sum()) - hits, len(truth))


def pooled(mixes: list[Mix], heard: list[np.ndarray], working: Working, name: str = "", pause: int = 0) -> Score:
    """Score all rows of the mixes called `name`; `pause` fills shorter pauses of the labels."""
    chosen = [(mix, values) for mix, values in zip(mixes, heard, strict=False) if name in ("", mix.name)]
    truth = [~fill_runs(~mix.rows, pause) if pause else mix.rows for mix, _ in chosen]
    return score(np.concatenate(truth), np.concatenate([working.speech(values) for _, values in chosen]))


def tuned(mixes: list[Mix], heard: list[np.ndarray]) -> Working:
    """The best threshold and shift on the tuning mixes."""
    options = [Working(round(float(level), 2), shift) for shift in _SHIFTS for level in _THRESHOLDS]
    return max(options, key=lambda working: pooled(mixes, heard, working).f1)


def print_rows(name: str, working: Working, mixes: list[Mix], heard: list[np.ndarray]) -> None:
    """Rows of the table: each SNR, then all."""
    read_at = f"{working.threshold:g}" + (f", moved {10 * working.shift:+d} ms" if working.shift else "")
    for label in (*(f"{snr} dB" for snr in SNRS), ""):
        plain, long = (pooled(mixes, heard, working, label, pause) for pause in (0, _LONG_PAUSE))
        cells = (name, read_at, label or "all", *map(_percent, (plain.precision, plain.recall, plain.f1, long.f1)))
        print(f"| {' | '.join(cells)} |", flush=True)


def kinds(noise: list[Mix]) -> list[str]:
    """The names of the mixes, each once."""
    return sorted({mix.name for mix in noise})


def false_share(mixes: list[Mix], heard: list[np.ndarray], kind: str) -> float:
    """Share of the rows of noise alone that are called speech at 0.5."""
    found = pooled(mixes, heard, Working(), kind)
    return found.false / found.rows


def moved(values: np.ndarray, shift: int) -> np.ndarray:
    """Shift f32[n] to later rows, or earlier ones if negative; the ends repeat."""
    return values[np.clip(np.arange(len(values)) - shift, 0, len(values) - 1)]


def draw(curves: dict[str, list[Score]], path: Path) -> None:
    """Draw precision against recall over all mixes."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 4), layout="constrained")
    for name, points in curves.items():
        axes.plot([100 * p.recall for p in points], [100 * p.precision for p in points], ".-", label=name)
    axes.set(xlabel="recall, %", ylabel="precision, %", title="rows of 10 ms, all mixes, thresholds 0.05 to 0.95")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help="folder of the bundle")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the packs")
    parser.add_argument("--pool", type=Path, required=True, help="folder of the decoded clips, written if missing")
    parser.add_argument("--every", type=int, default=3, help="take every so many-th utterance")
    parser.add_argument("--plot", type=Path, help="where to draw precision against recall")
    return parser.parse_args()


if __name__ == "__main__":
    main()
