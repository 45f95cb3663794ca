"""Streams of a Whisper bundle in the server's runner, step by step, in slots that were dirty."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.careless_whisper.caches import BANKS
from models.careless_whisper.features import HALF, RANGE, SILENT, WhisperMel
from models.careless_whisper.model import Whisper
from streamer.bundle.loader import load_bundle
from streamer.engine.runner import Runner, open_sessions
from streamer.engine.settings import EngineSettings
from streamer.work import Array, Lease, Row

FRAME = 320
Caches = dict[str, Array]
"""Keys and values of one bank: f32[layers, heads, frames, head width] by the name of the state."""
CACHES = ("encoder_keys", "encoder_values", "cross_keys", "cross_values")


class Rig:
    """The runner of a bundle, all of its arenas full of noise."""

    def __init__(self, folder: Path, slots: int = 5) -> None:
        bundle, settings = load_bundle(folder), EngineSettings()
        self.runner = Runner(bundle, open_sessions(bundle, settings), {"stream": slots}, settings)
        self._key = bundle.key
        rng = np.random.default_rng(3)
        for arena in self.runner.arenas.front.values():
            shape = (slots + 1, *arena.state.dims)
            dirt = rng.standard_normal(shape) * 3 if arena.state.dtype.kind == "f" else rng.integers(0, 99, shape)
            arena.write(range(slots + 1), dirt.astype(arena.state.dtype))

    def row(self, slot: int, inputs: dict[str, Array], *start: str) -> Row:
        return Row((Lease(self._key, "stream", slot, 1),), inputs, frozenset(start))

    def run(self, graph: str, rows: Sequence[Row]) -> list[dict[str, Array]]:
        results = self.runner.run(graph, rows)
        for result in results:
            if result.error is not None:
                raise result.error
        return [{name: np.array(value) for name, value in result.outputs.items()} for result in results]

    def listen(self, slot: int, samples: Array, calls: Iterable[int], begin: int = 0) -> int:
        """Hear `calls` frames each from frame `begin` on, where 0 starts the stream; returns the frame reached."""
        for frames in calls:
            chunk = samples[begin * FRAME : (begin + frames) * FRAME + HALF]
            start = ["listener"] if begin == 0 else []
            self.run("listen", [self.row(slot, {"pcm": chunk}, *start)])
            begin += frames
        return begin

    def encode(self, calls: Sequence[EncodeCall]) -> list[int]:
        """Encode one call of each of some streams; returns the frames of their windows."""
        outputs = self.run("encode", [self.row(call.slot, call.inputs(), *call.start) for call in calls])
        return [int(output["frames"]) for output in outputs]

    def caches(self, slot: int, frames: int, bank: int = 0) -> Caches:
        found = {}
        for name in CACHES:
            cells = self.runner.arenas.front[name].read([slot])[0]
            layers, heads, width = cells.shape[0], cells.shape[1], cells.shape[-1]
            found[name] = cells.reshape(layers, heads, BANKS, -1, width)[:, :, bank, :frames].astype(np.float32)
        return found


@dataclass(frozen=True)
class EncodeCall:
    """Encode `frames` of the window of `slot` that begins at mel row `origin`."""

    slot: int
    frames: int
    origin: int = 0
    bank: int = 0
    fresh: bool = False
    window: int = 64
    start: tuple[str, ...] = ()

    def inputs(self) -> dict[str, Array]:
        return {
            "offsets": np.arange(self.frames),
            "window": np.arange(self.window),
            "origin": np.array(self.origin),
            "bank": np.array(self.bank),
            "fresh": np.array(self.fresh),
        }


def sound(seed: int, frames: int) -> Array:
    """Noise whose level changes every 100 ms over 60 dB, enough for `frames` frames and what lies beyond them."""
    rng = np.random.default_rng(seed)
    levels = 10 ** rng.uniform(-3.5, -0.5, frames * FRAME // 1600 + 2)
    noise = rng.standard_normal(frames * FRAME + HALF) * np.repeat(levels, 1600)[: frames * FRAME + HALF]
    return noise.astype(np.float32)


def whole_mel(samples: Array, calls: Sequence[int], mels: int) -> Tensor:
    """Mel rows f32[1, 2 T + 1, mels] of a whole stream of `calls` frames each, written down plainly."""
    signal = np.concatenate([samples[HALF:0:-1], samples])
    frames = sum(calls)
    log_mel = WhisperMel(mels).rows(torch.from_numpy(signal)[None], 2 * frames + 1)
    loudest, rows, begin = SILENT, [], 0
    for count in calls:
        end = begin + 2 * count + (begin == 0)
        call = log_mel[:, begin:end]
        loudest = max(loudest, float(call.max()))
        rows.append((call.clamp(min=loudest - RANGE) + 4) / 4)
        begin = end
    return torch.cat(rows, 1)


def whole_caches(model: Whisper, mel: Tensor, mask: Tensor) -> tuple[Caches, Tensor]:
    """Keys and values of one full pass over `mel` f32[1, 2 T + 1, mels], and its frames f32[1, T, d].

    The last frame of a full window has no row beyond it, as offline.
    """
    mel = mel[:, : 2 * model.dims.n_audio_ctx]
    found: dict[str, list[Tensor]] = {name: [] for name in CACHES}
    hooks = []
    for block in model.encoder.blocks:
        for name, part in (("encoder_keys", block.attn.key), ("encoder_values", block.attn.value)):
            hook = lambda _, __, y, name=name, attn=block.attn: found[name].append(attn.split(y)[0])  # noqa: E731
            hooks.append(part.register_forward_hook(hook))
    with torch.no_grad():
        frames = model.encoder(mel.transpose(1, 2), mask)
        for block in model.decoder.blocks:
            attn = block.cross_attn
            found["cross_keys"].append(attn.split(attn.key(frames))[0])
            found["cross_values"].append(attn.split(attn.value(frames))[0])
    for hook in hooks:
        hook.remove()
    return {name: torch.stack(layers).numpy() for name, layers in found.items()}, frames


def assert_close(found: Caches, expected: Caches, tolerance: float = 1e-5) -> None:
    for name in CACHES:
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=tolerance, err_msg=name)
