"""Where the words of a spoken text are, as a file: JSON with the place of each, or subtitles."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer

from streamer.cli.whole_file import whole_file
from streamer.errors import StreamerError
from streamer.session.messages import SpokenWord
from streamer.transcripts.formats import Format, render
from streamer.transcripts.transcript import Segment, Transcript, Word

FORMATS = {form.suffix: form for form in (Format.JSON, Format.SRT, Format.VTT)}
# What ends a sentence, with what may close it, or a blank line.
_SENTENCE_END = re.compile(r"[.?!…][\"'”\u2019)\]]*\s|\n\s*\n")

_BLANK = re.compile(r"\s+")


@dataclass(slots=True)
class SpokenWords:
    """Collects the words of one text, and the text itself."""

    sample_rate: int
    model: str
    text: list[str] = field(default_factory=list)
    words: list[SpokenWord] = field(default_factory=list)
    n_samples: int = 0

    def render(self, form: Format) -> str:
        """Return the file."""
        if form is Format.JSON:
            return json.dumps(self._plain(), ensure_ascii=False, indent=2) + "\n"
        duration_s = self.n_samples / self.sample_rate
        return render(Transcript("", duration_s, self.model, tuple(self._sentences())), form)

    def _plain(self) -> dict[str, Any]:
        return {
            "text": "".join(self.text),
            "duration_s": round(self.n_samples / self.sample_rate, 3),
            "model": self.model,
            "words": [
                {
                    "word": word.word,
                    "start_char": word.start_char,
                    "end_char": word.end_char,
                    "start_s": round(word.start_sample / self.sample_rate, 3),
                    "end_s": round(word.end_sample / self.sample_rate, 3),
                }
                for word in self.words
            ],
        }

    def _sentences(self) -> Iterator[Segment]:
        """Yield the sentences, with the marks that surround words in the text."""
        text = "".join(self.text) + "\n\n"
        cuts = [0, *(_cut(text, word, after) for word, after in pairwise(self.words)), len(text)]
        sentence: list[Word] = []
        for word, (start, end) in zip(self.words, pairwise(cuts), strict=True):
            shown = " ".join(text[start:end].split())
            sentence.append(Word(shown, word.start_sample / self.sample_rate, word.end_sample / self.sample_rate, 1.0))
            if _SENTENCE_END.search(text, word.end_char, end):
                yield _segment(sentence)
                sentence = []
        if sentence:
            yield _segment(sentence)


def _cut(text: str, word: SpokenWord, after: SpokenWord) -> int:
    """Where what is written between two words is parted: after its last blank, or before the second word."""
    blanks = list(_BLANK.finditer(text, word.end_char, after.start_char))
    return blanks[-1].end() if blanks else after.start_char


def words_format(path: Path) -> Format:
    """Return what a file of that name holds; raises `typer.BadParameter`."""
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        raise typer.BadParameter(f"--words: expected a file that ends in {', '.join(FORMATS)}, got {path.name}")
    return form


def write_words(path: Path, words: SpokenWords) -> None:
    """Write the file, whole; raises `StreamerError`."""
    try:
        with whole_file(path) as file:
            file.write(words.render(words_format(path)).encode())
    except OSError as error:
        raise StreamerError(f"cannot write {path}: {(error.strerror or 'failed').lower()}") from None


def _segment(words: Sequence[Word]) -> Segment:
    text = " ".join(word.word for word in words)
    return Segment(words[0].start_s, words[-1].end_s, text, 1.0, end_of_turn=True, words=tuple(words))
