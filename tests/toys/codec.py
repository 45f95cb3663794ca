"""A codec that can be worked out by hand: each book is the mean of a quarter of a frame, in 4 bits.

A frame is 80 samples (5 ms at 16 kHz), a book the mean of 20 of them in 16 steps from -1 to 1; the encoder hears
everything 20 samples late, through its state. All codes of a frame are turned by the running sum of the first means
before it, modulo 16, so a lost, repeated or foreign frame changes the codes that follow. The decoder turns them back by
the first code of the last frame that came; a lost frame sounds like that one, halved for each in a row, a silent one is
1/64, and a book that is not there is 0.

The entropy networks and the predictor are arithmetic on what came before, without sense but exact. What the float
network says depends on the size of its batch, as that of real ones may.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from tests.toys.bundle import state, tensor, write_bundle
from tests.toys.graph import GraphBuilder

RATE = 16000
FRAME, BOOKS, BITS, DELAY = 80, 4, 4, 20
PART, LEVELS = FRAME // BOOKS, 1 << BITS
COARSE = 2
SILENCE = 1 / 64
RATES = {800: 1, 1600: 2, 3200: 4}
_RESULTS = {"": "TYPE_INT32", "float_": "TYPE_FP32"}


def _encode() -> bytes:
    g = GraphBuilder()
    pcm = g.row_input("pcm", "TYPE_FP32", (-1, FRAME))
    slots, start = g.slots("stream"), g.start("encoder")
    past, turn = g.arena("past", "TYPE_FP32", (DELAY,)), g.arena("turn", "TYPE_INT64", (1,))
    line = g.op("Concat", g.gather(past, slots, start), g.op("Reshape", pcm, g.ints([0, -1])), axis=1)
    late = g.op("Slice", line, g.ints([0]), g.ints([-DELAY]), g.ints([1]))
    g.scatter(past, slots, g.op("Slice", line, g.ints([-DELAY]), g.ints([1 << 40]), g.ints([1])), "TYPE_FP32", (DELAY,))
    parts = g.op("Reshape", late, g.ints([0, -1, BOOKS, PART]))
    mean = g.op("ReduceMean", parts, g.ints([3]), keepdims=0)
    scaled = g.op("Mul", g.op("Add", mean, g.floats(1.0)), g.floats((LEVELS - 1) / 2))
    levels = g.cast(g.op("Clip", g.op("Round", scaled), g.floats(0.0), g.floats(LEVELS - 1)), "TYPE_INT64")
    old = g.gather(turn, slots, start, 0, np.int64)
    first = g.op("Squeeze", g.op("Slice", levels, g.ints([0]), g.ints([1]), g.ints([2])), g.ints([2]))
    turns = g.op("Add", g.op("CumSum", first, g.ints(1), exclusive=1), old)
    total = g.op("Add", g.op("ReduceSum", first, g.ints([1]), keepdims=1), old)
    g.scatter(turn, slots, g.op("Mod", total, g.ints(LEVELS)), "TYPE_INT64", (1,))
    codes = g.op("Mod", g.op("Add", levels, g.op("Unsqueeze", turns, g.ints([2]))), g.ints(LEVELS))
    g.row_output(codes, "codes", "TYPE_INT64", (-1, BOOKS))
    return g.model()


def _decode() -> bytes:
    g = GraphBuilder()
    codes = g.row_input("codes", "TYPE_INT64", (-1, BOOKS))
    kind = g.row_input("kind", "TYPE_INT64", (-1,))
    slots, start = g.slots("stream"), g.start("decoder")
    held, last, run = (
        g.arena("held", "TYPE_FP32", (BOOKS,)),
        g.arena("last", "TYPE_INT64", (1,)),
        g.arena("run", "TYPE_INT64", (1,)),
    )
    one = g.ints([1])
    # Frame 0 of what follows is the last ordinary one of the step before.
    old_held = g.op("Unsqueeze", g.gather(held, slots, start), one)
    old_last, old_run = g.gather(last, slots, start, 0, np.int64), g.gather(run, slots, start, 0, np.int64)
    ordinary = g.op("Equal", kind, g.ints(0))
    length = g.op("Squeeze", g.op("Shape", kind, start=1, end=2), g.ints([0]))
    places = g.op("Range", g.ints(1), g.op("Add", length, g.ints(1)), g.ints(1))
    earlier = g.op("LessOrEqual", places, g.op("Unsqueeze", places, one))
    marked = g.op("Mul", places, g.cast(ordinary, "TYPE_INT64"))
    masked = g.op("Mul", g.op("Unsqueeze", marked, one), g.cast(earlier, "TYPE_INT64"))
    # For each frame the last ordinary one up to it, and the one before that frame.
    found = g.op("ReduceMax", masked, g.ints([2]), keepdims=0)
    zero = g.op("Mul", g.op("Slice", found, g.ints([0]), one, one), g.ints(0))
    before = g.op("Slice", g.op("Concat", zero, found, axis=1), g.ints([0]), g.ints([-1]), one)
    firsts = g.op("Squeeze", g.op("Slice", codes, g.ints([0]), one, g.ints([2])), g.ints([2]))
    turns = g.op("GatherElements", g.op("Concat", old_last, firsts, axis=1), before, axis=1)
    levels = g.op("Mod", g.op("Sub", codes, g.op("Unsqueeze", turns, g.ints([2]))), g.ints(LEVELS))
    exact = g.op("Sub", g.op("Mul", g.cast(levels, "TYPE_FP32"), g.floats(2 / (LEVELS - 1))), g.floats(1.0))
    values = g.op("Where", g.op("Less", codes, g.ints(0)), g.floats(0.0), exact)
    index = g.op("Expand", g.op("Unsqueeze", found, g.ints([2])), g.ints([1, 1, BOOKS]))
    kept = g.op("GatherElements", g.op("Concat", old_held, values, axis=1), index, axis=1)
    since = g.op("Sub", places, found)
    runs = g.op("Add", since, g.op("Where", g.op("Equal", found, g.ints(0)), old_run, g.ints(0)))
    fade = g.op("Pow", g.floats(0.5), g.cast(runs, "TYPE_FP32"))
    faded = g.op("Mul", kept, g.op("Unsqueeze", fade, g.ints([2])))
    is_silent = g.op("Unsqueeze", g.op("Equal", kind, g.ints(2)), g.ints([2]))
    heard = g.op("Where", is_silent, g.floats(SILENCE), faded)
    ones = g.floats(np.ones((1, 1, 1, PART)))
    parts = g.op("Mul", g.op("Unsqueeze", heard, g.ints([3])), ones)
    end = g.op("Slice", found, g.ints([-1]), g.ints([1 << 40]), one)
    g.scatter(
        held,
        slots,
        g.op("Squeeze", g.op("Slice", kept, g.ints([-1]), g.ints([1 << 40]), one), one),
        "TYPE_FP32",
        (BOOKS,),
    )
    g.scatter(
        last,
        slots,
        g.op("GatherElements", g.op("Concat", old_last, firsts, axis=1), end, axis=1),
        "TYPE_INT64",
        (1,),
    )
    g.scatter(run, slots, g.op("Slice", runs, g.ints([-1]), g.ints([1 << 40]), one), "TYPE_INT64", (1,))
    g.row_output(g.op("Reshape", parts, g.ints([0, -1, FRAME])), "pcm", "TYPE_FP32", (-1, FRAME))
    return g.model()


def _entropy(prefix: str = "") -> bytes:
    g = GraphBuilder()
    codes = g.row_input("codes", "TYPE_INT64", (COARSE,))
    slots, start = g.slots("stream"), g.start(f"{prefix}entropy")
    told = g.arena(f"{prefix}told", "TYPE_INT64", (1,))
    old = g.gather(told, slots, start, 0, np.int64)
    total = g.op("ReduceSum", g.op("Mul", g.op("Add", codes, g.ints(1)), g.ints([1, 3])), g.ints([1]), keepdims=1)
    new = g.op("Mod", g.op("Add", g.op("Mul", old, g.ints(5)), total), g.ints(97))
    g.scatter(told, slots, new, "TYPE_INT64", (1,))
    if prefix:
        g.row_output(g.op("Mul", g.cast(new, "TYPE_FP32"), g.floats(0.25)), "context", "TYPE_FP32", (1,))
    else:
        g.row_output(g.cast(new, "TYPE_INT32"), "context", "TYPE_INT32", (1,))
    return g.model()


def _entropy_next(prefix: str = "") -> bytes:
    g = GraphBuilder()
    context = g.row_input("context", _RESULTS[prefix], (1,))
    codes = g.row_input("codes", "TYPE_INT64", (COARSE,))
    book = g.row_input("book", "TYPE_INT64", ())
    asked = g.op("Unsqueeze", book, g.ints([1]))
    known = g.cast(g.op("Less", g.ints(np.arange(COARSE)), asked), "TYPE_INT64")
    total = g.op("ReduceSum", g.op("Mul", codes, known), g.ints([1]), keepdims=1)
    if prefix:
        # Off by as much as there are rows.
        context = g.op("Add", g.op("Mul", context, g.floats(4.0)), g.cast(g.op("Size", book), "TYPE_FP32"))
    seed = g.op("Add", g.op("Add", g.cast(context, "TYPE_INT64"), g.op("Mul", total, g.ints(11))), asked)
    spread = g.op("Mod", g.op("Add", g.op("Mul", seed, g.ints(5)), g.ints(np.arange(LEVELS) * 7)), g.ints(61))
    logits = g.cast(g.op("Neg", spread), _RESULTS[prefix])
    if prefix:
        logits = g.op("Add", logits, g.floats(0.375))
    g.row_output(logits, "logits", _RESULTS[prefix], (LEVELS,))
    return g.model()


def _predict() -> bytes:
    g = GraphBuilder()
    codes = g.row_input("codes", "TYPE_INT64", (BOOKS,))
    uniform = g.row_input("uniform", "TYPE_FP32", (BOOKS,))
    slots, start = g.slots("stream"), g.start("predictor")
    count = g.arena("count", "TYPE_INT64", (1,))
    old = g.gather(count, slots, start, 0, np.int64)
    g.scatter(count, slots, g.op("Add", old, g.ints(1)), "TYPE_INT64", (1,))
    drawn = g.cast(g.op("Floor", g.op("Mul", uniform, g.floats(4.0))), "TYPE_INT64")
    made = g.op("Mod", g.op("Add", drawn, old), g.ints(LEVELS))
    absent = g.op("Less", codes, g.ints(0))
    is_there = g.op("GreaterOrEqual", g.op("Slice", codes, g.ints([0]), g.ints([1]), g.ints([1])), g.ints(0))
    g.row_output(g.op("Where", g.op("And", absent, is_there), made, codes), "filled", "TYPE_INT64", (BOOKS,))
    return g.model()


def codec_tables(seed: int = 7) -> dict[str, np.ndarray]:
    """Tables of codes with three classes of neighbours, and the weights of the network."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 3, (2, BOOKS, LEVELS + 1)).astype(np.uint8)
    odds = rng.dirichlet(np.ones(LEVELS), (BOOKS, 3, 3))
    frequencies = 1 + np.floor(odds * (65536 - LEVELS)).astype(np.int64)
    frequencies[..., 0] += 65536 - frequencies.sum(-1)
    weights = np.maximum(np.round(65535 * 2.0 ** (-np.arange(128) / 8)), 0).astype(np.uint16)
    return {
        "previous_class": classes[0],
        "below_class": classes[1],
        "frequencies": frequencies.astype(np.uint16),
        "network": weights,
    }


