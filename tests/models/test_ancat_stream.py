"""The parity ladder of the transducer with look-ahead: whole signal, ticks, ONNX in the server's engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.common.layers import ConvModule, rows_from  # noqa: E402
from models.common.parity import EngineRun, Outputs, largest_difference, torch_alone  # noqa: E402
from models.transducer.ancat import AncatTransducer  # noqa: E402
from models.transducer.ancat_delay import needed  # noqa: E402
from models.transducer.ancat_export import export_bundle, receptive_field  # noqa: E402
from models.transducer.ancat_stream import tick_graph  # noqa: E402
from streamer.bundle.manifest import read_manifest  # noqa: E402
from streamer.tasks.recogniser import Recogniser  # noqa: E402
from tests.models.ancat_toys import FRAME, chunks, sound, toy  # noqa: E402
from tests.models.toy_text import toy_pieces  # noqa: E402

ABOUT = {"name": "toy-ancat", "version": "0.0.1", "description": "random weights", "licence": "Apache-2.0"}
FRAMES = 72


def whole(model: AncatTransducer, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Token ids, scores and needed frames of the whole signal under the masks of the decisions."""
    with torch.no_grad():
        frames, gates = model.encoder.look(model.log_mel(torch.from_numpy(samples)[None]))
        ids, scores, _ = model.search(model.enter(frames), torch.tensor([[-1, 0]]))
    need = needed(gates)[0] if gates else torch.arange(frames.shape[1])
    return ids[0].numpy(), scores[0].numpy(), need.numpy()


def emitted(outputs: Outputs, name: str) -> np.ndarray:
    """The valid frames of all ticks in a row."""
    return np.concatenate([rows[:n] for rows, n in zip(outputs[name], outputs["n_valid"], strict=True)])


