"""Codes in fixed widths (entropy mode 0): book after book, most significant bit first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamer.errors import InvalidRequest, ModelFault
from streamer.work import Array

_WORD_BITS = 16


def pack(codes: Array, bits: int) -> bytes:
    """Return codes int `[M, n_books]` as ceil(M * n_books * bits / 8) bytes; the last one is filled up with zeros.

    All frames of book 0 come first, then those of book 1: who has only the begin has the coarser books. Raises
    `ModelFault` for codes of more bits.
    """
    return _packed(codes[None], bits)[0]


def pack_many(batch: Sequence[Array], bits: int) -> list[bytes]:
    """Return `pack` of each of the packets, whose shapes may differ."""
    places: dict[tuple[int, ...], list[int]] = {}
    for place, codes in enumerate(batch):
        places.setdefault(codes.shape, []).append(place)
    found = [b""] * len(batch)
    for same in places.values():
        for place, data in zip(same, _packed(np.stack([batch[place] for place in same]), bits), strict=True):
            found[place] = data
    return found


def _packed(codes: Array, bits: int) -> list[bytes]:
    """Pack `[B, M, n_books]`."""
    if (codes >> bits).any():
        raise ModelFault(f"expected codes of {bits} bits, got {codes.min()} to {codes.max()}")
    # Of each code the bytes, of these the bits, of these the last ones.
    words = codes.transpose(0, 2, 1).astype(">u2", order="C").view(np.uint8)
    spread = np.unpackbits(words).reshape(-1, _WORD_BITS)[:, _WORD_BITS - bits :]
    rows = np.packbits(spread.reshape(len(codes), -1), axis=1)
    size, data = rows.shape[1], rows.tobytes()
    return [data[start : start + size] for start in range(0, len(data), size)]


def unpack(data: bytes, frames: int, n_books: int, bits: int) -> Array:
    """Return the codes int64 `[frames, n_books]` that `pack` wrote; raises `InvalidRequest` if there are fewer."""
    codes = unpack_many([(data, frames, n_books)], bits)[0]
    if codes is None:
        raise InvalidRequest(f"expected a payload of {_size(frames, n_books, bits)} bytes, got {len(data)}")
    return codes


def unpack_many(batch: Sequence[tuple[bytes, int, int]], bits: int) -> list[Array | None]:
    """Return `unpack` of each `(data, frames, n_books)`, None where there are fewer codes."""
    places: dict[tuple[int, int], list[int]] = {}
    for place, (data, frames, n_books) in enumerate(batch):
        if len(data) >= _size(frames, n_books, bits):
            places.setdefault((frames, n_books), []).append(place)
    found: list[Array | None] = [None] * len(batch)
    for (frames, n_books), same in places.items():
        size = _size(frames, n_books, bits)
        rows = np.frombuffer(b"".join(batch[place][0][:size] for place in same), np.uint8).reshape(-1, size)
        for place, codes in zip(same, _unpacked(rows, frames, n_books, bits), strict=True):
            found[place] = codes
    return found


def _unpacked(rows: Array, frames: int, n_books: int, bits: int) -> Array:
    """Unpack u8 `[B, size]` to int64 `[B, frames, n_books]`."""
    n_codes = frames * n_books
    words = np.zeros((len(rows) * n_codes, _WORD_BITS), np.uint8)
    words[:, _WORD_BITS - bits :] = np.unpackbits(rows, axis=1, count=n_codes * bits).reshape(-1, bits)
    codes = np.packbits(words, axis=1).view(">u2").astype(np.int64)
    return codes.reshape(-1, n_books, frames).transpose(0, 2, 1)


def _size(frames: int, n_books: int, bits: int) -> int:
    return -(-frames * n_books * bits // 8)
