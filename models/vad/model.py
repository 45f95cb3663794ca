"""The detector: log-mel rows, one strided convolution, residual blocks of dilated causal convolutions, a logit."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.common.features import CARRY, MELS, LogMel, tilt
from models.vad.config import SUBSAMPLING, Config

# Fixed affine normalisation of log-mel without the tilt of pre-emphasis: about zero mean and unit variance.
_MEL_MEAN, _MEL_SCALE = -6.0, 0.25


class State(NamedTuple):
    """What one stream needs between steps; all zero at the start."""

    samples: Tensor  # f32[B, 280]: the end of the PCM before
    rows: Tensor  # f32[B, 80, 2]: the last normalised log-mel rows
    past: Tensor  # f32[B, narrow, sum of the blocks' past]: inputs of the dilated convolutions, oldest first
    frame: Tensor  # i64[B]: frames seen so far


class Block(nn.Module):
    """Residual bottleneck around a dilated causal convolution."""

    def __init__(self, config: Config, dilation: int) -> None:
        super().__init__()
        self.narrow = nn.Conv1d(config.width, config.narrow, 1)
        self.dilated = nn.Conv1d(config.narrow, config.narrow, config.kernel, dilation=dilation)
        self.widen = nn.Conv1d(config.narrow, config.width, 1)
        self.past = (config.kernel - 1) * dilation

    def step(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Map f32[B, width, T] and the past f32[B, narrow, past] to the same of the next step."""
        heard = torch.cat([past, functional.relu(self.narrow(x))], 2)
        x = x + self.widen(functional.relu(self.dilated(heard)))
        return x, heard[:, :, -self.past :]


class Detector(nn.Module):
    """PCM to one logit of speech per frame of 20 ms, late by `DELAY_FRAMES`."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.log_mel = LogMel()
        self.enter = nn.Conv1d(MELS, config.width, 2 * SUBSAMPLING, stride=SUBSAMPLING)
        self.blocks = nn.ModuleList(Block(config, dilation) for dilation in config.dilations)
        self.leave = nn.Linear(config.width, 1)
        self.register_buffer("mean", tilt() + _MEL_MEAN, persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        """Whole signal f32[B, T * FRAME_SAMPLES] to logits f32[B, T]; equals `step` over its chunks."""
        return self.step(samples, self.initial_state(samples.shape[0]))[0]

    def step(self, samples: Tensor, state: State) -> tuple[Tensor, State]:
        """PCM f32[B, T * FRAME_SAMPLES] of any T to logits f32[B, T] and the new state."""
        log_mel, carry = self.log_mel.step(samples, state.samples, state.frame == 0)
        rows = torch.cat([state.rows, ((log_mel - self.mean) * _MEL_SCALE).transpose(1, 2)], 2)
        x, after = functional.relu(self.enter(rows)), []
        for block, past in zip(self.blocks, state.past.split(self.config.past, 2), strict=True):
            x, past = block.step(x, past)
            after.append(past)
        logits = self.leave(functional.relu(x).transpose(1, 2)).squeeze(2)
        state = State(carry, rows[:, :, -SUBSAMPLING:], torch.cat(after, 2), state.frame + logits.shape[1])
        return logits, state

    def initial_state(self, batch: int) -> State:
        """The state of `batch` streams that have heard nothing."""
        config = self.config
        return State(
            torch.zeros(batch, CARRY),
            torch.zeros(batch, MELS, SUBSAMPLING),
            torch.zeros(batch, config.narrow, sum(config.past)),
            torch.zeros(batch, dtype=torch.long),
        )
