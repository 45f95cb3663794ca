"""Where speech goes: audio files of all kinds, raw samples for a pipe, a loudspeaker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

from streamer.audio.encoders import Encoder, open_encoder
from streamer.audio.writers import Writer, open_writer
from streamer.cli.codec_run import loudspeaker
from streamer.cli.codec_sinks import Pipe, Sink, open_output
from streamer.cli.inputs import STDIN, output_paths
from streamer.cli.speech_forms import Form, form_of
from streamer.cli.text_sources import TextInput
from streamer.errors import InvalidRequest

OpenSink = Callable[[TextInput], AbstractContextManager[Sink]]


class AudioFile:
    """Writes 16-bit PCM as a file; one that cannot be sought in, such as a named pipe, as it comes."""

    def __init__(self, file: BinaryIO, form: str) -> None:
        self._file = file
        self._form = form
        self._writer: Writer | None = None
        self._encoder: Encoder | None = None

    def begin(self, sample_rate: int) -> None:
        """Write a header; raises `InvalidRequest` for a rate that the format does not know."""
        if self._file.seekable():
            self._writer = open_writer(self._file, self._form, sample_rate)
        else:
            self._encoder = open_encoder(self._form, sample_rate)

    def take(self, data: bytes) -> None:
        """Write samples."""
        if self._writer is not None:
            self._writer.write(data)
        elif self._encoder is not None:
            self._file.write(self._encoder.encode(data))
            self._file.flush()

    def finish(self) -> None:
        """Write what only the end knows."""
        self.close()
        if self._encoder is not None:
            self._file.write(self._encoder.finish())

    def close(self) -> None:
        """Let go of the file, however much of it is written. Idempotent."""
        if self._writer is not None:
            self._writer.close()


def one_sink(item: TextInput, output: str, overwrite: bool) -> OpenSink:
    """Return where the sound of one text goes: a file named `output`, or `-` for raw samples on standard output.

    Raises `typer.BadParameter` for a file of no known kind, and `InvalidRequest` if it is there unless `overwrite`.
    """
    if output == STDIN:
        return _files({item: (None, "")})
    path = Path(output)
    form = form_of(path)
    if path.is_file() and not overwrite:
        raise InvalidRequest(f"{path} exists, --overwrite replaces it")
    return _files({item: (path, form.codec)})


def folder_sinks(items: Sequence[TextInput], folder: Path, form: Form, overwrite: bool) -> OpenSink:
    """Return where the sound of each text goes in `folder`; raises as `output_paths` does."""
    paths = output_paths([item.item for item in items], folder, f".{form.value}", overwrite)
    return _files({item: (paths[item.item], form.codec) for item in items})


def loudspeaker_sink(device: str | None) -> OpenSink:
    """Return a sound card, by name or number, None for the default one, as the place for sound to go."""
    return lambda _: loudspeaker(device)


def _files(places: Mapping[TextInput, tuple[Path | None, str]]) -> OpenSink:
    @contextmanager
    def opened(item: TextInput) -> Iterator[Sink]:
        path, form = places[item]
        with open_output(path) as file:
            if path is None:
                yield Pipe(file)
                return
            sink = AudioFile(file, form)
            try:
                yield sink
            finally:
                sink.close()

    return opened
