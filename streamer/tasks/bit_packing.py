"""Codes in fixed widths (entropy mode 0): book after book, most significant bit first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamer.errors import InvalidRequest
from streamer.work import Array


def pack(codes: Array, bits: int) -> bytes:
    """Return codes `[M, n_books]` as ceil(M * n_books * bits / 8) bytes; the last one is filled up with zeros.

    All frames of book 0 come first, then those of book 1: who has only the begin has the coarser books.
    """
    return pack_many([codes], bits)[0]


def pack_many(batch: Sequence[Array], bits: int) -> list[bytes]:
    """Return `pack` of each of the packets, whose shapes may differ."""
    flat = [np.asarray(codes).T.reshape(-1) for codes in batch]
    sizes = [-(-len(codes) * bits // 8) for codes in flat]
    shifts = np.arange(bits - 1, -1, -1)
    found = []
    for codes, size in zip(flat, sizes, strict=True):
        spread = (codes[:, None] >> shifts & 1).astype(np.uint8)
        found.append(np.packbits(spread).tobytes()[:size])
    return found


def unpack(data: bytes, frames: int, n_books: int, bits: int) -> Array:
    """Return the codes int64 `[frames, n_books]` that `pack` wrote; raises `InvalidRequest` if there are fewer."""
    n_codes = frames * n_books
    if len(data) * 8 < n_codes * bits:
        raise InvalidRequest(f"expected a payload of {-(-n_codes * bits // 8)} bytes, got {len(data)}")
    spread = np.unpackbits(np.frombuffer(data, np.uint8), count=n_codes * bits).reshape(n_codes, bits)
    codes = spread.astype(np.int64) @ (1 << np.arange(bits - 1, -1, -1, dtype=np.int64))
    return codes.reshape(n_books, frames).T
