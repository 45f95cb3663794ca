"""Small transducers with look-ahead and random weights, lively enough to test with."""

from __future__ import annotations

import numpy as np
import torch

from models.common.parity import Chunks
from models.transducer.ancat import AncatTransducer, LookAhead, Mode
from models.transducer.config import Config

SEED = 11
FRAME = 1280


def toy(mode: Mode = "adaptive", layers: tuple[int, ...] = (1, 2), reach: int = 2, chunk: int = 2) -> AncatTransducer:
    """Three layers, of which the upper two look ahead; schedulers that decide by what they hear."""
    torch.manual_seed(SEED)
    config = Config(
        vocabulary=32, width=32, layers=3, heads=2, feed_forward=48, channels=4, joint=32, kernel=5, left=8,
        chunk=chunk, period=64,
    )  # fmt: skip
    model = AncatTransducer(config, LookAhead(mode, layers, reach)).eval()
    with torch.no_grad():
        heard = model.log_mel(torch.from_numpy(sound(1, 160))[None])
        for block in model.encoder.blocks:
            if block.scheduler is not None:
                _enliven(model, block.scheduler, heard)
        # A quiet predictor and no mean: tokens answer to what is heard, and blank is common.
        model.predictor.project.weight *= 0.1
        entered = model.enter(model.encoder(heard))
        model.output.weight *= 40
        model.output.bias -= model.join(entered, model.predictor(torch.tensor([-1, 0]))).mean((0, 1))
        model.output.bias[0] += 2
    return model


def _enliven(model: AncatTransducer, scheduler: torch.nn.Linear, heard: torch.Tensor) -> None:
    """Weights under which each gate is open for about half of the frames."""
    scores: list[torch.Tensor] = []
    scheduler.weight.copy_(torch.randn_like(scheduler.weight))
    scheduler.bias.zero_()
    handle = scheduler.register_forward_hook(lambda *call: scores.append(call[2]))
    model.encoder(heard)
    handle.remove()
    scheduler.bias.copy_(-scores[0].mean((0, 1)))


def sound(seed: int, frames: int) -> np.ndarray:
    """Tones f32[frames * FRAME] that change pitch and level every frame, with noise."""
    rng = np.random.default_rng(seed)
    phase = 2 * np.pi * np.cumsum(np.repeat(rng.uniform(100, 4000, frames), FRAME)) / 16_000
    tones = np.sin(phase) * np.repeat(rng.uniform(0, 0.5, frames), FRAME) + rng.normal(0, 0.01, phase.shape)
    return tones.astype(np.float32)


def chunks(model: AncatTransducer, samples: np.ndarray) -> Chunks:
    """The steps of a stream that hears `samples`."""
    return [{"pcm": part} for part in samples.reshape(-1, model.chunk_samples)]
