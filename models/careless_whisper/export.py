"""Export a streaming Whisper as a bundle of three graphs: `listen`, `encode` and `decode`."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.careless_whisper.caches import Sizes
from models.careless_whisper.config import FRAME_SAMPLES, Chunking
from models.careless_whisper.decode import OUTPUTS, Decode
from models.careless_whisper.encode import Encode
from models.careless_whisper.features import SAMPLE_RATE
from models.careless_whisper.listen import LOOK_AHEAD, Listen
from models.careless_whisper.model import Whisper
from models.careless_whisper.tokenizer import Vocabulary
from models.common.bundle_writer import asset, state_entry, write_graph, write_manifest, write_reference
from models.common.onnx_export import FreeLengths, round_weights
from models.common.slots import SlottedGraph

CARD = Path(__file__).with_name("README.md")
LANGUAGES = "languages.txt"
_REFERENCE_STEPS = 4
# Training covers a second of silence after the last word.
_FLUSH_SAMPLES = SAMPLE_RATE
# A prefill for each 40 ms would cost more than it tells: decode at most each 100 ms.
_DECODE_FRAMES = 5
# What may be said at once: more than anybody speaks in the first block, and enough for chunks of any length.
_TOKENS_PER_S, _FEWEST_TOKENS = 8, 12
_LISTEN, _ENCODE = ["pcm"], ["offsets", "window", "origin", "bank", "fresh"]
_DECODE = ["tokens", "places", "past", "fresh", "keep", "count", "audio", "bank", "ask", "check", "blank"]
_FREE_ENCODE: FreeLengths = {"offsets": ["new_frames"], "window": ["cached_frames"]}
_FREE_DECODE: FreeLengths = {
    "tokens": ["nodes"],
    "places": ["nodes"],
    "past": ["nodes", "cached_cells"],
    "fresh": ["nodes", "nodes"],
    "audio": ["heard_frames"],
    **{name: ["asked"] for name in ("ask", "check", *OUTPUTS) if name != "cells"},
}


def listen_graph(sizes: Sizes) -> SlottedGraph:
    """The graph `listen` of the bundle."""
    return SlottedGraph(Listen(sizes.dims.n_mels, sizes.mel_ring), _LISTEN, ["heard"], sizes.listener())


def encode_graph(model: Whisper, sizes: Sizes) -> SlottedGraph:
    """The graph `encode` of the bundle."""
    heard = [state for state in sizes.listener() if state.name in ("mel", "mel_rows")]
    return SlottedGraph(Encode(model, sizes), _ENCODE, ["frames"], [*heard, *sizes.encoder()], ["mel", "mel_rows"])


def decode_graph(model: Whisper, sizes: Sizes, vocabulary: Vocabulary) -> SlottedGraph:
    """The graph `decode` of the bundle."""
    step = Decode(model, sizes, vocabulary.suppressed, vocabulary.blank)
    heard = [state for state in sizes.encoder() if state.name in ("cross_keys", "cross_values", "counts")]
    return SlottedGraph(step, _DECODE, OUTPUTS, [*heard, *sizes.search()], [state.name for state in heard])


def export_bundle(
    model: Whisper,
    chunking: Chunking,
    vocabulary: Vocabulary,
    folder: Path,
    about: Mapping[str, Any],
    half_state: bool = False,
    options: Mapping[str, int | str] | None = None,
    card: Path | None = None,
) -> None:
    """Write the bundle of `model`, whose adapters are merged, to `folder`.

    `about` holds name, version, description, licence and languages; `options` overrides `search_options`; `card` is the
    bundle's README. `half_state` keeps keys and values in half precision. Raises `ValueError` if the first block is
    longer than the model's window, or the vocabulary is another model's.
    """
    if chunking.first > model.dims.n_audio_ctx:
        raise ValueError(f"first block: expected at most {model.dims.n_audio_ctx} frames, got {chunking.first}")
    if vocabulary.size != model.dims.n_vocab:
        raise ValueError(f"vocabulary: expected {model.dims.n_vocab} ids, got {vocabulary.size}")
    folder.mkdir(parents=True, exist_ok=True)
    model.eval()
    round_weights(model)
    sizes = Sizes(model.dims, chunking.first, half_state)
    written = [
        _write_listen(folder, sizes, chunking),
        _write(folder, "encode", encode_graph(model, sizes), encode_inputs(chunking, 2), _FREE_ENCODE),
        _write(folder, "decode", decode_graph(model, sizes, vocabulary), decode_inputs(sizes, 2), _FREE_DECODE),
    ]
    files = [asset(folder, vocabulary.tokens, vocabulary.tokens.name), asset(folder, card or CARD, "README.md")]
    named = {"tokens": vocabulary.tokens.name}
    if vocabulary.languages:
        (folder / LANGUAGES).write_text("".join(f"{code}\n" for code in vocabulary.languages), encoding="utf-8")
        files.append(asset(folder, folder / LANGUAGES, LANGUAGES))
        named["languages"] = LANGUAGES
    parameters = {**parameters_of(sizes, chunking, vocabulary), **search_options(chunking)}
    parameters |= options or {}
    task = {"kind": "transcribe", "program": "whisper", "roles": roles(), "parameters": parameters, "assets": named}
    write_manifest(
        folder,
        {
            **about,
            "sample_rate": SAMPLE_RATE,
            "receptive_field_samples": None,
            "task": task,
            "pools": [{"name": "stream"}],
            "states": [state_entry(state) for state in (*sizes.listener(), *sizes.encoder(), *sizes.search())],
            "graphs": [entry for entry, _ in written],
            "assets": files,
            "references": [reference for _, reference in written],
        },
    )


def roles() -> dict[str, str]:
    """Which tensor plays which role in the program `whisper`."""
    renamed = {"fresh": "fresh_nodes", "bank": "decode_bank"}
    return {
        "pcm": "listen.pcm",
        "heard": "listen.heard",
        **{name: f"encode.{name}" for name in _ENCODE},
        "encoded_frames": "encode.frames",
        **{renamed.get(name, name): f"decode.{name}" for name in _DECODE},
        **{name: f"decode.{name}" for name in OUTPUTS},
    }


def parameters_of(sizes: Sizes, chunking: Chunking, vocabulary: Vocabulary) -> dict[str, int]:
    """Sizes and ids that the program needs."""
    return {
        "gran": chunking.gran,
        "extra": chunking.extra,
        "max_frames": sizes.dims.n_audio_ctx,
        "max_text": sizes.dims.n_text_ctx,
        "cells": sizes.cells,
        "mel_ring": sizes.mel_ring,
        "frame_samples": FRAME_SAMPLES,
        "flush_samples": max(_FLUSH_SAMPLES, chunking.first * FRAME_SAMPLES + LOOK_AHEAD),
        "token_delay_samples": 0,
        "sot": vocabulary.sot,
        "eot": vocabulary.eot,
        "transcribe": vocabulary.transcribe,
        "no_timestamps": vocabulary.no_timestamps,
        "sot_prev": vocabulary.sot_prev,
        "first_language": vocabulary.first_language,
        "blank_id": vocabulary.eot,
    }


def search_options(chunking: Chunking) -> dict[str, int | str]:
    """How a bundle searches if its maker does not say."""
    spoken = math.ceil(chunking.first * FRAME_SAMPLES / SAMPLE_RATE * _TOKENS_PER_S)
    return {
        "mode": "exact",
        "window": 8,
        "look_back": 2,
        "max_tokens_per_chunk": max(_FEWEST_TOKENS, spoken),
        "decode_every": -(-_DECODE_FRAMES // chunking.gran),
    }


def encode_inputs(chunking: Chunking, rows: int, cached: int = 128) -> list[Tensor]:
    """Example rows of the graph `encode`: the first block of a window."""
    offsets = torch.arange(chunking.first).expand(rows, -1)
    window = torch.arange(cached).expand(rows, -1)
    zeros = torch.zeros(rows, dtype=torch.int64)
    return [offsets, window, zeros, zeros, torch.ones(rows, dtype=torch.bool)]


def decode_inputs(sizes: Sizes, rows: int, nodes: int = 8, cells: int = 128, frames: int = 256) -> list[Tensor]:
    """Example rows of the graph `decode`: one text of `nodes` tokens, all new, and predictions of its last 4."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(sizes.dims.n_vocab, (rows, nodes), generator=generator)
    places = torch.arange(nodes).expand(rows, -1)
    past = torch.zeros(rows, nodes, cells, dtype=torch.bool)
    fresh = torch.ones(nodes, nodes, dtype=torch.bool).tril().expand(rows, -1, -1)
    none, every = torch.zeros(rows, dtype=torch.int64), torch.full((rows,), nodes)
    audio = torch.arange(frames).expand(rows, -1)
    ask = torch.arange(nodes - 4, nodes).expand(rows, -1)
    return [tokens, places, past, fresh, none, every, audio, none, ask, tokens[:, :4], none.bool()]


def _write_listen(folder: Path, sizes: Sizes, chunking: Chunking) -> tuple[dict[str, Any], dict[str, Any]]:
    hop = chunking.hop_samples
    samples = hop + LOOK_AHEAD
    noise = torch.randn(_REFERENCE_STEPS, samples, generator=torch.Generator().manual_seed(0)) * 0.1
    audio = {
        "input": "pcm",
        "chunk_samples": samples,
        "hop_samples": hop,
        "right_context_samples": LOOK_AHEAD,
        "delay_samples": samples,
    }
    graph = listen_graph(sizes)
    entry = write_graph(folder, "listen", graph, [noise[:2]], {"audio": audio})
    return entry, write_reference(folder, "listen", graph, {"pcm": noise})


def _write(
    folder: Path, name: str, graph: SlottedGraph, inputs: list[Tensor], free: FreeLengths
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Export a graph with free lengths, and record one step of it."""
    entry = write_graph(folder, name, graph, inputs, {}, free=free)
    steps = {key: rows[:1] for key, rows in zip(graph.inputs, inputs, strict=True)}
    return entry, write_reference(folder, name, graph, steps)
