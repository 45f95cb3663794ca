"""Make a bundle of a checkpoint of EnCodec at 24 kHz or of Mimi; see IMPORT.md.

The bundle is there whole and checked, or not at all.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.codec.encodec_checkpoint import encodec_of
from models.codec.foreign_export import ENCODEC_OFFER, MIMI_OFFER, ForeignCodec, Offer, export_bundle, parameters
from models.codec.mimi_checkpoint import mimi_of
from models.common.imports import file_rows, name_of, new_folder, require_names, require_sound, run_import
from models.common.safe_files import SAFETENSORS, CheckpointError, load_safetensors, load_tensors, weights_by_name

ENCODEC, MIMI = "encodec", "mimi"
_TITLES = {ENCODEC: "EnCodec", MIMI: "Mimi"}
_OFFERS = {ENCODEC: ENCODEC_OFFER, MIMI: MIMI_OFFER}
# A training run's file holds the weights beside other things.
_WRAPPERS = ("model", "state_dict", "best_state")


@dataclass(frozen=True)
class Checkpoint:
    """A checked checkpoint: its model in float32, with silence learned, and the file that it was read from."""

    kind: str
    model: ForeignCodec
    file: Path

    @property
    def offer(self) -> Offer:
        """What a bundle of it offers."""
        return _OFFERS[self.kind]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line, see --help; returns 1 after one message where something is wrong, else 0."""
    return run_import(import_checkpoint, _parser().parse_args(arguments))


def import_checkpoint(settings: argparse.Namespace) -> None:
    """Read, export, check and put in place; raises `CheckpointError`, `BundleError`, `ValueError` or `OSError`."""
    name = settings.name or name_of(settings.checkpoint, "codec")
    require_names(name, settings.version)
    with new_folder(settings.out, settings.force) as partial, tempfile.TemporaryDirectory() as scratch:
        checkpoint = read_checkpoint(settings.checkpoint, settings.kind, settings.books)
        about = about_of(checkpoint, settings, name)
        card = Path(scratch) / "card.md"
        card.write_text(card_of(checkpoint, about), encoding="utf-8")
        print(f"{about['description']}; exporting", flush=True)
        export_bundle(checkpoint.model, partial, about, checkpoint.offer, card, settings.half_state)
        require_sound(partial)
    print(f"{settings.out}: {name}@{settings.version}")


def read_checkpoint(path: Path, kind: str | None = None, books: int | None = None) -> Checkpoint:
    """Read a file of `kind`, or of that which its names tell, and keep its first `books`.

    Raises `CheckpointError` saying all that is wrong with it.
    """
    found = read_weights(path)
    kind = kind or kind_of(path.name, found)
    model = encodec_of(path.name, found) if kind == ENCODEC else mimi_of(path.name, found)
    if books is not None:
        if not 1 <= books <= model.sizes.books:
            raise CheckpointError(f"--books: expected 1 to {model.sizes.books}, got {books}")
        model = model.with_books(books)
    model.eval().requires_grad_(False)
    model.learn_silence()
    return Checkpoint(kind, model, path)


def read_weights(path: Path) -> dict[str, Any]:
    """The tensors of a file by name; raises `CheckpointError` and runs no foreign code."""
    if path.suffix == SAFETENSORS:
        return load_safetensors(path)
    saved = weights_by_name(path, load_tensors(path, "a dictionary of weights by name"))
    inner = [saved[key] for key in _WRAPPERS if isinstance(saved.get(key), Mapping)]
    return weights_by_name(path, inner[0]) if inner else saved


def kind_of(where: str, found: Mapping[str, Any]) -> str:
    """Whose names these are; raises `CheckpointError`."""
    if any(name.startswith("quantizer.rvq_") for name in found):
        return MIMI
    if any(name.startswith("quantizer.vq.") for name in found):
        return ENCODEC
    names = ", ".join(sorted(found)[:8]) or "nothing"
    raise CheckpointError(
        f"{where}: expected parameters called quantizer.vq. (EnCodec) or quantizer.rvq_first. (Mimi), got {names:.200}"
    )


def about_of(checkpoint: Checkpoint, settings: argparse.Namespace, name: str) -> dict[str, Any]:
    """What the manifest says of the model in words."""
    sizes = checkpoint.model.sizes
    bits = sizes.words.bit_length() - 1
    return {
        "name": name,
        "version": settings.version,
        "description": f"{_TITLES[checkpoint.kind]}, 24 kHz, frames of {checkpoint.model.frame_samples} samples,"
        f" {sizes.books} books of {bits} bits",
        "licence": settings.licence,
    }


def card_of(checkpoint: Checkpoint, about: Mapping[str, Any]) -> str:
    """The bundle's README: what is known of an imported model."""
    offered = parameters(checkpoint.model, checkpoint.offer)
    rates = [rate.split(":") for rate in str(offered["rates"]).split(",")]
    return "\n".join(
        [
            f"# {about['name']}",
            "",
            f"{about['description']}. Imported; nothing was trained here, and nothing was listened to: see the model's",
            "own card. Weights are those of the file, in single precision.",
            "",
            f"Bits per second (books): {', '.join(f'{rate} ({books})' for rate, books in rates)};"
            f" {offered['default_rate']} by default.",
            "A frame that is lost holds the last latent, which fades towards what the model makes of silence.",
            "",
            f"Licence, as given at the import: {about['licence']}",
            "",
            *file_rows((checkpoint.file,)),
            "",
        ]
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m models.codec.import_checkpoint", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help=".safetensors, .th or .pt file")
    parser.add_argument("-o", "--out", type=Path, required=True, help="new folder of the bundle")
    parser.add_argument("--kind", choices=_TITLES, help="told by the names in the file if not given")
    parser.add_argument("--books", type=int, help="keep the first so many; all if not given")
    parser.add_argument("--half-state", action="store_true", help="keep Mimi's keys and values in half precision")
    parser.add_argument("--force", action="store_true", help="replace the bundle that is there")
    parser.add_argument("--name", help="of the bundle; that of the file if not given")
    parser.add_argument("--version", default="1.0.0")
    parser.add_argument("--licence", default="not stated", help="of the weights")
    parser.add_argument("--threads", type=int, default=1)
    return parser


if __name__ == "__main__":
    sys.exit(main())
