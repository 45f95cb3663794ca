"""When words were spoken: forced alignment of spelt text by a CTC head over letters."""

import torch
import torchaudio
from torch import Tensor

from models.careless_whisper.targets import Span
from models.common.text import BLANK, LETTERS

_SPACE = LETTERS.index(" ")


def word_spans(log_probs: Tensor, letters: Tensor) -> list[Span] | None:
    """Start and end, in frames, of each word of `letters` i64[n] under `log_probs` f32[T, LETTERS].

    None if the frames are too few for the letters.
    """
    repeats = int((letters[1:] == letters[:-1]).sum())
    if len(letters) == 0 or len(log_probs) < len(letters) + repeats:
        return None
    path, _ = torchaudio.functional.forced_align(log_probs[None].float(), letters[None].int(), blank=BLANK)
    return _words(_runs(path[0]), letters)


def _runs(path: Tensor) -> list[Span]:
    """First frame and frame after the last of each letter of a path i32[T] of letters and blanks."""
    edge = torch.nn.functional.pad(path, (1, 1), value=BLANK)
    change = edge[1:] != edge[:-1]
    starts = (change[:-1] & (path != BLANK)).nonzero()[:, 0]
    ends = (change[1:] & (path != BLANK)).nonzero()[:, 0] + 1
    return [(float(a), float(b)) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]


def _words(runs: list[Span], letters: Tensor) -> list[Span]:
    spans: list[Span] = []
    fresh = True
    for (start, end), letter in zip(runs, letters.tolist(), strict=True):
        if letter == _SPACE:
            fresh = True
        elif fresh:
            spans.append((start, end))
            fresh = False
        else:
            spans[-1] = (spans[-1][0], end)
    return spans
