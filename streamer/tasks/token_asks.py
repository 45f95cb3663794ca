"""How the work of one stream of tokens asks for graphs: generators that yield asks and are sent answers, both by roles.

What is written so reads as if there was one stream; the program gathers the asks of all streams of a batch into calls.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from streamer.tasks.voice_graphs import Call
from streamer.work import Array

T = TypeVar("T")
Named = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Ask:
    """One row of a graph; `inputs` have no batch axis. All states of the graph begin anew if it is the `start`."""

    call: Call
    inputs: Named
    start: bool = False


Asks = Generator[Ask, Named, T]


def answered(answer: Named, name: str, *shape: int) -> Array:
    """Return an output; raises `ValueError` unless it has this shape, which a graph of free lengths need not return."""
    array = answer[name]
    if array.shape != shape:
        raise ValueError(f"{name}: expected {list(shape)}, got {list(array.shape)}")
    return array


def padded_length(count: int, most: int) -> int:
    """Return the next power of two, `most` where that is less: rows of equal lengths share a call.

    It depends on the stream alone, never on those beside it.
    """
    return max(count, min(most, 1 << max(count - 1, 0).bit_length()))
