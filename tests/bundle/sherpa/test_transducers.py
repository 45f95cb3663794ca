"""Imported transducers say what sherpa-onnx says, alone and among others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.version_converter
import onnxruntime as ort
import pytest

from streamer.bundle.loader import Bundle
from streamer.engine.check import check_bundle
from tests.bundle.sherpa import k2_peer, served, toys
from tests.engine.support import BOTH, row, runner_of

SIGNALS = served.speech()


@pytest.fixture(scope="module", params=list(toys.TABLES))
def imported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bundle]:
    """The files of a toy model and the bundle that was made of them."""
    folder = tmp_path_factory.mktemp(request.param)
    source = toys.write_toy(folder / "model", request.param)
    return source, served.import_bundle(source, folder / "bundle")


def test_equal_to_sherpa_onnx(imported: tuple[Path, Bundle]) -> None:
    """Ids, frames and log-probabilities are those of sherpa-onnx, which returns none for CTC."""
    source, bundle = imported
    is_ctc = (source / "model.onnx").exists()
    recogniser = k2_peer.zipformer2_ctc(source) if is_ctc else k2_peer.transducer(source)
    expected = k2_peer.listen(recogniser, SIGNALS[:4], toys.PIECES)
    assert sum(len(heard.ids) for heard in expected) > 20
    said = served.run_alone(bundle, SIGNALS[:4])
    for signal, heard, one in zip(SIGNALS[:4], expected, said, strict=True):
        # sherpa-onnx waits for one frame more than it feeds.
        assert served.chunks_of(bundle, signal) - 1 <= heard.chunks <= served.chunks_of(bundle, signal)
        ids, frames, logps = one.tokens(0, heard.chunks)
        assert (ids, frames) == (heard.ids, heard.frames)
        if not is_ctc:
            np.testing.assert_allclose(logps, heard.logps, atol=1e-5)


def test_batched_equal_to_alone(imported: tuple[Path, Bundle]) -> None:
    """Eight streams, interleaved in slots that were used before, say what each says alone."""
    _, bundle = imported
    found = zip(served.run_together(bundle, SIGNALS), served.run_alone(bundle, SIGNALS), strict=True)
    for together, alone in found:
        np.testing.assert_array_equal(together.ids, alone.ids)
        np.testing.assert_allclose(together.logps, alone.logps, atol=1e-5)


def test_check(imported: tuple[Path, Bundle]) -> None:
    """The server's own check passes: task, starts, state in place."""
    report = check_bundle(imported[1].folder)
    assert report.ok, str(report)


def test_search_starts_anew(tmp_path: Path) -> None:
    """Starting the group `search` forgets the last tokens alone: the encoder and its count of frames go on."""
    bundle = served.import_bundle(toys.write_toy(tmp_path / "model", "conformer"), tmp_path / "bundle")
    joint = ort.InferenceSession(bundle.folder / "joint.onnx")
    steps = []
    for restart in (frozenset({"search"}), frozenset[str]()):
        runner = runner_of(bundle)
        for turn, start in enumerate([BOTH, frozenset(), frozenset(), restart]):
            pcm = SIGNALS[0][turn * 5120 : turn * 5120 + 5720]
            [result] = runner.run("step", [row(2, start, pcm=pcm)])
        steps.append(result.outputs)
    np.testing.assert_array_equal(steps[0]["encoded"], steps[1]["encoded"])
    assert greedy(joint, steps[0]["encoded"]) == steps[0]["token_ids"].tolist()
    assert abs(steps[0]["token_logp"][0] - steps[1]["token_logp"][0]) > 1e-3


def greedy(joint: ort.InferenceSession, encoded: np.ndarray) -> list[int]:
    """A new search over f32[frames, joint], by the graph `joint`; `<unk>` is not said."""
    context, ids = [-1, 0], []
    for frame in encoded:
        [log_probs] = joint.run(None, {"encoded": frame[None], "contexts": np.array([[context]])})
        best = int(log_probs[0, 0].argmax())
        ids.append(0 if best == 1 else best)
        context = [*context[1:], best] if best > 1 else context
    return ids


def test_manifest(tmp_path: Path) -> None:
    """Lengths come from T and decode_chunk_len: frame t of the features spans samples 160 t - 120 to 160 t + 280."""
    bundle = served.import_bundle(toys.write_toy(tmp_path / "model", "zipformer2"), tmp_path / "bundle")
    manifest = bundle.manifest
    audio = manifest.graph("step").audio
    assert audio is not None
    assert (audio.chunk_samples, audio.hop_samples) == (34 * 160 + 280, 32 * 160)
    assert (audio.right_context_samples, audio.delay_samples) == (600, audio.chunk_samples)
    assert manifest.receptive_field_samples is None
    assert manifest.task.parameters == {
        "blank_id": 0,
        "frame_samples": 640,
        "token_delay_samples": 0,
        "flush_samples": 600 + 5120,
        "context_size": 2,
    }
    assert manifest.task.program == "beam_search"
    assert manifest.task.roles == {
        "pcm": "step.pcm",
        "token_ids": "step.token_ids",
        "token_logp": "step.token_logp",
        "encoded": "step.encoded",
        "joint_encoded": "joint.encoded",
        "joint_contexts": "joint.contexts",
        "log_probs": "joint.log_probs",
    }


