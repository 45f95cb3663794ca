"""The transducer with look-ahead as a step over ticks of audio: frames leave a layer when what they see is there.

Each layer that looks ahead keeps the inputs of its waiting frames, at most `reach` of them. In a tick it takes them
together with the new frames from below, decides again (a decision depends on the frame alone, so it is the same),
runs all of them, and passes on those that are ready, in order, up to the first that is not. The others are run again
in the next tick. Shapes are those of the worst case: `frames in a tick + look-ahead so far` rows, of which a count per
stream is valid; rows beyond the count hold anything, and nothing that lasts is computed from them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from models.common.features import CARRY, MELS
from models.common.layers import additive, rows_from
from models.common.slots import RingRows, Rows, SlottedGraph, StateSpec, Update
from models.transducer.ancat import AncatBlock, AncatTransducer, leading
from models.transducer.export import started

OUTPUTS = ["token_ids", "token_logp", "encoded", "n_valid", "first_frame"]


@dataclass(frozen=True)
class Place:
    """Where a layer finds its rows: static sizes of one layer in a tick.

    `rows` are run in a tick. Its `ring` of keys begins at `ring_start` of the common one and is longer than the left
    context by `rows`, so that rows which are not ready can be written without touching what is still seen. Its waiting
    frames begin at `waiting_start` of the common buffer; `index` counts the layers below that look ahead.
    """

    rows: int
    ring: int
    ring_start: int
    waiting_start: int
    index: int


def places(model: AncatTransducer) -> list[Place]:
    """The place of each layer."""
    config, look_ahead = model.config, model.encoder.look_ahead
    found, ahead, start, index = [], 0, 0, 0
    for layer in range(config.layers):
        reach = look_ahead.of(layer)
        rows = config.chunk + ahead + reach
        found.append(Place(rows, config.left + rows, start, ahead, index))
        start += config.left + rows
        ahead += reach
        index += reach > 0
    return found


def states(model: AncatTransducer) -> list[StateSpec]:
    """What a stream remembers, in the order of the graph's inputs."""
    config, look_ahead = model.config, model.encoder.look_ahead
    ring = sum(place.ring for place in places(model))
    waiting = [
        StateSpec("waiting", (look_ahead.total, config.width)),
        StateSpec("passed", (len(look_ahead.layers),), torch.int64),
    ]
    return [
        StateSpec("samples", (CARRY,)),
        StateSpec("conv1", (1, 1, MELS)),
        StateSpec("conv2", (config.channels, 1, MELS // 2)),
        StateSpec("conv3", (config.channels, 1, MELS // 4)),
        StateSpec("keys", (ring, config.width)),
        StateSpec("values", (ring, config.width)),
        StateSpec("gated", (config.layers, config.kernel - 1, config.width)),
        StateSpec("frame", (), torch.int64),
        *(waiting if look_ahead.total else []),
        StateSpec("context", (config.context,), torch.int64, initial=-1, group="search"),
    ]


def tick_graph(model: AncatTransducer) -> SlottedGraph:
    """The graph `step` of the bundle."""
    return SlottedGraph(AncatStep(model), ["pcm"], OUTPUTS, states(model))


@dataclass(frozen=True)
class Ragged:
    """Frames of a batch: rows f32[B, P, D], the number i64[B] of the first, and how many i64[B] are valid."""

    rows: Tensor
    first: Tensor
    count: Tensor


class AncatStep(torch.nn.Module):
    """One tick of many streams as a `RowStep`: input `pcm`, outputs as in `OUTPUTS`."""

    def __init__(self, model: AncatTransducer) -> None:
        super().__init__()
        self.model = model
        self.places = places(model)

    def forward(self, inputs: Rows, state: Rows) -> tuple[Rows, Mapping[str, Update]]:
        """Take `pcm` f32[B, chunk_samples] and the rows of `states(model)`."""
        model, frame = self.model, state["frame"]
        log_mel, samples = model.log_mel.step(inputs["pcm"], state["samples"], frame == 0)
        convs = state["conv1"], state["conv2"], state["conv3"]
        x, (conv1, conv2, conv3) = model.encoder.subsampling.step(log_mel, convs)
        frames = Ragged(x, frame, torch.full_like(frame, model.config.chunk))
        frames, updates = self._encode(frames, state)
        encoded = model.enter(model.encoder.norm(frames.rows))
        ids, scores, context = model.search(encoded, started(state["context"]), frames.count)
        updates |= {"samples": samples, "conv1": conv1, "conv2": conv2, "conv3": conv3, "context": context}
        updates["frame"] = frame + model.config.chunk
        outputs = ids, scores, encoded, frames.count, frames.first
        return dict(zip(OUTPUTS, outputs, strict=True)), updates

    def _encode(self, frames: Ragged, state: Rows) -> tuple[Ragged, dict[str, Update]]:
        """Run all layers; returns the frames that left the last one, and the updates of the layers' states."""
        new: dict[str, list[Tensor]] = {"gated": [], "waiting": [], "passed": []}
        rings: list[tuple[Tensor, Tensor, Tensor]] = []
        for layer, (block, place) in enumerate(zip(self.model.encoder.blocks, self.places, strict=True)):
            if block.reach:
                start = place.waiting_start
                waiting = state["waiting"][:, start : start + block.reach]
                frames = _joined(waiting, frames, state["passed"][:, place.index])
            before = frames
            ring = slice(place.ring_start, place.ring_start + place.ring)
            seen = state["keys"][:, ring], state["values"][:, ring]
            frames, written, gated = self._layer(block, before, seen, state["gated"][:, layer])
            new["gated"].append(gated)
            rings.append((*written, place.ring_start + _numbers(before) % place.ring))
            if block.reach:
                new["waiting"].append(rows_from(before.rows, frames.count, block.reach))
                new["passed"].append((frames.first + frames.count)[:, None])
        keys, values, index = (torch.cat(parts, 1) for parts in zip(*rings, strict=True))
        updates: dict[str, Update] = {"keys": RingRows(keys, index), "values": RingRows(values, index)}
        updates["gated"] = torch.stack(new.pop("gated"), 1)
        updates |= {name: torch.cat(parts, 1) for name, parts in new.items() if parts}
        return frames, updates

    def _layer(
        self, block: AncatBlock, frames: Ragged, ring: tuple[Tensor, Tensor], gated: Tensor
    ) -> tuple[Ragged, tuple[Tensor, Tensor], Tensor]:
        """Run one layer; returns the frames that are ready, the rows for its ring, and its convolution's cache."""
        normed = block.norms[0](frames.rows)
        reach = block.decide(normed)
        mask = _visible(frames, reach, block.left, ring[0].shape[1])
        attended, written = block.attention.step(normed, self.model.encoder.rotary(_numbers(frames)), mask, ring)
        ready = _ready(frames, reach) if block.reach else frames.count
        rows, gated = block.refine_step(frames.rows + attended, gated, ready)
        return Ragged(rows, frames.first, ready), written, gated


def _numbers(frames: Ragged) -> Tensor:
    """The frame number i64[B, P] of each row."""
    return frames.first[:, None] + torch.arange(frames.rows.shape[1], device=frames.rows.device)


def _joined(waiting: Tensor, frames: Ragged, passed: Tensor) -> Ragged:
    """Put the waiting frames f32[B, R, D], from number `passed` i64[B] on, before the new ones without a gap."""
    reach, rows = waiting.shape[1], waiting.shape[1] + frames.rows.shape[1]
    held = frames.first - passed
    row = torch.arange(rows, device=waiting.device)
    index = torch.where(row < held[:, None], row, row + (reach - held)[:, None]).clamp(max=rows - 1)
    both = torch.cat([waiting, frames.rows], 1)
    return Ragged(both.gather(1, index.unsqueeze(-1).expand_as(both)), passed, frames.count + held)


def _ready(frames: Ragged, reach: Tensor) -> Tensor:
    """How many frames i64[B] have all they look at, up to the first that has not; `reach` is i64[B, P]."""
    row = torch.arange(reach.shape[1], device=reach.device)
    return leading(row + reach < frames.count[:, None])


def _visible(frames: Ragged, reach: Tensor, left: int, ring: int) -> Tensor:
    """Additive mask f32[B, 1, P, ring + P]: the ring's frames up to `left` back, then rows up to `reach` ahead.

    The ring's row of a frame is its number modulo `ring`; `age` 0 is the frame before the first row. Older rows than
    `left` are stale or were never ready.
    """
    row = torch.arange(reach.shape[1], device=reach.device)
    first = frames.first[:, None]
    age = (first - 1 - torch.arange(ring, device=reach.device) + ring) % ring
    past = (age < first)[:, None] & (age[:, None] < left - row[:, None])
    offset = row - row[:, None]
    now = (offset >= -left) & (offset <= reach.unsqueeze(-1)) & (row < frames.count[:, None])[:, None]
    return additive(torch.cat([past, now], 2))[:, None]
