"""Texts as training wants them: ids word by word, for vocabularies of our own and of released models."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from models.careless_whisper.tokenizer import RANK_SUFFIX, Vocabulary, encoding_of, of_pieces, of_ranks, read_ranks
from models.common.text import Pieces

_LANGUAGE = "en"


@dataclass(frozen=True)
class Texts:
    """A vocabulary, what it makes of a text that may begin with a space, and back."""

    vocabulary: Vocabulary
    encode: Callable[[str], list[int]]
    decode: Callable[[list[int]], str]
    prompt: tuple[int, ...]

    @property
    def eot(self) -> int:
        """End of a text; all ids below it are text."""
        return self.vocabulary.eot

    def words(self, text: str) -> list[list[int]]:
        """Ids of each word of normalised text, all but the first with the space before them."""
        return [self.encode(" " + word if i else word) for i, word in enumerate(text.split())]


def of_file(tokens: Path, size: int | None = None) -> Texts:
    """Texts of a `*.tiktoken` file and a model of `size` ids, or of `tokens.txt` beside its `pieces.model`."""
    if tokens.suffix == RANK_SUFFIX:
        if size is None:
            raise ValueError(f"{tokens.name}: expected the number of ids of the model, got none")
        vocabulary = of_ranks(tokens, size)
        encoding = encoding_of(tokens.name, read_ranks(tokens))
        return Texts(vocabulary, encoding.encode, encoding.decode, vocabulary.prompt(_LANGUAGE))
    pieces = Pieces(tokens.with_name("pieces.model"))
    # Sentencepiece puts a space before every text by itself.
    vocabulary = of_pieces(tokens, (_LANGUAGE,))
    return Texts(vocabulary, lambda text: pieces.encode(text.strip()), pieces.decode, vocabulary.prompt(_LANGUAGE))
