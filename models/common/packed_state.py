"""Many small states of a stream as one row of one arena.

A causal convolutional net keeps a few hundred floats behind each of its layers. One arena each would cost a gather, a
reset, a scatter and two bindings per layer and step; together they cost that once.
"""

import math
from collections.abc import Mapping, Sequence

from torch import Tensor, cat, nn

from models.common.slots import Rows, RowStep, State, StateSpec, Update


class PackedStep(nn.Module):
    """A `RowStep` whose states `parts`, all f32 and all starting at 0, are kept in the one state `name` f32[N].

    The parts lie in `name` in their order, each in the order of its elements; other states pass through.
    Raises `ValueError` for parts that are of another type or start elsewhere.
    """

    def __init__(self, step: RowStep, parts: Sequence[StateSpec], name: str) -> None:
        super().__init__()
        for part in parts:
            if not part.dtype.is_floating_point or part.initial != 0:
                raise ValueError(f"state {part.name}: expected floats from 0, got {part.dtype} from {part.initial}")
        self.step, self.parts, self.name = step, tuple(parts), name

    @property
    def state(self) -> StateSpec:
        """The state that holds the parts, in the pool and the group of the first of them."""
        first = self.parts[0]
        return StateSpec(self.name, (sum(self._sizes),), pool=first.pool, group=first.group)

    def forward(self, inputs: Rows, state: State) -> tuple[Rows, Mapping[str, Update]]:
        """As the step that is packed, but for its states."""
        outputs, updates = self.step(inputs, {**state, **self.unpack(state[self.name])})
        others = {name: update for name, update in updates.items() if name not in {part.name for part in self.parts}}
        return outputs, {**others, self.name: self.pack(updates)}

    def unpack(self, rows: Tensor) -> dict[str, Tensor]:
        """Cut rows f32[B, N] into the parts f32[B, *dims]."""
        flat = zip(self.parts, rows.split(self._sizes, 1), strict=True)
        return {part.name: piece.reshape(-1, *part.dims) for part, piece in flat}

    def pack(self, parts: Mapping[str, Tensor]) -> Tensor:
        """Join parts f32[B, *dims] to rows f32[B, N]."""
        sized = zip(self.parts, self._sizes, strict=True)
        return cat([parts[part.name].reshape(-1, size) for part, size in sized], 1)

    @property
    def _sizes(self) -> list[int]:
        return [math.prod(part.dims) for part in self.parts]
