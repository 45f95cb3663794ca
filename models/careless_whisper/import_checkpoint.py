"""Make a bundle of a Whisper checkpoint: OpenAI's, Hugging Face's or WhisperRT's; see IMPORT.md.

The bundle is there whole and checked, or not at all.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.careless_whisper.checkpoint_files import read_checkpoint
from models.careless_whisper.checkpoints import Checkpoint
from models.careless_whisper.config import FRAME_SAMPLES, Chunking
from models.careless_whisper.export import export_bundle, search_options
from models.careless_whisper.features import SAMPLE_RATE
from models.careless_whisper.token_files import vocabulary_of
from models.careless_whisper.tokenizer import Vocabulary
from models.common.imports import file_rows, name_of, new_folder, require_names, require_sound, run_import
from models.common.safe_files import CheckpointError

_CARD = "card.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line, see --help; returns 1 after one message where something is wrong, else 0."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    if parsed.offline and (parsed.gran is not None or parsed.extra is not None):
        parser.error("--offline is one chunk as long as the window: expected no --gran and no --extra")
    return run_import(import_checkpoint, parsed)


def import_checkpoint(settings: argparse.Namespace) -> None:
    """Read, export, check and put in place; raises `CheckpointError`, `BundleError`, `ValueError` or `OSError`."""
    name = settings.name or name_of(settings.checkpoint, "whisper")
    require_names(name, settings.version)
    with new_folder(settings.out, settings.force) as partial, tempfile.TemporaryDirectory() as scratch:
        checkpoint = read_checkpoint(settings.checkpoint)
        chunking = chunking_of(checkpoint, settings.gran, settings.extra, settings.offline)
        vocabulary = vocabulary_of(checkpoint, Path(scratch), settings.tokens, settings.compat)
        offered = offered_languages(vocabulary, settings.languages)
        options = search_of(settings.options, chunking, offered if settings.languages else ())
        about = about_of(checkpoint, chunking, settings, name, offered)
        card = Path(scratch) / _CARD
        card.write_text(card_of(checkpoint, chunking, about), encoding="utf-8")
        print(f"{checkpoint.format} checkpoint, {about['description']}; exporting", flush=True)
        model = checkpoint.model(adapted=not settings.offline)
        del checkpoint
        model.merge()
        export_bundle(model, chunking, vocabulary, partial, about, settings.half_state, options, card)
        require_sound(partial)
    print(f"{settings.out}: {name}@{settings.version}")


def chunking_of(checkpoint: Checkpoint, gran: int | None, extra: int | None, offline: bool) -> Chunking:
    """How the encoder is cut: as asked, else as trained; `offline` is one chunk as long as the window.

    Raises `CheckpointError` where nobody says, or the first block is longer than the window.
    """
    frames = checkpoint.dims.n_audio_ctx
    if offline:
        return Chunking(frames)
    trained = checkpoint.chunking
    if gran is not None:
        chunking = Chunking(gran, extra or 0)
    elif trained is not None:
        chunking = replace(trained, extra=trained.extra if extra is None else extra)
    else:
        raise CheckpointError(
            f"{checkpoint.format} checkpoint that does not say how its audio is cut: expected --gran, or --offline"
        )
    if chunking.gran < 1 or chunking.extra < 0 or chunking.first > frames:
        raise CheckpointError(
            f"chunks of {chunking.gran} frames, {chunking.extra} more at first: expected 1 to {frames} frames at first,"
            f" got {chunking.first}"
        )
    if trained is not None and chunking != trained:
        print(f"note: trained with --gran {trained.gran} --extra {trained.extra}", flush=True)
    return chunking


def offered_languages(vocabulary: Vocabulary, asked: Sequence[str]) -> tuple[str, ...]:
    """Codes for the manifest: those asked for, else all that the model knows; raises `CheckpointError`."""
    known = vocabulary.languages or ("en",)
    unknown = [code for code in asked if code not in known]
    if unknown:
        raise CheckpointError(f"--languages: expected some of {', '.join(known)}, got {', '.join(unknown)!r:.60}")
    return tuple(dict.fromkeys(asked)) or known


def search_of(asked: Sequence[str], chunking: Chunking, languages: Sequence[str]) -> dict[str, int | str]:
    """Options of the search from `NAME=VALUE`, and the first of `languages` as that of streams which name none."""
    known = search_options(chunking)
    options: dict[str, int | str] = {"language": languages[0]} if languages else {}
    for option in asked:
        name, _, value = option.partition("=")
        is_number = name in known and isinstance(known[name], int)
        if name not in known or not value or (is_number and not value.isdigit()):
            forms = ", ".join(f"{key}={default}" for key, default in known.items())
            raise CheckpointError(f"--options: expected some of {forms}, got {option!r:.60}")
        options[name] = int(value) if is_number else value
    return options


def about_of(
    checkpoint: Checkpoint, chunking: Chunking, settings: argparse.Namespace, name: str, languages: Sequence[str]
) -> dict[str, Any]:
    """What the manifest says of the model in words."""
    dims = checkpoint.dims
    cut = f"offline, windows of {_ms(chunking.gran)} ms" if settings.offline else f"chunks of {_ms(chunking.gran)} ms"
    adapters = f", adapters of rank {checkpoint.rank} merged" if checkpoint.rank and not settings.offline else ""
    sizes = f"{dims.n_audio_state} wide, {dims.n_audio_layer} + {dims.n_text_layer} layers"
    return {
        "name": name,
        "version": settings.version,
        "description": f"Whisper, {sizes}, {cut}{adapters}",
        "licence": settings.licence,
        "languages": list(languages),
    }


def card_of(checkpoint: Checkpoint, chunking: Chunking, about: Mapping[str, Any]) -> str:
    """The bundle's README: what is known of an imported model."""
    first = f"The first {chunking.first} encoder frames are heard at once, then {chunking.gran} (20 ms each) at a time."
    return "\n".join(
        [
            f"# {about['name']}",
            "",
            f"{about['description']}. Imported from the {checkpoint.format} format; nothing was trained here,",
            "and nothing is known here of its data and its error rates: see the model's own card.",
            "",
            first,
            "Matrices are rounded to half precision.",
            "",
            f"Licence, as given at the import: {about['licence']}",
            "",
            *file_rows(checkpoint.files),
            "",
        ]
    )


