"""Adaptive look-ahead: gates, masks, delay, and what training learns from them."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.transducer.ancat import (  # noqa: E402
    AncatTransducer,
    Gating,
    LookAhead,
    Scheduler,
    annealed,
    gate_mask,
    leading,
    reach_mask,
)
from models.transducer.ancat_delay import expected_delay, needed  # noqa: E402
from models.transducer.ancat_train import delay_weight, mean_delay  # noqa: E402
from models.transducer.data import CONTINUED, Batch  # noqa: E402
from models.transducer.model import Transducer  # noqa: E402
from models.transducer.train import recognition_loss  # noqa: E402
from tests.models.ancat_toys import sound, toy  # noqa: E402


def heard(model: AncatTransducer, frames: int, seed: int = 3) -> torch.Tensor:
    return model.log_mel(torch.from_numpy(sound(seed, frames))[None])


def hard(*reaches: list[int], reach: int = 2) -> list[torch.Tensor]:
    """Gates f32[1, T, R] of one layer after the other."""
    return [(torch.arange(reach) < torch.tensor(reached)[None, :, None]).float() for reached in reaches]


def test_gates_survive_and_start_open() -> None:
    """A gate is never more open than the one before it, and a new scheduler opens all."""
    scheduler = Scheduler(4, 3)
    x = torch.randn(2, 5, 4)
    assert scheduler.decide(x).unique().tolist() == [3]
    torch.nn.init.normal_(scheduler.weight)
    for gating in (Gating(0.5), Gating(1.0, noisy=True), Gating(0.2, hard=True)):
        gates, logs = scheduler.gates(x, gating)
        assert (gates.diff(dim=-1) <= 0).all()
        torch.testing.assert_close(logs.exp(), gates)


def test_hard_gates_are_those_of_serving() -> None:
    """Straight-through gates open exactly as far as the decision says, whatever comes after a closed gate."""
    torch.manual_seed(0)
    scheduler = Scheduler(4, 3)
    torch.nn.init.normal_(scheduler.weight, std=3)
    x = torch.randn(2, 50, 4)
    gates, _ = scheduler.gates(x, Gating(0.2, hard=True))
    assert torch.equal(gates.sum(-1).round().long(), scheduler.decide(x))
    assert scheduler.decide(x).unique().tolist() == [0, 1, 2, 3]
    assert leading(torch.tensor([[False, True, True], [True, False, True]])).tolist() == [0, 1]


def test_the_schedule_of_gates() -> None:
    """Temperature falls to 0.2; noise ends at 70 %, hard gates begin at 90 %, the delay costs from 40 % to 60 % on."""
    assert annealed(0.0) == Gating(1.0, noisy=True)
    assert annealed(0.5) == Gating(0.6, noisy=True)
    assert (annealed(0.7).noisy, annealed(0.89).hard, annealed(0.9).hard) == (False, False, True)
    assert annealed(1.0).temperature == pytest.approx(0.2)
    assert [delay_weight(0.1, progress) for progress in (0.4, 0.5, 0.6, 1.0)] == pytest.approx([0, 0.05, 0.1, 0.1])


def test_soft_and_hard_masks_agree_where_gates_are_certain() -> None:
    """The additive mask of gates is that of the look-ahead, up to what no weight survives."""
    torch.manual_seed(0)
    reach = torch.randint(0, 4, (2, 9))
    opened = torch.arange(3) < reach.unsqueeze(-1)
    soft = gate_mask(torch.where(opened, 0.0, -1e9), left=2)
    assert torch.equal(soft, reach_mask(reach, left=2))
    visible = (soft[1, 0, 4] == 0).nonzero().flatten().tolist()
    assert visible == [2, 3, 4, *range(5, 5 + int(reach[1, 4]))]


def test_the_needed_frame_on_hand_made_gates() -> None:
    """Look-ahead adds up through the layers, frames leave in order, and the end is never passed silently."""
    assert needed(hard([0, 2, 0, 0, 1]))[0].tolist() == [0, 3, 3, 3, 5]
    assert needed(hard([0, 0, 2, 0, 0, 0], [1, 0, 0, 0, 0, 0]))[0].tolist() == [1, 1, 4, 4, 4, 5]
    assert needed(hard([0, 0, 2, 0, 0, 0], [0, 1, 0, 0, 0, 0]))[0].tolist() == [0, 4, 4, 4, 4, 5]


def test_the_delay_on_hand_made_gates() -> None:
    """A second layer pays for new frames only: what the layer below has waited for already is free."""
    assert expected_delay(hard([0, 2, 0, 1, 0]))[0].tolist() == [0, 2, 0, 1, 0]
    # Frame 1 of the upper layer looks at frame 2, which the lower layer has delayed by two.
    assert expected_delay(hard([0, 0, 2, 0, 0], [0, 1, 0, 0, 0]))[0].tolist() == [0, 3, 2, 0, 0]
    # Frame 2 looks one ahead, at a frame that needs no more than frame 2 itself has waited for.
    assert expected_delay(hard([0, 0, 1, 0, 0], [0, 0, 1, 0, 0]))[0].tolist() == [0, 0, 1, 0, 0]
    half = expected_delay([gates / 2 for gates in hard([2, 2, 2, 2, 2])])
    assert half[0].tolist() == [1, 1, 1, 1, 1]


def test_the_delay_falls_when_a_gate_closes_and_counts_valid_frames_alone() -> None:
    """Every gate has its price; frames of padding have none."""
    torch.manual_seed(0)
    gates = [torch.rand(1, 6, 2).sort(-1, descending=True).values.requires_grad_() for _ in range(2)]
    mean_delay(gates, torch.tensor([4])).backward()
    assert (gates[1].grad[0, 4:] == 0).all()
    assert (gates[0].grad[0, :4, 0] > 0).all()
    closed = [gate.detach() * 0 for gate in gates]
    assert mean_delay(closed, torch.tensor([4])) == 0


@pytest.mark.parametrize("mode", ["none", "full", "adaptive"])
def test_a_frame_sees_what_it_needs_and_nothing_later(mode: str) -> None:
    """Changing the signal from frame s on changes no frame that does not need s."""
    model, frames, change = toy(mode), 48, 30
    first = heard(model, frames)
    second = torch.cat([first[:, : 8 * change], heard(model, frames, seed=4)[:, 8 * change :]], 1)
    with torch.no_grad():
        (left, gates), (right, _) = model.encoder.look(first), model.encoder.look(second)
    need = needed(gates)[0] if gates else torch.arange(frames)
    same = (left == right).all(-1)[0]
    assert same[need < change].all()
    assert not same[(need >= change).nonzero()[-1]]
    assert (need < change).sum() == {"none": change, "full": change - 4}.get(mode, (need < change).sum())


def test_look_ahead_never_depends_on_the_future() -> None:
    """A layer decides from its own frame: the first one that looks ahead decides the same for any continuation."""
    model = toy()
    first = heard(model, 40)
    second = torch.cat([first[:, :160], heard(model, 40, seed=4)[:, 160:]], 1)
    with torch.no_grad():
        left, right = (model.encoder.look(log_mel)[1][0] for log_mel in (first, second))
    assert torch.equal(left[:, :20], right[:, :20])
    assert not torch.equal(left, right)


def batch(model: AncatTransducer) -> Batch:
    one = torch.tensor([1])
    return Batch(heard(model, 24), torch.tensor([[5, 9, 7, 5]]), 24 * one, 4 * one, 3 * one, one)


@pytest.mark.parametrize("gating", [Gating(0.8, noisy=True), Gating(0.3), Gating(0.2, hard=True)])
def test_recognition_and_delay_both_teach_the_schedulers(gating: Gating) -> None:
    """Each loss alone has a gradient at every scheduler's weights."""
    model = toy().train()
    schedulers = [block.scheduler for block in model.encoder.blocks if block.scheduler is not None]
    assert len(schedulers) == 2
    for which in ("recognition", "delay"):
        model.zero_grad()
        frames, gates = model.encoder.look(batch(model).log_mel, gating)
        recognition, _ = recognition_loss(model, frames, batch(model), CONTINUED, 0.5)
        (recognition if which == "recognition" else mean_delay(gates, torch.tensor([24]))).backward()
        assert all(scheduler.weight.grad.abs().sum() > 0 for scheduler in schedulers)