def _graphs() -> dict[str, tuple[bytes, dict[str, Any]]]:
    encode = _entry(
        [tensor("pcm", "TYPE_FP32", -1, FRAME)], [tensor("codes", "TYPE_INT64", -1, BOOKS)], "encoder", "past", "turn"
    )
    encode["audio"] = {
        "input": "pcm",
        "chunk_samples": FRAME,
        "hop_samples": FRAME,
        "delay_samples": FRAME + DELAY,
    }
    decode = _entry(
        [tensor("codes", "TYPE_INT64", -1, BOOKS), tensor("kind", "TYPE_INT64", -1)],
        [tensor("pcm", "TYPE_FP32", -1, FRAME)],
        "decoder",
        *("held", "last", "run"),
    )
    predict = _entry(
        [tensor("codes", "TYPE_INT64", BOOKS), tensor("uniform", "TYPE_FP32", BOOKS)],
        [tensor("filled", "TYPE_INT64", BOOKS)],
        "predictor",
        "count",
    )
    return {
        "encode": (_encode(), encode),
        "decode": (_decode(), decode),
        **_network(),
        **_network("float_", max_batch=1),
        "predict": (_predict(), predict),
    }


def _network(prefix: str = "", **extra: Any) -> dict[str, tuple[bytes, dict[str, Any]]]:
    coarse, context = tensor("codes", "TYPE_INT64", COARSE), tensor("context", _RESULTS[prefix], 1)
    following = {
        "inputs": [context, coarse, tensor("book", "TYPE_INT64")],
        "outputs": [tensor("logits", _RESULTS[prefix], LEVELS)],
    }
    first = _entry([coarse], [context], f"{prefix}entropy", f"{prefix}told")
    return {
        f"{prefix}entropy": (_entropy(prefix), first | extra),
        f"{prefix}entropy_next": (_entropy_next(prefix), following | extra),
    }


