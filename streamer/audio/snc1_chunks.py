"""What an SNC1 stream holds beside packets: the end, which counts the samples, and the seek index of a file.

The end is told as soon as it is known, which is before the last packets: so who decodes a live stream need not hold
back what may be padding.

No packet begins like them: read as one, their `S` would be silence of twenty books.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from streamer.audio.crc import crc32c
from streamer.audio.snc1 import MAX_SAMPLES
from streamer.errors import InvalidRequest

MARK = ord("S")
END_MAGIC, INDEX_MAGIC, TRAILER_MAGIC = b"SEND", b"SIDX", b"SNCX"
END_BYTES = 16
# An hour has no more than 3,600 entries. What is longer is not read, because summing it up would take seconds.
MAX_ENTRIES = 1 << 16
INDEX_HEAD_BYTES, INDEX_ENTRY_BYTES, CHECKSUM_BYTES, TRAILER_BYTES = 8, 12, 4, 12

_END = struct.Struct("<4sQ")
_INDEX_HEAD = struct.Struct("<4sI")
_ENTRY = struct.Struct("<IQ")
_TRAILER = struct.Struct("<Q4s")


@dataclass(frozen=True, slots=True)
class Entry:
    """A place to begin: the number of the first frame of a keyframe packet, and the byte where that packet begins."""

    frame: int
    offset: int


def encode_end(total_samples: int) -> bytes:
    """Return the end of a stream of `total_samples`; raises `InvalidRequest` for more than a stream can have."""
    if not 0 <= total_samples <= MAX_SAMPLES:
        raise InvalidRequest(f"expected an snc1 stream of at most {MAX_SAMPLES} samples, got {total_samples}")
    return _sealed(_END.pack(END_MAGIC, total_samples))


def decode_end(data: bytes) -> int | None:
    """Return the samples that an end of 16 bytes counts; None where these bytes are none."""
    if len(data) != END_BYTES or not data.startswith(END_MAGIC) or not _is_whole(data):
        return None
    total = int(_END.unpack_from(data)[1])
    return total if total <= MAX_SAMPLES else None


def encode_index(entries: Sequence[Entry], offset: int) -> bytes:
    """Return the index that begins at byte `offset` of its file, and the trailer that ends the file."""
    body = _INDEX_HEAD.pack(INDEX_MAGIC, len(entries))
    body += b"".join(_ENTRY.pack(entry.frame, entry.offset) for entry in entries)
    return _sealed(body) + _TRAILER.pack(offset, TRAILER_MAGIC)


def decode_trailer(data: bytes) -> int | None:
    """Return where the index begins in a file that ends with these 12 bytes; None where they are no trailer."""
    offset, magic = _TRAILER.unpack(data)
    return int(offset) if magic == TRAILER_MAGIC else None


def decode_index(data: bytes) -> list[Entry] | None:
    """Return the entries of the index that is all of `data`; None where it is damaged."""
    if len(data) < INDEX_HEAD_BYTES + CHECKSUM_BYTES or not data.startswith(INDEX_MAGIC):
        return None
    n_entries = _INDEX_HEAD.unpack_from(data)[1]
    if len(data) != INDEX_HEAD_BYTES + n_entries * INDEX_ENTRY_BYTES + CHECKSUM_BYTES or not _is_whole(data):
        return None
    return [Entry(*pair) for pair in _ENTRY.iter_unpack(data[INDEX_HEAD_BYTES:-CHECKSUM_BYTES])]


def _sealed(body: bytes) -> bytes:
    return body + crc32c(body).to_bytes(CHECKSUM_BYTES, "little")


def _is_whole(data: bytes) -> bool:
    return data == _sealed(data[:-CHECKSUM_BYTES])
