"""Where packets and decoded audio go: files that are there whole or not at all, pipes, a loudspeaker."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from streamer.audio.pcm import bytes_per_sample
from streamer.audio.snc1 import Lost, Packet
from streamer.audio.snc1_reader import PacketReader
from streamer.audio.snc1_writer import FileWriter
from streamer.cli.whole_file import whole_file
from streamer.client.wav import wav_header
from streamer.errors import StreamerError

if TYPE_CHECKING:
    from streamer.client.speaker import Loudspeaker


class Sink(Protocol):
    """Takes the bytes of one stream, in order."""

    def begin(self, sample_rate: int) -> None:
        """The stream is admitted; audio will have this rate."""

    def take(self, data: bytes) -> None:
        """The next bytes; may block."""

    def finish(self) -> None:
        """Nothing follows."""


class Pipe:
    """Writes bytes as they are, at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def begin(self, sample_rate: int) -> None:
        """Raw bytes do not tell."""

    def take(self, data: bytes) -> None:
        """Write."""
        self._file.write(data)
        self._file.flush()

    def finish(self) -> None:
        """Everything is written already."""


class PacketFile:
    """Writes packets as a file with its number of samples in the header and a seek index at the end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._reader = PacketReader()
        self._writer: FileWriter | None = None

    def begin(self, sample_rate: int) -> None:
        """The packets' own header counts."""

    def take(self, data: bytes) -> None:
        """Write the packets that `data` completes."""
        self._write(self._reader.feed(data))

    def finish(self) -> None:
        """Write what only the end knows."""
        self._write(self._reader.finish())
        if self._writer is None:
            raise StreamerError("expected packets, got none")
        header, total = self._reader.header, self._reader.total_samples
        assert header is not None
        if total is None:
            # Packets of a stream that was cut off, which nobody counted.
            total = max(0, self._reader.n_packets * header.packet_samples - header.preskip)
        self._writer.finish(total)

    def _write(self, items: Iterator[Packet | Lost]) -> None:
        for item in items:
            writer = self._opened()
            if isinstance(item, Lost):
                writer.lose(item.n_packets)
            else:
                writer.packet(
                    item.payload,
                    item.n_books,
                    is_keyframe=item.is_keyframe,
                    has_fec=item.has_fec,
                    is_silence=item.is_silence,
                )
        self._opened()

    def _opened(self) -> FileWriter:
        if self._writer is None:
            assert self._reader.header is not None
            self._writer = FileWriter(self._file, replace(self._reader.header, total_samples=None, has_index=True))
        return self._writer


class WavFile:
    """Writes PCM in `encoding` as a WAV file."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self._file = file
        self._encoding = encoding
        self._sample_rate = 0
        self._n_bytes = 0

    def begin(self, sample_rate: int) -> None:
        """Write a header, which the end replaces where the file can be sought in."""
        self._sample_rate = sample_rate
        self._file.write(wav_header(0, self._encoding, sample_rate))

    def take(self, data: bytes) -> None:
        """Write samples."""
        self._file.write(data)
        self._n_bytes += len(data)

    def finish(self) -> None:
        """Write how many there are."""
        self._file.write(bytes(self._n_bytes % 2))
        if self._file.seekable():
            self._file.seek(0)
            self._file.write(wav_header(self._n_bytes, self._encoding, self._sample_rate))


class Played:
    """Plays 16-bit PCM."""

    def __init__(self, speaker: Loudspeaker) -> None:
        self._speaker = speaker

    def begin(self, sample_rate: int) -> None:
        """Open the device."""
        self._speaker.open(sample_rate)

    def take(self, data: bytes) -> None:
        """Play; returns when the device has room for more."""
        self._speaker.play(data)

    def finish(self) -> None:
        """Wait until all of it was heard."""
        self._speaker.drain()


class Cut:
    """Drops the first `discard_samples`, at `model_rate`, of PCM in `encoding` on its way to `sink`."""

    def __init__(self, sink: Sink, encoding: str, discard_samples: int, model_rate: int) -> None:
        self._sink = sink
        self._sample_bytes = bytes_per_sample(encoding)
        self._discard_samples, self._model_rate = discard_samples, model_rate
        self._left = 0

    def begin(self, sample_rate: int) -> None:
        """Pass on."""
        self._left = round(self._discard_samples * sample_rate / self._model_rate) * self._sample_bytes
        self._sink.begin(sample_rate)

    def take(self, data: bytes) -> None:
        """Pass on what is wanted."""
        dropped, self._left = data[: self._left], max(0, self._left - len(data))
        if len(data) > len(dropped):
            self._sink.take(data[len(dropped) :])

    def finish(self) -> None:
        """Pass on."""
        self._sink.finish()


@contextmanager
def open_output(path: Path | None) -> Iterator[BinaryIO]:
    """Give the file at `path`, or standard output for None. Raises `StreamerError` where it cannot be written."""
    try:
        if path is None:
            yield sys.stdout.buffer
        else:
            with whole_file(path) as file:
                yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        name = "standard output" if path is None else path
        raise StreamerError(f"cannot write {name}: {(error.strerror or 'failed').lower()}") from None