def _entry(inputs: list[Any], outputs: list[Any], group: str, *states: str) -> dict[str, Any]:
    return {
        "inputs": inputs,
        "outputs": outputs,
        "pools": ["stream"],
        "groups": [group],
        "reads": list(states),
        "writes": list(states),
    }


def _network_roles(graph: str) -> dict[str, str]:
    return {
        f"{graph}_previous": f"{graph}.codes",
        f"{graph}_context": f"{graph}.context",
        f"{graph}_codes": f"{graph}_next.codes",
        f"{graph}_next_context": f"{graph}_next.context",
        f"{graph}_book": f"{graph}_next.book",
        f"{graph}_logits": f"{graph}_next.logits",
    }


def codec_manifest() -> dict[str, Any]:
    """The manifest but for files."""
    roles = {
        "pcm": "encode.pcm",
        "codes": "encode.codes",
        "received_codes": "decode.codes",
        "frame_kind": "decode.kind",
        "decoded": "decode.pcm",
        **_network_roles("entropy"),
        **_network_roles("float_entropy"),
        "predict_codes": "predict.codes",
        "predict_uniform": "predict.uniform",
        "predict_filled": "predict.filled",
    }
    return {
        "sample_rate": RATE,
        "receptive_field_samples": FRAME,
        "task": {
            "kind": "codec",
            "program": "codec",
            "roles": roles,
            "parameters": {
                "frame_samples": FRAME,
                "books": BOOKS,
                "bits_per_book": BITS,
                "delay_samples": DELAY,
                "coarse_books": COARSE,
                "rates": ",".join(f"{rate}:{books}" for rate, books in RATES.items()),
                "default_rate": 3200,
                "silence_dbfs": -50.0,
            },
            "assets": {"tables": "tables.npz"},
        },
        "pools": [{"name": "stream"}],
        "states": [
            state("past", "TYPE_FP32", (DELAY,), "stream", "encoder"),
            state("turn", "TYPE_INT64", (1,), "stream", "encoder"),
            state("held", "TYPE_FP32", (BOOKS,), "stream", "decoder"),
            state("last", "TYPE_INT64", (1,), "stream", "decoder"),
            state("run", "TYPE_INT64", (1,), "stream", "decoder"),
            state("told", "TYPE_INT64", (1,), "stream", "entropy"),
            state("float_told", "TYPE_INT64", (1,), "stream", "float_entropy"),
            state("count", "TYPE_INT64", (1,), "stream", "predictor"),
        ],
    }


