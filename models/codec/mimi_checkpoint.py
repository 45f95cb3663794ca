"""Checkpoints of Mimi, as the package `moshi` names their tensors, older names included."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from models.codec.mimi import HEADS, Mimi, MimiSizes
from models.codec.parts import ENTER, Part, as_is, count, load, require_fit, require_none, seanet_parts, size
from models.codec.window_transformer import WindowTransformer
from models.common.safe_files import CheckpointError

MOST_BOOKS = 32
# What a word's sum is divided by at least, as in the package.
_LEAST_USAGE = 1e-5
_SPLIT = ("first", "rest")
_BOOK = "quantizer.rvq_{}.vq.layers.{}._codebook."
_LAYER = "encoder_transformer.transformer.layers."
_OLD_NAMES = (
    (re.compile(r"(\._codebook)\.inited$"), r"\1._initialized"),
    (re.compile(r"(\._codebook)\.cluster_size$"), r"\1.cluster_usage"),
    (re.compile(r"(\._codebook)\.embed_(?:avg|sum)$"), r"\1.embedding_sum"),
    (re.compile(r"(\.self_attn)\.in_proj[_.]weight$"), r"\1.in_projs.0.weight"),
    (re.compile(r"(\.self_attn)\.out_proj\.weight$"), r"\1.out_projs.0.weight"),
)


def mimi_of(where: str, named: Mapping[str, Any]) -> Mimi:
    """The model of the tensors of a file; raises `CheckpointError` that lists all that is wrong with them."""
    unfolded = sorted(name.removesuffix("_g") for name in named if name.endswith(".weight_g"))
    require_none(f"{where}: weights whose norms are not folded in: expected weight, got weight_g, weight_v", unfolded)
    found = _renamed(where, named)
    sizes = sizes_of(found)
    if sizes.books > MOST_BOOKS:
        raise CheckpointError(f"{where}: expected at most {MOST_BOOKS} books, got {sizes.books}")
    parts = parts_of(sizes)
    counts = sizes.first_books, sizes.rest_books
    books = [[_BOOK.format(name, index) for index in range(n)] for name, n in zip(_SPLIT, counts, strict=True)]
    every = [*books[0], *books[1]]
    shapes = {part.theirs: part.shape for part in parts}
    require_fit(where, found, shapes | _book_shapes(every, sizes), sizes.words)
    require_none(f"{where}: books that were never trained", [line for book in every for line in _unused(book, found)])
    model = Mimi(sizes)
    load(model, parts, found)
    for ours, names in zip(model.books.books, books, strict=True):
        ours.fill(torch.stack([_words(found, name) for name in names]))
    return model


def sizes_of(found: Mapping[str, Any]) -> MimiSizes:
    """Sizes by the shapes of some tensors; what cannot be seen is as in the released file."""
    usual, books = MimiSizes(), [_BOOK.format(name, 0) + "embedding_sum" for name in _SPLIT]
    return replace(
        usual,
        filters=size(found, ENTER, usual.filters),
        width=size(found, [f"{_LAYER}0.norm1.bias", f"{_LAYER}0.norm1.weight"], usual.width),
        layers=count(found, rf"{re.escape(_LAYER)}(\d+)\.", usual.layers),
        hidden=size(found, [f"{_LAYER}0.linear1.weight"], usual.hidden),
        first_books=count(found, r"quantizer\.rvq_first\.vq\.layers\.(\d+)\.", usual.first_books),
        rest_books=count(found, r"quantizer\.rvq_rest\.vq\.layers\.(\d+)\.", usual.rest_books),
        words=size(found, books, usual.words),
        code_width=size(found, books, usual.code_width, axis=1),
    )


def parts_of(sizes: MimiSizes) -> list[Part]:
    """All but the books."""
    if sizes.width % (2 * HEADS):
        raise CheckpointError(f"width: expected a multiple of {2 * HEADS}, got {sizes.width}")
    with torch.device("meta"):
        model = Mimi(sizes)
    width, code_width = sizes.width, sizes.code_width
    parts = [
        part for name in ("encoder", "decoder") for part in seanet_parts(getattr(model, name), name, f"{name}.model")
    ]
    for name in ("encoder_transformer", "decoder_transformer"):
        parts += _transformer_parts(getattr(model, name), name)
    parts += seanet_parts(model.downsample, "downsample", "downsample.conv")
    shape = torch.Size([width, 1, 4])
    parts.append(Part("upsample.taps", "upsample.convtr.convtr.convtr.weight", shape, _depthwise_taps))
    for index, name in enumerate(_SPLIT):
        enter, leave = torch.Size([code_width, width, 1]), torch.Size([width, code_width, 1])
        rvq = f"quantizer.rvq_{name}"
        parts.append(Part(f"books.enter.{index}.weight", f"{rvq}.input_proj.weight", enter, _last_axis_off))
        parts.append(Part(f"books.leave.{index}.weight", f"{rvq}.output_proj.weight", leave, _last_axis_off))
    return parts


def _transformer_parts(transformer: WindowTransformer, prefix: str) -> Iterator[Part]:
    renamed = {"project": "self_attn.in_projs.0", "merge": "self_attn.out_projs.0"}
    scales = {"scale1": "layer_scale_1.scale", "scale2": "layer_scale_2.scale"}
    for key, value in transformer.layers.named_parameters():
        index, _, name = key.partition(".")
        module, _, leaf = name.partition(".")
        theirs = scales.get(name) or f"{renamed.get(module, module)}.{leaf}"
        part = as_is(f"{prefix}.layers.{key}", f"{prefix}.transformer.layers.{index}.{theirs}", value)
        yield replace(part, make=_halved) if module == "project" else part


def _halved(weight: Tensor) -> Tensor:
    """Queries and keys [3 * width, width] that are turned in pairs of neighbours, as halves of each head."""
    parts = weight.unflatten(0, (3, HEADS, -1))
    width = parts.shape[2]
    order = torch.cat([torch.arange(0, width, 2), torch.arange(1, width, 2)])
    return torch.cat([parts[:2, :, order], parts[2:]]).flatten(0, 2)


def _depthwise_taps(weight: Tensor) -> Tensor:
    """The filter [width, 1, 4] as [input before and own, 2 outputs, width]."""
    return weight.squeeze(1).unflatten(1, (2, 2)).flip(1).permute(1, 2, 0)


def _last_axis_off(weight: Tensor) -> Tensor:
    return weight.squeeze(2)


def _book_shapes(books: list[str], sizes: MimiSizes) -> dict[str, torch.Size]:
    words, each = torch.Size([sizes.words, sizes.code_width]), torch.Size([sizes.words])
    shapes = {"_initialized": torch.Size([1]), "cluster_usage": each, "embedding_sum": words}
    return {book + name: shape for book in books for name, shape in shapes.items()}


def _unused(book: str, found: Mapping[str, Tensor]) -> Iterator[str]:
    usage = found[f"{book}cluster_usage"].float()
    if usage.min() < 0:
        yield f"{book}cluster_usage: expected numbers from 0 on, got {usage.min():g}"
    elif usage.max() <= _LEAST_USAGE:
        yield f"{book}cluster_usage: expected words in use, got at most {usage.max():g}"
    elif not found[f"{book}_initialized"]:
        yield f"{book}_initialized: expected 1, got 0"


def _words(found: Mapping[str, Tensor], book: str) -> Tensor:
    """A checkpoint holds a word as the sum of what fell to it, and how much that was."""
    usage = found[f"{book}cluster_usage"].float().clamp(min=_LEAST_USAGE)
    return found[f"{book}embedding_sum"].float() / usage.unsqueeze(1)


def _renamed(where: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """`found` by the names of today."""
    named: dict[str, Any] = {}
    twice = []
    for old, value in found.items():
        name = old
        for pattern, new in _OLD_NAMES:
            name = pattern.sub(new, name)
        if name in named or (name != old and name in found):
            twice.append(f"{name}: there as {old} too")
        named[name] = value
    require_none(f"{where}: parameters that are there twice", twice)
    return named
