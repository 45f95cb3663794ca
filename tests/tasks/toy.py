"""A recogniser in numpy: the level of the audio says the token, and carried state delays it like a real encoder."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from streamer.bundle.manifest import Manifest
from streamer.tasks.base import TaskStep

RATE = 16000
FRAME = 160
HOP = 800
RIGHT = 160
CHUNK = HOP + RIGHT
LATE_FRAMES = 2
FLUSH = RIGHT + (LATE_FRAMES + 1) * FRAME

PIECES = ["<blk>", "<unk>", "▁he", "llo", "▁wor", "ld", "▁a", "<0xC3>", "<0xA9>", "▁", "s", "▁to", "▁two", "日", "本"]
LEVELS = 20
IDS = {piece: index for index, piece in enumerate(PIECES)}


def manifest(**changes: Any) -> dict[str, Any]:
    """The manifest of the toy as JSON data; `changes` replace keys of its task."""
    frames = [{"name": name, "data_type": kind, "dims": [HOP // FRAME]} for name, kind in _OUTPUTS]
    task = {
        "kind": "transcribe",
        "roles": {"pcm": "step.pcm", "token_ids": "step.ids", "token_logp": "step.logp"},
        "parameters": {
            "blank_id": 0,
            "frame_samples": FRAME,
            "token_delay_samples": LATE_FRAMES * FRAME,
            "flush_samples": FLUSH,
        },
        "assets": {"tokens": "tokens.txt"},
    }
    return {
        "name": "toy",
        "version": "1.0.0",
        "description": "levels to tokens",
        "licence": "none",
        "sample_rate": RATE,
        "task": {**task, **changes},
        "pools": [{"name": "stream"}],
        "states": [
            {"name": "late", "data_type": "TYPE_INT64", "dims": [LATE_FRAMES], "pool": "stream", "group": "encoder"},
            {"name": "count", "data_type": "TYPE_INT64", "dims": [1], "pool": "stream", "group": "search"},
        ],
        "graphs": [
            {
                "name": "step",
                "file": "step.onnx",
                "sha256": "0" * 64,
                "opset": 17,
                "inputs": [{"name": "pcm", "data_type": "TYPE_FP32", "dims": [CHUNK]}],
                "outputs": frames,
                "pools": ["stream"],
                "groups": ["encoder", "search"],
                "reads": ["late", "count"],
                "writes": ["late", "count"],
                "audio": {
                    "input": "pcm",
                    "chunk_samples": CHUNK,
                    "hop_samples": HOP,
                    "right_context_samples": RIGHT,
                    "delay_samples": HOP + RIGHT + LATE_FRAMES * FRAME,
                },
            }
        ],
        "assets": [{"file": "tokens.txt", "sha256": "0" * 64}],
    }


_OUTPUTS = (("ids", "TYPE_INT64"), ("logp", "TYPE_FP32"))


def parsed(data: dict[str, Any]) -> Manifest:
    return Manifest.model_validate(data)


def write_tokens(folder: Path, pieces: list[str] = PIECES) -> Path:
    path = folder / "tokens.txt"
    path.write_text("".join(f"{piece} {index}\n" for index, piece in enumerate(pieces)), encoding="utf-8")
    return path


@dataclass
class ToyModel:
    """Runs steps. A frame of one steady level that differs from the last steady one is a token, `LATE_FRAMES` later.

    `count` numbers the tokens since the search began, and is told as their log-probability.
    """

    late: list[int] = field(default_factory=lambda: [0] * LATE_FRAMES)
    level: int = 0
    count: int = 0

    def run(self, step: TaskStep) -> dict[str, np.ndarray]:
        if "encoder" in step.start:
            self.late, self.level = [0] * LATE_FRAMES, 0
        if "search" in step.start:
            self.count = 0
        frames = step.inputs["pcm"][:HOP].reshape(-1, FRAME)
        spoken = [self._frame(frame) for frame in frames]
        ids = np.array(spoken, np.int64)
        logp = np.zeros(len(ids), np.float32)
        for index in np.flatnonzero(ids):
            self.count += 1
            logp[index] = -0.01 * self.count
        return {"ids": ids, "logp": logp}

    def fork(self) -> ToyModel:
        return copy.deepcopy(self)

    def _frame(self, frame: np.ndarray) -> int:
        token = 0
        if np.ptp(frame) < 0.2 / LEVELS:
            level = round(float(frame.mean()) * LEVELS)
            token, self.level = (level if level != self.level else 0), level
        self.late.append(token)
        return self.late.pop(0)


def speech(text: list[tuple[str, int]], rate: int = RATE) -> np.ndarray:
    """Audio at `rate`: for each piece (`""` is silence) its level for so many milliseconds."""
    parts = [np.full(rate * ms // 1000, IDS[piece] / LEVELS if piece else 0.0, np.float32) for piece, ms in text]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)
