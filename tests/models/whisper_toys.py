"""A toy Whisper with random weights and its bundle, for tests of the family."""

from __future__ import annotations

from pathlib import Path

import torch

from models.careless_whisper.config import Chunking, Dims
from models.careless_whisper.export import export_bundle
from models.careless_whisper.model import Whisper
from models.careless_whisper.tokenizer import Vocabulary, of_pieces

ABOUT = {
    "name": "toy-whisper",
    "version": "0.0.1",
    "description": "random weights",
    "licence": "Apache-2.0",
    "languages": ["en"],
}
CHUNKING = Chunking(15, 1)
PIECES = ("<blk>", "<unk>", *(f"\u2581{letter}" for letter in "abcdefghijkl"), *"mnopqr")
LANGUAGES = ("en", "de")


def toy_dims(frames: int = 100, text: int = 64) -> Dims:
    """Two layers of width 32 on each side, windows of `frames`, texts of up to `text` tokens."""
    return Dims(16, frames, 32, 2, 2, len(PIECES) + 10, text, 32, 2, 2)


def toy_model(dims: Dims | None = None, seed: int = 7) -> Whisper:
    """Random weights, large enough for the toy to say different things of different sounds."""
    torch.manual_seed(seed)
    model = Whisper(dims or toy_dims()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter *= 2
    return model


def toy_vocabulary(folder: Path) -> Vocabulary:
    """Ids to 19 are text, then eot 20, sot 21, en 22, de 23, and six tasks."""
    tokens = folder / "tokens.txt"
    tokens.write_text("".join(f"{piece} {index}\n" for index, piece in enumerate(PIECES)), encoding="utf-8")
    return of_pieces(tokens, LANGUAGES)


def toy_bundle(
    folder: Path,
    model: Whisper | None = None,
    chunking: Chunking = CHUNKING,
    half_state: bool = False,
    options: dict[str, int | str] | None = None,
) -> Path:
    """Write the bundle of `model` into a folder of its own inside `folder`; returns it."""
    bundle = folder / "toy-whisper"
    bundle.mkdir(parents=True, exist_ok=True)
    vocabulary = toy_vocabulary(bundle)
    card = bundle / "README.md"
    card.write_text("A toy.\n", encoding="utf-8")
    export_bundle(model or toy_model(), chunking, vocabulary, bundle, ABOUT, half_state, options, card)
    return bundle
