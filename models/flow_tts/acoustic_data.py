"""Endless training batches of the acoustic model: pieces of aligned recordings, cut as the server cuts texts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from models.flow_tts.alignments import Aligned, read_alignments
from models.flow_tts.config import HALVES, MELS
from models.flow_tts.expander import places
from models.flow_tts.pool import Pool, statistics
from models.flow_tts.symbols import BEGIN, GAP, IDS, PAUSES

# Frames of silence before and after a recording: no more before; as many after, made of its own if it has fewer.
_BEFORE, _AFTER = 5, 14
# Share of a recording's frames that count as silent if it has no silence at its ends.
_QUIETEST = 0.03
# Shares of pieces that are a whole recording, and of those that are whole clauses; the rest are some words.
_WHOLE, _CLAUSES = 0.5, 0.2
_WORDS_BEFORE = 10
_LEAST_FRAMES = 15


@dataclass(frozen=True)
class Recording:
    """An aligned clip: symbol ids, frames of each, and the mel f32[T, MELS] and pitch i64[T, HALVES] of all."""

    symbols: tuple[str, ...]
    frames: np.ndarray
    mel: Tensor
    pitch: Tensor


@dataclass(frozen=True)
class Piece:
    """What the encoder is told (context too), which of it is spoken, and how that sounds."""

    symbols: Tensor  # i64[P]
    spoken: slice
    frames: Tensor  # i64[symbols of `spoken`]
    mel: Tensor
    pitch: Tensor


class Batch(NamedTuple):
    """Pieces side by side, with zeros and False after their ends."""

    symbols: Tensor  # i64[B, P]
    symbol_mask: Tensor  # bool[B, P]
    frames: Tensor  # i64[B, P], 0 for context
    spoken: Tensor  # bool[B, P]
    source: Tensor  # i64[B, T]
    place: Tensor  # f32[B, T, 2]
    frame_mask: Tensor  # bool[B, T]
    mel: Tensor  # f32[B, T, MELS]
    pitch: Tensor  # i64[B, T, HALVES]


def recordings(folder: Path, split: str) -> list[Recording]:
    """Read the aligned clips of one split with their normalised mels, silence at both ends cut short."""
    mean, deviation = statistics(folder)
    pool = Pool(folder, split)
    mels = {clip.audio: (mel - mean) / deviation for clip, mel in pool.mels()}
    return [
        _trimmed(one, mels[one.clip.audio], torch.from_numpy(pool.pitch(one.clip)))
        for one in read_alignments(folder, split)
    ]


def draw_batches(found: Sequence[Recording], size: int, seed: int) -> Iterator[Batch]:
    """Yield batches of `size` pieces for ever."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(found))
        for first in range(0, len(order) - size + 1, size):
            yield collate([draw_piece(found[index], rng) for index in order[first : first + size]])


def draw_piece(recording: Recording, rng: np.random.Generator) -> Piece:
    """Cut a piece: all of it, whole clauses, or some words with what was said before and the word after."""
    chance = rng.random()
    pauses = [i for i, symbol in enumerate(recording.symbols) if symbol in (BEGIN, *PAUSES)]
    if chance >= _WHOLE:
        edges = pauses if chance < _WHOLE + _CLAUSES else _boundaries(recording.symbols)
        first, last = sorted(rng.choice(len(edges), 2, replace=False)) if len(edges) > 2 else (0, len(edges) - 1)
        piece = cut(recording, edges[first], edges[last], int(rng.integers(_WORDS_BEFORE + 1)))
        if len(piece.mel) >= _LEAST_FRAMES:
            return piece
    return cut(recording, 0, len(recording.symbols) - 1, 0)


