"""Adaptive look-ahead: the transducer whose layers decide, frame by frame, how far to wait for the future.

The idea is ANCAT's (ICML 2023, PMLR 202:32654, arXiv 2305.04159), of which we know the abstract: every block of the
encoder carries its own attention scheduler, which learns connections to future frames and hands the mask to
self-attention, while regularisers push latency down; look-ahead is decided on the fly, from the signal. The gating
function, the regulariser and the training schedule here are our reconstruction, not the paper's formulas.

Parameters that the chunked transducer has too keep their names, so that its trained weights are a start.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.common.layers import Rotation, additive
from models.transducer.config import Config
from models.transducer.model import Block, Encoder, EncoderState, Transducer

Mode = Literal["none", "full", "adaptive"]
_OPEN = 2.0  # bias of a new scheduler: gates start open


@dataclass(frozen=True)
class LookAhead:
    """Which layers look ahead, and how: `reach` frames at most in each of `layers`, the others strictly causal.

    `mode` tells siblings of one recipe apart: `none` never looks ahead, `full` always does, `adaptive` decides.
    """

    mode: Mode = "adaptive"
    layers: tuple[int, ...] = (6, 7, 8, 9)
    reach: int = 2

    def __post_init__(self) -> None:
        """Check what a stored configuration could get wrong."""
        if self.mode not in get_args(Mode):
            raise ValueError(f"expected a mode of {get_args(Mode)}, got {self.mode!r}")
        if self.reach < 1 or list(self.layers) != sorted(set(self.layers)):
            raise ValueError(f"expected rising layers and a reach from 1, got {self.layers} and {self.reach}")

    def of(self, layer: int) -> int:
        """How many frames `layer` may look ahead."""
        return self.reach if self.mode != "none" and layer in self.layers else 0

    @property
    def total(self) -> int:
        """How many frames the encoder may look ahead: the sum over its layers."""
        return 0 if self.mode == "none" else self.reach * len(self.layers)


@dataclass(frozen=True)
class Gating:
    """How gates are drawn at one moment of training; reconstructed, see `annealed`.

    `hard` gates are those of serving, with the gradient of soft ones (straight-through).
    """

    temperature: float = 1.0
    noisy: bool = False
    hard: bool = False


def annealed(progress: float) -> Gating:
    """The gating at `progress` (0 to 1) of a run.

    The temperature falls from 1 to 0.2; noise ends at 70 %; from 90 % on gates are hard, so that the weights settle
    on what is served.
    """
    return Gating(1.0 - 0.8 * min(progress, 1.0), noisy=progress < 0.7, hard=progress >= 0.9)


class Scheduler(nn.Linear):
    """Decides the look-ahead of each frame from that frame's own layer input, so the decision never waits.

    Gate k, for k from 1 to reach, opens the frame k ahead. Gates survive: one opens only if all before it do.
    """

    def __init__(self, width: int, reach: int) -> None:
        super().__init__(width, reach)
        nn.init.zeros_(self.weight)
        nn.init.constant_(self.bias, _OPEN)

    def forward(self, x: Tensor) -> Tensor:
        """Scores f32[B, T, R] of the gates for f32[B, T, D], in full precision: positive opens."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())

    def decide(self, x: Tensor) -> Tensor:
        """Look-ahead i64[B, T] of f32[B, T, D]: how many gates open before the first that does not."""
        return leading(self(x) > 0)

    def gates(self, x: Tensor, gating: Gating) -> tuple[Tensor, Tensor]:
        """Gates f32[B, T, R] between 0 and 1, never rising with k, and their logarithms, which attention adds."""
        scores = self(x)
        if gating.noisy:
            uniform = torch.rand_like(scores).clamp(1e-6, 1 - 1e-6)
            scores = scores + torch.logit(uniform)
        logs = functional.logsigmoid(scores / gating.temperature).cumsum(-1)
        soft = logs.exp()
        if not gating.hard:
            return soft, logs
        opened = (torch.arange(self.out_features, device=x.device) < leading(scores > 0).unsqueeze(-1)).float()
        return soft + (opened - soft).detach(), logs + (additive(opened > 0) - logs).detach()


