"""What the host loop of a voice of tokens and its program tell each other: one row's work, and what came of it.

All that a stream is lies in a `Progress`, which nobody changes: the program is given one and returns another. So what
came of a step can be thrown away, and the one before it is still right.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from streamer.tasks.boxed import boxed
from streamer.tasks.token_lm import LmState
from streamer.tasks.token_sound import SoundState
from streamer.tasks.token_stepped import SteppedState
from streamer.tasks.token_text import Scripts
from streamer.tasks.voice_work import NewPiece
from streamer.work import Array, Tensors

_WORK, _DONE = "work", "done"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a stream is: the utterances that are not all sounded, of which the first one is number `number`, what the
    language model has said of that, and what was sounded of it.
    """

    scripts: Scripts = ()
    number: int = 0
    lm: LmState = field(default_factory=LmState)
    sound: SoundState | SteppedState | None = None


@dataclass(frozen=True, slots=True)
class TokenVoicing:
    """What all steps of a stream have in common. `in_blocks`: utterances begin before all of their text is there."""

    voice: int
    seed: int
    temperature: float
    in_blocks: bool


@dataclass(frozen=True, slots=True)
class TokenWork:
    """One step of a stream: read `piece`, end the text if it `closes`, then sound the next chunk if that can be."""

    voicing: TokenVoicing
    progress: Progress
    piece: NewPiece | None = None
    closes: bool = False


@dataclass(frozen=True, slots=True)
class TokenDone:
    """What came of a `TokenWork`: the samples float32 `[n]` that follow, or why there are none."""

    progress: Progress
    pcm: Array
    fault: str = ""


def pack_token_work(work: TokenWork) -> Tensors:
    """Return the inputs of a row: equal shapes, whatever the work."""
    return {_WORK: boxed(work)}


def unpack_token_work(inputs: Tensors) -> TokenWork:
    """Return what `pack_token_work` took."""
    work: TokenWork = inputs[_WORK].item()
    return work


def pack_token_done(done: TokenDone) -> Tensors:
    """Return the outputs of a row."""
    return {_DONE: boxed(done)}


def unpack_token_done(outputs: Tensors) -> TokenDone:
    """Return what `pack_token_done` took."""
    done: TokenDone = outputs[_DONE].item()
    return done
