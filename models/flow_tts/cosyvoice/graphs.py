"""The graphs of a bundle: steps, example inputs, free lengths, and which tensor plays which role."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor

from models.common.onnx_export import FreeLengths
from models.common.slots import RowStep, SlottedGraph, StateSpec
from models.flow_tts.cosyvoice.checkpoint import Checkpoint
from models.flow_tts.cosyvoice.config import FRAME, MELS, SPEAKER, TOKEN_FRAMES, Options
from models.flow_tts.cosyvoice.flow import Flow, Flow2, Flow3
from models.flow_tts.cosyvoice.hift import Hift
from models.flow_tts.cosyvoice.hift_stream import HiftStep
from models.flow_tts.cosyvoice.hift_windows import SourceStep, WindowStep
from models.flow_tts.cosyvoice.lm import TokenLm
from models.flow_tts.cosyvoice.steps import EncodeStep, FlowStep, LmStep, PlainEncodeStep, PrefixStep

LM, ENCODE, FLOW, SOURCE, VOCODER = "lm_step", "flow_encode_step", "flow_step", "source_step", "vocoder_step"
# Both the encoder and the flow look at pages.
_PAGED = {ENCODE: "encode", FLOW: "flow"}


class Step(RowStep, Protocol):
    """A step that says what it takes, gives and keeps."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def states(self) -> list[StateSpec]:
        """What a stream keeps."""


@dataclass(frozen=True)
class Part:
    """One graph: its step, example inputs `[B, *dims]` of several steps, and the free lengths of its tensors."""

    name: str
    step: Step
    steps: list[dict[str, Tensor]]
    free: FreeLengths

    def graph(self) -> SlottedGraph:
        """The graph over arenas."""
        return SlottedGraph(self.step, self.step.inputs, self.step.outputs, self.step.states)

    def roles(self) -> dict[str, str]:
        """Roles of its tensors in the program."""
        names = (*self.step.inputs, *self.step.outputs)
        prefix = _PAGED.get(self.name)
        return {f"{prefix}_{name}" if name in ("pages", "page") else name: f"{self.name}.{name}" for name in names}


def steps_of(lm: TokenLm, flow: Flow, hift: Hift, options: Options) -> dict[str, Step]:
    """The steps of all graphs by name."""
    encode = EncodeStep(flow, options) if isinstance(flow, Flow2) else PlainEncodeStep(cast(Flow3, flow))
    solve = FlowStep(flow, options) if options.cached else PrefixStep(flow, options)
    if hift.sizes.causal:
        vocoder: dict[str, Step] = {VOCODER: HiftStep(hift)}
    else:
        vocoder = {SOURCE: SourceStep(hift), VOCODER: WindowStep(hift)}
    return {LM: LmStep(lm, options), ENCODE: encode, FLOW: solve, **vocoder}


def parts_of(checkpoint: Checkpoint, options: Options) -> list[Part]:
    """All graphs of a bundle."""
    draw = _Examples(checkpoint, options)
    steps = steps_of(checkpoint.lm, checkpoint.flow, checkpoint.hift, options)
    causal = checkpoint.hift.sizes.causal
    said = ("mel_chunk", "source_noise", "pcm") if causal else ("mel_shaped", "source_window", "pcm")
    made = {
        LM: (draw.lm, {"ids": ["ids"], "cells": ["lm_pages"]}),
        ENCODE: (draw.encode, {"tokens": ["tokens"], "mu": ["frames"], "pages": ["encode_pages"]}),
        FLOW: (draw.flow, _frames("noisy", "mu_chunk", "prompt_mel", "denoised") | {"pages": ["flow_pages"]}),
        SOURCE: (draw.source, _frames("mel_window", "source_noise", "source")),
        VOCODER: (draw.causal if causal else draw.shaped, _frames(*said)),
    }
    parts = []
    for name, step in steps.items():
        examples, free = made[name]
        known = (*step.inputs, *step.outputs)
        parts.append(Part(name, step, examples(), {key: axes for key, axes in free.items() if key in known}))
    return parts


def _frames(*names: str) -> dict[str, list[str]]:
    """Tensors of one free length."""
    return {name: ["frames"] for name in names}


class _Examples:
    """Inputs of two rows and two steps that look like those of a stream."""

    def __init__(self, checkpoint: Checkpoint, options: Options) -> None:
        self.checkpoint, self.options = checkpoint, options
        self.random = torch.Generator().manual_seed(0)

    def lm(self) -> list[dict[str, Tensor]]:
        """Seven ids, then seven more."""
        count = self.checkpoint.ids.speech + self.checkpoint.ids.tokens
        cells = torch.tensor([[0, -1], [0, -1]])
        return [{"ids": self.ids(count, 7), "cells": cells} for _ in range(2)]

    def encode(self) -> list[dict[str, Tensor]]:
        """A chunk, then the one after it."""
        tokens, chunk = self.checkpoint.flow.tokens, self.options.chunk
        return [
            {
                "tokens": self.ids(tokens, chunk),
                "tokens_ahead": self.ids(tokens, self.checkpoint.flow.ahead),
                **self.page(step),
            }
            for step in range(2)
        ]

    def flow(self) -> list[dict[str, Tensor]]:
        """The first step of a chunk's ODE, then of the one after it."""
        frames = TOKEN_FRAMES * self.options.chunk
        return [
            {
                **{name: self.normal(frames, MELS) for name in ("noisy", "mu_chunk", "prompt_mel")},
                "speaker": self.normal(SPEAKER),
                "step": torch.zeros(2, dtype=torch.int64),
                "frame": torch.full((2,), step * frames),
                **self.page(step),
            }
            for step in range(2)
        ]

    def causal(self) -> list[dict[str, Tensor]]:
        """Five frames, then five more."""
        sizes = self.checkpoint.hift.sizes
        return [
            {
                "mel_chunk": self.normal(5, MELS),
                "mel_ahead": self.normal(sizes.ahead, MELS),
                "ahead_count": torch.full((2,), sizes.ahead),
                "source_noise": self.normal(5, FRAME, sizes.harmonics),
                "source_noise_ahead": self.normal(sizes.n_fft // 2, sizes.harmonics),
            }
            for _ in range(2)
        ]

    def source(self) -> list[dict[str, Tensor]]:
        """Windows with a frame on each side."""
        return [
            {
                "mel_window": self.normal(5, MELS),
                "first": torch.ones(2, dtype=torch.int64),
                "count": torch.full((2,), 3),
                "source_noise": self.normal(5, FRAME, self.checkpoint.hift.sizes.harmonics),
            }
            for _ in range(2)
        ]

    def shaped(self) -> list[dict[str, Tensor]]:
        """A window."""
        return [{"mel_shaped": self.normal(5, MELS), "source_window": self.normal(5, FRAME) * 0.1}]

    def page(self, step: int) -> dict[str, Tensor]:
        """The pages that a chunk looks at, and its own."""
        return {"pages": torch.full((2, 2), -1 if step == 0 else 0), "page": torch.full((2,), step)}

    def ids(self, most: int, *dims: int) -> Tensor:
        """Ids below `most`."""
        return torch.randint(most, (2, *dims), generator=self.random)

    def normal(self, *dims: int) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(2, *dims, generator=self.random)


def inputs_of(part: Part, step: int) -> Mapping[str, Tensor]:
    """The example inputs of one step, in the order of the graph's."""
    return {name: part.steps[step][name] for name in part.step.inputs}
