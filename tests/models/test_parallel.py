"""Several processes that train one model."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

import os  # noqa: E402
from itertools import count  # noqa: E402
from pathlib import Path  # noqa: E402

from torch import multiprocessing, nn  # noqa: E402

from models.common.parallel import Together  # noqa: E402
from models.common.training import Schedule, Settings, Trainer  # noqa: E402
from tests.ports import free_port  # noqa: E402


class Line(nn.Module):
    """A weight that learns, one that does not, and a buffer that each process changes by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.unused = nn.Parameter(torch.ones(3))
        self.register_buffer("seen", torch.zeros(1))


def work(rank: int, port: int, out: Path) -> None:
    """Train as process `rank` of two, under a clock on which every update takes a second."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "RANK": str(rank)}
    torch.set_num_threads(1)
    model = Line()
    # The second has time for many more updates: the run ends for both when it ends for one.
    settings = Settings(Schedule(20 if rank == 0 else 1000, peak=0.1, warmup_updates=1), out, weight_decay=0.0)
    trainer = Trainer(model, settings, {}, clock=map(float, count()).__next__)

    def loss(batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, float], float]:
        model.seen += rank + 1
        return (model.weight * batch).sum(), {}, 1.5

    if trainer.together.first:
        (out / "made").touch()
    trainer.together.wait()
    assert (out / "made").exists()
    targets = torch.tensor([[1.0, -3.0], [-3.0, 1.0]])[rank]
    trainer.run(iter(lambda: targets, None), loss, lambda _: "done")
    torch.save({**model.state_dict(), "audio_s": trainer.progress.audio_s}, out / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_processes_share_gradients_and_end_together(tmp_path: Path) -> None:
    """Both learn from the mean of what they saw, agree on everything else by the first one's word, and stop at once."""
    multiprocessing.spawn(work, (free_port(), tmp_path), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    # Alone, either would move its two weights apart; the mean gradient is the same for both.
    assert torch.equal(first["weight"], second["weight"])
    torch.testing.assert_close(first["weight"][0], first["weight"][1])
    assert first["weight"][0] > 0.5
    assert first["seen"] == second["seen"] == 20
    assert first["audio_s"] == second["audio_s"] == 2 * 20 * 1.5
    assert (tmp_path / "checkpoint.pt").exists()


def test_a_process_alone_needs_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without torchrun nothing is started, and nothing changes."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    together, model = Together(), Line()
    together.wait()
    together.mean_gradients(model.parameters())
    together.agree(model)
    assert model.weight.grad is None
    assert together.first
    assert [together.any(flag) for flag in (True, False)] == [True, False]
