"""Tables and pictures of an evaluation of voices."""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from models.common.bootstrap import Estimate
from models.common.markdown import table as markdown
from models.flow_tts.judging import Measured
from models.flow_tts.speakers import Speech

FIGURES = {
    "wer": "WER",
    "ovrl": "DNSMOS OVRL",
    "sig": "SIG",
    "bak": "BAK",
    "p808": "P.808",
    "mcd": "MCD, dB",
    "f0_rmse": "F0 RMSE, semitones",
    "voicing": "voicing errors",
    "tempo": "tempo",
    "log_f0": "F0, Hz",
    "log_f0_std": "F0 spread, semitones",
}
COMPARED = ("wer", "ovrl", "sig", "bak", "p808", "mcd")
_DRAWN = {"wer": "word error rate, %", "ovrl": "DNSMOS OVRL, 1 to 5", "p808": "DNSMOS P.808, 1 to 5"}
_PERCENT = ("wer", "voicing")
_SEMITONES_PER_LOG = 12 / np.log(2)
_FFT = 1024


def table(measured: Sequence[Measured]) -> str:
    """A row for each speaker: means over the sentences, WER and DNSMOS with their 95 % intervals."""
    columns = ("speaker", "speech, s", *FIGURES.values())
    rows = [
        (each.name, f"{sum(each.seconds):.0f}", *(cell(figure, each.estimate(figure)) for figure in FIGURES))
        for each in measured
    ]
    return markdown(columns, rows)


def differences(ours: Sequence[Measured], others: Sequence[Measured]) -> str:
    """A row for each pair: our figure less theirs on the same sentences, with 95 % confidence."""
    columns = ("ours", "against", *(FIGURES[figure] for figure in COMPARED))
    rows = [
        (each.name, other.name, *(difference(figure, each.less(other, figure)) for figure in COMPARED))
        for each in ours
        for other in others
    ]
    return markdown(columns, rows)


def draw(measured: Sequence[Measured], path: Path, ours: Sequence[str] = ()) -> None:
    """Draw bars of the word error rate and of DNSMOS, with their intervals; speakers named in `ours` stand out."""
    plt = _pyplot()
    figure, panels = plt.subplots(1, 3, figsize=(13, 0.9 + 0.5 * len(measured)), layout="constrained", sharey=True)
    for axes, name in zip(panels, _DRAWN, strict=True):
        found = np.array([each.estimate(name) for each in measured]) * (100 if name == "wer" else 1)
        places = np.arange(len(measured))
        colours = ["tab:orange" if each.name in ours else "tab:blue" for each in measured]
        axes.barh(places, found[:, 0], color=colours, height=0.65)
        spread = np.abs(found[:, 1:].T - found[:, 0])
        axes.errorbar(found[:, 0], places, xerr=spread, fmt="none", ecolor="black", elinewidth=1.2, capsize=3)
        axes.set(
            title="word error rate, %" if name == "wer" else f"{FIGURES[name]}, 1 to 5".replace("P.808", "DNSMOS P.808")
        )
        axes.set_xlim(*((0, None) if name == "wer" else (1, 5)))
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(measured)), [each.name for each in measured])
    panels[0].invert_yaxis()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_spectrograms(speech: Sequence[tuple[str, Speech]], path: Path) -> None:
    """Draw spectrograms below each other, on one scale of time and of frequency, 80 dB below each one's peak."""
    plt = _pyplot()
    shape = {"figsize": (11, 0.6 + 2.3 * len(speech)), "sharex": True, "sharey": True, "squeeze": False}
    figure, panels = plt.subplots(len(speech), 1, layout="constrained", **shape)
    for axes, (title, (samples, rate)) in zip(panels[:, 0], speech, strict=True):
        hop = rate // 200
        frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, _FFT // 2), _FFT)[::hop]
        level = 20 * np.log10(np.abs(np.fft.rfft(frames * np.hanning(_FFT))) + 1e-9)
        level -= level.max()
        edges = (0, len(samples) / rate, 0, rate / 2000)
        axes.imshow(level.T, origin="lower", aspect="auto", extent=edges, vmin=-80, vmax=0, cmap="magma")
        axes.set(title=title, ylabel="kHz")
    panels[-1, 0].set(xlabel="seconds", xlim=(0, max(len(samples) / rate for _, (samples, rate) in speech)))
    panels[-1, 0].set_ylim(0, max(rate for _, (_, rate) in speech) / 2000)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _pyplot() -> ModuleType:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    return plt


def cell(figure: str, estimate: Estimate) -> str:
    """A figure as tables have it, with its interval if that is told; `-` where there is none."""
    value, low, high = estimate
    if np.isnan(value):
        return "-"
    if figure == "log_f0":
        return f"{np.exp(value):.0f}"
    if figure == "log_f0_std":
        return f"{value * _SEMITONES_PER_LOG:.1f}"
    if figure in _PERCENT:
        return f"{100 * value:.1f} %" + (f" [{100 * low:.1f}, {100 * high:.1f}]" if figure == "wer" else "")
    spread = f" [{low:.2f}, {high:.2f}]" if figure in ("ovrl", "sig", "bak", "p808") else ""
    return f"{value:.2f}{spread}"


def difference(figure: str, estimate: Estimate) -> str:
    """A difference with its sign and its interval, in percent points for shares; `-` where there is none."""
    value, low, high = estimate
    if np.isnan(value):
        return "-"
    scale, digits = (100, 1) if figure in _PERCENT else (1, 2)
    return f"{scale * value:+.{digits}f} [{scale * low:+.{digits}f}, {scale * high:+.{digits}f}]"
