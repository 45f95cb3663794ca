"""The transducer as a whole: its streaming form, its predictor and its search."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.transducer.config import Config  # noqa: E402
from models.transducer.model import Predictor, State, Transducer, write_ring  # noqa: E402
from models.transducer.train import contexts  # noqa: E402

CONFIG = Config(vocabulary=16, width=32, layers=2, heads=2, feed_forward=48, channels=4, joint=24, left=8, period=16)


@pytest.fixture
def model() -> Transducer:
    torch.manual_seed(5)
    model = Transducer(CONFIG).eval()
    model.requires_grad_(False)
    # Plain random weights say one thing only: take out the mean logits, and let blank be common.
    entered = model.enter(model.encoder(model.log_mel(noise(model, 2, 12))))
    model.output.weight *= 40
    model.output.bias -= model.join(entered, model.predictor(torch.tensor([-1, 0]))).mean((0, 1))
    model.output.bias[0] += 2
    return model


def noise(model: Transducer, rows: int, chunks: int) -> torch.Tensor:
    return torch.randn(rows, chunks * model.chunk_samples, generator=torch.Generator().manual_seed(6)) * 0.1


def stream(model: Transducer, samples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, State]:
    state, ids, scores = model.initial_state(samples.shape[0]), [], []
    for part in samples.split(model.chunk_samples, 1):
        some_ids, some_scores, state = model.step(part, state)
        ids.append(some_ids)
        scores.append(some_scores)
    return torch.cat(ids, 1), torch.cat(scores, 1), state


def test_stream_equals_whole(model: Transducer) -> None:
    """Twelve chunks, three times around the ring and the positions, equal one masked pass."""
    samples = noise(model, 2, 12)
    frames = model.enter(model.encoder(model.log_mel(samples)))
    ids, scores, context = model.search(frames, model.initial_state(2).context)
    some_ids, some_scores, state = stream(model, samples)
    assert torch.equal(some_ids, ids)
    torch.testing.assert_close(some_scores, scores, atol=1e-5, rtol=1e-5)
    assert torch.equal(state.context, context)
    assert state.encoder.frame.tolist() == [48, 48]
    assert ids.unique().numel() > 2


def test_streams_of_different_age_share_a_batch(model: Transducer) -> None:
    """A row steps the same beside a row that is older."""
    samples = noise(model, 1, 6)
    alone, _, _ = stream(model, samples)
    _, _, old = stream(model, noise(model, 1, 3) * 2)
    fresh, ids = model.initial_state(1), []
    both = _rows(old, fresh)
    for part in samples.split(model.chunk_samples, 1):
        step, _, both = model.step(part.repeat(2, 1), both)
        ids.append(step[1:])
    assert torch.equal(torch.cat(ids, 1), alone)


def _rows(first: State, second: State) -> State:
    encoder = type(first.encoder)(*(torch.cat(pair) for pair in zip(first.encoder, second.encoder, strict=True)))
    return State(torch.cat([first.samples, second.samples]), encoder, torch.cat([first.context, second.context]))


def test_a_chunk_never_sees_the_next(model: Transducer) -> None:
    """Changing all samples after a chunk leaves its frames as they were."""
    samples = noise(model, 1, 4)
    changed = samples.clone()
    changed[:, 2 * model.chunk_samples :] = 0.3
    before, after = (model.encoder(model.log_mel(x)) for x in (samples, changed))
    assert torch.equal(before[:, :8], after[:, :8])
    assert not torch.allclose(before[:, 8:], after[:, 8:])


def test_new_rows_replace_the_oldest(model: Transducer) -> None:
    """The chunk that began at frame n goes to rows n mod left and on, of every layer."""
    state = model.encoder.initial_state(2)
    rows = torch.ones(2, CONFIG.layers, CONFIG.chunk, CONFIG.width)
    after = write_ring(state, torch.tensor([4, 16]), rows, 2 * rows)
    written = after.keys[:, 1, :, 0].tolist()
    assert written == [[0, 0, 0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0, 0]]
    assert torch.equal(after.values, 2 * after.keys)


def test_a_negative_token_is_the_zero_vector() -> None:
    """At the start the older token is -1 and adds nothing, whatever its embedding holds."""
    predictor = Predictor(CONFIG)
    start = predictor(torch.tensor([-1, 0]))
    with torch.no_grad():
        predictor.embeddings[0].weight[0] += 5
    torch.testing.assert_close(predictor(torch.tensor([-1, 0])), start)


def test_training_contexts_are_those_of_the_search() -> None:
    """Position u sees labels u - 2 and u - 1, and the start -1, 0 before the first."""
    assert contexts(torch.tensor([[7, 8, 9]])).tolist() == [[[-1, 0], [0, 7], [7, 8], [8, 9]]]


@pytest.mark.parametrize("sizes", [{"left": 6}, {"period": 100}])
def test_sizes_that_break_the_ring_are_refused(sizes: dict[str, int]) -> None:
    """The chunk divides the left context, which divides the period."""
    with pytest.raises(ValueError, match=r"expected chunk \| left \| period, got 4"):
        Config(**sizes)


def test_odd_heads_are_refused() -> None:
    """Rotary positions turn pairs of channels."""
    with pytest.raises(ValueError, match="expected an even head width, got 36 / 4"):
        Config(width=36)
