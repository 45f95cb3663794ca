"""Recordings that training never saw, and tables of what recognisers make of them."""

import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from models.common import packs, synthesis, text
from models.common.served_words import Heard, Spoken, header, score

_SEED = 1
# Name in the table, packs, and what their dev split holds out.
_REAL = {
    "librispeech": ("LibriSpeech 1970, 3664 (unseen speakers)", ("librispeech_1", "librispeech_2")),
    "ljspeech": ("LJSpeech (unseen clips of a known voice)", ("ljspeech",)),
    "kathleen": ("Kathleen (unseen prompts of a known voice)", ("kathleen",)),
    "commands": ("single words (unseen clips)", ("commands",)),
}
_SYNTHETIC = "synthetic (unseen text, known voices)"
SETS = (*_REAL, "synthetic")

Listen = Callable[[Sequence[Spoken]], tuple[list[Heard], float]]
"""Hears recordings; returns texts and CPU seconds."""
Named = tuple[str, list[Spoken]]
"""Recordings and their name in the table."""


def print_table(recognisers: Mapping[str, Listen], spoken: Iterable[Named], peer: str, examples: int) -> None:
    """Print a row for each set and recogniser, then the first `examples` transcripts of each row.

    The processor time of the others is compared with that of `peer`, which comes first if it is among them.
    """
    print(header(peer), flush=True)
    shown = []
    for name, recordings in spoken:
        compared = None
        for recogniser, hear in recognisers.items():
            heard, cpu_s = hear(recordings)
            result = score(recordings, heard, cpu_s)
            compared = result if recogniser == peer else compared
            print(result.row(name, recogniser, compared), flush=True)
            pairs = list(zip(recordings, heard, strict=True))
            shown += [(name, recogniser, *pair) for pair in pairs[:examples]]
    for name, recogniser, said, understood in shown:
        print(f"\n{name}, {recogniser}\n  said  {said.text}\n  heard {understood.text}")


def sets(names: Sequence[str], data: Path, synthetic: int) -> Iterator[tuple[str, list[Spoken]]]:
    """Yield the name in the table and the recordings of each set."""
    for name in names:
        if name == "synthetic":
            yield _SYNTHETIC, synthetic_speech(data / "sentences.txt.gz", synthetic)
        else:
            title, stems = _REAL[name]
            yield title, [spoken for stem in stems for spoken in real_speech(data / f"{stem}.tar")]


def real_speech(pack: Path) -> Iterator[Spoken]:
    """Yield the dev clips of a pack whose text needs no reading out of digits."""
    for utterance, samples, rate in packs.read_pack(pack, "dev"):
        words = text.normalise(utterance.text)
        if words:
            yield Spoken(words, packs.resample(samples, rate))


def synthetic_speech(sentences: Path, count: int) -> list[Spoken]:
    """Speak held-out sentences in the voices of training, at tempos and pitches drawn anew; needs flite, espeak-ng."""
    rng = random.Random(_SEED)
    unseen = [sentence for sentence in text.read_sentences(sentences) if text.held_out(sentence)]
    return [
        Spoken(sentence, synthesis.synthesise(sentence, synthesis.draw_voice(rng)))
        for sentence in rng.sample(unseen, count)
    ]


def named_folder(argument: str) -> tuple[str, Path]:
    """Take `NAME=FOLDER` apart; ends the program if it is not of this form."""
    name, equals, folder = argument.partition("=")
    if not (name and equals and folder):
        sys.exit(f"--also: expected NAME=FOLDER, got {argument!r}")
    return name, Path(folder)