def write_other_tables(folder: Path) -> Path:
    """Write the bundle to `folder/codec`, with tables that say something else."""
    return write_codec(folder, seed=8)


def write_codec(folder: Path, seed: int = 7) -> Path:
    """Write the bundle to `folder/codec`."""
    tables = io.BytesIO()
    np.savez(tables, **codec_tables(seed))
    return write_bundle(folder, "codec", "1.0.0", _graphs(), codec_manifest(), {"tables.npz": tables.getvalue()})


def write_plain_codec(folder: Path) -> Path:
    """Write a bundle to `folder/plain`: the same codec without tables, network and predictor."""
    manifest, graphs = codec_manifest(), _graphs()
    task = manifest["task"]
    task["roles"] = {name: role for name, role in task["roles"].items() if role.startswith(("encode", "decode"))}
    task["assets"] = {}
    del task["parameters"]["silence_dbfs"]
    manifest["states"] = [each for each in manifest["states"] if each["group"] in ("encoder", "decoder")]
    only = {name: graphs[name] for name in ("encode", "decode")}
    return write_bundle(folder, "plain", "1.0.0", only, manifest)


def codec_expected(samples: np.ndarray, books: int = BOOKS) -> np.ndarray:
    """What a stream of `samples` float `[n]` sounds like when nothing is lost, float32 `[n]`."""
    n = len(samples)
    padded = np.zeros(-(-n // FRAME) * FRAME, np.float32)
    padded[:n] = samples
    means = padded.reshape(-1, PART).mean(1, dtype=np.float32)
    levels = np.clip(np.round((means + np.float32(1)) * np.float32((LEVELS - 1) / 2)), 0, LEVELS - 1)
    values = (levels * np.float32(2 / (LEVELS - 1)) - np.float32(1)).astype(np.float32)
    # A part lies one place later in its frame than in the audio.
    values[(np.arange(len(values)) + DELAY // PART) % BOOKS >= books] = 0
    return np.repeat(values, PART)[:n]
