"""Checkpoints of EnCodec at 24 kHz, as the package `encodec` names their tensors."""

from collections.abc import Mapping
from typing import Any

import torch

from models.codec.encodec import MOST_BOOKS, Encodec, EncodecSizes
from models.codec.parts import ENTER, Part, count, expected_shapes, load, require_fit, require_none, seanet_parts, size
from models.common.safe_files import CheckpointError

_BOOK = "quantizer.vq.layers.{}._codebook."
# Of the model at 48 kHz, which normalises over time.
_NORM = "encoder.model.0.conv.norm.weight"


def encodec_of(where: str, found: Mapping[str, Any]) -> Encodec:
    """The model of the tensors of a file; raises `CheckpointError` that lists all that is wrong with them."""
    if _NORM in found:
        raise CheckpointError(f"{where}: expected EnCodec at 24 kHz, which is causal, got that at 48 kHz, which is not")
    sizes = sizes_of(found)
    if sizes.books > MOST_BOOKS:
        raise CheckpointError(f"{where}: expected at most {MOST_BOOKS} books, got {sizes.books}")
    parts = parts_of(sizes)
    books = [_BOOK.format(index) for index in range(sizes.books)]
    require_fit(where, found, expected_shapes(parts, found) | _book_shapes(books, sizes), sizes.words)
    require_none(
        f"{where}: books that were never trained",
        [
            f"{book}inited: expected 1, got {found[f'{book}inited'].item():g}"
            for book in books
            if not found[f"{book}inited"]
        ],
    )
    model = Encodec(sizes)
    load(model, parts, found)
    model.books.fill(torch.stack([found[f"{book}embed"].float() for book in books]))
    return model


def sizes_of(found: Mapping[str, Any]) -> EncodecSizes:
    """Sizes by the shapes of some tensors; what cannot be seen is as in the released file."""
    usual, book = EncodecSizes(), [_BOOK.format(0) + name for name in ("embed", "embed_avg")]
    return EncodecSizes(
        filters=size(found, ENTER, usual.filters),
        latent=size(found, book, usual.latent, axis=1),
        books=count(found, r"quantizer\.vq\.layers\.(\d+)\.", usual.books),
        words=size(found, book, usual.words),
    )


def parts_of(sizes: EncodecSizes) -> list[Part]:
    """All but the books."""
    with torch.device("meta"):
        model = Encodec(sizes)
    return [
        part for name in ("encoder", "decoder") for part in seanet_parts(getattr(model, name), name, f"{name}.model")
    ]


def _book_shapes(books: list[str], sizes: EncodecSizes) -> dict[str, torch.Size]:
    words, each = torch.Size([sizes.words, sizes.latent]), torch.Size([sizes.words])
    shapes = {"inited": torch.Size([1]), "cluster_size": each, "embed": words, "embed_avg": words}
    return {book + name: shape for book in books for name, shape in shapes.items()}