def test_a_price_on_delay_closes_gates_that_recognition_does_not_need() -> None:
    """A few steps on the delay alone shorten the wait that is served."""
    model = toy()
    log_mel = heard(model, 48)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    position, waits = torch.arange(48), []
    for _ in range(20):
        with torch.no_grad():
            waits.append((needed(model.encoder.look(log_mel)[1]) - position).float().mean().item())
        optimiser.zero_grad()
        mean_delay(model.encoder.look(log_mel, Gating(0.5))[1], torch.tensor([48])).backward()
        optimiser.step()
    assert waits[0] > 1
    assert waits[-1] < waits[0] / 2


def test_siblings_start_from_the_same_chunked_weights() -> None:
    """What the chunked model has keeps its name in every sibling; a new scheduler is the only addition."""
    adaptive = toy()
    base = Transducer(adaptive.config)
    for mode in ("none", "full", "adaptive"):
        sibling = AncatTransducer(adaptive.config, LookAhead(mode, (1, 2), 2))
        sibling.start_from(base.state_dict())
        weights = sibling.state_dict()
        assert all(torch.equal(weights[name], weight) for name, weight in base.state_dict().items())
        assert len(weights) - len(base.state_dict()) == (4 if mode == "adaptive" else 0)
    with pytest.raises(ValueError, match=r"^expected weights for ctc\.bias and 0 more$"):
        adaptive.start_from({name: weight for name, weight in base.state_dict().items() if name != "ctc.bias"})


def test_an_untrained_adaptive_model_is_the_full_one() -> None:
    """Gates start open, so both siblings begin with the same outputs."""
    full, adaptive = toy("full"), AncatTransducer(toy().config, LookAhead("adaptive", (1, 2), 2)).eval()
    adaptive.start_from(full.state_dict())
    with torch.no_grad():
        assert torch.equal(full.encoder(heard(full, 20)), adaptive.encoder(heard(full, 20)))


def test_a_wrong_look_ahead_is_refused() -> None:
    """A stored configuration is checked: mode, order of layers, reach, and that the layers exist."""
    with pytest.raises(ValueError, match=r"^expected a mode of \('none', 'full', 'adaptive'\), got 'some'$"):
        LookAhead("some")
    with pytest.raises(ValueError, match=r"^expected rising layers and a reach from 1, got \(2, 1\) and 2$"):
        LookAhead(layers=(2, 1))
    with pytest.raises(ValueError, match=r"^expected layers below 3, got \(1, 3\)$"):
        AncatTransducer(replace(toy().config), LookAhead(layers=(1, 3)))
