"""The parity ladder of the transducer, on toy sizes with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

import onnx  # noqa: E402

from models.common.onnx_export import order_writers  # noqa: E402
from models.common.parity import Chunks, EngineRun, first_change, largest_difference, torch_alone  # noqa: E402
from models.transducer.config import Config  # noqa: E402
from models.transducer.export import export_bundle, load_bundle_weights, receptive_field, step_graph  # noqa: E402
from models.transducer.model import Transducer  # noqa: E402
from streamer.engine.check import check_bundle  # noqa: E402
from streamer.work import Row  # noqa: E402
from tests.models.toy_text import toy_pieces  # noqa: E402

SEED = 7
ABOUT = {"name": "toy-asr", "version": "0.0.1", "description": "random weights", "licence": "Apache-2.0"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Transducer:
    torch.manual_seed(SEED)
    config = Config(
        vocabulary=32, width=32, layers=3, heads=2, feed_forward=64, channels=4, joint=32, left=8, period=64
    )
    model = Transducer(config).eval()
    with torch.no_grad():
        # Plain random weights always say the same. With a quiet predictor and the mean taken out, they answer to
        # what they hear, and to what they said.
        model.predictor.project.weight *= 0.1
        samples = torch.from_numpy(sound(np.random.default_rng(SEED), 40 * model.chunk_samples))[None]
        entered = model.enter(model.encoder(model.log_mel(samples)))
        context = model.predictor(torch.zeros(1, 1, 2, dtype=torch.long))
        model.output.weight *= 40
        model.output.bias -= model.join(entered, context).mean((0, 1))
        model.output.bias[0] += 2
    return model


@pytest.fixture(scope="module")
def bundle(model: Transducer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    export_bundle(model, toy_pieces(folder), folder / "toy-asr", ABOUT, delay_frames=0)
    return folder / "toy-asr"


def sound(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Tones that change their pitch and level every 80 ms, with noise."""
    pieces = -(-samples // 1280)
    pitch, level = rng.uniform(100, 4000, pieces), rng.uniform(0, 0.5, pieces)
    phase = 2 * np.pi * np.cumsum(np.repeat(pitch, 1280)) / 16_000
    tones = np.sin(phase) * np.repeat(level, 1280) + rng.normal(0, 0.01, phase.shape)
    return tones[:samples].astype(np.float32)


def streams(model: Transducer, count: int, longest: int) -> list[Chunks]:
    rng = np.random.default_rng(SEED)
    return [
        [{"pcm": sound(rng, model.chunk_samples)} for _ in range(rng.integers(2, longest + 1))] for _ in range(count)
    ]


def test_whole_torch_equals_chunked_torch(model: Transducer) -> None:
    """The masked whole-signal encoder of training and the step of serving see the same frames."""
    rng = np.random.default_rng(SEED)
    samples = torch.from_numpy(np.stack([sound(rng, 20 * model.chunk_samples) for _ in range(2)]))
    state = model.initial_state(2)
    with torch.no_grad():
        whole = model.encoder(model.log_mel(samples))
        ids, scores, _ = model.search(model.enter(whole), state.context)
        parts = []
        for chunk in samples.split(model.chunk_samples, 1):
            *outputs, state = model.step(chunk, state)
            parts.append(outputs)
    assert torch.equal(torch.cat([part[0] for part in parts], 1), ids)
    assert (torch.cat([part[1] for part in parts], 1) - scores).abs().max() < 1e-4
    assert 0 < (ids != 0).float().mean() < 1


def test_engine_with_32_interleaved_streams_equals_each_torch_stream_alone(model: Transducer, bundle: Path) -> None:
    """Slots are shuffled and reused, batches random and padded, arenas dirty: token ids are identical all the same."""
    chunks = streams(model, 32, 12)
    alone = [torch_alone(step_graph(model), stream) for stream in chunks]
    mixed = EngineRun(bundle, "step").run(chunks)
    assert largest_difference(alone, mixed, "token_ids") == 0
    assert largest_difference(alone, mixed, "token_logp") < 1e-4


def test_the_graph_joint_finds_what_the_greedy_search_found(model: Transducer, bundle: Path) -> None:
    """Fed with the step's frames and the tokens so far, among other hypotheses, it gives the same tokens and scores."""
    run = EngineRun(bundle, "step")
    step, context = run.run(streams(model, 1, 12))[0], [-1, 0]
    frames = zip(*(step[name].reshape(-1, *step[name].shape[2:]) for name in step), strict=True)
    for token, score, encoded in frames:
        contexts = np.array([[3, 1], context, [-1, -1]])
        (result,) = run.runner.run("joint", [Row((), {"encoded": encoded, "contexts": contexts})])
        log_probs = result.outputs["log_probs"]
        assert log_probs[1].argmax() == token
        assert log_probs[1].max() == pytest.approx(score, abs=1e-4)
        np.testing.assert_allclose(np.exp(log_probs).sum(1), 1, atol=1e-5)
        context = [context[1], int(token)] if token else context
    assert context[0] > 0


def test_the_joiner_takes_any_number_of_streams_and_hypotheses(model: Transducer, bundle: Path) -> None:
    """A stream's row of `log_probs` is the same alone and among others."""
    runner, rng = EngineRun(bundle, "step").runner, np.random.default_rng(SEED)
    rows = [
        Row((), {"encoded": sound(rng, 32), "contexts": rng.integers(-1, 32, (hypotheses, 2))})
        for hypotheses in (1, 4, 4, 7, 4)
    ]
    together = [result.outputs["log_probs"] for result in runner.run("joint", rows)]
    alone = [runner.run("joint", [row])[0].outputs["log_probs"] for row in rows]
    assert [len(log_probs) for log_probs in together] == [1, 4, 4, 7, 4]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_check_of_the_server_passes(bundle: Path) -> None:
    """Hashes, signatures, references and self-tests of a fresh bundle are sound."""
    assert check_bundle(bundle).ok


def test_inner_values_that_other_formats_cut_at_have_names(model: Transducer, bundle: Path) -> None:
    """`log_mel` is the logarithm that ends the front end, the only one of the graph; `predicted` ends the predictor."""
    step, joint = (onnx.load(bundle / name).graph for name in ("step.onnx", "joint.onnx"))
    assert [list(node.output) for node in step.node if node.op_type == "Log"] == [["log_mel"]]
    inputs = {value.name for value in joint.input}
    assert ancestors(onnx.load(bundle / "joint.onnx"), "predicted") & inputs == {"contexts"}
    for graph, name, dims in ((step, "log_mel", [32, 80]), (joint, "predicted", [model.config.joint])):
        (value,) = (value for value in graph.value_info if value.name == name)
        assert [dim.dim_value for dim in value.type.tensor_type.shape.dim if dim.dim_value] == dims
        assert name not in {output.name for output in graph.output}


def test_a_sample_changes_nothing_before_its_chunk(model: Transducer) -> None:
    """The step is causal: outputs change from the chunk of the changed sample on, not earlier."""
    chunks = streams(model, 1, 12)[0]
    assert len(chunks) >= 4
    changed = [dict(chunk) for chunk in chunks]
    changed[2] = {"pcm": -chunks[2]["pcm"]}
    graph = step_graph(model)
    assert first_change(lambda steps: torch_alone(graph, steps), chunks, changed, "token_logp") == 2


def hazard(scatter: str = "ScatterND") -> onnx.ModelProto:
    """A graph that reads and writes an arena in no fixed order: what is written does not depend on what is read."""
    nodes = [
        onnx.helper.make_node(scatter, ["arena", "index", "rows"], ["arena_out"]),
        onnx.helper.make_node("Gather", ["arena", "slots"], ["seen"]),
    ]
    return onnx.helper.make_model(onnx.helper.make_graph(nodes, "hazard", [], []))


def ancestors(model: onnx.ModelProto, output: str) -> set[str]:
    """Every tensor that `output` is computed from."""
    inputs = {name: list(node.input) for node in model.graph.node for name in node.output}
    found: set[str] = set()
    todo = [output]
    while todo:
        for name in inputs.get(todo.pop(), []):
            if name not in found:
                found.add(name)
                todo.append(name)
    return found


def test_a_writer_is_made_to_wait_for_a_reader() -> None:
    """Without the order the arena could be overwritten before it is read."""
    model = hazard()
    assert "seen" not in ancestors(model, "arena_out")
    order_writers(model, ["arena"])
    assert "seen" in ancestors(model, "arena_out")
    names = [node.output[0] for node in model.graph.node]
    assert names.index("seen") < names.index("arena_out")


def test_a_state_that_is_not_scattered_is_refused() -> None:
    """Nothing else can be updated in place."""
    with pytest.raises(ValueError, match="^state arena: expected ScatterND on the arena itself, got Gather$"):
        order_writers(hazard("Gather"), ["arena"])


def test_the_receptive_field_is_a_bound(model: Transducer) -> None:
    """Encoder frames beyond the declared field do not feel a change; frames inside it do."""
    frame_samples = model.chunk_samples // model.config.chunk
    reach = -(-receptive_field(model.config) // frame_samples)
    samples = torch.from_numpy(sound(np.random.default_rng(SEED), (reach + 40) * frame_samples))[None]
    changed = samples.clone()
    changed[:, : model.chunk_samples] = 0
    with torch.no_grad():
        same = (model.encoder(model.log_mel(samples)) == model.encoder(model.log_mel(changed))).all(-1)[0]
    assert not same[: model.config.chunk].any()
    assert same[reach + model.config.chunk :].all()


def test_the_exporter_orders_writers_after_readers(bundle: Path) -> None:
    """Every reader of an arena in the bundle is an ancestor of its writer, so ordering again adds no node."""
    onnx_model = onnx.load(bundle / "step.onnx")
    before = len(onnx_model.graph.node)
    names = [
        value.name
        for value in onnx_model.graph.input
        if f"{value.name}_out" in {o.name for o in onnx_model.graph.output}
    ]
    order_writers(onnx_model, names)
    assert names
    assert len(onnx_model.graph.node) == before


def test_a_bundle_gives_its_weights_back(model: Transducer, bundle: Path) -> None:
    """Training can start from a bundle alone: every weight is there, rounded as the bundle rounds."""
    weights = load_bundle_weights(bundle)
    expected = model.state_dict()
    assert weights.keys() == expected.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-3, atol=1e-4)


def test_an_hour_of_frames_leaves_the_positions_exact(model: Transducer) -> None:
    """A stream whose frame counter stands at an hour continues exactly as one at the same place of the period."""
    period = model.config.period
    samples = torch.randn(1, 12 * model.chunk_samples) * 0.1
    outputs = []
    for start in (period, 45_000 // period * period):
        state = model.initial_state(1)
        state = state._replace(encoder=state.encoder._replace(frame=torch.tensor([start])))
        scores = []
        with torch.no_grad():
            for chunk in samples.split(model.chunk_samples, 1):
                _, score, state = model.step(chunk, state)
                scores.append(score)
        outputs.append(torch.cat(scores, 1))
    assert torch.equal(*outputs)
