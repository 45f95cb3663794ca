"""The training loop: schedule, averages, checkpoints and resumption."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

import signal  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from itertools import count  # noqa: E402
from pathlib import Path  # noqa: E402

from models.common.training import Average, Schedule, Settings, Trainer  # noqa: E402


def test_rate_warms_up_holds_and_ends_at_zero() -> None:
    """Warm-up counts updates; the fall to zero counts the wall clock."""
    schedule = Schedule(budget_s=100, peak=1.0, warmup_updates=10, hold=0.5)
    assert schedule.rate(0, 0.0) == pytest.approx(0.1)
    assert schedule.rate(10, 0.4) == 1.0
    assert schedule.rate(1000, 0.75) == pytest.approx(0.5)
    assert schedule.rate(1000, 1.2) == pytest.approx(0.0)


def test_average_forgets_the_start_quickly() -> None:
    """The first move goes most of the way, later moves by one minus the decay."""
    model = torch.nn.Linear(1, 1, bias=False)
    average = Average(model, decay=0.5)
    start = average.tensors["weight"].clone()
    with torch.no_grad():
        model.weight.fill_(10.0)
    average.move(model, 1)
    torch.testing.assert_close(average.tensors["weight"], start + (10 - start) * (1 - 2 / 11))


def trainer(out: Path, budget_s: float, width: int = 2) -> Trainer:
    """A line to fit, under a clock on which every update takes a second."""
    torch.manual_seed(0)
    settings = Settings(Schedule(budget_s, peak=0.2, warmup_updates=1), out, log_every=10, evaluate_every_s=20)
    return Trainer(torch.nn.Linear(width, 1), settings, {"width": width}, clock=map(float, count()).__next__)


def batches() -> Iterator[torch.Tensor]:
    while True:
        yield torch.ones(4, 2)


def run(some: Trainer) -> None:
    def loss(batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, float], float]:
        error = (some.model(batch).float() - 3).square().mean()
        return error, {"error": error.item()}, 1.0

    some.run(batches(), loss, lambda weights: f"evaluated {sorted(weights)}")


def test_a_run_learns_reports_and_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A longer budget continues from the checkpoint: updates, seconds and weights carry over."""
    first = trainer(tmp_path, 30)
    run(first)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" updates")[0].split()[-1] for line in lines if "updates" in line] == ["10", "20", "30"]
    assert all(line.endswith("1 x real time") for line in lines if "updates" in line)
    assert lines.count("evaluated ['bias', 'weight']") == 2
    second = trainer(tmp_path, 60)
    assert second.progress == first.progress
    assert torch.equal(second.model.weight, first.model.weight)
    run(second)
    assert (second.progress.updates, second.progress.elapsed_s, second.progress.audio_s) == (60, 60.0, 60.0)
    assert second.model(torch.ones(2)).item() == pytest.approx(3, abs=0.1)


def test_sigterm_saves_and_ends_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A stopped run leaves a checkpoint of the last update and no report."""
    some = trainer(tmp_path, 30)

    def loss(batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, float], float]:
        if some.progress.updates == 4:
            signal.raise_signal(signal.SIGTERM)
        return some.model(batch).square().mean(), {}, 1.0

    before = signal.getsignal(signal.SIGTERM)
    some.run(batches(), loss, lambda _: "evaluated")
    signal.signal(signal.SIGTERM, before)
    assert trainer(tmp_path, 30).progress.updates == 5
    assert "evaluated" not in capsys.readouterr().out


def test_a_checkpoint_of_other_sizes_is_refused(tmp_path: Path) -> None:
    """The configuration is part of the checkpoint and must match."""
    trainer(tmp_path, 1.0).save()
    with pytest.raises(ValueError, match=r"expected a checkpoint of {'width': 3}, got {'width': 2}"):
        trainer(tmp_path, 1.0, width=3)


def test_a_gradient_that_is_not_finite_changes_nothing(tmp_path: Path) -> None:
    """One bad batch is skipped."""
    some = trainer(tmp_path, 1.0)
    before = some.model.weight.clone()
    some._update(torch.ones(1, 2), lambda batch: (some.model(batch).sum() * float("nan"), {}, 1.0))
    assert torch.equal(some.model.weight, before)
    assert some.progress.updates == 1
