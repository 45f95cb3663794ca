"""What the host loop of a voice and its program tell each other: one row's work, and what came of it.

All rows are made alike, whatever their text and their frames, so that the engine runs them in one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streamer.tasks.boxed import boxed
from streamer.work import Array, Tensors

_WORK, _DONE = "work", "done"


@dataclass(frozen=True, slots=True)
class Utterance:
    """Symbols int64 `[n]`, of which those from `begin` to `end` are to be spoken; the others are their context.

    `ends_sentence` is for models whose symbols do not say so.
    """

    symbols: Array
    begin: int
    end: int
    ends_sentence: bool = False


@dataclass(frozen=True, slots=True)
class NewPiece:
    """Text that no frames were made of yet.

    `words` are those that have to be spelled out, letters int64 `[letters]` each; `plan` says what is spoken, from
    their sounds (symbols, int64 `[n]`, each).
    """

    words: Sequence[Array]
    plan: Callable[[Sequence[Array]], Utterance]


@dataclass(frozen=True, slots=True)
class Voicing:
    """What all steps of a stream have in common."""

    voice: int
    speed: float
    seed: int
    temperature: float


@dataclass(frozen=True, slots=True)
class Work:
    """One step of a stream: the sound of up to `frames` frames from number `first_frame` on.

    They are those of `prior` float32 `[n, bands]`, and then those of `piece`. Model states start anew if it
    `is_first`.
    """

    voicing: Voicing
    prior: Array
    frames: int
    first_frame: int
    piece: NewPiece | None = None
    is_first: bool = False


@dataclass(slots=True)
class Done:
    """What came of a `Work`.

    `pcm` float32 `[frames, frame_samples]`; `prior` float32 `[n, bands]` of what is still to be sounded; `last` float32
    `[1, bands]`, the last frame there is, none if there are none; of a new piece how many frames each of its symbols
    has, int64 `[symbols]`, or why it has none.
    """

    pcm: Array
    prior: Array
    last: Array
    durations: Array | None = None
    fault: str = ""


def pack_work(work: Work) -> Tensors:
    """Return the inputs of a row: equal shapes, whatever the work."""
    return {_WORK: boxed(work)}


def unpack_work(inputs: Tensors) -> Work:
    """Return what `pack_work` took."""
    work: Work = inputs[_WORK].item()
    return work


def pack_done(done: Done) -> Tensors:
    """Return the outputs of a row."""
    return {_DONE: boxed(done)}


def unpack_done(outputs: Tensors) -> Done:
    """Return what `pack_done` took."""
    done: Done = outputs[_DONE].item()
    return done