def _ms(frames: int) -> int:
    return frames * FRAME_SAMPLES * 1000 // SAMPLE_RATE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m models.careless_whisper.import_checkpoint", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help=".pt file, .safetensors file or folder of Hugging Face")
    parser.add_argument("-o", "--out", type=Path, required=True, help="new folder of the bundle")
    parser.add_argument("--force", action="store_true", help="replace the bundle that is there")
    parser.add_argument("--name", help="of the bundle; that of the file if not given")
    parser.add_argument("--version", default="1.0.0")
    parser.add_argument("--licence", default="not stated", help="of the weights")
    parser.add_argument("--languages", nargs="+", default=(), metavar="CODE", help="offered; the first is the default")
    parser.add_argument("--tokens", type=Path, help="*.tiktoken, vocab.json, tokenizer.json or tokens.txt")
    parser.add_argument("--gran", type=int, help="encoder frames of 20 ms a chunk; as trained if not given")
    parser.add_argument("--extra", type=int, help="further chunks in the first block")
    parser.add_argument("--offline", action="store_true", help="no adapters, no mask: one chunk as long as the window")
    parser.add_argument("--half-state", action="store_true", help="keep keys and values in half precision")
    parser.add_argument("--compat", action="store_true", help="forbid only what openai-whisper forbids")
    parser.add_argument("--options", nargs="+", default=(), metavar="NAME=VALUE", help="of the search")
    parser.add_argument("--threads", type=int, default=1)
    return parser


if __name__ == "__main__":
    sys.exit(main())
