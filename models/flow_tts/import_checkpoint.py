"""Make a bundle of a checkpoint of CosyVoice 2 or 3; see IMPORT.md.

The bundle is there whole and checked, or not at all.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.common.imports import file_rows, name_of, new_folder, require_names, require_sound, run_import
from models.common.safe_files import CheckpointError
from models.flow_tts.cosyvoice.checkpoint import LM, Checkpoint, read_checkpoint
from models.flow_tts.cosyvoice.config import FRAME, RATE, TOKEN_FRAMES, Options
from models.flow_tts.cosyvoice.export import UPSTREAM_FRAMES, export_bundle
from models.flow_tts.cosyvoice.memory import bytes_kept, require_memory
from models.flow_tts.cosyvoice.steps import LM_PAGE
from models.flow_tts.cosyvoice.voices import read_voices

_MOST_PAGES, _MOST_CELLS = 1000, 1 << 16


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line, see --help; returns 1 after one message where something is wrong, else 0."""
    return run_import(import_checkpoint, _parser().parse_args(arguments))


def import_checkpoint(settings: argparse.Namespace) -> None:
    """Read, export, check and put in place; raises `CheckpointError`, `BundleError`, `ValueError` or `OSError`."""
    name = settings.name or name_of(settings.checkpoint, "cosyvoice")
    require_names(name, settings.version)
    with new_folder(settings.out, settings.force) as partial, tempfile.TemporaryDirectory() as scratch:
        checkpoint = read_checkpoint(settings.checkpoint, settings.lm)
        options = options_of(settings, checkpoint)
        require_memory(checkpoint, options)
        voices = read_voices(settings.voices, checkpoint, options)
        about = about_of(checkpoint, settings, name)
        card = Path(scratch) / "card.md"
        card.write_text(card_of(checkpoint, options, about), encoding="utf-8")
        print(f"{about['description']}; exporting", flush=True)
        export_bundle(checkpoint, options, partial, about, card, settings.half_weights, settings.upstream_noise, voices)
        require_sound(partial)
    print(f"{settings.out}: {name}@{settings.version}")


def options_of(settings: argparse.Namespace, checkpoint: Checkpoint) -> Options:
    """How the bundle is to stream; raises `CheckpointError`."""
    for key, value, most in (("--pages", settings.pages, _MOST_PAGES), ("--cells", settings.cells, _MOST_CELLS)):
        if not 2 <= value <= most:
            raise CheckpointError(f"{key}: expected 2 to {most}, got {value}")
    options = Options(
        chunk=checkpoint.settings.chunk,
        pages=settings.pages,
        cells=settings.cells,
        cached=settings.flow == "cached",
        half_state=settings.half_state,
    )
    frames = options.pages * options.chunk * TOKEN_FRAMES
    if settings.upstream_noise and frames > UPSTREAM_FRAMES:
        raise CheckpointError(f"--upstream-noise: expected at most {UPSTREAM_FRAMES} frames of --pages, got {frames}")
    return options


def about_of(checkpoint: Checkpoint, settings: argparse.Namespace, name: str) -> dict[str, Any]:
    """What the manifest says of the model in words."""
    lm, chunk = checkpoint.lm.sizes, checkpoint.settings.chunk
    chunk_ms = chunk * TOKEN_FRAMES * FRAME * 1000 // RATE
    return {
        "name": name,
        "version": settings.version,
        "description": f"CosyVoice {checkpoint.version}, 24 kHz, language model of {lm.layers} layers {lm.width} wide,"
        f" chunks of {chunk_ms} ms",
        "licence": settings.licence,
    }


def card_of(checkpoint: Checkpoint, options: Options, about: Mapping[str, Any]) -> str:
    """The bundle's README: what is known of an imported model."""
    seconds = options.pages * options.chunk * TOKEN_FRAMES * FRAME / RATE
    kept = bytes_kept(checkpoint, options)
    return "\n".join(
        [
            f"# {about['name']}",
            "",
            f"{about['description']}. Imported; nothing was trained here, and nothing was listened to: see the model's",
            "own card.",
            "",
            f"Prompt and speech of a stream are {seconds:g} s at most, text and speech of its language model"
            f" {-(-options.cells // LM_PAGE) * LM_PAGE} ids.",
            "A stream keeps, in bytes: " + ", ".join(f"{graph} {size}" for graph, size in kept.items()) + ".",
            "",
            f"Licence, as given at the import: {about['licence']}",
            "",
            *file_rows(checkpoint.files),
            "",
        ]
    )


def _parser() -> argparse.ArgumentParser:
    usual = Options()
    parser = argparse.ArgumentParser(prog="python -m models.flow_tts.import_checkpoint", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="folder with flow.pt, hift.pt, llm.pt")
    parser.add_argument("-o", "--out", type=Path, required=True, help="new folder of the bundle")
    parser.add_argument("--voices", type=Path, required=True, metavar="FILE", help="npz of the prompts, see IMPORT.md")
    parser.add_argument("--lm", default=LM, metavar="FILE", help=f"of the language model; {LM} if not given")
    parser.add_argument("--flow", choices=("cached", "prefix"), default="cached", help="with caches, or over all again")
    parser.add_argument("--pages", type=int, default=usual.pages, help="chunks that a stream has room for")
    parser.add_argument("--cells", type=int, default=usual.cells, help="ids that its language model has room for")
    parser.add_argument("--half-state", action="store_true", help="keep keys and values in half precision")
    parser.add_argument("--half-weights", action="store_true", help="round matrices to half precision")
    parser.add_argument("--upstream-noise", action="store_true", help="add the noise that upstream draws with seed 0")
    parser.add_argument("--force", action="store_true", help="replace the bundle that is there")
    parser.add_argument("--name", help="of the bundle; that of the folder if not given")
    parser.add_argument("--version", default="1.0.0")
    parser.add_argument("--licence", default="not stated", help="of the weights")
    parser.add_argument("--threads", type=int, default=1)
    return parser


if __name__ == "__main__":
    sys.exit(main())
