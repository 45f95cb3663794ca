"""How well the voice is understood and how natural it sounds, beside the recorded speaker, flite and espeak-ng.

All speak the same held-out sentences. Speech is brought to 16 kHz and to one active level; PocketSphinx counts word
errors, DNSMOS judges naturalness, and everyone is compared with the recording. Figures are kept under `--out` by their
content, so that a second run measures only what is new.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.common.evaluation_cache import Cache
from models.flow_tts import pitch, speakers, voice_report
from models.flow_tts.copy_synthesis import copy_synthesis
from models.flow_tts.joins import joins, together
from models.flow_tts.joins import table as joins_table
from models.flow_tts.judging import Judge, Measured
from models.flow_tts.served import Said, ServedVoice, serving
from models.flow_tts.speakers import Sentence, Speaker, Speech
from streamer.cli.logs import configure_logging
from streamer.session.messages import SynthesisOptions

BUNDLE = Path(__file__).parents[2] / "streamer" / "bundles" / "voice-en"
OURS = "ours"
STREAMED = {"clauses": "ours, a word every 200 ms", "words": "ours, word by word, a word every 200 ms"}
"""What our voice is called that reads texts as they come, by how they are cut into pieces."""
PEERS = ("recordings", "flite slt", "flite rms", "espeak-ng")
SENTENCES = 100
_PICTURED = 7


def main() -> None:
    """Run from the command line; see --help."""
    arguments = _parse()
    arguments.out.mkdir(parents=True, exist_ok=True)
    sentences = speakers.held_out_sentences(arguments.data / f"{arguments.pack}.tar", arguments.sentences)
    everyone = peers(sentences, arguments.only)
    if arguments.vocoder is not None:
        through = copy_synthesis(arguments.vocoder, arguments.pool)
        everyone["copy synthesis"] = speakers.resynthesised(sentences, through)
    if arguments.ours_wavs is not None:
        everyone[OURS] = speakers.from_folder(sentences, arguments.ours_wavs)
    elif OURS in arguments.only:
        configure_logging("warning")
        with serving(arguments.bundle) as voice:
            said = say_all(voice, sentences)
        everyone |= {name: _by_text(sentences, found) for name, found in said.items()}
        report(streaming(said), arguments.out / "streaming.md")
    with Judge(sentences, Cache(arguments.out / "cache"), arguments.processes) as judge:
        measured = [evaluate(judge, name, speaker, arguments.out / "speech") for name, speaker in everyone.items()]
    write(measured, arguments.out)
    picture(sentences, everyone, arguments.out / "spectrograms.png")


def peers(sentences: Sequence[Sentence], names: Sequence[str]) -> dict[str, Speaker]:
    """Those of `PEERS` that are named, in their order; ends the program if a program is not there."""
    everyone: dict[str, Speaker] = {
        "recordings": speakers.recorded(sentences),
        "flite slt": speakers.flite("slt"),
        "flite rms": speakers.flite("rms"),
        "espeak-ng": speakers.espeak_ng(),
    }
    found = {name: speaker for name, speaker in everyone.items() if name in names}
    for program in ("flite", "espeak-ng"):
        if any(name.startswith(program) for name in found) and not speakers.version(program):
            sys.exit(f"expected the program {program}, found none: apt-get install {program}")
    return found


def say_all(voice: ServedVoice, sentences: Sequence[Sentence]) -> dict[str, list[Said]]:
    """What our voice makes of every sentence: of whole texts, and of texts that come word by word."""
    texts = [sentence.text for sentence in sentences]
    found = {OURS: [voice.say(text) for text in texts]}
    for pieces, name in STREAMED.items():
        found[name] = voice.say_streamed(texts, SynthesisOptions(pieces=pieces))
    return found


def streaming(said: dict[str, list[Said]]) -> str:
    """A table of joins between the steps of the model, and how many texts sounded the same as whole ones."""
    sets = {
        name: together(joins(each.samples, each.rate, each.joins, pitch.track) for each in found)
        for name, found in said.items()
    }
    same = [
        f"{name}: {sum(np.array_equal(a.samples, b.samples) for a, b in zip(found, said[OURS], strict=True))}"
        f" of {len(found)} texts sound the same as whole ones, sample by sample"
        for name, found in said.items()
        if name != OURS
    ]
    return "\n\n".join((joins_table(sets), *same))


def evaluate(judge: Judge, name: str, speaker: Speaker, keep: Path) -> Measured:
    """All figures of one speaker, whose speech is written to a folder in `keep`; prints a line."""
    began = time.monotonic()
    measured = judge.measure(name, speaker, keep / name.replace(" ", "-"))
    figures = {figure: round(measured.estimate(figure)[0], 3) for figure in ("wer", *measured.scores)}
    print(f"{name}: {time.monotonic() - began:.0f} s, {figures}", flush=True)
    return measured


def write(measured: Sequence[Measured], out: Path) -> None:
    """Write results.json, voice.md, differences.md and voice.png."""
    ours = [each for each in measured if each.name.startswith(OURS)]
    others = [each for each in measured if each not in ours]
    (out / "results.json").write_text(json.dumps([each.as_json() for each in measured]), encoding="utf-8")
    report(voice_report.table(measured), out / "voice.md")
    if ours and others:
        report(voice_report.differences(ours, others), out / "differences.md")
    voice_report.draw(measured, out / "voice.png", [each.name for each in ours])


def picture(sentences: Sequence[Sentence], everyone: dict[str, Speaker], path: Path) -> None:
    """Draw spectrograms of one sentence, as the recorded speaker and as ours said it, if they are there."""
    sentence = sentences[min(_PICTURED, len(sentences) - 1)]
    shown = [
        (f"{name}: {sentence.text}", everyone[name](sentence.text)) for name in (OURS, PEERS[0]) if name in everyone
    ]
    if shown:
        voice_report.draw_spectrograms(shown, path)


def report(text: str, path: Path) -> None:
    """Write a table, and print it."""
    path.write_text(f"{text}\n", encoding="utf-8")
    print(f"\n{text}", flush=True)


def _by_text(sentences: Sequence[Sentence], said: Sequence[Said]) -> Speaker:
    found: dict[str, Speech] = {
        sentence.text: (each.samples, each.rate) for sentence, each in zip(sentences, said, strict=True)
    }
    return found.__getitem__


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the packs")
    parser.add_argument("--pack", default="kathleen", help="whose held-out prompts are spoken")
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help="folder of the voice's bundle")
    parser.add_argument("--vocoder", type=Path, help="checkpoint of a vocoder that is to copy the recordings")
    parser.add_argument("--pool", type=Path, help="folder of the training pool whose mel that vocoder knows")
    parser.add_argument(
        "--ours-wavs", type=Path, help="folder of speech in place of a bundle, a NAME.wav for each clip"
    )
    parser.add_argument("--only", nargs="*", choices=(*PEERS, OURS), default=(*PEERS, OURS), help="who speaks")
    parser.add_argument("--sentences", type=int, default=SENTENCES, help="how many")
    parser.add_argument("--processes", type=int, default=2, help="that compute figures at once")
    parser.add_argument("--out", type=Path, required=True, help="folder of results, and of what is kept between runs")
    arguments = parser.parse_args()
    if arguments.vocoder is not None and arguments.pool is None:
        parser.error("--vocoder: expected --pool beside it")
    return arguments


if __name__ == "__main__":
    main()
