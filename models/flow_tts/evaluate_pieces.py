"""Word errors of the voice on sentences of books, spoken by clauses and word by word, as PocketSphinx hears them.

The held-out prompts are too few to tell one way of cutting from the other; books have more words. What is said depends
on the text alone, so it is given at once: text that arrives in pieces is said alike. What was heard is kept under
`--out`, so that a second run listens to what is new alone.
"""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

from models.common import text
from models.common.evaluation_cache import Cache
from models.common.markdown import table as markdown
from models.common.word_errors import word_errors
from models.flow_tts.evaluate import BUNDLE
from models.flow_tts.intelligibility import transcripts
from models.flow_tts.judging import Measured, prepare
from models.flow_tts.served import ServedVoice, serving
from models.flow_tts.voice_report import cell, difference
from streamer.cli.logs import configure_logging
from streamer.session.messages import SynthesisOptions

PIECES = ("clauses", "words")
SENTENCES = 300
_SHORTEST, _LONGEST = 8, 16
_DRAWN = 8000
_SEED = 11


def sentences_of_books(path: Path, count: int) -> list[str]:
    """Draw sentences of a middling length, always the same ones; raises `ValueError` if there are fewer."""
    lines = text.read_sentences(path)
    drawn = random.Random(_SEED).sample(lines, min(_DRAWN, len(lines)))
    found = [line for line in drawn if _SHORTEST <= len(line.split()) <= _LONGEST]
    if len(found) < count:
        raise ValueError(f"expected {count} sentences of {_SHORTEST} to {_LONGEST} words, got {len(found)}")
    return [line.capitalize() + "." for line in found[:count]]


def measure(voice: ServedVoice, sentences: Sequence[str], pieces: str, cache: Cache, processes: int) -> Measured:
    """Speak all of them, cut into `pieces`, and count what is not understood."""
    said = [voice.say(sentence, SynthesisOptions(pieces=pieces)) for sentence in sentences]
    heard = transcripts([prepare(each.samples, each.rate) for each in said], cache, processes)
    errors, words = word_errors([text.normalise(sentence) for sentence in sentences], heard)
    return Measured(pieces, list(sentences), [len(each.samples) / each.rate for each in said], errors, words, heard)


def table(measured: Sequence[Measured]) -> str:
    """A row for each, with 95 % intervals over sentences; the first one is what others are compared with."""
    rows = [
        (
            each.name,
            f"{sum(each.words)}",
            f"{sum(each.seconds):.0f}",
            cell("wer", each.estimate("wer")),
            difference("wer", each.less(measured[0], "wer")),
        )
        for each in measured
    ]
    return markdown(("pieces", "words", "speech, s", "WER", f"less {measured[0].name}"), rows)


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with sentences.txt.gz")
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help="folder of the voice's bundle")
    parser.add_argument("--sentences", type=int, default=SENTENCES, help="how many")
    parser.add_argument("--processes", type=int, default=2, help="that listen at once")
    parser.add_argument("--out", type=Path, required=True, help="folder of what is kept between runs")
    arguments = parser.parse_args()
    configure_logging("warning")
    sentences = sentences_of_books(arguments.data / "sentences.txt.gz", arguments.sentences)
    cache = Cache(arguments.out / "cache")
    with serving(arguments.bundle) as voice:
        found = [measure(voice, sentences, pieces, cache, arguments.processes) for pieces in PIECES]
    print(table(found))


if __name__ == "__main__":
    main()
