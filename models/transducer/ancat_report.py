"""Word errors against delay of siblings with different look-ahead: a table, and a picture.

Word errors are those of each exported bundle through `streamer transcribe`; delays are those of its checkpoint's
decisions on the same recordings, in frames that wait for frames, before any tick of the server.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

import jiwer
import matplotlib as mpl
import numpy as np
import torch
from torch import Tensor

mpl.use("Agg")
from matplotlib import pyplot as plt

from models.common.dev_speech import sets
from models.common.features import HOP, SAMPLE_RATE, LogMel
from models.common.served_words import Spoken, listen
from models.common.text import BLANK
from models.transducer import ancat_export, export
from models.transducer.ancat import AncatTransducer
from models.transducer.ancat_delay import needed
from models.transducer.config import SUBSAMPLING
from models.transducer.data import collate
from models.transducer.model import Transducer

FRAME_MS = 1000 * SUBSAMPLING * HOP // SAMPLE_RATE
_SILENT_CHUNKS = 4
_COLUMNS = (
    "point",
    "price of delay",
    "WER",
    "against the first",
    "mean delay",
    "p95 delay",
    "mean with ticks",
    "tokens later than the first's",
    "mean look-ahead by layer, frames",
    "CPU s per audio s",
)
HEADER = f"| {' | '.join(_COLUMNS)} |\n{'|---' * len(_COLUMNS)}|"


@dataclass(frozen=True)
class Delays:
    """What the decisions on some speech came to: delays in frames i64[n] of all frames, delays to the end of the
    tick, the mean look-ahead of each layer that has any, and per recording the tokens i64[m] and the input frames
    i64[m] with which they come.
    """

    frames: np.ndarray
    to_tick: np.ndarray
    opened: np.ndarray
    tokens: Sequence[np.ndarray]
    arrivals: Sequence[np.ndarray]


@dataclass(frozen=True)
class Point:
    """One sibling, measured."""

    name: str
    weight: float | None
    word_errors: np.ndarray  # of each utterance
    words: np.ndarray  # of each utterance's reference
    delays: Delays
    cpu_ratio: float  # processor seconds per second of audio, start-up included

    @property
    def word_error(self) -> float:
        """Word errors per word, pooled."""
        return float(self.word_errors.sum() / self.words.sum())

    @property
    def mean_ms(self) -> float:
        """Mean delay of a frame."""
        return float(self.delays.frames.mean()) * FRAME_MS

    @property
    def p95_ms(self) -> float:
        """Delay that 95 % of the frames stay within."""
        return float(np.quantile(self.delays.frames, 0.95, method="higher")) * FRAME_MS

    def row(self, first: "Point") -> str:
        """One line of the card's table; word errors are compared with those of `first`."""
        delays = self.delays
        cells = [
            self.name,
            "-" if self.weight is None else f"{self.weight:g}",
            f"{100 * self.word_error:.1f} %",
            "-" if self is first else "{:+.1f} ± {:.1f}".format(*difference(self, first)),
            f"{self.mean_ms:.0f} ms",
            f"{self.p95_ms:.0f} ms",
            f"{delays.to_tick.mean() * FRAME_MS:.0f} ms",
            "-" if self is first else f"{lateness(delays, first.delays) * FRAME_MS:+.0f} ms",
            ", ".join(f"{opened:.2f}" for opened in delays.opened) or "-",
            f"{self.cpu_ratio:.3f}",
        ]
        return f"| {' | '.join(cells)} |"


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of `ancat_train`, one a point")
    parser.add_argument("--bundles", type=Path, required=True, help="folder of their bundles, of the same names")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the packs")
    parser.add_argument("--plot", type=Path, help="picture to draw: .png or .svg")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    [(_, spoken)] = sets(("librispeech",), arguments.data, 0)
    print(HEADER, flush=True)
    points = []
    for run in arguments.runs:
        points.append(measure(run, arguments.bundles / run.name, spoken))
        print(points[-1].row(points[0]), flush=True)
    if arguments.plot:
        draw(points, arguments.plot)


def measure(run: Path, bundle: Path, spoken: Sequence[Spoken]) -> Point:
    """Measure one sibling: its bundle's word errors and its decisions on the recordings."""
    saved = torch.load(run / "checkpoint.pt", weights_only=True, map_location="cpu")["config"]
    is_chunked = "look_ahead" not in saved
    model = (export if is_chunked else ancat_export).load_checkpoint(run / "checkpoint.pt")
    heard, cpu_s = listen(spoken, bundle.resolve())
    pairs = [jiwer.process_words(said.text, understood.text) for said, understood in zip(spoken, heard, strict=True)]
    errors = np.array([pair.substitutions + pair.deletions + pair.insertions for pair in pairs])
    words = np.array([len(said.text.split()) for said in spoken])
    mode = "chunked" if is_chunked else saved["look_ahead"]["mode"]
    weight = saved["delay_weight"] if mode == "adaptive" else None
    audio_s = sum(len(said.samples) for said in spoken) / SAMPLE_RATE
    return Point(mode, weight, errors, words, decisions(model, spoken), cpu_s / audio_s)


