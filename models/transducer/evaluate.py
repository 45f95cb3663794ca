"""Word error rates of a finished bundle, through `streamer transcribe`, on speech that training never saw."""

import argparse
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from models.common import packs, synthesis, text
from models.common.served_words import HEADER, Spoken, listen, score

BUNDLE = Path(__file__).parents[2] / "streamer" / "bundles" / "asr-en"
_SEED = 1
# Name in the table, packs, and what their dev split holds out.
_REAL = {
    "LibriSpeech 1970, 3664 (unseen speakers)": ("librispeech_1", "librispeech_2"),
    "LJSpeech (unseen clips of a known voice)": ("ljspeech",),
    "Kathleen (unseen prompts of a known voice)": ("kathleen",),
}
_SYNTHETIC = "synthetic (unseen text, known voices)"


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help="folder of the bundle")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the packs")
    parser.add_argument("--synthetic", type=int, default=150, help="synthetic sentences to speak and transcribe")
    parser.add_argument("--examples", type=int, default=0, help="transcripts of each set to show")
    arguments = parser.parse_args()
    print(HEADER, flush=True)
    shown = []
    for name, spoken in sets(arguments.data, arguments.synthetic):
        heard, cpu_s = listen(spoken, arguments.bundle.resolve())
        print(score(spoken, heard, cpu_s).row(name), flush=True)
        shown += [(name, *pair) for pair in list(zip(spoken, heard, strict=True))[: arguments.examples]]
    for name, said, understood in shown:
        print(f"\n{name}\n  said  {said.text}\n  heard {understood.text}")


def sets(data: Path, synthetic: int) -> Iterator[tuple[str, list[Spoken]]]:
    """Yield the name and the recordings of each set; without a synthesiser there is no synthetic one."""
    for name, stems in _REAL.items():
        yield name, [spoken for stem in stems for spoken in real_speech(data / f"{stem}.tar")]
    if shutil.which("flite") and shutil.which("espeak-ng"):
        yield _SYNTHETIC, synthetic_speech(data / "sentences.txt.gz", synthetic)
    else:
        print("no synthetic set: flite and espeak-ng are not installed", flush=True)


def real_speech(pack: Path) -> Iterator[Spoken]:
    """Yield the dev clips of a pack whose text needs no reading out of digits."""
    for utterance, samples, rate in packs.read_pack(pack, "dev"):
        words = text.normalise(utterance.text)
        if words:
            yield Spoken(words, packs.resample(samples, rate))


def synthetic_speech(sentences: Path, count: int) -> list[Spoken]:
    """Speak held-out sentences in the voices of training, at tempos and pitches drawn anew."""
    rng = random.Random(_SEED)
    unseen = [sentence for sentence in text.read_sentences(sentences) if text.held_out(sentence)]
    return [
        Spoken(sentence, synthesis.synthesise(sentence, synthesis.draw_voice(rng)))
        for sentence in rng.sample(unseen, count)
    ]


if __name__ == "__main__":
    main()
