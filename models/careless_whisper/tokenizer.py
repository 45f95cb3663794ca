"""What a Whisper model can say: text, then special ids in a fixed order; and what of it no transcript says.

The order of special ids is that of openai-whisper (`whisper/tokenizer.py`): end, start, languages, translate,
transcribe, start of text without audio, start of what was said before, no speech, no timestamps, timestamps of 20 ms.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tiktoken

from models.common.text import BLANK, UNKNOWN
from streamer.errors import BundleError
from streamer.tasks.ranks import SUFFIX
from streamer.tasks.ranks import read_ranks as read_vocabulary

_CODES = (
    "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta "
    "no th ur hr bg lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk "  # codespell:ignore te
    "sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb "  # codespell:ignore fo
    "my bo tl mg as tt haw ln ha ba jw su yue"
)
LANGUAGES = tuple(_CODES.split())
"""Codes in the order of their ids; Cantonese, the last, is known to the vocabulary of 51866 alone."""
TIMESTAMPS = 1501
ENGLISH_SIZE = 51864
RANK_SUFFIX = SUFFIX
_SPECIALS = ("translate", "transcribe", "sot_lm", "sot_prev", "no_speech", "no_timestamps")
# How GPT-2 cuts text into words before it merges bytes.
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# Speakers' names, notes and descriptions of sounds; the first token of a note of music is forbidden however it goes on.
_PAIRS = "<< >> <<< >>> -- --- -( -[ (' (\" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪"
_SYMBOLS = (*'"#()*+/:;<=>@[\\]^_`{|}~「」『』', *_PAIRS.split())
_MUSIC = "♩♪♫♬♭♮♯"

Ranks = Mapping[bytes, int]


@dataclass(frozen=True)
class Vocabulary:
    """Ids of one model. `tokens`: the file of its text tokens, `*.tiktoken` (base64 bytes, rank) or k2's `tokens.txt`.

    `languages` are the codes of the ids from `sot + 1` on, empty for a model of one language, whose prompt names
    neither language nor task. `suppressed` is never said; `blank` is what the blank rule forbids as first token.
    """

    tokens: Path
    size: int
    eot: int
    languages: tuple[str, ...]
    language_ids: int
    suppressed: tuple[int, ...]
    blank: tuple[int, ...]

    @property
    def sot(self) -> int:
        """Start of a transcript."""
        return self.eot + 1

    @property
    def first_language(self) -> int:
        """Id of the first language, -1 if the model is not multilingual."""
        return self.sot + 1 if self.languages else -1

    @property
    def translate(self) -> int:
        """Task of translation to English."""
        return self._special("translate")

    @property
    def transcribe(self) -> int:
        """Task of transcription."""
        return self._special("transcribe")

    @property
    def sot_lm(self) -> int:
        """Start of text without audio."""
        return self._special("sot_lm")

    @property
    def sot_prev(self) -> int:
        """Start of the text that was said before."""
        return self._special("sot_prev")

    @property
    def no_speech(self) -> int:
        """Nothing is said in this window."""
        return self._special("no_speech")

    @property
    def no_timestamps(self) -> int:
        """What follows holds no timestamps."""
        return self._special("no_timestamps")

    @property
    def first_timestamp(self) -> int:
        """Timestamp 0.00; equal to `size` if there are none."""
        return self.no_timestamps + 1

    def prompt(self, language: str = "") -> tuple[int, ...]:
        """What a transcript begins with; raises `ValueError` for a language that the model does not know."""
        if not self.languages:
            return self.sot, self.no_timestamps
        if language not in self.languages:
            raise ValueError(f"language: expected one of {', '.join(self.languages)}, got {language!r:.20}")
        return self.sot, self.first_language + self.languages.index(language), self.transcribe, self.no_timestamps

    def _special(self, name: str) -> int:
        return self.sot + 1 + self.language_ids + _SPECIALS.index(name)


def of_ranks(
    tokens: Path, size: int, languages: Sequence[str] | None = None, timestamps: int = TIMESTAMPS, compat: bool = False
) -> Vocabulary:
    """The vocabulary of `size` ids whose text tokens are those of the rank file `tokens`.

    Ids that are neither text, tasks nor timestamps are languages; their codes are Whisper's first ones unless
    `languages` says otherwise, and none where `size` is that of OpenAI's English models. With `compat`, languages,
    timestamps and `no_timestamps` are not suppressed, as in openai-whisper. Raises `ValueError` if file and size do
    not fit.
    """
    ranks = read_ranks(tokens)
    language_ids = size - len(ranks) - 2 - len(_SPECIALS) - timestamps
    if languages is None:
        languages = () if size == ENGLISH_SIZE else LANGUAGES[: max(language_ids, 0)]
    if language_ids < 0 or (languages and len(languages) != language_ids):
        expected = size - language_ids + len(languages)
        raise ValueError(f"{tokens.name}: expected a model of {expected} ids with its {len(ranks)} tokens, got {size}")
    encoding = encoding_of(tokens.name, ranks)
    eot = len(ranks)
    blank = (*encoding.encode(" "), eot)
    draft = Vocabulary(tokens, size, eot, tuple(languages), language_ids, (), blank)
    special = _reference_suppressed(draft) if compat else range(draft.sot, size)
    return _with_suppressed(draft, [*non_speech(encoding), *special])


def of_pieces(tokens: Path, languages: Sequence[str] = ()) -> Vocabulary:
    """The vocabulary of a model of our own: k2's `tokens.txt` of sentencepiece, special ids above it, no timestamps.

    Blank and unknown, ids 0 and 1, are never said. Raises `ValueError` if the ids of the file are not 0, 1, 2, ...
    """
    lines = tokens.read_text(encoding="utf-8").splitlines()
    if [line.split(" ")[-1] for line in lines] != [str(i) for i in range(len(lines))]:
        raise ValueError(f"{tokens.name}: expected ids 0 to {len(lines) - 1} in order, one a line")
    eot, size = len(lines), len(lines) + 2 + len(languages) + len(_SPECIALS)
    draft = Vocabulary(tokens, size, eot, tuple(languages), len(languages), (), (eot,))
    return _with_suppressed(draft, [BLANK, UNKNOWN, *range(draft.sot, size)])


def encoding_of(name: str, ranks: Ranks) -> tiktoken.Encoding:
    """What turns text into ids of `ranks` and back; it knows no special ids.

    Raises `ValueError` if a byte has no token of its own: not every text could be said.
    """
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing:
        raise ValueError(f"{name}: expected a token for each of 256 bytes, got none for {len(missing)} of them")
    return tiktoken.Encoding(name, pat_str=_WORDS, mergeable_ranks=dict(ranks), special_tokens={})


def non_speech(encoding: tiktoken.Encoding) -> tuple[int, ...]:
    """Ids of notes, brackets, music and the like, which openai-whisper suppresses; hyphens within words are spared."""
    found = {encoding.encode(" -")[0], encoding.encode(" '")[0]}
    for symbol in (*_SYMBOLS, *_MUSIC):
        for text in (symbol, " " + symbol):
            ids = encoding.encode(text)
            if len(ids) == 1 or symbol in _MUSIC:
                found.add(ids[0])
    return tuple(sorted(found))


def read_ranks(path: Path) -> dict[bytes, int]:
    """Read a rank file as the server does: a line is base64 of the token's bytes and its rank, which is its id.

    Raises `ValueError` naming the line that is not of this form, or if the ids are not 0, 1, 2, ... in any order.
    """
    try:
        pieces = read_vocabulary(path).pieces
    except BundleError as error:
        raise ValueError(str(error)) from None
    ranks = {piece: rank for rank, piece in enumerate(pieces)}
    # Of two ids with the same bytes the dictionary keeps one.
    _require_ids(path.name, ranks.values())
    return ranks


def write_ranks(path: Path, ranks: Ranks) -> None:
    """Write a rank file, in the order of ids."""
    lines = ((base64.b64encode(token) or b"=").decode() + f" {rank}\n" for token, rank in _by_id(ranks))
    path.write_text("".join(lines), encoding="ascii")


def ranks_of_pieces(name: str, pieces: Mapping[str, int], eot: str = "<|endoftext|>") -> dict[bytes, int]:
    """Ranks of the `vocab.json` of a byte-level tokenizer, in which letters stand for bytes; `name` is for errors.

    Ids from that of `eot` on are special and left out. Raises `ValueError` for a letter that stands for no byte, or
    if the ids are not 0, 1, 2, ...
    """
    letters = byte_letters()
    ranks: dict[bytes, int] = {}
    for piece, rank in pieces.items():
        if rank < pieces.get(eot, len(pieces)):
            if not letters.keys() >= set(piece):
                raise ValueError(f"{name}: expected pieces of a byte-level tokenizer, got {piece!r:.40}")
            ranks[bytes(letters[letter] for letter in piece)] = rank
    _require_ids(name, ranks.values())
    return ranks


def byte_letters() -> dict[str, int]:
    """GPT-2's letters for bytes: printable ones of Latin-1 stand for themselves, the others follow from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


def _with_suppressed(draft: Vocabulary, ids: Iterable[int]) -> Vocabulary:
    suppressed = tuple(sorted(set(ids)))
    return Vocabulary(draft.tokens, draft.size, draft.eot, draft.languages, draft.language_ids, suppressed, draft.blank)


def _reference_suppressed(draft: Vocabulary) -> tuple[int, ...]:
    return draft.sot, draft.translate, draft.transcribe, draft.sot_lm, draft.sot_prev, draft.no_speech


def _require_ids(name: str, ids: Iterable[int]) -> None:
    found = sorted(ids)
    if not found or found != list(range(len(found))):
        raise ValueError(
            f"{name}: expected ids 0, 1, 2, ... without gaps, got {len(found)} ids up to {max(found, default=-1)}"
        )


def _by_id(ranks: Ranks) -> Iterator[tuple[bytes, int]]:
    yield from sorted(ranks.items(), key=lambda item: item[1])
