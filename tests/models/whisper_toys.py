"""A toy Whisper with random weights and its bundle, for tests of the family."""

from __future__ import annotations

from pathlib import Path

import torch

from models.careless_whisper.config import Chunking, Dims
from models.careless_whisper.export import Vocabulary, export_bundle
from models.careless_whisper.model import Whisper

ABOUT = {
    "name": "toy-whisper",
    "version": "0.0.1",
    "description": "random weights",
    "licence": "Apache-2.0",
    "languages": ["en"],
}
CHUNKING = Chunking(15, 1)
WORDS = ("a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p")


def toy_dims(frames: int = 100, text: int = 64) -> Dims:
    """Two layers of width 32 on each side, windows of `frames`, texts of up to `text` tokens."""
    return Dims(16, frames, 32, 2, 2, 40, text, 32, 2, 2)


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
    """Words and letters up to id 19, then eot 20, sot 21, two languages, transcribe 24, no_timestamps 25, sot_prev 26."""
    pieces = [f"\u2581{word}" for word in WORDS] + ["s", "t", "u", "v"]
    pieces += [f"<|{index}|>" for index in range(len(pieces), 40)]
    tokens = folder / "tokens.txt"
    tokens.write_text("".join(f"{piece} {index}\n" for index, piece in enumerate(pieces)), encoding="utf-8")
    suppressed = [index for index in range(21, 40)]
    return Vocabulary(tokens, 21, 20, 24, 25, 26, suppressed, [0, 20], 22, ("en", "de"))


def toy_bundle(
    folder: Path,
    model: Whisper | None = None,
    chunking: Chunking = CHUNKING,
    half_state: bool = False,
    search: dict[str, int | str] | None = None,
) -> Path:
    """Write the bundle of `model` into a folder of its own inside `folder`; returns it."""
    bundle = folder / "toy-whisper"
    bundle.mkdir(parents=True, exist_ok=True)
    vocabulary = toy_vocabulary(bundle)
    card = bundle / "README.md"
    card.write_text("A toy.\n", encoding="utf-8")
    export_bundle(model or toy_model(), chunking, vocabulary, bundle, ABOUT, half_state, search, card)
    return bundle