class AncatBlock(Block):
    """Conformer block that looks ahead 0 to `reach` frames: always as far, or as its scheduler decides."""

    def __init__(self, config: Config, reach: int, adaptive: bool) -> None:
        super().__init__(config)
        self.left, self.reach = config.left, reach
        self.scheduler = Scheduler(config.width, reach) if adaptive and reach else None

    def look(self, x: Tensor, rotation: Rotation, gating: Gating | None) -> tuple[Tensor, Tensor]:
        """Whole signal f32[B, T, D]; returns it with the gates f32[B, T, R]. Without `gating` these are as served."""
        normed = self.norms[0](x)
        if self.scheduler is not None and gating is not None:
            gates, logs = self.scheduler.gates(normed, gating)
            mask = gate_mask(logs, self.left)
        else:
            reach = self.decide(normed)
            gates = (torch.arange(self.reach, device=x.device) < reach.unsqueeze(-1)).float()
            mask = reach_mask(reach, self.left)
        return self.refine(x + self.dropout(self.attention(normed, rotation, mask))), gates

    def decide(self, normed: Tensor) -> Tensor:
        """Look-ahead i64[B, T] of the normalised layer input f32[B, T, D]."""
        if self.scheduler is not None:
            return self.scheduler.decide(normed)
        return torch.full(normed.shape[:2], self.reach, device=normed.device)


class AncatEncoder(Encoder):
    """Log-mel rows to frames, with look-ahead. Its streaming form is `ancat_stream`, not the chunked `step`."""

    def __init__(self, config: Config, look_ahead: LookAhead) -> None:
        super().__init__(config)
        if look_ahead.layers and look_ahead.layers[-1] >= config.layers:
            raise ValueError(f"expected layers below {config.layers}, got {look_ahead.layers}")
        adaptive = look_ahead.mode == "adaptive"
        self.look_ahead = look_ahead
        self.blocks = nn.ModuleList(AncatBlock(config, look_ahead.of(i), adaptive) for i in range(config.layers))

    def forward(self, log_mel: Tensor) -> Tensor:
        """Whole signal f32[B, 8 T, 80] to frames f32[B, T, width] under the decisions of serving."""
        return self.look(log_mel)[0]

    def look(self, log_mel: Tensor, gating: Gating | None = None) -> tuple[Tensor, list[Tensor]]:
        """Frames f32[B, T, width], and the gates f32[B, T, R] of each layer that looks ahead, from below."""
        x = self.subsampling(log_mel)
        rotation = self.rotary(torch.arange(x.shape[1], device=x.device))
        gates = []
        for block in self.blocks:
            x, opened = block.look(x, rotation, gating)
            if block.reach:
                gates.append(opened)
        return self.norm(x), gates

    def step(self, log_mel: Tensor, state: EncoderState) -> tuple[Tensor, EncoderState, Tensor, Tensor]:
        """Refuse: frames come out as they are ready, not chunk by chunk."""
        raise TypeError("expected AncatStep to run an encoder with look-ahead")


class AncatTransducer(Transducer):
    """The transducer with look-ahead in its encoder; see `AncatEncoder`."""

    def __init__(self, config: Config, look_ahead: LookAhead) -> None:
        super().__init__(config)
        self.encoder = AncatEncoder(config, look_ahead)

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Take the weights of a chunked transducer or of a sibling; raises `ValueError` if others than gates miss."""
        wanted = {name for name in self.state_dict() if ".scheduler." not in name}
        if missing := sorted(wanted - weights.keys()):
            raise ValueError(f"expected weights for {missing[0]} and {len(missing) - 1} more")
        known = self.state_dict().keys()
        self.load_state_dict({name: w for name, w in weights.items() if name in known}, strict=False)


def leading(true: Tensor) -> Tensor:
    """How many of the last axis of bool[..., R] are true before the first that is not: i64[...]."""
    return ((~true).long().cumsum(-1) == 0).long().sum(-1)


def reach_mask(reach: Tensor, left: int) -> Tensor:
    """Additive mask f32[B, 1, T, T]: frame t sees t - left to t + reach[t], for `reach` i64[B, T]."""
    offset = _offsets(reach.shape[1], reach.device)
    return additive((offset >= -left) & (offset <= reach.unsqueeze(-1)))[:, None]


def gate_mask(logs: Tensor, left: int) -> Tensor:
    """Additive mask f32[B, 1, T, T] from the logarithms f32[B, T, R] of the gates: the window up to t, then gates."""
    frames, reach = logs.shape[1:]
    offset = _offsets(frames, logs.device)
    mask = additive((offset >= -left) & (offset <= reach)).expand(logs.shape[0], -1, -1)
    for k in range(1, min(reach, frames - 1) + 1):
        mask = mask + torch.diag_embed(logs[:, : frames - k, k - 1], offset=k)
    return mask[:, None]


def _offsets(frames: int, device: torch.device) -> Tensor:
    """How far key s is ahead of query t: i64[T, T]."""
    position = torch.arange(frames, device=device)
    return position - position[:, None]
