"""flac (RFC 9639) decoded while it arrives, frame by frame.

A frame does not say how long it is. It ends where the header of the next one begins, which is told from audio by its
checksum and its number; the decoder then checks the frame's own checksum. So that the last words of a live stream need
not wait for the frame after them, bytes that end with a message are tried as a whole frame, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from streamer.audio.extra import require_av
from streamer.audio.flac_header import (
    MARK,
    MAX_HEADER_BYTES,
    STREAM_INFO_BYTES,
    FrameHeader,
    NotAHeader,
    StreamInfo,
    check_stream_info,
    parse_block_header,
    parse_frame_header,
)
from streamer.audio.frames import mono_of, set_up
from streamer.errors import InvalidRequest
from streamer.work import Array

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext

_BLOCK_HEADER_BYTES = 4
# A message is tried as the end of a frame if it is this part of what is there at least: tries cost what they may gain.
_WORTH_A_TRY = 4


class FlacDecoder:
    """A `StreamDecoder` of flac as it is in files, of one or two channels at the declared `sample_rate`.

    Samples do not depend on how the bytes were cut; when they come may.
    """

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._sample_rate = sample_rate
        self._channels = channels
        self._pending = bytearray()
        # Bytes before `_pending`, for messages.
        self._place = 0
        # Metadata: whether the mark was seen, bytes of a block still to be skipped, whether the last block was seen.
        self._marked = False
        self._to_skip = 0
        self._last_block = False
        self._info: StreamInfo | None = None
        self._decoder: AudioCodecContext | None = None
        # The frame at the begin of `_pending`, where to look for the next one, and what number that must have.
        self._frame: FrameHeader | None = None
        self._searched = 0
        self._next_number: int | None = None
        self._decoded = 0

    @property
    def missing(self) -> str | None:
        """What the stream lacks; to be asked after its end."""
        if self._decoder is None:
            return "its headers"
        if self._pending:
            return f"the rest of a frame of which {len(self._pending)} bytes came"
        expected = self._info.n_samples if self._info else 0
        return f"{expected - self._decoded} of {expected} samples" if self._decoded < expected else None

    def feed(self, data: bytes) -> Iterator[Array]:
        """Take bytes and yield the mono samples, float32 `[n]`, of each frame that they complete."""
        self._pending += data
        if self._decoder is None and not self._read_head():
            return
        while (size := self._frame_size()) is not None:
            samples = self._decode(bytes(self._pending[:size]))
            if samples is None:
                raise InvalidRequest(f"flac frame at byte {self._place} is damaged")
            self._take(size)
            yield samples
        if len(data) * _WORTH_A_TRY >= len(self._pending):
            yield from self.settle()

    def settle(self) -> Iterator[Array]:
        """Yield the samples of the frame that the bytes end with, if it is whole; its next header may be cut off."""
        if self._frame is None:
            return
        for size in self._possible_sizes(self._frame.sync):
            samples = self._decode(bytes(self._pending[:size]))
            # ffmpeg does not mind a few bytes more, which begin the next frame: with a byte less it has to fail.
            if samples is not None and self._decode(bytes(self._pending[: size - 1])) is None:
                self._take(size)
                yield samples
                return

    def _possible_sizes(self, sync: bytes) -> Iterator[int]:
        """How long a frame may be that no whole header follows."""
        size = len(self._pending)
        yield size
        for end in range(max(size - MAX_HEADER_BYTES, 1), size):
            if sync.startswith(bytes(self._pending[end : end + len(sync)])):
                yield end

    def _take(self, size: int) -> None:
        """The frame is done with."""
        assert self._frame is not None
        self._next_number = self._frame.next_number
        self._decoded += self._frame.n_samples
        self._frame = None
        self._drop(size)

    def _drop(self, size: int) -> None:
        del self._pending[:size]
        self._place += size

    def _read_head(self) -> bool:
        """Read the mark and the metadata, as far as they are there; returns whether all are."""
        if not self._marked:
            if not MARK.startswith(self._pending[:4]):
                raise InvalidRequest("expected a flac stream, got one that does not begin with fLaC")
            if len(self._pending) < len(MARK):
                return False
            self._marked = True
            self._drop(len(MARK))
        while not self._skip_block():
            if not self._read_block():
                return False
        self._decoder = self._open()
        return True

    def _skip_block(self) -> bool:
        """Skip what is left of a metadata block; returns whether that was the last."""
        skipped = min(self._to_skip, len(self._pending))
        self._drop(skipped)
        self._to_skip -= skipped
        return self._last_block and not self._to_skip

    def _read_block(self) -> bool:
        """Read the header of a metadata block and the stream info; returns whether it was there."""
        is_first = self._info is None
        if self._to_skip or len(self._pending) < _BLOCK_HEADER_BYTES + is_first * STREAM_INFO_BYTES:
            return False
        kind, length, self._last_block = parse_block_header(bytes(self._pending[:_BLOCK_HEADER_BYTES]))
        if is_first != (kind == 0) or (is_first and length != STREAM_INFO_BYTES):
            raise InvalidRequest(f"expected one flac stream info of {STREAM_INFO_BYTES} bytes, at the begin")
        self._drop(_BLOCK_HEADER_BYTES)
        if is_first:
            self._info = StreamInfo.parse(bytes(self._pending[:STREAM_INFO_BYTES]))
            check_stream_info(self._info, self._sample_rate, self._channels)
        self._to_skip = length
        return True

    def _open(self) -> AudioCodecContext:
        assert self._info is not None
        av = require_av("encoding flac")
        decoder: AudioCodecContext = av.CodecContext.create("flac", "r")
        decoder.extradata = self._info.raw
        set_up(decoder, err_detect="crccheck+explode")
        return decoder

    def _frame_size(self) -> int | None:
        """How long the frame is that begins the pending bytes; None while its end is not there."""
        if self._frame is None and not self._read_frame_header():
            return None
        frame = self._frame
        assert frame is not None
        while (start := self._pending.find(frame.sync, self._searched)) >= 0:
            try:
                header = parse_frame_header(bytes(self._pending[start : start + MAX_HEADER_BYTES]))
            except NotAHeader:
                header = None
            else:
                if header is None:
                    self._searched = start
                    break
            if header is not None and header.number == frame.next_number:
                return start
            self._searched = start + 1
        else:
            # The first byte of the sync code may be there already.
            self._searched = max(self._searched, len(self._pending) - 1)
        self._check_size(frame)
        return None

    def _check_size(self, frame: FrameHeader) -> None:
        """Raise `InvalidRequest` when there are more bytes than the frame can have."""
        assert self._info is not None
        # Twice what the samples would take uncompressed: a frame that is longer was not meant to compress.
        most = 2 * (frame.n_samples * frame.channels * self._info.bits // 8) + 1024
        if len(self._pending) > most:
            raise InvalidRequest(f"flac frame at byte {self._place} is damaged or the one after it is missing")

    def _read_frame_header(self) -> bool:
        try:
            header = parse_frame_header(bytes(self._pending[:MAX_HEADER_BYTES]))
        except NotAHeader:
            raise InvalidRequest(f"expected a flac frame at byte {self._place}, got something else") from None
        if header is None:
            return False
        if header.sample_rate not in (0, self._sample_rate) or header.channels != self._channels:
            got = f"{header.channels} at {header.sample_rate or self._sample_rate} Hz"
            expected = f"expected {self._channels} channels at {self._sample_rate} Hz"
            raise InvalidRequest(f"{expected} in the flac frame at byte {self._place}, got {got}")
        if self._next_number not in (None, header.number):
            expected = f"expected flac frame {self._next_number} at byte {self._place}"
            raise InvalidRequest(f"{expected}, got {header.number}")
        # The sync code of the frame itself must not be found again.
        self._frame, self._searched = header, 2
        return True

    def _decode(self, data: bytes) -> Array | None:
        """Return the samples of a frame, float32 `[n]`; None if these bytes are not exactly one."""
        assert self._decoder is not None
        assert self._frame is not None
        av: Any = require_av("encoding flac")
        try:
            frames = self._decoder.decode(av.Packet(data))
        except (av.error.FFmpegError, ValueError):
            return None
        if len(frames) != 1 or frames[0].samples != self._frame.n_samples:
            return None
        return mono_of(frames[0])
