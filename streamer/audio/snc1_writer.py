"""Writers of SNC1 streams: bytes to send as they come, or a file that can be sought in."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import BinaryIO

from streamer.audio.snc1 import Header, Packet, check_packet, encode_header, encode_packet
from streamer.audio.snc1_chunks import MAX_ENTRIES, Entry, encode_end, encode_index


class StreamWriter:
    """Numbers packets and writes them; all that it returned, in order, is one stream."""

    def __init__(self, header: Header) -> None:
        self.header = header
        # Packets so far, those that were lost included.
        self.n_packets = 0

    def begin(self) -> bytes:
        """Return the header; raises `InvalidRequest` if there is none like it."""
        return encode_header(self.header)

    def packet(
        self, payload: bytes, n_books: int, *, is_keyframe: bool, has_fec: bool = False, is_silence: bool = False
    ) -> bytes:
        """Return the next packet; raises `InvalidRequest` if the stream may not hold it."""
        packet = Packet(self.n_packets % 256, n_books, is_keyframe, is_silence, has_fec, payload)
        check_packet(self.header, packet)
        self.n_packets += 1
        return encode_packet(packet)

    def silence(self, *, is_keyframe: bool = False) -> bytes:
        """Return the next packet, of silence."""
        return self.packet(b"", 1, is_keyframe=is_keyframe, is_silence=True)

    def lose(self, n_packets: int) -> None:
        """Leave out the numbers of `n_packets`, which a relay did not get."""
        self.n_packets += n_packets

    def end(self, total_samples: int) -> bytes:
        """Return what tells how many samples the stream has: to be sent when that is known, before the last packets."""
        return encode_end(total_samples)


class FileWriter:
    """Writes a stream into `file`, in binary from where it stands.

    Where the file can be sought in, its header gets the number of samples at the end. With `header.has_index`, the
    packets to begin at are listed behind the stream, one in a second at most.
    """

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self._file = file
        self._stream = StreamWriter(header)
        # Keyframes that are listed, and how many samples lie between two of them at least.
        self._entries: list[Entry] = []
        self._spacing = header.sample_rate
        self._seekable = file.seekable()
        self._origin = file.tell() if self._seekable else 0
        self._place = 0
        self._total_samples = header.total_samples
        self._write(self._stream.begin())

    def packet(
        self, payload: bytes, n_books: int, *, is_keyframe: bool, has_fec: bool = False, is_silence: bool = False
    ) -> None:
        """Append a packet; raises `InvalidRequest` if the stream may not hold it."""
        n_packets, place = self._stream.n_packets, self._place
        self._write(
            self._stream.packet(payload, n_books, is_keyframe=is_keyframe, has_fec=has_fec, is_silence=is_silence)
        )
        if is_keyframe:
            self._list(n_packets, place)

    def lose(self, n_packets: int) -> None:
        """Leave out the numbers of `n_packets` that did not arrive."""
        self._stream.lose(n_packets)

    def _list(self, n_packets: int, place: int) -> None:
        """Remember a keyframe, unless one is listed that lies close before it."""
        header = self._stream.header
        frame = n_packets * header.frames_per_packet
        if not self._entries or (frame - self._entries[-1].frame) * header.frame_samples >= self._spacing:
            self._entries.append(Entry(frame, place))
        if len(self._entries) > MAX_ENTRIES:
            self._entries = self._entries[::2]
            self._spacing *= 2

    def end(self, total_samples: int) -> None:
        """Say how many samples the stream has, as soon as that is known: a pipe's reader wants it before the end."""
        if self._total_samples is None and not self._seekable:
            self._write(self._stream.end(total_samples))
        self._total_samples = total_samples

    def finish(self, total_samples: int) -> None:
        """Write what only the end knows; the file stays open."""
        self.end(total_samples)
        header = self._stream.header
        if header.has_index:
            self._write(encode_index(self._entries, self._place))
        if self._seekable:
            self._file.seek(self._origin)
            self._file.write(encode_header(replace(header, total_samples=total_samples)))
            self._file.seek(0, io.SEEK_END)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._place += len(data)
