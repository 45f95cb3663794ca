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
    n_codes = frames * n_books
    if len(data) * 8 < n_codes * bits:
        raise InvalidRequest(f"expected a payload of {-(-n_codes * bits // 8)} bytes, got {len(data)}")
    spread = np.unpackbits(np.frombuffer(data, np.uint8), count=n_codes * bits).reshape(n_codes, bits)
    codes = spread.astype(np.int64) @ (1 << np.arange(bits - 1, -1, -1, dtype=np.int64))
    return codes.reshape(n_books, frames).T
