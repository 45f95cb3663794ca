"""Utterances of the token path: symbols, phones of frames, mel, pitch, and tokens once there is a tokeniser."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from models.flow_tts.acoustic_data import Recording, recordings
from models.flow_tts.cosyvoice.config import TOKEN_FRAMES
from models.flow_tts.symbols import BEGIN, GAP, IDS, PAUSES
from models.flow_tts.tokens.tokeniser import Tokeniser

NOTHING = -1
"""The token where there is none."""
# Share of examples that are several recordings in a row, and how many at most: texts are longer than prompts.
_JOINED, _MOST_JOINED = 0.5, 3
# Words of a part, and parts of an example, where words of several recordings are put in a row.
_MOST_WORDS, _FEWEST_PARTS, _MOST_PARTS = 6, 2, 6
_ENDS = torch.tensor([IDS[symbol] for symbol in (GAP, *PAUSES)])


@dataclass(frozen=True)
class Utterance:
    """A recording, or several in a row: `mel` and all of its frames are two for each token."""

    symbols: Tensor  # i64[P]
    ends: Tensor  # i64[P], frames before the end of each symbol
    phones: Tensor  # i64[2 T], the symbol of each frame
    mel: Tensor  # f32[2 T, MELS]
    pitch: Tensor  # i64[2 T, HALVES]
    tokens: Tensor  # i64[T], empty before there is a tokeniser


class Batch(NamedTuple):
    """Utterances side by side, with zeros, False and `NOTHING` after their ends."""

    mel: Tensor  # f32[B, 2 T, MELS]
    pitch: Tensor  # i64[B, 2 T, HALVES]
    phones: Tensor  # i64[B, 2 T]
    mask: Tensor  # bool[B, 2 T]
    tokens: Tensor  # i64[B, T]


def utterances(folder: Path, split: str) -> list[Utterance]:
    """The aligned clips of one split, without their tokens; an odd last frame is left out."""
    return [utterance(recording) for recording in recordings(folder, split)]


def utterance(recording: Recording) -> Utterance:
    """One recording."""
    symbols = torch.tensor([IDS[symbol] for symbol in recording.symbols])
    phones = torch.repeat_interleave(symbols, torch.from_numpy(recording.frames))
    frames = len(recording.mel) // TOKEN_FRAMES * TOKEN_FRAMES
    ends = torch.from_numpy(recording.frames).cumsum(0).clamp(max=frames)
    nothing = torch.zeros(0, dtype=torch.int64)
    return Utterance(symbols, ends, phones[:frames], recording.mel[:frames], recording.pitch[:frames], nothing)


def tokenised(tokeniser: Tokeniser, found: Sequence[Utterance]) -> list[Utterance]:
    """The same with their tokens."""
    return [replace(one, tokens=tokeniser(one.mel[None], one.pitch[None])[0]) for one in found]


def shifted(found: Sequence[Utterance]) -> list[Utterance]:
    """The same from their second frame on, whose tokens are others: frames are paired the other way."""
    return [
        replace(
            one,
            ends=(one.ends - 1).clamp(0, len(one.mel) - TOKEN_FRAMES),
            phones=one.phones[1:-1],
            mel=one.mel[1:-1],
            pitch=one.pitch[1:-1],
        )
        for one in found
        if len(one.mel) > TOKEN_FRAMES
    ]


def words_of(one: Utterance, first: int, count: int) -> Utterance:
    """Up to `count` words from the `first` on, to the next whole tokens; an utterance with its tokens."""
    stops = [0, *(torch.isin(one.symbols, _ENDS).nonzero().flatten() + 1).tolist()]
    begin, stop = stops[first], stops[min(first + count, len(stops) - 1)]
    start = round(int(one.ends[begin - 1]) / TOKEN_FRAMES) if begin else 0
    end = round(int(one.ends[stop - 1]) / TOKEN_FRAMES)
    frames = slice(TOKEN_FRAMES * start, TOKEN_FRAMES * end)
    return Utterance(
        one.symbols[begin:stop],
        one.ends[begin:stop] - TOKEN_FRAMES * start,
        one.phones[frames],
        one.mel[frames],
        one.pitch[frames],
        one.tokens[start:end],
    )


def joined(found: Sequence[Utterance]) -> Utterance:
    """Several in a row, as one text of several sentences: `^` begins but the first."""
    begin = IDS[BEGIN]
    kept = [slice(int(place > 0 and one.symbols[0] == begin), None) for place, one in enumerate(found)]
    lengths = [0, *itertools.accumulate(len(one.mel) for one in found)]
    ends = [one.ends[part] + before for one, part, before in zip(found, kept, lengths, strict=False)]
    parts = ([getattr(one, name) for one in found] for name in ("phones", "mel", "pitch", "tokens"))
    return Utterance(
        torch.cat([one.symbols[part] for one, part in zip(found, kept, strict=True)]),
        torch.cat(ends),
        *(torch.cat(part) for part in parts),
    )


def drawn(found: Sequence[Utterance], size: int, seed: int, mixed: float = 0.0) -> Iterator[list[Utterance]]:
    """Yield lists of `size` examples for ever, some of them several utterances in a row.

    A share `mixed` of the examples are words of several recordings, whose texts nobody can know by heart.
    """
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(found))
        for first in range(0, len(order) - size + 1, size):
            chosen = [[found[index]] for index in order[first : first + size]]
            for row in chosen:
                if rng.random() < _JOINED:
                    row += [found[index] for index in rng.integers(len(found), size=rng.integers(1, _MOST_JOINED))]
            yield [_salad(found, rng) if rng.random() < mixed else joined(row) for row in chosen]


def _salad(found: Sequence[Utterance], rng: np.random.Generator) -> Utterance:
    parts = []
    for index in rng.integers(len(found), size=rng.integers(_FEWEST_PARTS, _MOST_PARTS + 1)):
        words = int(torch.isin(found[index].symbols, _ENDS).sum())
        parts.append(words_of(found[index], int(rng.integers(words)), int(rng.integers(1, _MOST_WORDS + 1))))
    return joined(parts)


def collate(found: Sequence[Utterance]) -> Batch:
    """Put utterances side by side."""
    return Batch(
        pad_sequence([one.mel for one in found], batch_first=True),
        pad_sequence([one.pitch for one in found], batch_first=True),
        pad_sequence([one.phones for one in found], batch_first=True),
        pad_sequence([torch.ones(len(one.mel), dtype=torch.bool) for one in found], batch_first=True),
        pad_sequence([one.tokens for one in found], batch_first=True, padding_value=NOTHING),
    )
