"""How much flatter a trained voice speaks than its speaker, and the remedy.

Pitch that was learned by a distance is the mean of all that a speaker might have done, so it moves less than any of it.
Octaves leave the expander through a linear layer: moving them away from their middle is a matter of its weights.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from models.flow_tts.alignments import read_alignments
from models.flow_tts.config import HALVES, PITCH_STEPS
from models.flow_tts.expander import REFERENCE_HZ, Expander
from models.flow_tts.pool import Pool
from models.flow_tts.symbols import IDS
from models.flow_tts.voice import Voice


@dataclass(frozen=True)
class Melody:
    """Octaves above 200 Hz are to be so many times as far from `middle`."""

    wider: float
    middle: float


def flatness(spoken: Voice, folder: Path) -> Melody:
    """What makes a voice move as much as the tuning recordings when it says their texts."""
    pool, said, recorded = Pool(folder, "tune"), [], []
    for one in read_alignments(folder, "tune"):
        symbols = torch.tensor([IDS[symbol] for symbol in one.symbols])
        said.append(octaves(spoken.speak(symbols, with_flow=False)[1]))
        recorded.append(octaves(torch.from_numpy(pool.pitch(one.clip))))
    ours, theirs = torch.cat(said), torch.cat(recorded)
    return Melody(_range(theirs) / _range(ours), float(ours.median()))


def _range(octaves: Tensor) -> float:
    """Between the ninth decile and the first: trackers are wrong by octaves now and then."""
    return float(octaves.quantile(0.9) - octaves.quantile(0.1))


def octaves(pitch: Tensor) -> Tensor:
    """Octaves above 200 Hz f32[n] where there is a voice, of pitch i64[...]."""
    return (pitch[pitch > 0].float() / (PITCH_STEPS * REFERENCE_HZ)).log2()


@torch.no_grad()
def widen(expander: Expander, melody: Melody) -> None:
    """Change the weights of an expander so that its voice moves as `melody` says."""
    weight, bias = expander.pitch.weight[HALVES:], expander.pitch.bias[HALVES:]
    weight.mul_(melody.wider)
    bias.mul_(melody.wider).add_((1 - melody.wider) * melody.middle)
