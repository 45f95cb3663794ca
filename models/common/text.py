"""Text of the recogniser: normalisation to a-z and apostrophe, and a small BPE vocabulary."""

import gzip
import re
import unicodedata
import zlib
from collections.abc import Iterable
from pathlib import Path

import sentencepiece

BLANK = 0
UNKNOWN = 1
HELD_OUT_EVERY = 50
LETTERS = "_abcdefghijklmnopqrstuvwxyz' "
_ABBREVIATIONS = {"mr": "mister", "mrs": "missus", "dr": "doctor", "st": "saint"}


def normalise(text: str) -> str:
    """Lower-case `text` to words of a-z and apostrophe; empty if it holds digits to be read out."""
    if re.search(r"\d", text):
        return ""
    plain = unicodedata.normalize("NFKD", text.replace("\u2019", "'")).encode("ascii", "ignore").decode().lower()
    words = (word.strip("'") for word in re.sub(r"[^a-z']+", " ", plain).split())
    return " ".join(_ABBREVIATIONS.get(word, word) for word in words if word)


def spell(text: str) -> list[int]:
    """Map normalised text to ids of LETTERS; 0 is blank."""
    return [LETTERS.index(letter) for letter in text]


def read_sentences(path: Path) -> list[str]:
    """Read a gzip file of one sentence a line."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [line.strip() for line in file if line.strip()]


def held_out(sentence: str) -> bool:
    """Tell whether `sentence` belongs to the slice that is never synthesised for training."""
    return zlib.crc32(sentence.encode()) % HELD_OUT_EVERY == 0


def train_pieces(sentences: Iterable[str], prefix: Path, size: int) -> "Pieces":
    """Train a BPE model of `size` pieces (blank 0, unknown 1) and write `prefix`.model."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_prefix=str(prefix), model_type="bpe", vocab_size=size,
        pad_id=BLANK, pad_piece="<blk>", unk_id=UNKNOWN, bos_id=-1, eos_id=-1, character_coverage=1.0,
        normalization_rule_name="identity", minloglevel=2, num_threads=1,
    )  # fmt: skip
    return Pieces(prefix.with_suffix(".model"))


class Pieces:
    """A trained BPE vocabulary: text to ids and back."""

    def __init__(self, model: Path) -> None:
        self._processor = sentencepiece.SentencePieceProcessor(model_file=str(model))

    def __len__(self) -> int:
        return self._processor.get_piece_size()

    def encode(self, text: str) -> list[int]:
        """Map normalised text to piece ids."""
        return self._processor.encode(text)

    def decode(self, ids: list[int]) -> str:
        """Map piece ids to text; blank and unknown are dropped."""
        return self._processor.decode([i for i in ids if i > UNKNOWN])

    def write_tokens(self, path: Path) -> None:
        """Write `piece id` lines, the only form that the server reads."""
        lines = (f"{self._processor.id_to_piece(i)} {i}\n" for i in range(len(self)))
        path.write_text("".join(lines), encoding="utf-8")
