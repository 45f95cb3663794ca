"""`streamer transcribe`: text of files, folders, patterns and pipes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.decoding import Beam, HotwordFile, HotwordPhrases, LmScale, NBest, decoding_of
from streamer.cli.inputs import Input, find_inputs, output_paths
from streamer.cli.jobs import default_jobs, for_files, is_progress_shown, quieten
from streamer.cli.options import BundlePath, ConfigFile, Runtime, Workers, given, settings_from
from streamer.cli.outputs import FolderOutput, LiveTextOutput, Output, StandardOutput
from streamer.cli.progress import BatchProgress, complain
from streamer.cli.standard_input import Encoding, raw_format
from streamer.transcripts.formats import Format

if TYPE_CHECKING:
    from streamer.cli.batch import Listener
    from streamer.cli.source import RawFormat
    from streamer.config import Settings
    from streamer.session.messages import Decoding
    from streamer.transcripts.transcript import Transcript

_WITH_ALTERNATIVES = (Format.JSON, Format.JSONL)
_ONE_FILE_FORMATS = (Format.SRT, Format.VTT, Format.TSV)


@dataclass(slots=True)
class _Run:
    """What one invocation wants, and how it goes."""

    inputs: list[Input]
    output: Output
    model: str
    language: str
    raw: RawFormat | None
    decoding: Decoding
    per_channel: bool
    jobs: int
    show_progress: bool
    quiet: bool
    failed: list[Input] = field(default_factory=list)


def transcribe(
    paths: Annotated[list[str], typer.Argument(help="Files, folders, patterns, or - for PCM on standard input.")],
    form: Annotated[Format, typer.Option("--format", "-f", help="What to write.")] = Format.TEXT,
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", "-o", help="Write one file per input here.", show_default=False)
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files in the output folder.")] = False,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Files at a time; default fills a batch per worker.")
    ] = None,
    model: Annotated[str, typer.Option(help="NAME or NAME@VERSION; default the first of the settings.")] = "",
    language: Annotated[str, typer.Option(help="Language of the speech, refused if the model lacks it.")] = "",
    encoding: Annotated[Encoding | None, typer.Option(help="Of standard input; mono.", show_default=False)] = None,
    rate: Annotated[int | None, typer.Option(help="Of standard input, in Hz.", show_default=False)] = None,
    beam: Beam = None,
    lm_scale: LmScale = None,
    hotwords: HotwordFile = None,
    hotword: HotwordPhrases = None,
    n_best: NBest = None,
    per_channel: Annotated[
        bool, typer.Option("--per-channel", help="Transcribe the channels of files one by one, numbered from 1.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no closing line.")] = False,
    config: ConfigFile = None,
    bundle_path: BundlePath = None,
    workers: Workers = None,
    provider: Runtime = None,
) -> None:
    """Transcribe audio with the engine of the server: the text is that of the same audio streamed live.

    Status 1 if any input failed; the others are transcribed all the same.
    """
    if n_best is not None and form not in _WITH_ALTERNATIVES:
        raise typer.BadParameter(f"--n-best needs --format json or jsonl, {form.value} has no place for alternatives")
    inputs = find_inputs(paths)
    raw = raw_format(inputs, encoding, rate)
    flags = {
        "models": [model] if model else None,
        "bundle_path": given(bundle_path),
        "engine": {"workers": workers, "provider": provider.value if provider else None},
    }
    settings = settings_from(config, flags)
    settings = settings if model else _default_recogniser(settings)
    jobs = min(jobs or default_jobs(settings), len(inputs))
    run = _Run(
        inputs=inputs,
        output=_output(inputs, form, output_dir, overwrite, per_channel),
        model=model,
        language=language,
        raw=raw,
        decoding=decoding_of(beam, lm_scale, hotwords, hotword or (), n_best),
        per_channel=per_channel,
        jobs=jobs,
        show_progress=is_progress_shown(quiet),
        quiet=quiet,
    )
    _transcribe(run, for_files(settings, jobs))
    if run.failed:
        raise typer.Exit(1)


def _default_recogniser(settings: Settings) -> Settings:
    """Return the settings without what transcribes nothing."""
    from streamer.cli.chosen_model import key_of, manifest_of, only

    return only(settings, key_of(manifest_of(settings, "", "transcribe")))


def _output(inputs: Sequence[Input], form: Format, folder: Path | None, overwrite: bool, per_channel: bool) -> Output:
    if per_channel and any(item.path is None for item in inputs):
        raise typer.BadParameter("--per-channel is for files, standard input has one channel")
    if folder is not None:
        return FolderOutput(output_paths(inputs, folder, form.suffix, overwrite), form)
    if len(inputs) == 1 and form is Format.TEXT and not per_channel:
        return LiveTextOutput()
    if len(inputs) > 1 and form in _ONE_FILE_FORMATS:
        raise typer.BadParameter(f"{form.value} of {len(inputs)} files needs --output-dir, it holds one file")
    return StandardOutput(inputs, form)


def _transcribe(run: _Run, settings: Settings) -> None:
    import asyncio

    quieten(settings)
    with BatchProgress(len(run.inputs), run.show_progress) as progress:
        asyncio.run(_run_batch(run, settings, progress))
    run.output.close()
    if not run.quiet:
        typer.echo(progress.summary(len(run.failed)), err=True)


async def _run_batch(run: _Run, settings: Settings, progress: BatchProgress) -> None:
    from streamer.cli.batch import Batch
    from streamer.host.assemble import running_host

    async with running_host(settings) as host:
        batch = Batch(host, run.model, run.language, run.raw, _listener(run, progress), run.decoding, run.per_channel)
        await batch.run(run.inputs, run.jobs)


def _listener(run: _Run, progress: BatchProgress) -> Listener:
    from streamer.cli.batch import Listener

    def failed(item: Input, reason: str) -> None:
        run.failed.append(item)
        run.output.skip(item)
        complain(item.name, reason)
        progress.finished()

    def done(item: Input, transcript: Transcript) -> None:
        run.output.done(item, transcript)
        progress.finished()

    return Listener(
        opened=lambda _, duration_s: progress.opened(duration_s),
        fed=progress.fed,
        segment=run.output.segment,
        done=done,
        failed=failed,
    )
