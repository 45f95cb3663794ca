"""Training loop for any family: autocast, EMA, wall-clock schedule, atomic checkpoints, resume."""

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from models.common.parallel import Together


@dataclass(frozen=True)
class Schedule:
    """Learning rate as a function of updates (warm-up) and of wall-clock training time."""

    budget_s: float
    peak: float = 1.5e-3
    warmup_updates: int = 800
    hold: float = 0.3

    def rate(self, updates: int, progress: float) -> float:
        """Warm up over updates, hold, then fall as a cosine to zero at `progress` 1."""
        warm = min(1.0, (updates + 1) / self.warmup_updates)
        fall = min(max((progress - self.hold) / (1 - self.hold), 0.0), 1.0)
        return self.peak * warm * 0.5 * (1 + math.cos(math.pi * fall))


@dataclass(frozen=True)
class Settings:
    """How to train, apart from the model and its data."""

    schedule: Schedule
    out: Path
    device: str = "cpu"
    weight_decay: float = 1e-2
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 5.0
    ema_every: int = 10
    ema_decay: float = 0.99
    log_every: int = 100
    checkpoint_every_s: float = 300.0
    evaluate_every_s: float = 900.0
    agree_every: int = 10


@dataclass
class Progress:
    """Where a run stands; saved with every checkpoint."""

    updates: int = 0
    elapsed_s: float = 0.0
    audio_s: float = 0.0


@dataclass
class Meter:
    """Sums of the logged parts since the last line."""

    parts: dict[str, float] = field(default_factory=dict)
    updates: int = 0
    audio_s: float = 0.0

    def add(self, parts: dict[str, float], audio_s: float) -> None:
        """Count one update."""
        for name, value in parts.items():
            self.parts[name] = self.parts.get(name, 0.0) + value
        self.updates += 1
        self.audio_s += audio_s

    def line(self, seconds: float) -> str:
        """Means of the parts and audio seconds per second, over the `seconds` since the last line."""
        means = " ".join(f"{name} {value / self.updates:.3f}" for name, value in self.parts.items())
        return f"{means} | {self.audio_s / seconds:.0f} x real time"


class Average:
    """Exponential moving average of a model's parameters, moved every few updates."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self.tensors = {name: value.detach().clone() for name, value in model.named_parameters()}

    @torch.no_grad()
    def move(self, model: nn.Module, moves: int) -> None:
        """Make move number `moves`, from 1, towards the model; early ones are larger, to forget the start soon."""
        weight = 1 - min(self._decay, (1 + moves) / (10 + moves))
        for name, value in model.named_parameters():
            self.tensors[name].lerp_(value, weight)


class Alarm:
    """Comes due every `period_s` seconds."""

    def __init__(self, period_s: float, now: float) -> None:
        self._period_s, self._last = period_s, now

    def due(self, now: float) -> bool:
        """Tell whether the period is over, and if so begin the next."""
        over = now - self._last >= self._period_s
        self._last = now if over else self._last
        return over


class Companion(Protocol):
    """What is trained beside the model and saved with it, as an adversary with its own optimiser."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""

    def load_state_dict(self, state: dict[str, Any]) -> object:
        """Go on from there."""


