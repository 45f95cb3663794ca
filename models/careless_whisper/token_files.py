"""Which file holds a checkpoint's text tokens, brought to the form of a rank file."""

from collections.abc import Mapping
from importlib import util
from pathlib import Path
from typing import Any

from models.careless_whisper.checkpoint_files import read_json
from models.careless_whisper.checkpoints import HUGGING_FACE, Checkpoint
from models.careless_whisper.tokenizer import (
    ENGLISH_SIZE,
    LANGUAGES,
    RANK_SUFFIX,
    Vocabulary,
    of_pieces,
    of_ranks,
    ranks_of_pieces,
    write_ranks,
)
from models.common.safe_files import CheckpointError, listed

# The number of ids of OpenAI's models, and the files that come with its package.
_ASSETS = {ENGLISH_SIZE: "gpt2", 51865: "multilingual", 51866: "multilingual"}
_BESIDE = ("tokenizer.json", "vocab.json")
_MORE = "added_tokens.json"
_EOT = "<|endoftext|>"
_SPECIALS = {
    _EOT: "eot",
    "<|startoftranscript|>": "sot",
    "<|translate|>": "translate",
    "<|transcribe|>": "transcribe",
    "<|startoflm|>": "sot_lm",
    "<|startofprev|>": "sot_prev",
    "<|notimestamps|>": "no_timestamps",
}


def vocabulary_of(checkpoint: Checkpoint, folder: Path, given: Path | None = None, compat: bool = False) -> Vocabulary:
    """The vocabulary of a checkpoint; a rank file that must be made first is written into `folder`.

    Its tokens are those of `given` (a rank file, `tokens.txt`, `vocab.json` or `tokenizer.json`), else of the JSON file
    beside a Hugging Face checkpoint, else OpenAI's. `compat` as in `of_ranks`. Raises `CheckpointError`.
    """
    size = checkpoint.dims.n_vocab
    source = given or _beside(checkpoint) or _installed(size)
    if source is None:
        sizes = ", ".join(map(str, _ASSETS))
        raise CheckpointError(f"vocabulary of {size} ids: expected one of {sizes}, or a file by --tokens")
    name = source.name
    try:
        if source.suffix == ".txt":
            return _of_pieces(source, size)
        special: Mapping[str, int] = {}
        if source.suffix == ".json":
            ranks, special = read_pieces(source)
            source = folder / f"{source.stem}{RANK_SUFFIX}"
            write_ranks(source, ranks)
        vocabulary = of_ranks(source, size, compat=compat)
    except OSError as error:
        raise CheckpointError(f"cannot read {source}: {error.strerror}") from None
    except (ValueError, KeyError) as error:
        raise CheckpointError(str(error)) from None
    _require_order(name, vocabulary, special)
    return vocabulary


def read_pieces(path: Path) -> tuple[dict[bytes, int], dict[str, int]]:
    """Ranks and special ids of a `tokenizer.json`, or of a `vocab.json` and `added_tokens.json` beside it, if any."""
    content = read_json(path)
    # `model` may also be a piece of a vocabulary.
    if isinstance(content.get("model"), dict):
        pieces = content["model"].get("vocab")
        added = {token.get("content"): token.get("id") for token in _objects(content.get("added_tokens", []))}
    else:
        more = path.with_name(_MORE)
        pieces, added = content, read_json(more) if more.exists() else {}
    if not _are_ids(pieces) or not _are_ids(added):
        raise CheckpointError(f"{path.name}: expected pieces with their ids")
    everything = {**pieces, **added}
    eot = everything.get(_EOT, len(pieces))
    text = {piece: rank for piece, rank in pieces.items() if rank < eot}
    if "" not in text and len(text) + 1 == eot:
        # OpenAI's empty token, the last one, may be left out.
        text[""] = eot - 1
    return ranks_of_pieces(path.name, text), {name: rank for name, rank in everything.items() if name in _SPECIALS}


def _beside(checkpoint: Checkpoint) -> Path | None:
    if checkpoint.format != HUGGING_FACE:
        return None
    folder = checkpoint.files[0].parent
    return next((folder / name for name in _BESIDE if (folder / name).is_file()), None)


def _installed(size: int) -> Path | None:
    """OpenAI's file for a model of `size` ids, from its package, which is not imported for that."""
    if size not in _ASSETS:
        return None
    found = util.find_spec("whisper")
    if found is None or not found.submodule_search_locations:
        raise CheckpointError("the package openai-whisper, which holds the tokens, is not installed: expected --tokens")
    return Path(found.submodule_search_locations[0]) / "assets" / f"{_ASSETS[size]}{RANK_SUFFIX}"


def _of_pieces(source: Path, size: int) -> Vocabulary:
    """Languages are Whisper's first ones, as many as there are ids for."""
    pieces = of_pieces(source)
    if not 0 <= size - pieces.size <= len(LANGUAGES):
        raise ValueError(f"{source.name}: expected a model of at least {pieces.size} ids, got {size}")
    return of_pieces(source, LANGUAGES[: size - pieces.size])


def _require_order(name: str, vocabulary: Vocabulary, special: Mapping[str, int]) -> None:
    problems = [
        f"{piece}: expected {getattr(vocabulary, _SPECIALS[piece])}, got {rank}"
        for piece, rank in special.items()
        if getattr(vocabulary, _SPECIALS[piece]) != rank
    ]
    if problems:
        raise CheckpointError(listed(f"{name}: its special ids are not those of Whisper", problems))


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _are_ids(pieces: Any) -> bool:
    return isinstance(pieces, dict) and all(type(rank) is int and rank >= 0 for rank in pieces.values())
