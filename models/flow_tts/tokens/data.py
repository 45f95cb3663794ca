"""Utterances of the token path: symbols, phones of frames, mel, pitch, and tokens once there is a tokeniser."""

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
from models.flow_tts.symbols import BEGIN, IDS
from models.flow_tts.tokens.tokeniser import Tokeniser

NOTHING = -1
"""The token where there is none."""
# Share of examples that are several recordings in a row, and how many at most: texts are longer than prompts.
_JOINED, _MOST_JOINED = 0.5, 3


@dataclass(frozen=True)
class Utterance:
    """A recording, or several in a row: `mel` and all of its frames are two for each token."""

    symbols: Tensor  # i64[P]
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
    nothing = torch.zeros(0, dtype=torch.int64)
    return Utterance(symbols, phones[:frames], recording.mel[:frames], recording.pitch[:frames], nothing)


def tokenised(tokeniser: Tokeniser, found: Sequence[Utterance]) -> list[Utterance]:
    """The same with their tokens."""
    return [replace(one, tokens=tokeniser(one.mel[None], one.pitch[None])[0]) for one in found]


def shifted(found: Sequence[Utterance]) -> list[Utterance]:
    """The same from their second frame on, whose tokens are others: frames are paired the other way."""
    return [
        replace(one, phones=one.phones[1:-1], mel=one.mel[1:-1], pitch=one.pitch[1:-1])
        for one in found
        if len(one.mel) > TOKEN_FRAMES
    ]


def joined(found: Sequence[Utterance]) -> Utterance:
    """Several in a row, as one text of several sentences: `^` begins but the first."""
    begin = IDS[BEGIN]
    symbols = [found[0].symbols, *(one.symbols[int(one.symbols[0] == begin) :] for one in found[1:])]
    parts = ([getattr(one, name) for one in found] for name in ("phones", "mel", "pitch", "tokens"))
    return Utterance(torch.cat(symbols), *(torch.cat(part) for part in parts))


def drawn(found: Sequence[Utterance], size: int, seed: int) -> Iterator[list[Utterance]]:
    """Yield lists of `size` examples for ever, some of them several utterances in a row."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(found))
        for first in range(0, len(order) - size + 1, size):
            chosen = [[found[index]] for index in order[first : first + size]]
            for row in chosen:
                if rng.random() < _JOINED:
                    row += [found[index] for index in rng.integers(len(found), size=rng.integers(1, _MOST_JOINED))]
            yield [joined(row) for row in chosen]


def collate(found: Sequence[Utterance]) -> Batch:
    """Put utterances side by side."""
    return Batch(
        pad_sequence([one.mel for one in found], batch_first=True),
        pad_sequence([one.pitch for one in found], batch_first=True),
        pad_sequence([one.phones for one in found], batch_first=True),
        pad_sequence([torch.ones(len(one.mel), dtype=torch.bool) for one in found], batch_first=True),
        pad_sequence([one.tokens for one in found], batch_first=True, padding_value=NOTHING),
    )
