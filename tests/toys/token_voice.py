"""A voice of tokens that can be worked out by hand, whose tokens and frames depend on everything that real ones may.

The language model adds up what it is given, each id times a factor of its place, and from the sum come its logits;
where the pages that it is told of are not those that hold what was given, they are others. The encoder's frames say
their token, those ahead, the sum of all tokens of the chunks before, and the pages that were looked at. Spelling, flow
and vocoder are those of the toy voice.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from streamer.tasks.token_drawing import Sampling, draw_token, utterance_seed
from tests.toys.bundle import state, tensor, write_bundle
from tests.toys.graph import GraphBuilder
from tests.toys.voice import (
    BANDS,
    FRAME,
    IDS,
    SYMBOLS,
    TEMPERATURE,
    voice_assets,
    voice_expected,
    voice_graphs,
    voice_manifest,
)

TOKENS, TEXT_BLOCK, SPEECH_BLOCK, CHUNK, AHEAD, PAGES = 20, 4, 5, 4, 3, 4
PAGE, LM_PAGES = 16, 20
FEWEST, MOST = 1, 3
MOST_TEXT = (PAGE * LM_PAGES - 2) // (1 + MOST)
LOGITS = TOKENS + 3
SPEECH = len(SYMBOLS)
START, TASK, END, FILL = SPEECH + LOGITS, SPEECH + LOGITS + 1, SPEECH + TOKENS, SPEECH + TOKENS + 2
SAMPLING = Sampling(0.8, 10, 10, 0.1)
TOKEN_SAMPLES = 2 * FRAME


def _lm() -> bytes:
    g = GraphBuilder()
    ids, cells = g.row_input("ids", "TYPE_INT64", (-1,)), g.row_input("cells", "TYPE_INT64", (-1,))
    slots, start = g.slots("stream"), g.start("lm")
    total, count = g.arena("total", "TYPE_INT64", (1,)), g.arena("given", "TYPE_INT64", (1,))
    old, before = g.gather(total, slots, start, 0, np.int64), g.gather(count, slots, start, 0, np.int64)
    length = g.op("Shape", ids, start=1, end=2)
    steps = g.op("Range", g.ints(0), g.op("Squeeze", length, g.ints([0])), g.ints(1))
    factors = g.op("Add", g.op("Mod", g.op("Add", steps, before), g.ints(7)), g.ints(1))
    new = g.op("Add", old, g.op("ReduceSum", g.op("Mul", ids, factors), g.ints([1]), keepdims=1))
    g.scatter(total, slots, new, "TYPE_INT64", (1,))
    g.scatter(count, slots, g.op("Add", before, length), "TYPE_INT64", (1,))
    pages = g.op("Div", g.op("Add", before, g.ints(PAGE - 1)), g.ints(PAGE))
    told = g.op("ReduceSum", g.cast(g.op("GreaterOrEqual", cells, g.ints(0)), "TYPE_INT64"), g.ints([1]), keepdims=1)
    wrong = g.op("Add", g.op("Mul", g.op("Sub", told, pages), g.ints(101)), new)
    mixed = g.op("Mod", g.op("Mul", wrong, g.ints([2 * np.arange(LOGITS) + 1])), g.ints(23))
    g.row_output(g.op("Mul", g.cast(mixed, "TYPE_FP32"), g.floats(0.25)), "logits", "TYPE_FP32", (LOGITS,))
    return g.model()


def _encode() -> bytes:
    g = GraphBuilder()
    tokens, ahead = g.row_input("tokens", "TYPE_INT64", (-1,)), g.row_input("tokens_ahead", "TYPE_INT64", (AHEAD,))
    pages, page = g.row_input("pages", "TYPE_INT64", (-1,)), g.row_input("page", "TYPE_INT64", ())
    slots, start = g.slots("stream"), g.start("encode")
    past = g.arena("past_tokens", "TYPE_INT64", (1,))
    old, one = g.gather(past, slots, start, 0, np.int64), g.ints([1])
    g.scatter(past, slots, g.op("Add", old, g.op("ReduceSum", tokens, one, keepdims=1)), "TYPE_INT64", (1,))
    seen = g.op("ReduceSum", g.op("Add", g.op("Max", pages, g.ints(-1)), g.ints(1)), one, keepdims=1)
    where = g.op("Add", g.op("Mul", seen, g.ints(10)), g.op("Unsqueeze", page, one))
    columns = [g.op("Unsqueeze", tokens, g.ints([2]))]
    for column in (g.op("ReduceSum", ahead, one, keepdims=1), g.op("Mod", old, g.ints(50)), where):
        columns.append(g.op("Add", g.op("Mul", columns[0], g.ints(0)), g.op("Unsqueeze", column, g.ints([2]))))
    joined = g.op("Concat", *columns, axis=2)
    doubled = g.op("Reshape", g.op("Concat", joined, joined, axis=2), g.ints([0, -1, BANDS]))
    g.row_output(g.cast(doubled, "TYPE_FP32"), "mu", "TYPE_FP32", (-1, BANDS))
    return g.model()


def _entry(inputs: list[Any], outputs: list[Any], group: str, *states: str) -> dict[str, Any]:
    named = {"pools": ["stream"], "groups": [group], "reads": list(states), "writes": list(states)}
    return {"inputs": inputs, "outputs": outputs, **named}


def _graphs() -> dict[str, tuple[bytes, dict[str, Any]]]:
    whole, ids = voice_graphs(), "TYPE_INT64"
    lm = _entry(
        [tensor("ids", ids, -1), tensor("cells", ids, -1)],
        [tensor("logits", "TYPE_FP32", LOGITS)],
        "lm",
        "total",
        "given",
    )
    encode = _entry(
        [tensor("tokens", ids, -1), tensor("tokens_ahead", ids, AHEAD), tensor("pages", ids, -1), tensor("page", ids)],
        [tensor("mu", "TYPE_FP32", -1, BANDS)],
        "encode",
        "past_tokens",
    )
    kept = {name: whole[name] for name in ("spell", "flow_step", "vocoder_step")}
    return {"lm_step": (_lm(), lm), "flow_encode_step": (_encode(), encode), **kept}


def token_voice_manifest() -> dict[str, Any]:
    """The manifest but for files."""
    manifest = voice_manifest()
    task = manifest["task"]
    kept = ("letters", "sounds", "prior_chunk", "flow_noise", "mel", "mel_chunk", "wave_noise", "pcm")
    task["program"] = "token_voice"
    task["roles"] = {
        **{role: task["roles"][role] for role in kept},
        **{role: f"lm_step.{role}" for role in ("ids", "cells", "logits")},
        **{role: f"flow_encode_step.{role}" for role in ("tokens", "tokens_ahead", "mu")},
        "encode_pages": "flow_encode_step.pages",
        "encode_page": "flow_encode_step.page",
    }
    task["parameters"] |= {
        "token_frames": 2,
        "speech_id": SPEECH,
        "speech_tokens": TOKENS,
        "start_id": START,
        "task_id": TASK,
        "end_id": END,
        "fill_id": FILL,
        "text_block": TEXT_BLOCK,
        "speech_block": SPEECH_BLOCK,
        "fewest_tokens": float(FEWEST),
        "most_tokens": float(MOST),
        "top_p": SAMPLING.top_p,
        "top_k": SAMPLING.top_k,
        "win_size": SAMPLING.win_size,
        "tau_r": SAMPLING.tau_r,
        "lm_page": PAGE,
        "lm_pages": LM_PAGES,
        "chunk_tokens": CHUNK,
        "ahead_tokens": AHEAD,
        "pages": PAGES,
        "flow": "whole",
        "vocoder": "pulses",
    }
    names = ("total", "given", "past_tokens")
    groups = ("lm", "lm", "encode")
    manifest["states"] += [
        state(name, "TYPE_INT64", (1,), "stream", group) for name, group in zip(names, groups, strict=True)
    ]
    return manifest


def write_token_voice(folder: Path) -> Path:
    """Write the bundle to `folder/voice`."""
    return write_bundle(folder, "voice", "1.0.0", _graphs(), token_voice_manifest(), voice_assets())


def tokens_of(text: Sequence[str], seed: int, in_blocks: bool) -> list[int]:
    """The tokens of an utterance of these symbols, whose seed this is."""
    rest, given, said = [IDS[symbol] for symbol in text], [START], []

    def draw(may_end: bool) -> int:
        total = sum(number * (place % 7 + 1) for place, number in enumerate(given))
        logits = (total * (2 * np.arange(LOGITS) + 1) % 23).astype(np.float32) * np.float32(0.25)
        token = draw_token(logits[: TOKENS + may_end], said, seed, SAMPLING)
        if token < TOKENS:
            said.append(token)
            given.append(SPEECH + token)
        return token

    while in_blocks and len(rest) >= TEXT_BLOCK:
        given += rest[:TEXT_BLOCK]
        rest = rest[TEXT_BLOCK:]
        for _ in range(SPEECH_BLOCK):
            draw(may_end=False)
    given += [*rest, TASK]
    while len(said) < MOST * len(text) and draw(may_end=len(said) >= FEWEST * len(text)) < TOKENS:
        pass
    return said


def frames_of(tokens: Sequence[int]) -> np.ndarray:
    """The frames of an utterance, float32 `[2 * tokens, 4]`."""
    rows = []
    for chunk, first in enumerate(range(0, len(tokens), CHUNK)):
        after = [*tokens[first + CHUNK :][:AHEAD], *[-1] * AHEAD][:AHEAD]
        seen = range(chunk) if chunk < PAGES else [page for page in range(PAGES) if page != chunk % PAGES]
        where = 10 * sum(page + 1 for page in seen) + chunk % PAGES
        for token in tokens[first : first + CHUNK]:
            rows += 2 * [[token, sum(after), sum(tokens[:first]) % 50, where]]
    return np.array(rows, np.float32)


def token_voice_expected(
    utterances: Sequence[Sequence[str]],
    seed: int = 0,
    temperature: float = TEMPERATURE,
    in_blocks: bool = False,
    first: int = 0,
) -> np.ndarray:
    """What a stream of these utterances sounds like, of which the first one is number `first`, float32 `[n]`."""
    seeds = [utterance_seed(seed, first + number) for number in range(len(utterances))]
    said = [tokens_of(text, own, in_blocks) for text, own in zip(utterances, seeds, strict=True)]
    sounds = [voice_expected([frames_of(tokens)], own, temperature) for tokens, own in zip(said, seeds, strict=True)]
    return np.concatenate(sounds)