class Trainer:
    """Runs `loss(batch)` to the end of a wall-clock budget, across restarts.

    `loss` maps a batch to (loss to minimise, parts to log, audio seconds in the batch); `evaluate` maps the averaged
    weights by name to a report. `config` is stored, and must match to resume. `companions` are saved and restored by
    name. `clock` tells seconds. Of processes that train `together` the first saves and reports.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: Settings,
        config: dict,
        clock: Callable[[], float] = time.monotonic,
        companions: Mapping[str, Companion] = MappingProxyType({}),
        together: Together | None = None,
    ) -> None:
        self.together = together or Together()
        self.model = model.to(settings.device)
        self.settings = settings
        self.config = config
        self._clock = clock
        self._companions = dict(companions)
        self.progress = Progress()
        self.optimiser = torch.optim.AdamW(
            _decay_groups(model, settings.weight_decay), lr=0.0, betas=settings.betas, fused=True
        )
        self.average = Average(model, settings.ema_decay)
        if self.path.exists():
            self._resume()

    @property
    def path(self) -> Path:
        """The checkpoint that a restart continues from."""
        return self.settings.out / "checkpoint.pt"

    @property
    def fraction(self) -> float:
        """Share of the wall-clock budget that is spent."""
        return self.progress.elapsed_s / self.settings.schedule.budget_s

    def run(
        self,
        batches: Iterator,
        loss: Callable[..., tuple[Tensor, dict[str, float], float]],
        evaluate: Callable[[dict[str, Tensor]], str],
    ) -> None:
        """Train until the budget is spent or SIGTERM comes, then save and evaluate once more."""
        settings, meter = self.settings, Meter()
        stop, last = _stop_requested(), self._clock()
        logged, save, report = last, Alarm(settings.checkpoint_every_s, last), Alarm(settings.evaluate_every_s, last)
        while not self.together.any(self.fraction >= 1 or stop()):
            meter.add(*self._update(next(batches), loss))
            now = self._clock()
            self.progress.elapsed_s += now - last
            last = now
            if not self.together.first:
                continue
            if self.progress.updates % settings.log_every == 0:
                print(self._line(meter, now - logged), flush=True)
                meter, logged = Meter(), now
            if save.due(now):
                self.save()
            if report.due(now):
                print(evaluate(self.average.tensors), flush=True)
        if not self.together.first:
            return
        self.save()
        if not stop():
            print(evaluate(self.average.tensors), flush=True)

    def save(self) -> None:
        """Write the checkpoint by an atomic rename."""
        partial = self.path.with_suffix(".partial")
        torch.save(
            {
                "config": self.config,
                "model": self.model.state_dict(),
                "average": self.average.tensors,
                "optimiser": self.optimiser.state_dict(),
                "progress": vars(self.progress),
                "companions": {name: companion.state_dict() for name, companion in self._companions.items()},
            },
            partial,
        )
        partial.rename(self.path)

    def _resume(self) -> None:
        saved = torch.load(self.path, map_location=self.settings.device, weights_only=True)
        if saved["config"] != self.config:
            raise ValueError(f"expected a checkpoint of {self.config}, got {saved['config']}")
        self.model.load_state_dict(saved["model"])
        self.average.tensors = saved["average"]
        self.optimiser.load_state_dict(saved["optimiser"])
        self.progress = Progress(**saved["progress"])
        for name, companion in self._companions.items():
            companion.load_state_dict(saved["companions"][name])

    def _update(self, batch: object, loss: Callable) -> tuple[dict[str, float], float]:
        settings, progress = self.settings, self.progress
        for group in self.optimiser.param_groups:
            group["lr"] = settings.schedule.rate(progress.updates, self.fraction)
        with torch.autocast(torch.device(settings.device).type, torch.bfloat16):
            total, parts, audio_s = loss(batch)
        total.backward()
        self.together.mean_gradients(self.model.parameters())
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip)
        # A non-finite gradient (one in millions of updates) is skipped, not learned from.
        if torch.isfinite(norm):
            self.optimiser.step()
        self.optimiser.zero_grad()
        progress.updates += 1
        progress.audio_s += audio_s * self.together.size
        if progress.updates % settings.agree_every == 0:
            self.together.agree(self.model)
        if progress.updates % settings.ema_every == 0:
            self.average.move(self.model, progress.updates // settings.ema_every)
        return {**parts, "norm": float(norm)}, audio_s * self.together.size

    def _line(self, meter: Meter, seconds: float) -> str:
        progress = self.progress
        rate = self.optimiser.param_groups[0]["lr"]
        return (
            f"{progress.elapsed_s / 60:6.1f} min {progress.updates:7d} updates "
            f"{progress.audio_s / 3600:6.1f} h lr {rate:.2e} | {meter.line(seconds)}"
        )


def _stop_requested() -> Callable[[], bool]:
    """Take over SIGTERM: the returned function tells whether it has come."""
    received: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    return lambda: bool(received)


def _decay_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Decay matrices alone: not biases, norms or embeddings."""
    embeddings = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    decayed, plain = [], []
    for parameter in model.parameters():
        matrix = parameter.ndim > 1 and id(parameter) not in embeddings
        (decayed if matrix else plain).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
