"""One invocation of a command of `streamer codec`: inputs, where they go, and what runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import typer

from streamer.cli.inputs import STDIN, Input, output_paths
from streamer.cli.jobs import default_jobs, for_files, is_progress_shown, quieten
from streamer.cli.options import Provider, given, settings_from
from streamer.cli.progress import BatchProgress, complain
from streamer.errors import InvalidRequest

if TYPE_CHECKING:
    from streamer.bundle.manifest import Manifest
    from streamer.cli.codec_batch import Conversion
    from streamer.cli.codec_sinks import Sink
    from streamer.cli.source import Source
    from streamer.config import Settings
    from streamer.session.messages import CodecOptions

PACKETS = frozenset({".snc"})
OpenSink = Callable[[Input], AbstractContextManager["Sink"]]


@dataclass(slots=True)
class CodecRun:
    """Puts `inputs` through a codec, `jobs` at a time; an exit status of 1 tells that one failed, or more."""

    inputs: list[Input]
    jobs: int | None
    quiet: bool
    settings: Settings
    model: str
    failed: list[Input] = field(default_factory=list)

    def convert(self, open_source: Callable[[Input], Source], open_sink: OpenSink, codec: CodecOptions) -> None:
        """Convert all inputs."""
        self._convert(self._manifest(), open_source, open_sink, codec)

    def convert_packets(self, start_s: float, open_sink: OpenSink, codec: CodecOptions) -> None:
        """Convert SNC1 streams, from `start_s` on."""
        from streamer.cli.chosen_model import preroll_frames
        from streamer.cli.codec_sources import open_packets

        manifest = self._manifest()
        opened = partial(open_packets, start_s=start_s, preroll_frames=preroll_frames(manifest))
        self._convert(manifest, opened, open_sink, codec)

    def _manifest(self) -> Manifest:
        from streamer.cli.chosen_model import codec_manifest

        return codec_manifest(self.settings, self.model)

    def _convert(
        self, manifest: Manifest, open_source: Callable[[Input], Source], open_sink: OpenSink, codec: CodecOptions
    ) -> None:
        import asyncio

        from streamer.cli.chosen_model import key_of, only
        from streamer.cli.codec_batch import Conversion

        key = key_of(manifest)
        settings = only(self.settings, key)
        jobs = min(self.jobs or default_jobs(settings), len(self.inputs))
        quieten(settings)
        with BatchProgress(len(self.inputs), is_progress_shown(self.quiet)) as progress:
            conversion = Conversion(open_source, open_sink, codec, key)
            asyncio.run(self._run(conversion, for_files(settings, jobs), jobs, progress))
        if not self.quiet:
            typer.echo(progress.summary(len(self.failed)), err=True)
        if self.failed:
            raise typer.Exit(1)

    async def _run(self, conversion: Conversion, settings: Settings, jobs: int, progress: BatchProgress) -> None:
        from streamer.cli.codec_batch import convert
        from streamer.cli.in_process import run_jobs
        from streamer.host.assemble import running_host

        def failed(item: Input, reason: str) -> None:
            self.failed.append(item)
            complain(item.name, reason)
            progress.finished()

        async with running_host(settings) as host:
            await run_jobs(self.inputs, jobs, lambda item: convert(host, item, conversion, progress), failed)


def settings_of(
    config: Path | None, bundle_path: list[Path] | None, workers: int | None, provider: Provider | None
) -> Settings:
    """Merge file, environment and flags; raises `InvalidRequest`."""
    flags = {
        "bundle_path": given(bundle_path),
        "engine": {"workers": workers, "provider": provider.value if provider else None},
    }
    return settings_from(config, flags)


def packet_sinks(inputs: Sequence[Input], output: str | None, folder: Path | None, overwrite: bool) -> OpenSink:
    """Say where the packets of each input go: into files that can be sought in, or a pipe."""

    def sink(file: BinaryIO) -> Sink:
        from streamer.cli.codec_sinks import PacketFile

        return PacketFile(file)

    return _sinks(_places(inputs, output, folder, overwrite, ".snc"), sink)


def audio_sinks(
    inputs: Sequence[Input], output: str | None, folder: Path | None, overwrite: bool, encoding: str
) -> OpenSink:
    """Say where the audio of each input goes: into WAV files, or raw into a pipe."""

    def sink(file: BinaryIO) -> Sink:
        from streamer.cli.codec_sinks import WavFile

        return WavFile(file, encoding)

    return _sinks(_places(inputs, output, folder, overwrite, ".wav"), sink)


@contextmanager
def loudspeaker(device: str | None) -> Iterator[Sink]:
    """A sound card, by name or number; None for the default one."""
    from streamer.cli.codec_sinks import Played
    from streamer.client.speaker import Loudspeaker

    named = int(device) if device is not None and device.isdecimal() else device
    with closing(Loudspeaker(named)) as speaker:
        yield Played(speaker)


def _places(
    inputs: Sequence[Input], output: str | None, folder: Path | None, overwrite: bool, suffix: str
) -> dict[Input, Path | None]:
    """The file of each input, None for standard output."""
    if (output is None) == (folder is None):
        raise typer.BadParameter("expected one of --output and --output-dir")
    if folder is not None:
        return dict(output_paths(inputs, folder, suffix, overwrite))
    assert output is not None
    if len(inputs) > 1:
        raise typer.BadParameter(f"--output is for one input, {len(inputs)} need --output-dir")
    if output == STDIN:
        return {inputs[0]: None}
    path = Path(output)
    if path.is_file() and not overwrite:
        raise InvalidRequest(f"{path} exists, --overwrite replaces it")
    return {inputs[0]: path}


def _sinks(places: dict[Input, Path | None], sink: Callable[[BinaryIO], Sink]) -> OpenSink:
    @contextmanager
    def opened(item: Input) -> Iterator[Sink]:
        from streamer.cli.codec_sinks import Pipe, open_output

        path = places[item]
        with open_output(path) as file:
            yield Pipe(file) if path is None else sink(file)

    return opened