def difference(point: Point, other: Point, draws: int = 2000) -> tuple[float, float]:
    """Difference of the word error rates in percent, and its standard error: the same utterances drawn for both."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(point.words), size=(draws, len(point.words)))
    rates = (point.word_errors - other.word_errors)[drawn].sum(1) / point.words[drawn].sum(1)
    return 100 * (point.word_error - other.word_error), 100 * float(rates.std())


@torch.inference_mode()
def decisions(model: Transducer, spoken: Sequence[Spoken]) -> Delays:
    """The decisions of serving on each recording, followed by as much silence as they may look ahead."""
    log_mel, parts, opened, tokens, arrivals = LogMel(), [], [], [], []
    for item in spoken:
        rows = log_mel(torch.from_numpy(item.samples).float()[None])[0].numpy()
        count = -(-len(rows) // SUBSAMPLING)
        chunk = model.config.chunk
        # Room for any look-ahead, in whole chunks.
        batch = collate([rows], [[]], [[]], (-(-count // chunk) + _SILENT_CHUNKS) * chunk)
        frames, gates = _look(model, batch.log_mel)
        ids, _, _ = model.search(model.enter(frames), model.initial_state(1).context)
        position = torch.arange(count)
        need = needed(gates)[0, :count] if gates else position
        tick_end = need - need % chunk + chunk - 1
        parts.append(torch.stack([need - position, tick_end - position]))
        said = ids[0, :count] != BLANK
        tokens.append(ids[0, :count][said].numpy())
        arrivals.append(need[said].numpy())
        opened.append(torch.stack([layer[0, :count].sum(-1) for layer in gates]) if gates else torch.zeros(0, count))
    delay, to_tick = torch.cat(parts, 1).numpy()
    return Delays(delay, to_tick, torch.cat(opened, 1).mean(1).numpy(), tokens, arrivals)


def lateness(delays: Delays, other: Delays) -> float:
    """By how many frames the tokens that both say come later than the other's, on average.

    A model that may not look ahead can still wait before it speaks: this is what a listener feels of both.
    """
    late = []
    for mine, theirs, my_times, their_times in zip(
        delays.tokens, other.tokens, delays.arrivals, other.arrivals, strict=True
    ):
        matcher = SequenceMatcher(None, mine.tolist(), theirs.tolist(), autojunk=False)
        for mine_from, theirs_from, length in matcher.get_matching_blocks():
            late += list(my_times[mine_from:][:length] - their_times[theirs_from:][:length])
    return float(np.mean(late)) if late else float("nan")


def _look(model: Transducer, log_mel: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Frames and gates as `AncatEncoder.look`; a chunked encoder looks ahead to the end of the chunk, in all layers."""
    if isinstance(model, AncatTransducer):
        return model.encoder.look(log_mel)
    frames, chunk = model.encoder(log_mel), model.config.chunk
    ahead = chunk - 1 - torch.arange(frames.shape[1]) % chunk
    # Once a layer has waited for the chunk, the others wait no longer: one layer stands for all.
    return frames, [(torch.arange(chunk - 1) < ahead[:, None]).float()[None]]


def draw(points: Sequence[Point], out: Path) -> None:
    """Draw word errors over mean delay: a whisker leads to the 95th percentile, a bar shows the standard error.

    Fixed look-ahead is grey, decided look-ahead blue.
    """
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    adaptive = sorted((p for p in points if p.weight is not None), key=lambda p: p.mean_ms)
    axes.plot([p.mean_ms for p in adaptive], [100 * p.word_error for p in adaptive], color="tab:blue", alpha=0.4)
    for number, point in enumerate(sorted(points, key=lambda p: p.mean_ms)):
        color = "tab:blue" if point.weight is not None else "tab:gray"
        height, error = 100 * point.word_error, difference(point, points[0])[1]
        axes.plot([point.mean_ms, point.p95_ms], [height, height], color=color, marker="|", markevery=[1])
        axes.errorbar(point.mean_ms, height, error, color=color, marker="o", elinewidth=0.8)
        label = point.name if point.weight is None else f"{point.name} {point.weight:g}"
        place = {"xytext": (5, -6 + 12 * (-1) ** number), "textcoords": "offset points", "va": "center"}
        axes.annotate(label, (point.mean_ms, height), **place)
    axes.set(xlabel="algorithmic delay of a frame, ms: mean, whisker to p95")
    axes.set_ylabel(f"word error rate, %\n± standard error of the difference from {points[0].name}")
    axes.margins(x=0.1, y=0.15)
    axes.grid(alpha=0.3)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main()