def test_joint(tmp_path: Path) -> None:
    """The graph `joint` returns log-probabilities of any number of contexts, of which -1 stands for no token."""
    source = toys.write_toy(tmp_path / "model", "lstm")
    bundle = served.import_bundle(source, tmp_path / "bundle")
    joint, decoder, joiner = (
        ort.InferenceSession(path)
        for path in (bundle.folder / "joint.onnx", source / "decoder.onnx", source / "joiner.onnx")
    )
    rng = np.random.default_rng(0)
    encoded = rng.standard_normal((3, toys.JOINT)).astype(np.float32)
    contexts = rng.integers(-1, toys.VOCABULARY, (3, 5, toys.CONTEXT))
    [found] = joint.run(None, {"encoded": encoded, "contexts": contexts})
    for i in range(3):
        [predicted] = decoder.run(None, {"y": contexts[i]})
        [logits] = joiner.run(None, {"encoder_out": np.repeat(encoded[i : i + 1], 5, 0), "decoder_out": predicted})
        expected = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        np.testing.assert_allclose(found[i], expected, atol=1e-5)


def test_joint_and_step_agree(tmp_path: Path) -> None:
    """Greedy search over `encoded` by the graph `joint` is the search in the graph `step`, log-probabilities too."""
    bundle = served.import_bundle(toys.write_toy(tmp_path / "model", "lstm"), tmp_path / "bundle")
    joint = ort.InferenceSession(bundle.folder / "joint.onnx")
    [result] = runner_of(bundle).run("step", [row(0, BOTH, pcm=SIGNALS[0][:5720])])
    ids, logps, encoded = (result.outputs[name] for name in ("token_ids", "token_logp", "encoded"))
    assert greedy(joint, encoded) == ids.tolist()
    said = np.flatnonzero(ids)
    assert len(said) > 1
    contexts = np.array([[-1, 0], [0, ids[said[0]]]])[:, None]
    [log_probs] = joint.run(None, {"encoded": encoded[said[:2]], "contexts": contexts})
    np.testing.assert_allclose(log_probs[[0, 1], 0, ids[said[:2]]], logps[said[:2]], atol=1e-5)


@pytest.mark.parametrize("kind", ["lstm", "zipformer2_ctc"])
def test_fixed_batch(tmp_path: Path, kind: str) -> None:
    """A model whose batch is fixed to one runs one stream at a time, with the same results."""
    toy = toys.Toy.of(kind)
    free = served.import_bundle(toys.write_toy(tmp_path / "free", toy), tmp_path / "one")
    toy.batch = 1
    fixed = served.import_bundle(toys.write_toy(tmp_path / "fixed", toy), tmp_path / "two")
    assert (free.manifest.graph("step").max_batch, fixed.manifest.graph("step").max_batch) == (None, 1)
    signals = SIGNALS[:2]
    for alone, together in zip(served.run_together(free, signals), served.run_together(fixed, signals), strict=True):
        np.testing.assert_array_equal(alone.ids, together.ids)


def test_extra_outputs_are_ignored(tmp_path: Path) -> None:
    """What comes after the states is of no use here, as in sherpa-onnx."""
    toy = toys.Toy.of("lstm")
    toy.extra_output = True
    bundle = served.import_bundle(toys.write_toy(tmp_path / "model", toy), tmp_path / "bundle")
    assert [tensor.name for tensor in bundle.manifest.graph("step").outputs] == ["token_ids", "token_logp", "encoded"]


def test_files_of_several_opsets(tmp_path: Path) -> None:
    """Files of different operator sets become one graph of the newest, which says the same."""
    source = toys.write_toy(tmp_path / "model", "zipformer")
    same = served.import_bundle(source, tmp_path / "same")
    newer = onnx.version_converter.convert_version(onnx.load(source / "decoder.onnx"), 20)
    toys.set_metadata(newer, vocab_size=toys.VOCABULARY, context_size=toys.CONTEXT)
    onnx.save(newer, source / "decoder.onnx")
    mixed = served.import_bundle(source, tmp_path / "mixed")
    assert [graph.opset for graph in (*same.manifest.graphs, *mixed.manifest.graphs)] == [18, 18, 20, 20]
    [one], [other] = (served.run_alone(bundle, SIGNALS[:1]) for bundle in (same, mixed))
    np.testing.assert_allclose(one.logps, other.logps, atol=1e-6)
