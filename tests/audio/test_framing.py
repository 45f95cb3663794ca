"""Cutting samples into chunks."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.audio.framing import Framer


def ramp(n: int, first: int = 0) -> np.ndarray:
    return np.arange(first, first + n, dtype=np.float32)


def drain(framer: Framer) -> list[list[float]]:
    chunks = []
    while (chunk := framer.pop()) is not None:
        chunks.append(chunk.tolist())
    return chunks


def test_overlapping_chunks() -> None:
    """Chunk k begins k hops into the stream and overlaps the next one."""
    framer = Framer(chunk_samples=5, hop_samples=3)
    framer.push(ramp(12))
    assert framer.ready == 3
    assert drain(framer) == [[0, 1, 2, 3, 4], [3, 4, 5, 6, 7], [6, 7, 8, 9, 10]]
    assert (framer.start, framer.next_end, framer.pushed, framer.covered) == (9, 14, 12, 11)


def test_peek_does_not_move() -> None:
    """A chunk that was looked at is still the next one."""
    framer = Framer(2, 2)
    assert framer.peek() is None
    framer.push(ramp(3))
    assert framer.peek().tolist() == framer.peek().tolist() == [0, 1]
    assert framer.pop().tolist() == [0, 1]
    assert framer.peek() is None


@given(
    chunk=st.integers(1, 9),
    hop=st.integers(1, 9),
    n=st.integers(0, 60),
    zeros=st.integers(0, 20),
    sizes=st.lists(st.integers(0, 7), max_size=30),
)
def test_any_partition_then_flush(chunk: int, hop: int, n: int, zeros: int, sizes: list[int]) -> None:
    """Chunks do not depend on the pushes; a flush covers everything with less than a hop too much."""
    hop = min(chunk, hop)
    framer, whole, place, chunks = Framer(chunk, hop), Framer(chunk, hop), 0, []
    for size in [*sizes, n]:
        size = min(size, n - place)
        framer.push(ramp(size, 1 + place))
        place += size
        if size % 2:
            chunks += drain(framer)
    whole.push(ramp(n, 1))
    padding = framer.flush(zeros)
    assert padding == whole.flush(zeros)
    assert [*chunks, *drain(framer)] == drain(whole)
    assert framer.covered == whole.covered
    if n + zeros:
        assert framer.covered >= n + zeros
        assert framer.covered - (n + zeros) < max(hop, chunk - n - zeros + 1)
    assert framer.flush(0) == 0


def test_audio_goes_on_after_a_flush() -> None:
    """Audio after a flush follows the padding, on the same grid."""
    framer = Framer(4, 2)
    framer.push(ramp(3, 1))
    assert framer.flush(2) == 3
    framer.push(ramp(2, 10))
    assert drain(framer) == [[1, 2, 3, 0], [3, 0, 0, 0], [0, 0, 10, 11]]


def test_state_goes_through_json() -> None:
    """A restored framer gives the chunks of the original, wherever it stood."""
    framer = Framer(5, 3)
    framer.push(ramp(11))
    framer.pop()
    other = Framer(5, 3)
    other.restore(json.loads(json.dumps(framer.state())))
    for each in (framer, other):
        each.push(ramp(9, 11))
    assert drain(framer) == drain(other) != []
    assert other.pushed == framer.pushed == 20


def test_small_pushes_do_not_copy_the_buffer() -> None:
    """A million samples in small pushes are moved a bounded number of times, and memory does not grow with age."""
    framer, moved = Framer(5120, 5120), 0
    for _ in range(10_000):
        before = framer._buffer
        first = framer._first
        framer.push(ramp(100))
        if framer._buffer is not before or framer._first < first:
            moved += framer._last - framer._first
        framer.pop()
    assert moved < 1_000_000
    assert len(framer._buffer) <= 4 * 5120


@pytest.mark.parametrize(("chunk", "hop"), [(0, 0), (4, 5), (4, 0)])
def test_refuses_impossible_chunks(chunk: int, hop: int) -> None:
    """A hop is positive and not longer than its chunk."""
    with pytest.raises(ValueError, match="expected 1 <= hop_samples <= chunk_samples"):
        Framer(chunk, hop)