def cut(recording: Recording, first: int, last: int, words_before: int) -> Piece:
    """Cut from the boundary symbol number `first` to the boundary symbol number `last`.

    A pause between clauses is shared out: its first half belongs to the clause before, the rest to the `^` of the next.
    A piece that ends in mid-phrase leaves the gap to the next one.
    """
    symbols, frames = list(recording.symbols), recording.frames.copy()
    at = np.concatenate([[0], np.cumsum(frames)])
    begin, ends_phrase = int(at[first]), symbols[last] in PAUSES
    before: list[str] = []
    if symbols[first] in PAUSES:
        half = frames[first] - frames[first] // 2
        begin, frames[first], symbols[first] = begin + int(half), frames[first] - half, BEGIN
    elif symbols[first] == GAP:
        before = _words_before(symbols[:first], words_before)
    inner = slice(first, last + 1 if ends_phrase else last)
    if ends_phrase and last + 1 < len(symbols):
        frames[last] -= frames[last] // 2
    after = [] if ends_phrase else _next_word(symbols[last:])
    told = [*before, *symbols[inner], *after]
    kept = torch.from_numpy(frames[inner])
    where = slice(begin, begin + int(kept.sum()))
    return Piece(
        torch.tensor([IDS[symbol] for symbol in told]),
        slice(len(before), len(before) + len(kept)),
        kept,
        recording.mel[where],
        recording.pitch[where],
    )


def collate(pieces: Sequence[Piece]) -> Batch:
    """Put pieces side by side."""
    frames, spoken, sources, marks = [], [], [], []
    for piece in pieces:
        lasts = torch.zeros_like(piece.symbols)
        lasts[piece.spoken] = piece.frames
        said = torch.zeros_like(piece.symbols, dtype=torch.bool)
        said[piece.spoken] = True
        source, place = places(lasts)
        frames.append(lasts)
        spoken.append(said)
        sources.append(source)
        marks.append(place)
    return Batch(
        pad_sequence([piece.symbols for piece in pieces], batch_first=True),
        pad_sequence([torch.ones_like(piece.symbols, dtype=torch.bool) for piece in pieces], batch_first=True),
        pad_sequence(frames, batch_first=True),
        pad_sequence(spoken, batch_first=True),
        pad_sequence(sources, batch_first=True),
        pad_sequence(marks, batch_first=True),
        pad_sequence([torch.ones(len(source), dtype=torch.bool) for source in sources], batch_first=True),
        pad_sequence([piece.mel for piece in pieces], batch_first=True),
        pad_sequence([piece.pitch for piece in pieces], batch_first=True),
    )


def _trimmed(one: Aligned, mel: Tensor, pitch: Tensor) -> Recording:
    frames = np.array(one.frames)
    start, stop = max(0, int(frames[0]) - _BEFORE), len(mel) - max(0, int(frames[-1]) - _AFTER)
    missing = _AFTER - min(int(frames[-1]), _AFTER)
    frames[0], frames[-1] = min(frames[0], _BEFORE), _AFTER
    assert mel.shape[1] == MELS
    assert pitch.shape[1] == HALVES
    mel = torch.cat([mel[start:stop], _silence(mel, missing)])
    return Recording(one.symbols, frames, mel, functional.pad(pitch[start:stop], (0, 0, 0, missing)))


def _silence(mel: Tensor, frames: int) -> Tensor:
    """Rows f32[frames, MELS] drawn from the quietest of a recording: every room has a noise of its own."""
    quietest = mel.mean(1).argsort()[: max(3, int(len(mel) * _QUIETEST))]
    drawn = torch.randint(len(quietest), (frames,), generator=torch.Generator().manual_seed(len(mel)))
    return mel[quietest[drawn]]


def _boundaries(symbols: Sequence[str]) -> list[int]:
    return [i for i, symbol in enumerate(symbols) if symbol in (BEGIN, GAP, *PAUSES)]


def _words_before(symbols: Sequence[str], words: int) -> list[str]:
    """The last words of `symbols` with the boundary before each."""
    edges = _boundaries(symbols)
    return list(symbols[edges[-words] :]) if 0 < words <= len(edges) else list(symbols) if words else []


def _next_word(symbols: Sequence[str]) -> list[str]:
    """The boundary that `symbols` begin with, the word after it and no more."""
    edges = _boundaries(symbols)
    return list(symbols[: edges[1]]) if len(edges) > 1 else list(symbols)
