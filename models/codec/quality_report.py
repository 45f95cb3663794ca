"""Tables and the plot of an evaluation of codecs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.codec.judging import Measured
from models.common import bootstrap
from models.common.markdown import table as markdown

FIGURES = {
    "pesq": "PESQ-WB",
    "stoi": "STOI",
    "visqol": "ViSQOL",
    "ovrl": "DNSMOS OVRL",
    "sig": "SIG",
    "bak": "BAK",
    "wer": "WER",
}
COMPARED = ("pesq", "stoi", "visqol", "ovrl", "wer")
# Payloads whose ratio is less than this are compared.
_ABOUT = 1.4


def table(measured: Sequence[Measured]) -> str:
    """A row for each codec and rate: bits, delay, means over the clips."""
    columns = ("codec", "payload, kbit/s", "all bytes, kbit/s", "delay found, samples", *FIGURES.values())
    rows = [
        (
            *(each.name, f"{each.payload_kbps:.2f}", "-" if each.wire_kbps is None else f"{each.wire_kbps:.2f}"),
            *(str(each.lag_samples), *(_cell(figure, each.mean(figure)) for figure in FIGURES)),
        )
        for each in measured
    ]
    return markdown(columns, rows)


def differences(ours: Sequence[Measured], peers: Sequence[Measured]) -> str:
    """A row for each pair of about the same payload: our mean minus theirs, with 95 % confidence."""
    columns = ("ours", "peer", *(FIGURES[figure] for figure in COMPARED))
    rows = [
        (each.name, peer.name, *(_difference_cell(each, peer, figure) for figure in COMPARED))
        for each in ours
        for peer in peers
        if 1 / _ABOUT < each.payload_kbps / peer.payload_kbps < _ABOUT
    ]
    return markdown(columns, rows)


def difference(ours: Measured, peer: Measured, figure: str) -> tuple[float, float, float]:
    """Our mean minus the peer's, and the ends of the 95 % confidence interval.

    The interval is the percentile bootstrap over clips, the same clips of both in each draw: over speakers for the
    judging set, which has one clip of each; over utterances for word errors.
    """
    if figure != "wer":
        return bootstrap.mean(np.subtract(ours.scores[figure], peer.scores[figure]))
    if not (ours.words and peer.words):
        return bootstrap.pooled((), ())
    return bootstrap.pooled(np.subtract(ours.errors, peer.errors), ours.words)


def draw(measured: Sequence[Measured], path: Path, ours: Sequence[str]) -> None:
    """Draw each figure against the bits of the payload; families of `ours` stand out, grey dashes are the original."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(2, 4, figsize=(14, 6.4), layout="constrained")
    families = list(dict.fromkeys(each.family for each in measured if each.family != "original"))
    for axes in panels.flat:
        axes.axis("off")
    shown = {name: title for name, title in FIGURES.items() if not all(np.isnan(each.mean(name)) for each in measured)}
    for axes, (name, title) in zip(panels.flat, shown.items(), strict=False):
        axes.axis("on")
        for each in measured:
            if each.family == "original":
                axes.axhline(each.mean(name), color="grey", ls="--", lw=1, label="original")
        for family in families:
            points = sorted((each.payload_kbps, each.mean(name)) for each in measured if each.family == family)
            stands_out = {"lw": 2.5, "color": "black", "zorder": 3} if family in ours else {"lw": 1.2}
            style = "--" if family in ours[1:] else "-"
            axes.plot(*zip(*points, strict=True), style, marker="o", ms=4, label=family, **stands_out)
        axes.set(title=title, xscale="log", xlabel="payload, kbit/s")
        axes.set_xticks([0.7, 1.5, 3, 6, 12], labels=["0.7", "1.5", "3", "6", "12"])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    panels.flat[-1].legend(*panels.flat[0].get_legend_handles_labels(), frameon=False, loc="center")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _difference_cell(ours: Measured, peer: Measured, figure: str) -> str:
    mean, low, high = difference(ours, peer, figure)
    if np.isnan(mean):
        return "-"
    scale, digits = (100, 1) if figure == "wer" else (1, 3 if figure == "stoi" else 2)
    return f"{scale * mean:+.{digits}f} [{scale * low:+.{digits}f}, {scale * high:+.{digits}f}]"


def _cell(figure: str, value: float) -> str:
    if np.isnan(value):
        return "-"
    return f"{100 * value:.1f} %" if figure == "wer" else f"{value:.{3 if figure == 'stoi' else 2}f}"
