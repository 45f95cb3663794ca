"""Codes in fixed widths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import InvalidRequest, ModelFault
from streamer.tasks.bit_packing import pack, pack_many, unpack


def codes_of(frames: int, n_books: int, bits: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1 << bits, (frames, n_books))


def test_books_are_packed_one_after_the_other() -> None:
    """Most significant bit first; zeros fill the last byte."""
    assert pack(np.array([[0x3FF, 0], [1, 0x155]]), 10) == b"\xff\xc0\x10\x01\x55"
    assert pack(np.array([[5], [1], [7]]), 3) == bytes([0b10100111, 0b10000000])


@settings(deadline=None)
@given(st.integers(1, 16), st.integers(1, 32), st.integers(1, 16), st.integers(0, 99))
def test_codes_come_back(frames: int, n_books: int, bits: int, seed: int) -> None:
    """Of any width, in as few bytes as hold them."""
    codes = codes_of(frames, n_books, bits, seed)
    data = pack(codes, bits)
    assert len(data) == -(-codes.size * bits // 8)
    np.testing.assert_array_equal(unpack(data, frames, n_books, bits), codes)


@settings(deadline=None)
@given(st.integers(1, 16), st.integers(1, 32), st.integers(1, 16), st.integers(0, 99))
def test_the_begin_has_the_coarser_books(frames: int, n_books: int, bits: int, seed: int) -> None:
    """Who cuts bytes off still has the first books."""
    codes = codes_of(frames, n_books, bits, seed)
    kept = 1 + seed % n_books
    data = pack(codes, bits)[: -(-frames * kept * bits // 8)]
    np.testing.assert_array_equal(unpack(data, frames, kept, bits), codes[:, :kept])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 12)), max_size=12))
def test_many_are_packed_like_each(shapes: list[tuple[int, int]]) -> None:
    """Packets of all lengths and rates in one batch."""
    batch = [codes_of(frames, n_books, 10, seed) for seed, (frames, n_books) in enumerate(shapes)]
    assert pack_many(batch, 10) == [pack(codes, 10) for codes in batch]


def test_too_few_bytes_are_refused() -> None:
    """The message says how many it takes."""
    with pytest.raises(InvalidRequest, match=r"^expected a payload of 4 bytes, got 3$"):
        unpack(bytes(3), 1, 3, 10)


@pytest.mark.parametrize("wrong", [-1, 1024])
def test_codes_of_more_bits_are_a_fault(wrong: int) -> None:
    """Nothing is cut off unseen."""
    with pytest.raises(ModelFault, match=f"^expected codes of 10 bits, got {min(wrong, 3)} to {max(wrong, 3)}$"):
        pack(np.array([[3, wrong]]), 10)
