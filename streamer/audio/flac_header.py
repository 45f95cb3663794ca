"""Headers of flac (RFC 9639): of the stream, of its metadata blocks and of its frames."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.errors import InvalidRequest

STREAM_INFO_BYTES = 34
MARK = b"fLaC"
# The longest frame header: sync code and codes 4, number 7, block size 2, sample rate 2, checksum 1.
MAX_HEADER_BYTES = 16

_LAST_BLOCK = 0x80
_BLOCK_SIZES = {1: 192, **{code: 144 << code for code in range(2, 6)}, **{code: 1 << code for code in range(8, 16)}}
_RATES = (0, 88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000)
_MAX_CHANNEL_CODE = 10


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """The first metadata block; `n_samples` is 0 where the encoder did not know."""

    raw: bytes
    sample_rate: int
    channels: int
    bits: int
    n_samples: int

    @classmethod
    def parse(cls, block: bytes) -> StreamInfo:
        """Read the block of `STREAM_INFO_BYTES` bytes (RFC 9639, 8.2)."""
        fields = int.from_bytes(block[10:18])
        rate, channels, bits = fields >> 44, (fields >> 41 & 7) + 1, (fields >> 36 & 31) + 1
        return cls(block, rate, channels, bits, fields & (1 << 36) - 1)


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """The header of a frame (RFC 9639, 9.1). `number` counts frames, or samples if blocks vary in size.

    `sync` are its first two bytes, the same in all frames of a stream. `sample_rate` 0 stands for the stream's.
    """

    sync: bytes
    number: int
    n_samples: int
    sample_rate: int
    channels: int

    @property
    def next_number(self) -> int:
        """Number of the frame after this one."""
        return self.number + (self.n_samples if self.sync[1] & 1 else 1)


class NotAHeader(Exception):
    """These bytes do not begin a frame."""


def parse_block_header(data: bytes) -> tuple[int, int, bool]:
    """Return type and length of a metadata block, and whether it is the last, from its first four bytes."""
    return data[0] & 0x7F, int.from_bytes(data[1:4]), bool(data[0] & _LAST_BLOCK)


def check_stream_info(info: StreamInfo, sample_rate: int, channels: int) -> None:
    """Raise `InvalidRequest` unless the stream is of the declared format."""
    if info.sample_rate != sample_rate:
        raise InvalidRequest(f"expected {sample_rate} Hz as declared, got {info.sample_rate} Hz in the flac header")
    if info.channels != channels:
        raise InvalidRequest(f"expected {channels} channels as declared, got {info.channels} in the flac header")


def parse_frame_header(data: bytes) -> FrameHeader | None:
    """Read the frame header that `data` begins with; None if more bytes are needed to tell.

    Raises `NotAHeader` when these bytes cannot be one.
    """
    if len(data) < 5:
        return None
    if data[0] != 0xFF or data[1] & 0xFE != 0xF8 or data[3] & 1:
        raise NotAHeader
    size_code, rate_code = data[2] >> 4, data[2] & 15
    number_bytes = _coded_bytes(data[4])
    size_bytes, rate_bytes = {6: 1, 7: 2}.get(size_code, 0), {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    size_at = 4 + number_bytes
    end = size_at + size_bytes + rate_bytes
    if len(data) <= end:
        return None
    if size_code == 0 or rate_code == 15 or data[3] >> 4 > _MAX_CHANNEL_CODE or crc8(data[:end]) != data[end]:
        raise NotAHeader
    given_size = int.from_bytes(data[size_at : size_at + size_bytes]) + 1
    given_rate = int.from_bytes(data[size_at + size_bytes : end])
    return FrameHeader(
        sync=data[:2],
        number=_coded_number(data[4:size_at]),
        n_samples=_BLOCK_SIZES.get(size_code, given_size),
        sample_rate=given_rate * {12: 1000, 14: 10}.get(rate_code, 1) if rate_bytes else _RATES[rate_code],
        # From 8 on the codes say how two channels were made one from the other.
        channels=(data[3] >> 4) + 1 if data[3] >> 4 < 8 else 2,
    )


def crc8(data: bytes) -> int:
    """Return the checksum of a frame header: polynomial x^8 + x^2 + x + 1, from zero."""
    value = 0
    for byte in data:
        value = _CRC8[value ^ byte]
    return value


def _coded_bytes(first: int) -> int:
    """How many bytes hold a coded number that begins with `first`, like UTF-8 but of up to seven bytes."""
    ones = 8 - (first ^ 0xFF).bit_length()
    if ones in (1, 8):
        raise NotAHeader
    return max(ones, 1)


def _coded_number(data: bytes) -> int:
    number = data[0] & 0x7F >> (len(data) if len(data) > 1 else 0)
    for byte in data[1:]:
        if byte & 0xC0 != 0x80:
            raise NotAHeader
        number = number << 6 | byte & 0x3F
    return number


def _crc8_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value << 1 ^ 0x07 if value & 0x80 else value << 1) & 0xFF
        table.append(value)
    return tuple(table)


_CRC8 = _crc8_table()
