"""Draws the learning curve of a training log: `python -m models.common.curve train.log -o curve.png`."""

import argparse
import re
from collections import defaultdict
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

_LINE = re.compile(r"\s*([\d.]+) min\s+(\d+) updates\s+([\d.]+) h lr ([\d.e+-]+) \|(.*)\|")
_PART = re.compile(r"([a-z]+) ([\d.]+)")
_EVALUATION = re.compile(r"(.+): \d+ utterances, WER ([\d.]+) %")
# Averages over this many lines of 100 updates.
_SMOOTH = 8


def read_log(path: Path) -> tuple[dict[str, list[tuple[float, float]]], dict[str, list[tuple[float, float]]]]:
    """Return the loss parts and the word error rates of a log, each as (audio hours, value)."""
    losses, errors, hours = defaultdict(list), defaultdict(list), 0.0
    for line in path.read_text(encoding="utf-8").splitlines():
        if found := _LINE.match(line):
            hours = float(found[3])
            for name, value in _PART.findall(found[5]):
                losses[name].append((hours, float(value)))
        elif found := _EVALUATION.match(line):
            errors[found[1]].append((hours, float(found[2])))
    return losses, errors


def draw(path: Path, out: Path, parts: tuple[str, ...] = ("transducer", "ctc")) -> None:
    """Draw the losses per label on the left and the word error rates on the right."""
    losses, errors = read_log(path)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for name in parts:
        hours, values = zip(*losses[name], strict=True)
        left.plot(hours[::_SMOOTH], _means(values), label=name)
    left.set(xlabel="audio heard, hours", ylabel="loss per label, augmented training clips")
    for name, points in errors.items():
        right.plot(*zip(*points, strict=True), marker="o", label=name)
    right.set(xlabel="audio heard, hours", ylabel="word error rate, %", ylim=(0, 100))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.savefig(out, dpi=110)


def _means(values: tuple[float, ...]) -> list[float]:
    chunks = (values[i : i + _SMOOTH] for i in range(0, len(values), _SMOOTH))
    return [sum(chunk) / len(chunk) for chunk in chunks]


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", type=Path)
    parser.add_argument("--parts", nargs="+", default=("transducer", "ctc"), help="of the loss")
    parser.add_argument("-o", "--out", type=Path, required=True, help="a .png or .svg")
    arguments = parser.parse_args()
    draw(arguments.log, arguments.out, tuple(arguments.parts))


if __name__ == "__main__":
    main()
