"""`streamer codec`: speech to packets of a neural codec and back, and what is in such files."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from streamer.cli.codec_flags import (
    Audio,
    Bitrate,
    Coded,
    Dtx,
    Fec,
    Frames,
    Jobs,
    Mode,
    ModelName,
    Output,
    OutputDir,
    OutputEncoding,
    OutputRate,
    Overwrite,
    Predict,
    Quiet,
    Start,
    packet_options,
)
from streamer.cli.codec_run import PACKETS, CodecRun, audio_sinks, loudspeaker, packet_sinks, settings_of
from streamer.cli.inputs import find_inputs
from streamer.cli.options import BundlePath, ConfigFile, Runtime, Workers
from streamer.cli.progress import complain
from streamer.cli.standard_input import Encoding, raw_format
from streamer.errors import StreamerError

app = typer.Typer(help="Speech to packets of a neural codec, and back.", no_args_is_help=True)


@app.command()
def encode(
    paths: Audio,
    output: Output = None,
    output_dir: OutputDir = None,
    overwrite: Overwrite = False,
    bitrate: Bitrate = None,
    entropy: Mode = None,
    frames_per_packet: Frames = None,
    fec: Fec = False,
    dtx: Dtx = False,
    encoding: Annotated[Encoding | None, typer.Option(help="Of standard input; mono.", show_default=False)] = None,
    rate: Annotated[int | None, typer.Option(help="Of standard input, in Hz.", show_default=False)] = None,
    model: ModelName = "",
    jobs: Jobs = None,
    quiet: Quiet = False,
    config: ConfigFile = None,
    bundle_path: BundlePath = None,
    workers: Workers = None,
    provider: Runtime = None,
) -> None:
    """Write audio as SNC1 files; status 1 if any input failed."""
    from streamer.cli.source import open_source

    inputs = find_inputs(paths)
    raw = raw_format(inputs, encoding, rate)
    run = CodecRun(inputs, jobs, quiet, settings_of(config, bundle_path, workers, provider), model)
    run.convert(
        open_source=lambda item: open_source(item, raw),
        open_sink=packet_sinks(inputs, output, output_dir, overwrite),
        codec=packet_options(bitrate, entropy, frames_per_packet, fec, dtx),
    )


@app.command()
def decode(
    paths: Coded,
    output: Output = None,
    output_dir: OutputDir = None,
    overwrite: Overwrite = False,
    rate: OutputRate = None,
    encoding: OutputEncoding = Encoding.S16,
    start: Start = 0.0,
    predict: Predict = False,
    model: ModelName = "",
    jobs: Jobs = None,
    quiet: Quiet = False,
    config: ConfigFile = None,
    bundle_path: BundlePath = None,
    workers: Workers = None,
    provider: Runtime = None,
) -> None:
    """Write SNC1 files as WAV, or one as raw PCM to standard output; what is lost or damaged is concealed.

    Status 1 if any input failed.
    """
    from streamer.session.messages import CodecOptions

    inputs = find_inputs(paths, PACKETS)
    run = CodecRun(inputs, jobs, quiet, settings_of(config, bundle_path, workers, provider), model)
    run.convert_packets(
        start,
        open_sink=audio_sinks(inputs, output, output_dir, overwrite, encoding.value),
        codec=CodecOptions(output=encoding.value, output_rate=rate or 0, predict=predict),
    )


@app.command()
def transcode(
    paths: Coded,
    output: Output = None,
    output_dir: OutputDir = None,
    overwrite: Overwrite = False,
    bitrate: Bitrate = None,
    entropy: Mode = None,
    frames_per_packet: Frames = None,
    fec: Fec = False,
    model: ModelName = "",
    jobs: Jobs = None,
    quiet: Quiet = False,
    config: ConfigFile = None,
    bundle_path: BundlePath = None,
    workers: Workers = None,
    provider: Runtime = None,
) -> None:
    """Write SNC1 files as others, of fewer bits, other packets or other entropy coding; no audio is made in between.

    Status 1 if any input failed.
    """
    inputs = find_inputs(paths, PACKETS)
    run = CodecRun(inputs, jobs, quiet, settings_of(config, bundle_path, workers, provider), model)
    run.convert_packets(
        0.0,
        open_sink=packet_sinks(inputs, output, output_dir, overwrite),
        codec=packet_options(bitrate, entropy, frames_per_packet, fec, False),
    )


@app.command()
def play(
    path: Annotated[str, typer.Argument(help="A file, or - for standard input.")],
    start: Start = 0.0,
    predict: Predict = False,
    device: Annotated[str | None, typer.Option(help="Loudspeaker, by name or number.", show_default=False)] = None,
    model: ModelName = "",
    config: ConfigFile = None,
    bundle_path: BundlePath = None,
    provider: Runtime = None,
) -> None:
    """Play an SNC1 file. Needs the extra `microphone`."""
    from streamer.session.messages import CodecOptions

    inputs = find_inputs([path], PACKETS)
    if len(inputs) > 1:
        raise typer.BadParameter(f"expected one file to play, got {len(inputs)}")
    run = CodecRun(inputs, 1, True, settings_of(config, bundle_path, 1, provider), model)
    run.convert_packets(
        start,
        open_sink=lambda _: loudspeaker(device),
        codec=CodecOptions(output="pcm_s16le", predict=predict),
    )


@app.command()
def info(
    paths: Coded, as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False
) -> None:
    """Show header, packets, bits per second, losses and checksums of SNC1 files; status 1 if any is none."""
    from streamer.cli.codec_info import describe_input, plain, show

    found = []
    inputs = find_inputs(paths, PACKETS)
    for item in inputs:
        try:
            found.append((item.name, describe_input(item)))
        except StreamerError as error:
            complain(item.name, str(error))
    if as_json:
        values = [plain(*each) for each in found]
        typer.echo(json.dumps(values[0] if len(inputs) == 1 and values else values, indent=2, ensure_ascii=False))
    else:
        for each in found:
            show(*each)
    if len(found) < len(inputs):
        raise typer.Exit(1)
