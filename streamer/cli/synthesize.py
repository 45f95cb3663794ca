"""`streamer synthesize`: text to speech, of an argument, files and pipes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from streamer.cli.options import BundlePath, ConfigFile, Runtime, Workers, given, settings_from
from streamer.cli.speech_forms import Form
from streamer.cli.text_sources import TextInput, find_texts
from streamer.errors import InvalidRequest

if TYPE_CHECKING:
    from streamer.cli.speech_run import SpeechRun, Voice
    from streamer.cli.speech_sinks import OpenSink
    from streamer.config import Settings
    from streamer.session.messages import SynthesisOptions


class Played(NamedTuple):
    """Whether sound is to be played, and on which loudspeaker, None for the default one."""

    wanted: bool
    device: str | None


class Phonemes(StrEnum):
    """What words are pronounced by, beside the model's own lexicon and rules."""

    ESPEAK = "espeak"


def synthesize(
    texts: Annotated[
        list[str],
        typer.Argument(
            metavar="TEXT|FILE...",
            help="A text in quotation marks, or .txt files and folders, or - for standard input.",
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="A .wav, .flac, .ogg, .opus, .mp3 or .aac file; - for raw 16-bit PCM on standard output.",
            show_default=False,
        ),
    ] = None,
    output_dir: Annotated[Path | None, typer.Option(help="Write one file per text here.", show_default=False)] = None,
    form: Annotated[Form, typer.Option("--format", "-f", help="Of files in the output folder.")] = Form.WAV,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    play: Annotated[bool, typer.Option("--play", help="Play it. Needs the extra `microphone`.")] = False,
    device: Annotated[str | None, typer.Option(help="Loudspeaker, by name or number.", show_default=False)] = None,
    words: Annotated[
        Path | None,
        typer.Option(help="Write where words are: a .json, .srt or .vtt file, of one text.", show_default=False),
    ] = None,
    voice: Annotated[str, typer.Option(help="One of the model's voices; default its first.")] = "",
    speed: Annotated[float, typer.Option(help="Times as fast as usual.", min=0.5, max=2.0)] = 1.0,
    seed: Annotated[int, typer.Option(help="The same text with the same seed sounds the same.", min=0)] = 0,
    temperature: Annotated[
        float | None,
        typer.Option(help="How lively; default the model's.", min=0.0, max=2.0, show_default=False),
    ] = None,
    phonemes: Annotated[
        Phonemes | None, typer.Option(help="Pronounce by eSpeak NG (extra `espeak`).", show_default=False)
    ] = None,
    rate: Annotated[
        int | None,
        typer.Option(help="Of the audio, in Hz; default the model's.", min=8000, max=48_000, show_default=False),
    ] = None,
    model: Annotated[str, typer.Option(help="NAME or NAME@VERSION; default the voice of the settings.")] = "",
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Texts at a time; default fills a batch.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no closing line.")] = False,
    server: Annotated[
        str | None,
        typer.Option(help="Have a server speak: its ws://, wss://, grpc:// or grpcs:// address.", show_default=False),
    ] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="File that holds the API key.", exists=True, dir_okay=False, show_default=False)
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="Authorities to trust, PEM.", exists=True, dir_okay=False, show_default=False)
    ] = None,
    config: ConfigFile = None,
    bundle_path: BundlePath = None,
    workers: Workers = None,
    provider: Runtime = None,
) -> None:
    """Speak text with the engine of the server; sound comes while text is still read.

    Standard input is spoken while it is written. Status 1 if any text failed; the others are spoken all the same.
    """
    from streamer.cli.speech_run import RemoteVoice, Server, SpeechRun, jobs_of
    from streamer.client.synthesis import DEFAULT_RATE
    from streamer.session.messages import SynthesisOptions

    found = find_texts(texts)
    _check_words(found, words, overwrite)
    sinks = _sinks(found, output, output_dir, form, overwrite, Played(play, device))
    options = SynthesisOptions(
        voice=voice,
        speed=speed,
        seed=seed,
        temperature=temperature,
        phonemes=phonemes.value if phonemes else "",
        word_times=words is not None,
    )
    flags = {
        "bundle_path": given(bundle_path),
        "engine": {"workers": workers, "provider": provider.value if provider else None},
    }
    settings = settings_from(config, flags)
    run = SpeechRun(found, sinks, words, jobs_of(settings, jobs, len(found)), quiet)
    if server is None:
        _speak_here(run, settings, model, rate, options)
    else:
        key = api_key_file.read_text(encoding="utf-8").strip() if api_key_file else None
        _speak_there(run, RemoteVoice(Server(server, key, ca_file), model, rate or DEFAULT_RATE, options))
    if run.failed:
        raise typer.Exit(1)


def _sinks(
    texts: list[TextInput], output: str | None, folder: Path | None, form: Form, overwrite: bool, played: Played
) -> OpenSink:
    """Where sound goes, which one of three options says."""
    from streamer.cli.speech_sinks import folder_sinks, loudspeaker_sink, one_sink

    if (output is not None) + (folder is not None) + played.wanted != 1:
        raise typer.BadParameter("expected one of --output, --output-dir and --play")
    if played.device is not None and not played.wanted:
        raise typer.BadParameter("--device is the loudspeaker of --play")
    if folder is not None:
        return folder_sinks(texts, folder, form, overwrite)
    if len(texts) > 1:
        option = "--play" if played.wanted else "--output"
        raise typer.BadParameter(f"{option} is for one text, {len(texts)} need --output-dir")
    return loudspeaker_sink(played.device) if output is None else one_sink(texts[0], output, overwrite)


def _check_words(texts: list[TextInput], words: Path | None, overwrite: bool) -> None:
    from streamer.cli.spoken_words import words_format

    if words is None:
        return
    words_format(words)
    if len(texts) > 1:
        raise typer.BadParameter(f"--words is for one text, got {len(texts)}")
    if words.is_file() and not overwrite:
        raise InvalidRequest(f"{words} exists, --overwrite replaces it")


def _speak_here(run: SpeechRun, settings: Settings, model: str, rate: int | None, options: SynthesisOptions) -> None:
    import asyncio

    from streamer.cli.speech_run import local_voice

    async def speak() -> None:
        async with local_voice(settings, model, rate, options, run.jobs) as voice:
            await run.speak(voice)

    asyncio.run(speak())


def _speak_there(run: SpeechRun, voice: Voice) -> None:
    import asyncio

    asyncio.run(run.speak(voice))
