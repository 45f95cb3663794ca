"""Word error rates and processor time of a finished bundle on speech that training never saw, beside PocketSphinx 5.

The bundle is heard through `streamer transcribe`, every recogniser in a process of its own.
"""

import argparse
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from models.common import packs, synthesis, text
from models.common.peers import listen_with_pocketsphinx
from models.common.served_words import Heard, Spoken, header, listen, score

BUNDLE = Path(__file__).parents[2] / "streamer" / "bundles" / "asr-en"
_SEED = 1
# Name in the table, packs, and what their dev split holds out.
_REAL = {
    "librispeech": ("LibriSpeech 1970, 3664 (unseen speakers)", ("librispeech_1", "librispeech_2")),
    "ljspeech": ("LJSpeech (unseen clips of a known voice)", ("ljspeech",)),
    "kathleen": ("Kathleen (unseen prompts of a known voice)", ("kathleen",)),
}
_SYNTHETIC = "synthetic (unseen text, known voices)"
SETS = (*_REAL, "synthetic")
_PEER = "PocketSphinx 5"
# Rows of the bundle: what to call them, and the flags of `streamer transcribe`.
_SEARCHES = {
    "greedy": ("greedy", ()),
    "beam": ("beam 8", ("--beam", "8", "--lm-scale", "0")),
    "lm": ("beam 8, language model", ("--beam", "8")),
}
ROWS = ("pocketsphinx", *_SEARCHES)

Listen = Callable[[Sequence[Spoken]], tuple[list[Heard], float]]
"""Hears recordings; returns texts and CPU seconds."""


def main() -> None:
    """Run from the command line; see --help."""
    arguments = _parser().parse_args()
    recognisers = recognisers_of(arguments.bundle, arguments.rows, dict(map(_named_folder, arguments.also)))
    print(header(_PEER), flush=True)
    shown = []
    for name, spoken in sets(arguments.sets, arguments.data, arguments.synthetic):
        peer = None
        for recogniser, hear in recognisers.items():
            heard, cpu_s = hear(spoken)
            result = score(spoken, heard, cpu_s)
            peer = result if recogniser == _PEER else peer
            print(result.row(name, recogniser, peer), flush=True)
            pairs = list(zip(spoken, heard, strict=True))
            shown += [(name, recogniser, *pair) for pair in pairs[: arguments.examples]]
    for name, recogniser, said, understood in shown:
        print(f"\n{name}, {recogniser}\n  said  {said.text}\n  heard {understood.text}")


def recognisers_of(bundle: Path, rows: Sequence[str], also: Mapping[str, Path]) -> dict[str, Listen]:
    """Who hears the recordings, by name in the table: the peer first, since the others are compared with it."""
    found: dict[str, Listen] = {_PEER: listen_with_pocketsphinx} if "pocketsphinx" in rows else {}
    for row, (search, options) in _SEARCHES.items():
        if row in rows:
            found[f"{bundle.name}, {search}"] = partial(listen, bundle=bundle.resolve(), options=options)
    for name, folder in also.items():
        found[name] = partial(listen, bundle=folder.resolve())
    return found


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


def _named_folder(argument: str) -> tuple[str, Path]:
    name, equals, folder = argument.partition("=")
    if not (name and equals and folder):
        sys.exit(f"--also: expected NAME=FOLDER, got {argument!r}")
    return name, Path(folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help="folder of the bundle")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS, help="searches of the bundle, and the peer")
    parser.add_argument("--also", nargs="+", default=(), metavar="NAME=FOLDER", help="more bundles, heard greedily")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=("librispeech", "synthetic"), help="what to hear")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the packs")
    parser.add_argument("--synthetic", type=int, default=150, help="synthetic sentences to speak and transcribe")
    parser.add_argument("--examples", type=int, default=0, help="transcripts of each row to show")
    return parser


if __name__ == "__main__":
    main()