@pytest.mark.parametrize("chunk", [1, 2, 4])
@pytest.mark.parametrize("mode", ["none", "full", "adaptive"])
def test_ticks_equal_the_whole_and_frames_leave_when_needed(mode: str, chunk: int) -> None:
    """Every frame comes out once, in the very tick that brings the last frame it needs, with the whole's tokens."""
    model = toy(mode, chunk=chunk)
    samples = sound(3, FRAMES)
    ids, scores, need = whole(model, samples)
    outputs = torch_alone(tick_graph(model), chunks(model, samples))
    count = int((need < FRAMES).sum())
    assert np.array_equal(emitted(outputs, "token_ids"), ids[:count])
    np.testing.assert_allclose(emitted(outputs, "token_logp"), scores[:count], atol=1e-4)
    ticks = np.repeat(np.arange(len(outputs["n_valid"])), outputs["n_valid"])
    assert np.array_equal(ticks, need[:count] // chunk)
    assert np.array_equal(outputs["first_frame"], np.cumsum(outputs["n_valid"]) - outputs["n_valid"])
    assert count == {"none": FRAMES, "full": FRAMES - 4}.get(mode, count)
    assert 0 < (ids != 0).mean() < 1


def test_decisions_of_the_toy_vary() -> None:
    """The tests above mean something: delays differ from frame to frame, and so does what a tick returns."""
    model = toy()
    _, _, need = whole(model, sound(3, FRAMES))
    assert set(range(4)) <= set(need - np.arange(FRAMES))
    outputs = torch_alone(tick_graph(model), chunks(model, sound(3, FRAMES)))
    assert len(set(outputs["n_valid"].tolist())) >= 4


def test_layers_between_may_be_causal() -> None:
    """A causal layer above one that looks ahead takes a varying number of frames, too."""
    model = toy(layers=(0, 2), chunk=2)
    samples = sound(5, FRAMES)
    ids, _, need = whole(model, samples)
    outputs = torch_alone(tick_graph(model), chunks(model, samples))
    assert np.array_equal(emitted(outputs, "token_ids"), ids[: (need < FRAMES).sum()])
    ticks = np.repeat(np.arange(FRAMES // 2), outputs["n_valid"])
    assert np.array_equal(ticks, need[: len(ticks)] // 2)


def test_rows_beyond_the_valid_ones_say_nothing() -> None:
    """Invalid rows carry no token, so neither a search nor a reader can be led astray."""
    outputs = torch_alone(tick_graph(toy()), chunks(toy(), sound(3, FRAMES)))
    for ids, scores, n in zip(outputs["token_ids"], outputs["token_logp"], outputs["n_valid"], strict=True):
        assert not ids[n:].any()
        assert not scores[n:].any()


def test_the_convolution_moves_on_by_ready_frames_alone() -> None:
    """A chunk whose later rows are not ready, then those rows again, equals the chunk at once."""
    torch.manual_seed(0)
    module, x = ConvModule(8, 5), torch.randn(2, 6, 8)
    cache = torch.randn(2, 4, 8)
    count = torch.tensor([2, 5])
    y, after = module.step(x, cache, count)
    z, end = module.step(rows_from(x, count, 6), after)
    expected, last = module.step(x, cache)
    torch.testing.assert_close(z[0, :4], expected[0, 2:])
    torch.testing.assert_close(torch.cat([y[1, :5], z[1, :1]]), expected[1])
    assert end.shape == last.shape


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    export_bundle(toy(), toy_pieces(folder), folder / "toy-ancat", ABOUT, delay_frames=0)
    return folder / "toy-ancat"


def test_engine_with_interleaved_streams_equals_each_torch_stream_alone(bundle: Path) -> None:
    """Slots shuffled and reused, batches random and padded, arenas dirty, delays all different: same tokens, same
    ticks."""
    model = toy()
    rng = np.random.default_rng(0)
    streams = [chunks(model, sound(seed, 2 * int(rng.integers(4, 30)))) for seed in range(24)]
    alone = [torch_alone(tick_graph(model), stream) for stream in streams]
    mixed = EngineRun(bundle, "step").run(streams)
    for name in ("token_ids", "n_valid", "first_frame"):
        assert largest_difference(alone, mixed, name) == 0
    assert largest_difference(alone, mixed, "token_logp") < 1e-4


def test_the_manifest_lets_all_frames_out_at_the_end(bundle: Path) -> None:
    """The silence that ends a stream is longer than any look-ahead, and the declared delay covers it."""
    model, manifest = toy(), read_manifest(bundle)
    recogniser = Recogniser.of(manifest, bundle)
    ahead = 4 * FRAME
    assert recogniser.flush_samples == ahead + model.chunk_samples
    assert recogniser.audio.delay_samples == ahead + model.chunk_samples
    assert recogniser.audio.right_context_samples == ahead
    speech = sound(6, FRAMES)
    padded = np.concatenate([speech, np.zeros(recogniser.flush_samples, np.float32)])
    frames = [recogniser.frames(step, first) for step, first in _steps(model, padded)]
    assert sum(len(frame.ids) for frame in frames) >= FRAMES


def test_the_receptive_field_is_a_bound() -> None:
    """Encoder frames beyond the declared field do not feel a change; frames inside it do."""
    model = toy()
    reach = -(-receptive_field(model) // FRAME)
    samples = torch.from_numpy(sound(7, reach + 30))[None]
    changed = samples.clone()
    changed[:, :FRAME] = 0
    with torch.no_grad():
        same = (model.encoder(model.log_mel(samples)) == model.encoder(model.log_mel(changed))).all(-1)[0]
    assert not same[0]
    assert same[reach + 1 :].all()


def test_an_hour_of_frames_leaves_positions_and_rings_exact() -> None:
    """A stream whose counters stand at an hour goes on as one at the same place of the period."""
    model = toy()
    graph, period, runs = tick_graph(model), model.config.period, []
    names = [state.name for state in graph.states]
    for start in (period, 45_000 // period * period):
        arenas, recorded = graph.initial_arenas(1), []
        for name in ("frame", "passed"):
            arenas[names.index(name)].fill_(start)
        for chunk in chunks(model, sound(8, 40)):
            pcm = torch.from_numpy(chunk["pcm"])[None]
            with torch.no_grad():
                results = graph([pcm], [torch.tensor([0])], [torch.tensor([False])] * 2, arenas)
            arenas = list(results[len(graph.outputs) :])
            recorded.append(dict(zip(graph.outputs, results, strict=False)))
        assert recorded[0]["first_frame"].item() == start
        runs.append(recorded)
    for young, old in zip(*runs, strict=True):
        assert torch.equal(young["n_valid"], old["n_valid"])
        torch.testing.assert_close(young["token_logp"], old["token_logp"], atol=1e-4, rtol=0)


def _steps(model: AncatTransducer, samples: np.ndarray) -> list[tuple[Outputs, int]]:
    """The outputs of each tick, with the frames that came before."""
    outputs = torch_alone(tick_graph(model), chunks(model, samples))
    firsts = np.cumsum(outputs["n_valid"]) - outputs["n_valid"]
    return [({name: rows[t] for name, rows in outputs.items()}, int(first)) for t, first in enumerate(firsts)]
