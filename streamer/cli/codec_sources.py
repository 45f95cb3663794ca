"""SNC1 streams as sources: files, from any second on, and pipes."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from streamer.audio.snc1 import HEADER_BYTES, Lost, Packet, decode_header
from streamer.audio.snc1_index import IndexedReader, Start
from streamer.audio.snc1_writer import StreamWriter
from streamer.cli.inputs import Input
from streamer.cli.source import Source, open_stdin
from streamer.errors import InvalidRequest

_BLOCK_BYTES = 1 << 10


@dataclass(frozen=True, slots=True)
class PacketSource(Source):
    """Open packets: `frames` are bytes of one SNC1 stream. Of its audio the first `discard_samples` are not wanted."""

    discard_samples: int = 0


def open_packets(item: Input, start_s: float = 0.0, preroll_frames: int = 0) -> PacketSource:
    """Open an input, from `start_s` on; the decoder is given `preroll_frames` before that.

    Raises `InvalidRequest`, also while frames are read. The file is closed with its frames.
    """
    if item.path is None:
        if start_s:
            raise InvalidRequest("--start needs a file, standard input cannot be sought in")
        return _whole(open_stdin(), item.name)
    file = _opened(item.path)
    try:
        if start_s:
            return _from(file, start_s, preroll_frames)
        return _whole(file, item.name)
    except BaseException:
        file.close()
        raise


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InvalidRequest(f"cannot open {path.name}: {(error.strerror or 'unreadable').lower()}") from None


def _whole(file: BinaryIO, name: str) -> PacketSource:
    head = b""
    # A pipe may hand out less than it was asked for.
    while len(head) < HEADER_BYTES and (more := file.read(HEADER_BYTES - len(head))):
        head += more
    if head[:4] != b"SNC1":
        raise InvalidRequest(f"{name} is no SNC1 stream")
    header = decode_header(head)
    total = header.total_samples
    duration_s = None if total is None else total / header.sample_rate
    return PacketSource("snc1", header.sample_rate, duration_s, _blocks(head, file))


def _blocks(head: bytes, file: BinaryIO) -> Generator[bytes, None, None]:
    with file:
        yield head
        while block := file.read(_BLOCK_BYTES):
            yield block


def _from(file: BinaryIO, start_s: float, preroll_frames: int) -> PacketSource:
    reader = IndexedReader(file)
    header, total = reader.header, reader.total_samples
    sample = round(start_s * header.sample_rate)
    start = reader.start(sample, preroll_frames)
    left = None if total is None else total - sample
    # What is cut out is a stream of its own: all that comes out of the decoder counts, the preskip too.
    cut = replace(
        header,
        preskip=0,
        total_samples=None if left is None else left + start.discard_samples,
        has_index=False,
    )
    duration_s = None if left is None else left / header.sample_rate
    frames = _renumbered(file, reader, start, StreamWriter(cut))
    return PacketSource("snc1", header.sample_rate, duration_s, frames, discard_samples=start.discard_samples)


def _renumbered(
    file: BinaryIO, reader: IndexedReader, start: Start, writer: StreamWriter
) -> Generator[bytes, None, None]:
    with file:
        yield writer.begin()
        yield from _rewritten(reader.packets(start), writer)


def _rewritten(items: Iterator[Packet | Lost], writer: StreamWriter) -> Iterator[bytes]:
    for item in items:
        if isinstance(item, Lost):
            writer.lose(item.n_packets)
        else:
            yield writer.packet(
                item.payload,
                item.n_books,
                is_keyframe=item.is_keyframe,
                has_fec=item.has_fec,
                is_silence=item.is_silence,
            )
