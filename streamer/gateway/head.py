"""The beginning of a client's audio, until its format is known.

Clients of other protocols may leave the encoding out and send a file as it is; NVIDIA's own scripts do, and send the
header of a wav file even where they declare its samples. A header is a declaration as good as a field, so it is read;
audio that has neither is refused.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from streamer.audio.encodings import COMPRESSED, FLAC, OGG_OPUS
from streamer.audio.opus import RATE as OPUS_RATE
from streamer.audio.pcm import bytes_per_sample
from streamer.errors import InvalidRequest

# A wav header may hold chunks of other things before its samples.
_LONGEST_HEADER = 65536
_MAGIC_BYTES = 12
# Format tags of WAVE_FORMAT (RFC 2361) and bits per sample, to encodings.
_WAV_ENCODINGS = {(1, 16): "pcm_s16le", (3, 32): "pcm_f32le", (6, 8): "pcm_alaw", (7, 8): "pcm_mulaw"}
_EXTENSIBLE = 0xFFFE
# Writers that cannot seek back leave one of these in the place of the length.
_UNKNOWN_LENGTHS = (0, 0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Format:
    """How audio is written, and its samples per second (Hz)."""

    encoding: str
    sample_rate: int


class AudioHead:
    """Takes audio as it comes and gives it back without the header of a wav file, in whole samples.

    `declared` is the encoding that the client declared, None for none, and `sample_rate` its rate, 0 for none;
    `rate_field` is what the client's protocol calls the rate.
    """

    def __init__(self, declared: str | None, sample_rate: int, rate_field: str = "sample_rate") -> None:
        self._declared = declared
        self._rate_field = rate_field
        if declared == OGG_OPUS and not sample_rate:
            # What opus was made from does not matter, it decodes to one rate.
            sample_rate = OPUS_RATE
        self._rate = sample_rate
        self._pending = b""
        self._is_open = True
        # Bytes of the samples of a wav file that are still to come; None if it does not say, or is none.
        self._left: int | None = None
        self.format = Format(declared, sample_rate) if declared and sample_rate else None

    def feed(self, data: bytes) -> bytes:
        """Return the audio that can be passed on, if any; raises `InvalidRequest` for a header that cannot be served.

        Once it returns something, `format` is known.
        """
        data = self._pending + data
        self._pending = b""
        if self._is_open:
            found = self._opened(data)
            if found is None:
                self._pending = data
                return b""
            data, self._is_open = found, False
        return self._whole(data)

    def finish(self) -> bytes:
        """Return what was kept back; raises `InvalidRequest` if the audio ends before its format is known."""
        data, self._pending = self._pending, b""
        if self.format is None:
            raise self._unknown(data)
        if data and not self._is_open:
            raise InvalidRequest("audio ends in the middle of a sample")
        return data

    def _opened(self, data: bytes) -> bytes | None:
        """Return `data` without its header, None if more is needed to find its end."""
        if self._declared not in (None, "pcm_s16le") and self.format is not None:
            return data
        if len(data) < _MAGIC_BYTES:
            return None
        if self._declared != FLAC and data[:4] == b"RIFF" and data[8:12] == b"WAVE":
            return self._wav(data)
        if self._declared == "pcm_s16le" and self.format:
            return data
        return self._compressed(data)

    def _compressed(self, data: bytes) -> bytes | None:
        if data[:4] == b"OggS" and self._declared is None:
            self.format = Format(OGG_OPUS, self._rate or OPUS_RATE)
        elif data[:4] == b"fLaC" and self._declared in (None, FLAC):
            if len(data) < 21:
                return None
            # 20 bits of STREAMINFO, which is always the first block (RFC 9639, section 8.2).
            self.format = Format(FLAC, self._rate or int.from_bytes(data[18:21]) >> 4)
        else:
            raise self._unknown(data)
        return data

    def _wav(self, data: bytes) -> bytes | None:
        at = _MAGIC_BYTES
        written: Format | None = None
        while len(data) >= at + 8:
            name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
            at += 8
            if name == b"data":
                if written is None:
                    raise InvalidRequest("wav header: expected a chunk fmt before the samples")
                self._agree(written)
                self._left = None if size in _UNKNOWN_LENGTHS else size
                return data[at:]
            if name == b"fmt " and len(data) >= at + size:
                written = _written(data[at : at + size])
            # Chunks are padded to even lengths.
            at += size + size % 2
            if at > _LONGEST_HEADER:
                raise InvalidRequest(f"wav header: expected samples within {_LONGEST_HEADER} bytes")
        return None

    def _agree(self, written: Format) -> None:
        """Take the format of a header; raises `InvalidRequest` if the config says otherwise."""
        if self._declared not in (None, written.encoding):
            raise InvalidRequest(f"wav header: expected {self._declared} as in the config, got {written.encoding}")
        if self._rate not in (0, written.sample_rate):
            raise InvalidRequest(f"wav header: expected {self._rate} Hz as in the config, got {written.sample_rate} Hz")
        self.format = written

    def _whole(self, data: bytes) -> bytes:
        """Return `data` up to its last whole sample, and not beyond the samples of a wav file."""
        assert self.format is not None
        if self.format.encoding in COMPRESSED:
            return data
        if self._left is not None:
            data = data[: self._left]
        cut = len(data) % bytes_per_sample(self.format.encoding)
        whole, self._pending = data[: len(data) - cut], data[len(data) - cut :]
        if self._left is not None:
            self._left -= len(whole)
        return whole

    def _unknown(self, data: bytes) -> InvalidRequest:
        if self._declared == FLAC:
            return InvalidRequest(f"expected audio that begins like flac, got {data[:4]!r}")
        missing = "encoding" if self._declared is None else self._rate_field
        return InvalidRequest(f"expected {missing}, or audio with the header of wav, flac or ogg, got {data[:4]!r}")


def _written(fmt: bytes) -> Format:
    """Read the chunk `fmt ` of a wav file; raises `InvalidRequest` for samples that are not read here."""
    if len(fmt) < 16:
        raise InvalidRequest(f"wav header: expected a chunk fmt of at least 16 bytes, got {len(fmt)}")
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", fmt)
    if tag == _EXTENSIBLE and len(fmt) >= 26:
        tag = int.from_bytes(fmt[24:26], "little")
    if channels != 1:
        raise InvalidRequest(f"wav header: expected 1 channel, got {channels}")
    if (tag, bits) not in _WAV_ENCODINGS:
        known = "16 bit, 32 bit float, mu-law or A-law"
        raise InvalidRequest(f"wav header: expected samples of {known}, got format {tag} of {bits} bit")
    return Format(_WAV_ENCODINGS[tag, bits], rate)
