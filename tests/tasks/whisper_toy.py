"""A Whisper model in numpy: the level of a frame says the token that ends there; its graphs check what they are asked.

A frame is 320 samples; its mean is the id of a token, plus one, over `LEVELS`; silence is 0. Decoding goes on with the
first token of the window after those of the text, once `late` frames after it have been heard. A token of which not yet
`sure` frames have been heard is taken for `UNSURE` first, and corrected when they have.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from streamer.bundle.loader import Bundle
from streamer.bundle.manifest import Manifest
from streamer.engine.batches import row_problem
from streamer.errors import ModelFault
from streamer.work import Array, Result, Row

RATE, FRAME = 16000, 320
RIGHT = 200
WORDS = 400
# Pieces in twos: a word of two tokens each, and one that is heard while it is not clear which it is.
PIECES = (*(f" w{i}" if i % 2 == 0 else f"x{i}" for i in range(WORDS)), " uh")
UNSURE = WORDS
EOT = len(PIECES)
SOT, FIRST_LANGUAGE, TRANSCRIBE, NO_TIMESTAMPS = EOT + 1, EOT + 2, EOT + 5, EOT + 6
LANGUAGES = ("en", "de", "fr")
VOCABULARY = EOT + 7
LEVELS = 512.0
TOP = 17
PROMPT = 4


def manifest(gran: int = 5, extra: int = 1, max_frames: int = 150, **changes: Any) -> dict[str, Any]:
    """The manifest as JSON data; `changes` are further parameters, None takes one away."""
    hop = gran * FRAME
    parameters = {
        "gran": gran, "extra": extra, "max_frames": max_frames, "max_text": 448, "cells": 640, "mel_ring": 1024,
        "frame_samples": FRAME, "flush_samples": 30 * FRAME, "token_delay_samples": 0,
        "sot": SOT, "eot": EOT, "transcribe": TRANSCRIBE, "no_timestamps": NO_TIMESTAMPS, "sot_prev": EOT,
        "first_language": FIRST_LANGUAGE, "blank_id": EOT,
        "mode": "exact", "window": 8, "look_back": 2, "max_tokens_per_chunk": 12, "decode_every": 1, "language": "en",
        **changes,
    }  # fmt: skip
    return {
        "name": "toy",
        "version": "1.0.0",
        "description": "levels to tokens",
        "licence": "none",
        "sample_rate": RATE,
        "task": {
            "kind": "transcribe",
            "program": "whisper",
            "roles": _ROLES,
            "parameters": {name: value for name, value in parameters.items() if value is not None},
            "assets": {"tokens": "toy.tiktoken", "languages": "languages.txt"},
        },
        "pools": [{"name": "stream"}],
        "states": [
            {"name": name, "data_type": "TYPE_INT64", "dims": [2], "pool": "stream", "group": group}
            for name, group in (("mel", "listener"), ("counts", "encoder"), ("cell_count", "search"))
        ],
        "graphs": [
            {
                **_graph("listen", [_t("pcm", "FP32", hop + RIGHT)], [_t("heard", "INT64")], ["mel"], ["mel"]),
                "audio": {
                    "input": "pcm",
                    "chunk_samples": hop + RIGHT,
                    "hop_samples": hop,
                    "right_context_samples": RIGHT,
                    "delay_samples": hop + RIGHT,
                },
            },
            _graph("encode", _ENCODE, [_t("frames", "INT64")], ["mel", "counts"], ["counts"]),
            _graph("decode", _DECODE, _ANSWERS, ["counts", "cell_count"], ["cell_count"]),
        ],
        "assets": [{"file": file, "sha256": "0" * 64} for file in ("toy.tiktoken", "languages.txt")],
    }


def _t(name: str, kind: str, *dims: int) -> dict[str, Any]:
    return {"name": name, "data_type": f"TYPE_{kind}", "dims": list(dims)}


def _graph(name: str, inputs: list[Any], outputs: list[Any], reads: list[str], writes: list[str]) -> dict[str, Any]:
    groups = [{"mel": "listener", "counts": "encoder", "cell_count": "search"}[state] for state in reads]
    file = {"name": name, "file": f"{name}.onnx", "sha256": "0" * 64, "opset": 17}
    places = {"pools": ["stream"], "groups": groups, "reads": reads, "writes": writes}
    return {**file, "inputs": inputs, "outputs": outputs, **places}


_ENCODE = [
    _t("offsets", "INT64", -1),
    _t("window", "INT64", -1),
    _t("origin", "INT64"),
    _t("bank", "INT64"),
    _t("fresh", "BOOL"),
]
_DECODE = [
    _t("tokens", "INT64", -1),
    _t("places", "INT64", -1),
    _t("past", "BOOL", -1, -1),
    _t("fresh", "BOOL", -1, -1),
    _t("keep", "INT64"),
    _t("count", "INT64"),
    _t("audio", "INT64", -1),
    _t("bank", "INT64"),
    _t("ask", "INT64", -1),
    _t("check", "INT64", -1),
    _t("blank", "BOOL"),
]
_ANSWERS = [
    _t("best", "INT64", -1),
    _t("best_logit", "FP32", -1),
    _t("check_logit", "FP32", -1),
    _t("check_rank", "INT64", -1),
    _t("log_sum", "FP32", -1),
    _t("top_ids", "INT64", -1, TOP),
    _t("top_logps", "FP32", -1, TOP),
    _t("attended", "INT64", -1),
    _t("cells", "INT64"),
]
_RENAMED = {"frames": "encoded_frames", "fresh": "fresh_nodes", "bank": "decode_bank"}
_ROLES = {
    "pcm": "listen.pcm",
    "heard": "listen.heard",
    "encoded_frames": "encode.frames",
    **{tensor["name"]: f"encode.{tensor['name']}" for tensor in _ENCODE},
    **{_RENAMED.get(t["name"], t["name"]): f"decode.{t['name']}" for t in (*_DECODE, *_ANSWERS)},
}


def parsed(data: dict[str, Any]) -> Manifest:
    return Manifest.model_validate(data)


def write_assets(folder: Path, pieces: Sequence[str] = PIECES) -> Path:
    lines = (base64.b64encode(piece.encode()) + b" %d\n" % rank for rank, piece in enumerate(pieces))
    (folder / "toy.tiktoken").write_bytes(b"".join(lines))
    (folder / "languages.txt").write_text("".join(f"{code}\n" for code in LANGUAGES), encoding="utf-8")
    return folder


def calls_of(model: Toy, graph: str) -> list[int]:
    """Rows of each call of a graph."""
    return [count for name, count in model.calls if name == graph]


def bundle(folder: Path, **changes: Any) -> Bundle:
    """The bundle in `folder`, without its graphs."""
    return Bundle(write_assets(folder), parsed(manifest(**changes)), "0" * 64)


def speech(tokens: Sequence[tuple[int, int]], frames: int) -> Array:
    """Audio f32 of so many frames in which each token, `(frame, id)`, ends in its frame."""
    levels = np.zeros(frames, np.float32)
    for frame, token in tokens:
        levels[frame] = (token + 1) / LEVELS
    return np.repeat(levels, FRAME)


def text_of(tokens: Sequence[tuple[int, int]]) -> str:
    """What the tokens spell."""
    return "".join(PIECES[token] for _, token in tokens).strip()


@dataclass
class _Stream:
    """What the states of one row hold."""

    levels: list[int] = field(default_factory=list)
    is_dirty: bool = False
    banks: list[list[int]] = field(default_factory=lambda: [[], []])
    # Tokens, places, and which other cells each sees.
    cells: list[tuple[int, int, frozenset[int]]] = field(default_factory=list)


class Toy:
    """Runs calls like `streamer.engine.runner.Runner`; one row per slot. `faults` names graphs that fail, by slot."""

    def __init__(self, bundle: Bundle, late: int = 2, sure: int = 0, language: str = "de") -> None:
        self.bundle = bundle
        self.late, self.sure, self.language = late, sure, language
        self.faults: dict[int, str] = {}
        self.calls: list[tuple[str, int]] = []
        self._streams: dict[int, _Stream] = {}
        parameters = bundle.manifest.task.parameters
        self._gran = int(parameters["gran"])
        self._first = self._gran * (int(parameters["extra"]) + 1)
        self._longest, self._places = int(parameters["max_frames"]), int(parameters["cells"])

    def run(self, graph: str, rows: Sequence[Row]) -> list[Result]:
        self.calls.append((graph, len(rows)))
        slots = [row.leases[0].slot for row in rows]
        assert len(set(slots)) == len(slots)
        return [self._row(graph, slot, row) for slot, row in zip(slots, rows, strict=True)]

    def _row(self, graph: str, slot: int, row: Row) -> Result:
        problem = row_problem(self.bundle.manifest.graph(graph), row)
        assert problem is None, problem
        assert row.start <= {{"listen": "listener", "encode": "encoder", "decode": "search"}[graph]}
        if self.faults.get(slot) == graph:
            return Result(error=ModelFault(f"toy: graph {graph}: inference failed"))
        if "listener" in row.start:
            # What the slot's last owner has encoded is still there.
            self._streams[slot] = _Stream(banks=self._streams.get(slot, _Stream()).banks, is_dirty=True)
        inputs = {name: array.item() if array.ndim == 0 else array for name, array in row.inputs.items()}
        return Result(getattr(self, f"_{graph}")(self._streams[slot], inputs, bool(row.start)))

    def _listen(self, stream: _Stream, inputs: dict[str, Any], starts: bool) -> dict[str, Array]:
        frames = inputs["pcm"][: self._gran * FRAME].reshape(-1, FRAME)
        stream.levels += np.rint(frames.mean(1) * LEVELS).astype(int).tolist()
        return {"heard": np.array(2 * len(stream.levels) + 1)}

    def _encode(self, stream: _Stream, inputs: dict[str, Any], starts: bool) -> dict[str, Array]:
        assert starts == stream.is_dirty
        if starts:
            stream.banks, stream.is_dirty = [[], []], False
        bank = stream.banks[inputs["bank"]]
        if inputs["fresh"]:
            bank.clear()
        size, begin = len(inputs["offsets"]), inputs["origin"] // 2 + len(bank)
        assert size == (self._gran if bank else self._first)
        assert inputs["origin"] % (2 * self._gran) == 0
        assert len(inputs["window"]) >= len(bank)
        # Whole, and still in the ring of mel rows.
        assert begin + size <= len(stream.levels) <= begin + 500
        bank += stream.levels[begin : begin + size]
        assert len(bank) <= self._longest
        return {"frames": np.array(len(bank))}

    def _decode(self, stream: _Stream, inputs: dict[str, Any], starts: bool) -> dict[str, Array]:
        if starts:
            stream.cells = []
        bank = stream.banks[inputs["bank"]]
        assert len(inputs["audio"]) >= len(bank) > 0
        del stream.cells[inputs["keep"] :]
        used, count = len(stream.cells), inputs["count"]
        assert used + count <= self._places
        nodes, cells = inputs["past"].shape
        assert cells >= used
        assert nodes % 8 == 0
        assert cells & (cells - 1) == 0 or cells == self._places
        assert inputs["fresh"].diagonal().all()
        for node in range(count):
            seen = {cell for cell in range(used) if inputs["past"][node, cell]}
            seen |= {used + other for other in range(count) if inputs["fresh"][node, other]} | {used + node}
            stream.cells.append((int(inputs["tokens"][node]), int(inputs["places"][node]), frozenset(seen)))
        answers = []
        for node, check in zip(inputs["ask"], inputs["check"], strict=True):
            assert 0 <= node < max(count, 1)
            answers.append(self._answer(bank, self._path(stream, used + int(node)), int(check)))
        columns = {name: [answer[name] for answer in answers] for name in answers[0]}
        kinds = {tensor["name"]: np.float32 if "FP32" in tensor["data_type"] else np.int64 for tensor in _ANSWERS}
        outputs = {name: np.array(column, kinds[name]) for name, column in columns.items()}
        return {**outputs, "cells": np.array(len(stream.cells))}

    def _path(self, stream: _Stream, cell: int) -> list[int]:
        """The tokens that a node sees: a text without gaps."""
        seen = sorted((stream.cells[index] for index in stream.cells[cell][2]), key=lambda each: each[1])
        assert [place for _, place, _ in seen] == list(range(len(seen)))
        return [token for token, _, _ in seen]

    def _answer(self, bank: list[int], path: list[int], check: int) -> dict[str, Any]:
        spoken = [(frame, level - 1) for frame, level in enumerate(bank) if level]
        text = [token for token in path if token < EOT]
        expected, at = EOT, len(bank) - 1
        for frame, token in spoken[self._next(spoken, text) :][:1]:
            if frame + self.late < len(bank):
                expected, at = token, frame
                if frame + self.late + self.sure >= len(bank) and token % 2 == 0:
                    expected = UNSURE
        # The one that it was taken for stays likely, but for the token that it turns out to be.
        others = [token for token in (EOT, UNSURE, *range(TOP + 1)) if token != expected]
        order = [expected, *dict.fromkeys(others)][:TOP]
        logits = {token: 9.0 - 4 * rank for rank, token in enumerate(order)}
        if len(path) == 1 and check >= FIRST_LANGUAGE:
            logits[FIRST_LANGUAGE + LANGUAGES.index(self.language)] = 20.0
        log_sum = float(np.logaddexp.reduce([logits[token] for token in order]))
        check_logit = logits.get(check, -40.0) if check >= 0 else 0.0
        return {
            "best": expected,
            "best_logit": logits[expected],
            "check_logit": check_logit,
            "check_rank": sum(logits[token] > check_logit for token in order),
            "log_sum": log_sum,
            "top_ids": order,
            "top_logps": [logits[token] - log_sum for token in order],
            "attended": at,
        }

    def _next(self, spoken: list[tuple[int, int]], text: list[int]) -> int:
        """The place of the first token that the text does not have yet; of others it knows nothing."""
        places = {token: index for index, (_, token) in enumerate(spoken)}
        done = [places[token] for token in text if token in places]
        # What was taken for another token stands for the one in its place.
        unsure = len(text) - 1 - max((index for index, token in enumerate(text) if token in places), default=-1)
        return (done[-1] + 1 if done else 0) + (unsure if unsure and text[-1] == UNSURE else 0)
