"""Write the word language model of the recogniser's beam search: `words.txt` and `ngrams.npz`."""

import argparse
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from models.common import ngram, packs, text

WORDS, NGRAMS = "words.txt", "ngrams.npz"
# Ids of the words that every model has, see `streamer.tasks.ngram`.
_RESERVED = ("<unk>", "<s>")
_TRANSCRIPTS = ("librispeech_1", "librispeech_2", "ljspeech", "kathleen")


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the packs")
    parser.add_argument("--out", type=Path, required=True, help="folder for the two files")
    parser.add_argument("--order", type=int, default=3)
    parser.add_argument("--least", type=int, nargs="+", default=[1, 1, 2], help="smallest count of a kept n-gram")
    parser.add_argument("--least-word", type=int, default=2, help="how often a word of the lexicon is seen")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    sentences = training_text(arguments.data)
    words = lexicon(sentences, arguments.least_word)
    model = ngram.estimate(_encoded(sentences, words), len(words), arguments.order, arguments.least)
    (arguments.out / WORDS).write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    np.savez_compressed(arguments.out / NGRAMS, **ngram.trie(model, len(words)))
    print(f"{len(words)} words, n-grams of orders 1 to {len(model)}: {[len(level.keys) for level in model]}")
    for name, held_out in held_out_text(arguments.data).items():
        print(f"{name}: {report(model, words, held_out)}")


def training_text(data: Path) -> list[str]:
    """The sentences that may be learned from, and every different training transcript of read books."""
    sentences = [s for s in text.read_sentences(data / "sentences.txt.gz") if not text.held_out(s)]
    return sentences + list(dict.fromkeys(_transcripts(data, _TRANSCRIPTS, "train")))


def held_out_text(data: Path) -> dict[str, list[str]]:
    """What perplexity is measured on: the unseen speakers' transcripts and the unseen sentences."""
    sentences = [s for s in text.read_sentences(data / "sentences.txt.gz") if text.held_out(s)]
    return {"unseen speakers": list(_transcripts(data, _TRANSCRIPTS[:2], "dev")), "unseen sentences": sentences[:500]}


def lexicon(sentences: Iterable[str], least: int) -> list[str]:
    """The words by falling frequency, after the reserved ones."""
    counts = Counter(word for sentence in sentences for word in sentence.split())
    return [*_RESERVED, *(word for word, count in counts.most_common() if count >= least)]


def report(model: Sequence[ngram.Estimate], words: Sequence[str], sentences: Sequence[str]) -> str:
    """Perplexity per word, unknown ones included as one word, and their share."""
    encoded = _encoded(sentences, words)
    total, count = ngram.log_probability(model, len(words), encoded)
    unknown = sum(word == ngram.UNKNOWN for sentence in encoded for word in sentence)
    return f"{count} words, {100 * unknown / count:.1f} % unknown, perplexity {math.exp(-total / count):.0f}"


def _transcripts(data: Path, stems: Iterable[str], split: str) -> Iterable[str]:
    for stem in stems:
        for utterance in packs.read_manifest(data / f"{stem}.tar"):
            words = text.normalise(utterance.text)
            if utterance.split == split and words:
                yield words


def _encoded(sentences: Iterable[str], words: Sequence[str]) -> list[list[int]]:
    ids = {word: number for number, word in enumerate(words)}
    return [[ids.get(word, ngram.UNKNOWN) for word in sentence.split()] for sentence in sentences]


if __name__ == "__main__":
    main()
