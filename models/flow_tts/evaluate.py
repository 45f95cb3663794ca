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

from models.common.evaluation_cache import Cache
from models.flow_tts import speakers, voice_report
from models.flow_tts.judging import Judge, Measured
from models.flow_tts.speakers import Sentence, Speaker

OURS = "ours"
PEERS = ("recordings", "flite slt", "flite rms", "espeak-ng")
SENTENCES = 100


def main() -> None:
    """Run from the command line; see --help."""
    arguments = _parse()
    sentences = speakers.held_out_sentences(arguments.data / "kathleen.tar", SENTENCES)[: arguments.sentences]
    everyone = _speakers(sentences, arguments.ours_wavs, arguments.only)
    judge = Judge(sentences, Cache(arguments.out / "cache"), arguments.processes)
    measured = [evaluate(judge, name, speaker, arguments.out / "speech") for name, speaker in everyone.items()]
    write(measured, arguments.out)


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
    _report(voice_report.table(measured), out / "voice.md")
    if ours and others:
        _report(voice_report.differences(ours, others), out / "differences.md")
    voice_report.draw(measured, out / "voice.png", [each.name for each in ours])


def _speakers(sentences: Sequence[Sentence], ours: Path | None, only: Sequence[str]) -> dict[str, Speaker]:
    """By name, in the order of the table; ends the program if a program or a folder is not there."""
    everyone: dict[str, Speaker] = {
        "recordings": speakers.recorded(sentences),
        "flite slt": speakers.flite("slt"),
        "flite rms": speakers.flite("rms"),
        "espeak-ng": speakers.espeak_ng(),
    }
    if ours is not None:
        everyone[OURS] = speakers.from_folder(sentences, ours)
    found = {name: everyone[name] for name in only if name in everyone}
    for program in ("flite", "espeak-ng"):
        if any(name.startswith(program) for name in found) and not speakers.version(program):
            sys.exit(f"expected the program {program}, found none: apt-get install {program}")
    return found


def _report(text: str, path: Path) -> None:
    path.write_text(f"{text}\n", encoding="utf-8")
    print(f"\n{text}", flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the packs")
    parser.add_argument("--ours-wavs", type=Path, help="folder of our speech, a NAME.wav for each sentence's clip")
    parser.add_argument("--only", nargs="+", choices=(*PEERS, OURS), default=(*PEERS, OURS), help="who speaks")
    parser.add_argument("--sentences", type=int, default=SENTENCES, help="how many, for a first look")
    parser.add_argument("--processes", type=int, default=2, help="that compute figures at once")
    parser.add_argument("--out", type=Path, required=True, help="folder of results, and of what is kept between runs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
