"""The steps of a bundle's graphs: language model, encoder and flow, each with what a stream keeps.

A step of the encoder or of the flow is one chunk of the streaming masks, so that its own frames see each other; only
the last chunk of an utterance may be shorter. Keys and values of a chunk are one page, and the host says which pages a
chunk looks at and which it becomes.
"""

from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor, nn

from models.common.frame_layers import Caches, Whole
from models.common.layers import chunk_mask
from models.common.pages import PagedMemory, PageSizes, WholeMemory, cells_of, note_written, rows_seen
from models.common.slots import CellRows, Rows, State, StateSpec, Update
from models.flow_tts.cosyvoice.config import BRANCHES, MELS, STEPS, TOKEN_FRAMES, Options
from models.flow_tts.cosyvoice.convs import Chained, caches_of
from models.flow_tts.cosyvoice.flow import Flow, Flow2, Flow3
from models.flow_tts.cosyvoice.lm import TokenLm, causal
from models.flow_tts.cosyvoice.states import one_cells, tensor_of

LM_PAGE = 64
"""Ids of a page of the language model's cache."""


class LmStep(nn.Module):
    """T ids to the logits after the last of them.

    `ids` i64[B, T]; `cells` i64[B, P] the pages of the cache that hold what was given before, -1 for none.
    """

    inputs, outputs = ("ids", "cells"), ("logits",)

    def __init__(self, lm: TokenLm, options: Options) -> None:
        super().__init__()
        self.lm = lm
        sizes = lm.sizes
        pages = -(-options.cells // LM_PAGE)
        self.sizes = PageSizes(
            sizes.layers, sizes.kv_heads, pages, LM_PAGE, sizes.head_width, half=options.half_state
        )  # fmt: skip

    @property
    def states(self) -> list[StateSpec]:
        """What a stream keeps."""
        return [*self.sizes.states("lm", "lm"), StateSpec("lm_count", (), torch.int64, group="lm")]

    def forward(self, inputs: Rows, state: State) -> tuple[Rows, Mapping[str, Update]]:
        """See the class."""
        ids, table = inputs["ids"], inputs["cells"]
        count, length = tensor_of(state, "lm_count"), ids.shape[1]
        written = (count[:, None] - torch.arange(self.sizes.pages) * LM_PAGE).clamp(0, LM_PAGE)
        seen = rows_seen(table, written, LM_PAGE)
        memory = PagedMemory(self.sizes, cells_of(state, "lm"), table, seen, own=causal(length))
        place = count[:, None] + torch.arange(length)
        last = self.lm.run(ids, place, memory)[:, -1]
        updates = memory.updates("lm", place // LM_PAGE, place % LM_PAGE)
        return {"logits": self.lm.llm_decoder(last)}, {**updates, "lm_count": count + length}


class EncodeStep(nn.Module):
    """One chunk of tokens to its prior, version 2.

    `tokens` i64[B, T] and the next three, `tokens_ahead` i64[B, 3], -1 beyond the end; `pages` i64[B, P] those before
    this chunk in order, -1 for none before them; `page` i64[B] the one that this chunk becomes. Gives `mu`
    f32[B, 2 T, 80].
    """

    inputs, outputs = ("tokens", "tokens_ahead", "pages", "page"), ("mu",)

    def __init__(self, flow: Flow2, options: Options) -> None:
        super().__init__()
        self.flow, self.chunk = flow, options.chunk
        sizes = flow.encoder.sizes
        heads, width = sizes.heads, sizes.width // sizes.heads
        half, pages = options.half_state, options.pages
        self.sizes = PageSizes(sizes.layers, heads, pages, self.chunk, width, half=half)
        self.up_sizes = PageSizes(sizes.up_layers, heads, pages, TOKEN_FRAMES * self.chunk, width, half=half)
        with torch.no_grad():
            for name, layers, each in (
                ("near", flow.encoder.encoders, 1),
                ("up", flow.encoder.up_encoders, TOKEN_FRAMES),
            ):
                tables = flow.encoder.places(layers, (pages + 1) * self.chunk * each, self.chunk * each)
                self.register_buffer(f"{name}_places", torch.stack(tables), persistent=False)

    @cached_property
    def caches(self) -> Caches:
        """What the convolutions keep."""
        encoder = self.flow.encoder
        nothing = torch.zeros(1, 1, encoder.sizes.width)
        ahead = torch.zeros(1, self.flow.ahead, encoder.sizes.width)
        places = encoder.places(encoder.encoders, 1, 1), encoder.places(encoder.up_encoders, TOKEN_FRAMES, TOKEN_FRAMES)
        memories = WholeMemory(), WholeMemory()
        return caches_of(lambda runner: encoder.run(nothing, ahead, runner, places, memories))

    @property
    def states(self) -> list[StateSpec]:
        """What a stream keeps."""
        return [
            StateSpec("encode_past", (self.caches.size,), group="encode"),
            StateSpec("encode_written", (self.sizes.pages,), torch.int64, group="encode"),
            *self.sizes.states("encode", "encode"),
            *self.up_sizes.states("encode_up", "encode"),
        ]

    def forward(self, inputs: Rows, state: State) -> tuple[Rows, Mapping[str, Update]]:
        """See the class."""
        table, page, length = inputs["pages"], inputs["page"], inputs["tokens"].shape[1]
        written = tensor_of(state, "encode_written")
        seen = rows_seen(table, written, self.chunk)
        memories = (
            PagedMemory(self.sizes, cells_of(state, "encode"), table, seen),
            PagedMemory(self.up_sizes, cells_of(state, "encode_up"), table, seen.repeat_interleave(TOKEN_FRAMES, 1)),
        )
        before = table.shape[1] * self.chunk
        near = self._places("near", before + length, length)
        up = self._places("up", TOKEN_FRAMES * (before + length), TOKEN_FRAMES * length)
        _, chain = self.caches.split(tensor_of(state, "encode_past"))
        x, ahead = self.flow.embedded(inputs["tokens"]), self.flow.embedded(inputs["tokens_ahead"])
        made = self.flow.encoder.run(x, ahead, Chained(chain), (near, up), memories)
        updates: dict[str, Update] = {
            "encode_past": chain.join([]),
            "encode_written": note_written(written, page, length),
            **memories[0].updates("encode", *_rows(page, length)),
            **memories[1].updates("encode_up", *_rows(page, TOKEN_FRAMES * length)),
        }
        return {"mu": self.flow.encoder_proj(made)}, updates

    def _places(self, name: str, past: int, future: int) -> list[Tensor]:
        """Of each layer, what it makes of the distances from `past` - 1 down to 1 - `future`."""
        tables: Tensor = getattr(self, f"{name}_places")
        each = 1 if name == "near" else TOKEN_FRAMES
        # The table begins with the farthest distance that there is.
        first = (self.sizes.pages + 1) * self.chunk * each - past
        index = (first + torch.arange(past + future - 1)).clamp(0, tables.shape[1] - 1)
        return list(tables[:, index].unbind(0))


class PlainEncodeStep(nn.Module):
    """Any number of tokens to their prior, version 3; inputs and output as `EncodeStep` has them, without pages."""

    inputs, outputs = ("tokens", "tokens_ahead"), ("mu",)

    def __init__(self, flow: Flow3) -> None:
        super().__init__()
        self.flow = flow

    @cached_property
    def caches(self) -> Caches:
        """What the convolutions keep."""
        width = self.flow.sizes.width
        x, ahead = torch.zeros(1, 1, width), torch.zeros(1, self.flow.ahead, width)
        return caches_of(lambda runner: self.flow.pre_lookahead_layer.run(x, ahead, runner))

    @property
    def states(self) -> list[StateSpec]:
        """What a stream keeps."""
        return [StateSpec("encode_past", (self.caches.size,), group="encode")]

    def forward(self, inputs: Rows, state: State) -> tuple[Rows, Mapping[str, Update]]:
        """See the class."""
        _, chain = self.caches.split(tensor_of(state, "encode_past"))
        x, ahead = self.flow.embedded(inputs["tokens"]), self.flow.embedded(inputs["tokens_ahead"])
        made = self.flow.pre_lookahead_layer.run(x, ahead, Chained(chain))
        return {"mu": made.repeat_interleave(TOKEN_FRAMES, 1)}, {"encode_past": chain.join([])}


class PrefixStep(nn.Module):
    """One step of the ODE over all frames from the prompt's start on, without a state.

    `noisy`, `mu_chunk`, `prompt_mel` f32[B, T, 80], `speaker` f32[B, 192], `step` i64[B]. Gives `denoised`, which is
    `noisy` of the next step and after the last the mel.
    """

    inputs, outputs = ("noisy", "mu_chunk", "prompt_mel", "speaker", "step"), ("denoised",)

    def __init__(self, flow: Flow, options: Options) -> None:
        super().__init__()
        self.flow, self.frames = flow, TOKEN_FRAMES * options.chunk
        with torch.no_grad():
            conditions, lengths = flow.schedule()
        self.register_buffer("conditions", conditions, persistent=False)
        self.register_buffer("lengths", lengths, persistent=False)

    @property
    def states(self) -> list[StateSpec]:
        """Nothing is kept."""
        return []

    def forward(self, inputs: Rows, state: State) -> tuple[Rows, Mapping[str, Update]]:
        """See the class."""
        length = inputs["noisy"].shape[1]
        memory = WholeMemory(chunk_mask(length, self.frames, length, inputs["noisy"].device))
        frame = torch.arange(length).expand(inputs["noisy"].shape[0], -1)
        return {"denoised": self.moved(inputs, self.step_of(inputs), frame, (Whole(), memory))}, {}

    def step_of(self, inputs: Rows) -> Tensor:
        """Which step i64[B] of the ODE it is."""
        return inputs["step"].clamp(0, STEPS - 1)

    def moved(self, inputs: Rows, step: Tensor, frame: Tensor, how: tuple[Whole, WholeMemory | PagedMemory]) -> Tensor:
        """`noisy` after the step."""
        x, conditions = inputs["noisy"], self.get_buffer("conditions")
        speaker = self.flow.speaker(inputs["speaker"]).unsqueeze(1).expand(-1, x.shape[1], -1)
        given = inputs["mu_chunk"], speaker, inputs["prompt_mel"]
        velocity = self.flow.velocity(x, given, conditions[step], frame, how)
        return x + self.get_buffer("lengths")[step].view(-1, 1, 1) * velocity


class FlowStep(PrefixStep):
    """One step of the ODE over one chunk, with caches of its own for every step.

    Beside the inputs of `PrefixStep`: `pages` i64[B, P] those that the chunk looks at in any order, -1 for none, and
    `page` i64[B] the one that it becomes. Version 3 also takes `frame` i64[B], the chunk's first one, counted from the
    prompt's start.
    """

    def __init__(self, flow: Flow, options: Options) -> None:
        super().__init__(flow, options)
        estimator = flow.estimator
        sizes = estimator.sizes
        width = sizes.head_width if isinstance(flow, Flow2) else sizes.width // sizes.heads  # type: ignore[union-attr]
        self.sizes = PageSizes(
            estimator.layers, sizes.heads, options.pages, self.frames, width, STEPS, BRANCHES, options.half_state
        )  # fmt: skip
        self.inputs = (*PrefixStep.inputs, "pages", "page", *(() if isinstance(flow, Flow2) else ("frame",)))

    @cached_property
    def caches(self) -> Caches:
        """What the convolutions of one branch keep in one step of the ODE."""
        x, made = torch.zeros(1, 1, 4 * MELS), self.get_buffer("conditions")[:1]
        frame = torch.zeros(1, 1, dtype=torch.int64)
        return caches_of(lambda runner: self.flow.estimator.run(x, made, runner, WholeMemory(), frame))

    @property
    def states(self) -> list[StateSpec]:
        """What a stream keeps."""
        return [
            StateSpec("flow_written", (STEPS, self.sizes.pages), torch.int64, group="flow"),
            StateSpec("flow_past", (STEPS, BRANCHES, self.caches.size), group="flow", indexed=True),
            *self.sizes.states("flow", "flow"),
        ]

    def forward(self, inputs: Rows, state: State) -> tuple[Rows, Mapping[str, Update]]:
        """See the class."""
        step, table, page = self.step_of(inputs), inputs["pages"], inputs["page"]
        length, batch = inputs["noisy"].shape[1], torch.arange(step.shape[0])
        every = tensor_of(state, "flow_written")
        written = every[batch, step]
        # Rows that a start does not wipe: this step of the ODE has not run since where no page of it was written.
        fresh = (written.sum(1) == 0).view(-1, 1, 1)
        past = torch.where(fresh, 0.0, one_cells(state, "flow_past").take(step))
        _, chain = self.caches.split(past.flatten(0, 1))
        seen = rows_seen(table, written, self.frames)
        memory = PagedMemory(self.sizes, cells_of(state, "flow"), table, seen, step)
        frame = inputs.get("frame", torch.zeros_like(step))[:, None] + torch.arange(length)
        moved = self.moved(inputs, step, frame, (Chained(chain), memory))
        is_step = (torch.arange(STEPS) == step[:, None]).unsqueeze(2)
        noted = note_written(written, page, length).unsqueeze(1)
        return {"denoised": moved}, {
            "flow_written": torch.where(is_step, noted, every),
            "flow_past": CellRows(chain.join([]).unflatten(0, (-1, BRANCHES)), (step,)),
            **memory.updates("flow", *_rows(page, length)),
        }


def _rows(page: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Page and row i64[B, length] of each row of a chunk that becomes `page` i64[B]."""
    row = torch.arange(length).expand(page.shape[0], -1)
    return page[:, None].expand(-1, length), row
