"""Entropy networks in ONNX Runtime without a server, and streams of codes coded by them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort

from models.lmcodec.floating import FLOAT
from models.lmcodec.integer import INTEGER
from models.lmcodec.steps import Arithmetic
from streamer.tasks.code_network import bounds, frequencies, intervals
from streamer.tasks.range_coder import RangeDecoder, encode_intervals


class Served:
    """The graphs of a bundle in ONNX Runtime, over `rows` streams in step; those in floats take logits one by one."""

    def __init__(
        self,
        folder: Path,
        rows: int,
        level: str = "ORT_ENABLE_ALL",
        threads: int = 1,
        arithmetic: Arithmetic = INTEGER,
    ) -> None:
        name = arithmetic.name
        options = ort.SessionOptions()
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
        options.intra_op_num_threads = threads
        self._context, self._next = (
            ort.InferenceSession(str(folder / f"{graph}.onnx"), options, providers=["CPUExecutionProvider"])
            for graph in (name, f"{name}_next")
        )
        self._state, self._start, self._is_alone = f"{name}_past", f"start_{name}", arithmetic is FLOAT
        shape = next(value.shape for value in self._context.get_inputs() if value.name == self._state)
        self._past = np.zeros((rows + 1, *shape[1:]), np.float32 if arithmetic is FLOAT else np.uint8)
        self._slots, self._started = np.arange(rows), False

    def context(self, previous: np.ndarray) -> np.ndarray:
        """Contexts [rows, width] after the codes i64[rows, books] of the frame before."""
        start = np.full(len(self._slots), not self._started)
        feeds = {"codes": previous, "slots_stream": self._slots, self._start: start, self._state: self._past}
        context, self._past = self._context.run(["context", f"{self._state}_out"], feeds)
        self._started = True
        return context

    def logits(self, context: np.ndarray, codes: np.ndarray, book: np.ndarray) -> np.ndarray:
        """Logits [rows, size]."""
        size = 1 if self._is_alone else len(book)
        parts = [slice(at, at + size) for at in range(0, len(book), size)]
        feeds = [{"context": context[part], "codes": codes[part], "book": book[part]} for part in parts]
        return np.concatenate([self._next.run(["logits"], each)[0] for each in feeds])


def all_logits(served: Served, codes: np.ndarray) -> np.ndarray:
    """Logits [rows, frames, books, size] of i64[rows, frames, books], all books of a frame as rows of one call."""
    rows, frames, books = codes.shape
    previous, found = np.full((rows, books), -1), []
    for t in range(frames):
        context = served.context(previous)
        previous = codes[:, t]
        spread = (context.repeat(books, 0), previous.repeat(books, 0), np.tile(np.arange(books), rows))
        found.append(served.logits(*spread).reshape(rows, books, -1))
    return np.stack(found, 1)


def with_gaps(rows: int, frames: int, books: int, size: int, seed: int = 0) -> np.ndarray:
    """Random codes, some books and some whole frames of which are absent."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(size, size=(rows, frames, books))
    codes[rng.random((rows, frames)) < 0.1] = -1
    codes[rng.random(rows) < 0.3, frames // 2 :, books // 2 :] = -1
    return codes


def coded(served: Served, codes: np.ndarray, table: np.ndarray) -> bytes:
    """The codes i64[frames, books] of a stream as bytes."""
    logits = all_logits(served, codes[None])[0]
    pairs = [intervals(frequencies(rows, table), frame) for rows, frame in zip(logits, codes, strict=True)]
    begins, sizes = (np.stack(parts) for parts in zip(*pairs, strict=True))
    return encode_intervals(begins, sizes)


def decoded(served: Served, data: bytes, frames: int, books: int, table: np.ndarray) -> np.ndarray:
    """What a decoder makes of `coded`, book after book, knowing nothing but the bytes."""
    decoder = RangeDecoder(data)
    codes = np.full((frames, books), -1)
    previous = codes[0]
    for frame in codes:
        context = served.context(previous[None])
        for book in range(books):
            logits = served.logits(context, frame[None], np.array([book]))[0]
            frame[book] = decoder.symbol(bounds(frequencies(logits, table)))
        previous = frame
    decoder.finish()
    return codes
