"""Options that the commands of `streamer codec` share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.standard_input import Encoding

if TYPE_CHECKING:
    from streamer.session.messages import CodecOptions


class Entropy(StrEnum):
    """How codes are written."""

    RAW = "raw"
    TABLES = "tables"
    NETWORK = "network"
    FLOAT = "float"


Audio = Annotated[list[str], typer.Argument(help="Files, folders, patterns, or - for PCM on standard input.")]
Coded = Annotated[list[str], typer.Argument(help="Files, folders, patterns, or - for standard input.")]
Output = Annotated[
    str | None, typer.Option("--output", "-o", help="Of one input; - for standard output.", show_default=False)
]
OutputDir = Annotated[Path | None, typer.Option(help="Write one file per input here.", show_default=False)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")]
Bitrate = Annotated[int | None, typer.Option(help="Bits per second, a rate of the model.", min=1, show_default=False)]
Mode = Annotated[Entropy | None, typer.Option(help="How codes are written; default raw.", show_default=False)]
Frames = Annotated[int | None, typer.Option(help="Of 20 ms; default 5.", min=1, max=16, show_default=False)]
Fec = Annotated[bool, typer.Option("--fec", help="Repeat the coarse codes of each packet in the next one.")]
Dtx = Annotated[bool, typer.Option("--dtx", help="Send next to nothing for silence.")]
Start = Annotated[float, typer.Option(help="Seconds to begin at.", min=0.0)]
OutputRate = Annotated[int | None, typer.Option("--rate", help="Of the audio, in Hz; default the model's.")]
OutputEncoding = Annotated[Encoding, typer.Option("--encoding", help="Of the audio.")]
Predict = Annotated[bool, typer.Option("--predict", help="Let the model make up the fine codes that were not sent.")]
ModelName = Annotated[str, typer.Option(help="NAME or NAME@VERSION; default the codec of the settings.")]
Jobs = Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Files at a time; default fills a batch.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no closing line.")]


def packet_options(
    bitrate: int | None, entropy: Entropy | None, frames_per_packet: int | None, fec: bool, dtx: bool
) -> CodecOptions:
    """What the flags ask of packets; a flag that was not given takes the default of the codec."""
    from streamer.session.messages import CodecOptions

    return CodecOptions(
        output="snc1",
        bitrate=bitrate or 0,
        frames_per_packet=frames_per_packet or 0,
        entropy=entropy.value if entropy else "",
        fec=fec,
        dtx=dtx,
    )
