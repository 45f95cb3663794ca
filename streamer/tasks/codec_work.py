"""What the host loops of a codec and its program tell each other: one row's work, and what came of it.

All rows are made alike, whatever their kind, rate and packets, so that the engine runs them in one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streamer.audio.snc1 import Header, Packet
from streamer.tasks.boxed import boxed
from streamer.work import Array, Tensors

_WORK, _DONE = "work", "done"


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a stream of packets brings next: a packet, a loss (no packet), or the end.

    `rescuer` is the packet after a lost one, which may repeat some of it. `total_samples` is how long the stream is, as
    far as that is known. A loss stands for `count` packets in a row, which are steps of their own all the same.
    """

    header: Header | None
    packet: Packet | None = None
    rescuer: Packet | None = None
    total_samples: int | None = None
    is_end: bool = False
    count: int = 1


@dataclass(frozen=True, slots=True)
class Reading:
    """Codes to be read from a payload: `frames` of `n_books` each, in entropy mode `mode`.

    `previous` int64 `[books]` are those of the frame before, all absent if the payload `is_keyframe`.
    """

    payload: bytes
    frames: int
    n_books: int
    mode: int
    previous: Array
    is_keyframe: bool


@dataclass(frozen=True, slots=True)
class Writing:
    """Codes int64 `[frames, n_books]` to be written to a payload; the rest as in `Reading`."""

    codes: Array
    mode: int
    previous: Array
    is_keyframe: bool


@dataclass(frozen=True, slots=True)
class Work:
    """One step of a stream.

    `pcm` float32 `[frames, frame_samples]` is encoded, or `reading` read. `plays` frames are then decoded, which are of
    `kind` if no codes were read; those that were not sent are made up from frame number `predicts_from` on unless that
    is None. `plan` says what is written, from the codes `[frames, books]` that were found, None if there are none.
    Model states start anew if it `is_first`.
    """

    pcm: Array | None = None
    reading: Reading | None = None
    plays: int = 0
    kind: int = 0
    predicts_from: int | None = None
    plan: Callable[[Array | None], Sequence[Writing]] | None = None
    is_first: bool = False


@dataclass(slots=True)
class Done:
    """What came of a `Work`: codes `[frames, books]` as found, None if they could not be read; audio; payloads."""

    codes: Array | None = None
    pcm: Array | None = None
    written: Sequence[Writing] = ()
    payloads: Sequence[bytes] = ()


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
