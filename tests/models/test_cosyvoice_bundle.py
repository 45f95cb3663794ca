"""Bundles of CosyVoice 2 and 3: the graphs in the server's engine are the torch steps, for any mix of streams."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.common.bundle_writer import write_graph  # noqa: E402
from models.common.parity import Chunks, EngineRun, largest_difference, torch_alone  # noqa: E402
from models.flow_tts.cosyvoice.export import parameters_of  # noqa: E402
from models.flow_tts.cosyvoice.graphs import inputs_of, parts_of  # noqa: E402
from models.flow_tts.cosyvoice.noise import Upstream  # noqa: E402
from models.flow_tts.cosyvoice.reference import Row, Synthesis, TorchCalls  # noqa: E402
from models.flow_tts.cosyvoice.text_loop import TextLoop  # noqa: E402
from streamer.engine.check import check_bundle  # noqa: E402
from tests.models.conftest import Once  # noqa: E402
from tests.models.cosyvoice_bundles import EngineCalls, Toy, checkpoint_of, write_toy  # noqa: E402
from tests.models.cosyvoice_toys import OPTIONS, Utterance, in_hops, toy_checkpoint, whole  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(scope="module", params=[2, 3])
def toy(request: pytest.FixtureRequest, once: Once) -> Toy:
    folder = once(f"cosyvoice-{request.param}", partial(write_toy, request.param))
    return Toy(checkpoint_of(request.param), folder / "toy")


def test_the_bundle_checks(toy: Toy) -> None:
    """Files, signatures, references, resets, in-place state, and that the server serves it."""
    checks = check_bundle(toy.folder).checks
    assert all(check.ok for check in checks), checks
    manifest = toy.manifest
    assert (manifest.task.kind, manifest.task.program, manifest.sample_rate) == ("synthesize", "token_voice", 24_000)
    assert dict(manifest.task.parameters) == {**parameters_of(toy.checkpoint, OPTIONS), "voices": "eve,ada,ben"}
    for role in ("ids", "logits", "tokens", "mu", "noisy", "denoised", "speaker", "flow_pages", "pcm"):
        assert role in manifest.task.roles


def test_tokens_become_the_samples_of_the_whole_models(toy: Toy) -> None:
    """Two streams take turns in one engine, in slots that others used: each says what the whole models say of it."""
    runner = EngineRun(toy.folder, "lm_step").runner
    version, parameters = toy.checkpoint.version, toy.manifest.task.parameters
    for seed in (1, 2):
        first, second = (Utterance.drawn(seed + n, version, tokens=12 + n) for n in (0, 5))
        streams = [
            Synthesis(EngineCalls(runner, slot), parameters, utterance.prompt, utterance.noise)
            for slot, utterance in enumerate((first, second))
        ]
        said: list[list[np.ndarray]] = [[], []]
        for at in range(0, 20, 4):
            for stream, utterance, heard in zip(streams, (first, second), said, strict=True):
                heard.append(stream.push(utterance.tokens[at : at + 4]))
        for stream, utterance, heard in zip(streams, (first, second), said, strict=True):
            heard.append(stream.finish())
            np.testing.assert_allclose(np.concatenate(heard), whole(toy.checkpoint, utterance)[1], atol=5e-4)


def streams_of(toy: Toy, graph: str, count: int = 6) -> list[Chunks]:
    """Rows of one graph as the loop makes them, of several streams of several lengths."""
    noted: list[list[dict[str, np.ndarray]]] = []
    parts = parts_of(toy.checkpoint, OPTIONS)
    parameters = parameters_of(toy.checkpoint, OPTIONS)
    for seed in range(count):
        calls, rows = TorchCalls(parts), []
        inputs = next(part.step.inputs for part in parts if part.name == graph)

        def noting(name: str, row: Row, start: bool, calls=calls, rows=rows, inputs=inputs) -> Row:
            if name == graph:
                rows.append({key: np.asarray(row[key]) for key in inputs})
            return calls(name, row, start)

        utterance = Utterance.drawn(seed, toy.checkpoint.version, tokens=5 + seed % 3 * 4)
        if graph == "lm_step":
            list(TextLoop(noting, parameters, [1, 2], [3, 4], seed).speak([5 + seed]))
        else:
            in_hops(Synthesis(noting, parameters, utterance.prompt, utterance.noise), utterance.tokens, [4])
        noted.append(rows)
    return noted


@pytest.mark.parametrize("graph", ["lm_step", "flow_encode_step", "flow_step", "source_step", "vocoder_step"])
def test_mixed_streams_equal_each_stream_alone_in_torch(toy: Toy, graph: str) -> None:
    """Slots are shuffled and reused, arenas dirty, batches random, lengths mixed."""
    parts = {part.name: part for part in parts_of(toy.checkpoint, OPTIONS)}
    if graph not in parts or not parts[graph].step.states:
        pytest.skip("this version has no such graph with states")
    streams = streams_of(toy, graph)
    alone = [torch_alone(parts[graph].graph(), stream) for stream in streams]
    mixed = EngineRun(toy.folder, graph, slots=3).run(streams)
    for output in parts[graph].step.outputs:
        assert largest_difference(alone, mixed, output) < 2e-4
    assert max(np.abs(outputs[parts[graph].step.outputs[0]]).max() for outputs in alone) > 0.05


def test_upstream_noise_is_an_asset(toy: Toy) -> None:
    """Read by frame; beyond its end there is an error."""
    if toy.checkpoint.version != 2:
        pytest.skip("one version is enough")
    rows = np.load(toy.folder / toy.manifest.task.assets["flow_noise"])
    noise = Upstream(rows, 0, "normal", 9)
    np.testing.assert_array_equal(noise.flow(10, 3), rows[10:13])
    with pytest.raises(ValueError, match=r"^expected at most 15000 frames of prompt and speech, got more$"):
        noise.flow(14_999, 2)


def test_the_flow_without_caches_is_a_graph_without_states(tmp_path: Path) -> None:
    """A step of the ODE over a prefix of any length, for several streams at once: torch's."""
    import onnxruntime

    options = replace(OPTIONS, cached=False)
    part = next(part for part in parts_of(toy_checkpoint(2, small=True), options) if part.name == "flow_step")
    entry = write_graph(tmp_path, part.name, part.graph(), list(inputs_of(part, 0).values()), {}, free=part.free)
    assert (entry["reads"], entry["writes"], entry["pools"]) == ([], [], [])
    session = onnxruntime.InferenceSession(str(tmp_path / entry["file"]))
    rng = np.random.default_rng(0)
    for rows, frames in ((1, 46), (3, 20)):
        row = {name: rng.standard_normal((rows, frames, 80)).astype(np.float32) for name in part.step.inputs[:3]}
        row |= {"speaker": rng.standard_normal((rows, 192)).astype(np.float32), "step": np.arange(rows) * 4}
        (found,) = session.run(["denoised"], row)
        inputs = {name: torch.from_numpy(value) for name, value in row.items()}
        np.testing.assert_allclose(found, part.step(inputs, {})[0]["denoised"].numpy(), atol=1e-5)
