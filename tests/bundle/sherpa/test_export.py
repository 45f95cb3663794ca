"""The shipped recogniser inside sherpa-onnx says what it says here."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from streamer.bundle.loader import load_bundle
from streamer.bundle.manifest import read_manifest
from streamer.bundle.sherpa.export import export_sherpa
from streamer.bundle.sherpa.importing import import_model
from streamer.bundle.sherpa.source import find_files
from streamer.bundle.sherpa.writer import About
from streamer.errors import BundleError, InvalidRequest
from streamer.tasks.tokens import read_tokens
from tests.bundle.sherpa.exported import CLIPS, SAMPLE_RATE, SHIPPED, Heard, clip, our_greedy, recognizer, their_search
from tests.toys import edit_manifest, write_counter_asr

needs_roles = pytest.mark.skipif(
    "encoded" not in read_manifest(SHIPPED).task.roles, reason="the shipped asr-en has no graph for searches outside"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("sherpa") / "asr-en"
    export_sherpa(load_bundle(SHIPPED), target)
    return target


@pytest.fixture(scope="module")
def peer() -> Any:
    return pytest.importorskip("sherpa_onnx", reason="these tests compare with sherpa-onnx")


@pytest.fixture(scope="module")
def greedy(peer: Any, folder: Path) -> Any:
    return recognizer(peer, folder, decoding_method="greedy_search")


def assert_same(theirs: Heard, ours: Heard) -> None:
    assert len(ours.ids) > 10
    assert theirs.ids == ours.ids
    np.testing.assert_allclose(theirs.times, ours.times, atol=1e-3)
    np.testing.assert_allclose(theirs.scores, ours.scores, atol=1e-4)


@needs_roles
@pytest.mark.parametrize("path", CLIPS, ids=lambda path: path.stem)
def test_sherpa_onnx_hears_what_we_hear(greedy: Any, folder: Path, path: Path) -> None:
    """Greedy search finds the same tokens at the same times with the same log-probabilities."""
    (theirs,) = their_search(greedy, folder, [clip(path)])
    assert_same(theirs, our_greedy(path))


@needs_roles
def test_streams_of_sherpa_onnx_do_not_hear_each_other(greedy: Any, folder: Path) -> None:
    """Streams that begin and end at different times share batches and change nothing."""
    together = their_search(greedy, folder, [clip(path) for path in CLIPS], stagger=5)
    for theirs, path in zip(together, CLIPS, strict=True):
        assert_same(theirs, our_greedy(path))


@needs_roles
def test_beam_search_of_sherpa_onnx_runs(peer: Any, folder: Path) -> None:
    """With one path it is the greedy search; with more it speaks at our frames, never at the blank ones between."""
    signal, ours = clip(CLIPS[0]), our_greedy(CLIPS[0])
    for paths in (1, 4):
        beam = recognizer(peer, folder, decoding_method="modified_beam_search", max_active_paths=paths)
        (theirs,) = their_search(beam, folder, [signal])
        if paths == 1:
            assert (theirs.ids, len(theirs.times)) == (ours.ids, len(ours.times))
        assert abs(len(theirs.ids) - len(ours.ids)) < 5
        frames = np.array(theirs.times) / 0.08
        np.testing.assert_allclose(frames, frames.round(), atol=1e-3)


@needs_roles
def test_the_pauses_of_sherpa_onnx_are_as_long_as_they_are(peer: Any, folder: Path) -> None:
    """Its rule of 1.2 s of silence fires 1.2 s after the last token, at the end of that chunk."""
    endless = {"rule1_min_trailing_silence": 1e6, "rule3_min_utterance_length": 1e6}
    ruled = recognizer(peer, folder, enable_endpoint_detection=True, rule2_min_trailing_silence=1.2, **endless)
    signal = np.concatenate([clip(CLIPS[0]), np.zeros(3 * SAMPLE_RATE, np.float32)])
    stream, ended = ruled.create_stream(), 0.0
    for at in range(0, len(signal), 160):
        stream.accept_waveform(SAMPLE_RATE, signal[at : at + 160])
        while ruled.is_ready(stream):
            ruled.decode_stream(stream)
        if ruled.is_endpoint(stream):
            ended = (at + 160) / SAMPLE_RATE
            break
    last = ruled.get_result_all(stream).timestamps[-1]
    assert 1.2 <= ended - last <= 1.2 + 2 * 0.32


@needs_roles
def test_counters_stay_exact_beyond_float32(folder: Path) -> None:
    """A stream whose frame counter is 2^40 goes on as one that stands at the same place of the positions' period."""
    session = onnxruntime.InferenceSession(folder / "encoder.onnx")
    rng = np.random.default_rng(0)
    h = np.zeros((1, 1, session.get_inputs()[1].shape[2]), np.float32)
    c = np.zeros((1, 1, 1), np.float32)
    for _ in range(20):
        x = rng.standard_normal((1, 32, 80)).astype(np.float32) - 6
        _, h, c = session.run(None, {"x": x, "h": h, "c": c})
    assert c.item() == 1
    low = _place_of_frame()
    assert h[0, 0, low : low + 2].tolist() == [80, 0]
    outputs = []
    for counter in (1024 + 80, 1024 * (1 << 30) + 80):
        h[0, 0, low : low + 2] = counter % (1 << 20), counter // (1 << 20)
        encoded, after, _ = session.run(None, {"x": x, "h": h, "c": c})
        outputs.append(encoded)
        assert after[0, 0, low] + int(after[0, 0, low + 1]) * (1 << 20) == counter + 4
    np.testing.assert_array_equal(*outputs)


def _place_of_frame() -> int:
    """Where the counter lies in `h`: after the states before it, without those that the encoder does not keep."""
    place = 0
    for state in read_manifest(SHIPPED).states:
        if state.name == "frame":
            return place
        place += int(np.prod(state.dims)) if state.name != "samples" else 0
    raise AssertionError("no state frame")


@needs_roles
def test_an_export_can_be_imported(folder: Path, tmp_path: Path) -> None:
    """There and back, a model still hears the same; its frames have become twice as many, features not its own."""
    tokens = folder / "tokens.txt"
    import_model(find_files(folder), tokens, read_tokens(tokens).pieces, tmp_path, About("back"))
    assert_same(our_greedy(CLIPS[0], tmp_path), our_greedy(CLIPS[0]))
    with pytest.raises(BundleError, match=r"cannot be exported to sherpa-onnx: graph step has no tensor log_mel$"):
        export_sherpa(load_bundle(tmp_path), tmp_path / "again")


@needs_roles
def test_an_export_is_whole_and_says_where_it_is_from(folder: Path) -> None:
    """Nothing but the four files; metadata that sherpa-onnx reads, and the bundle and its licence."""
    assert sorted(file.name for file in folder.iterdir()) == [
        "decoder.onnx", "encoder.onnx", "joiner.onnx", "tokens.txt"
    ]  # fmt: skip
    assert (folder / "tokens.txt").read_bytes() == (SHIPPED / "tokens.txt").read_bytes()
    found = {entry.key: entry.value for entry in onnx.load(folder / "encoder.onnx").metadata_props}
    manifest = read_manifest(SHIPPED)
    assert found["model_type"] == "lstm"
    assert (found["T"], found["decode_chunk_len"]) == ("32", "32")
    assert (found["bundle"], found["licence"]) == (f"{manifest.name}@{manifest.version}", manifest.licence)


@needs_roles
def test_an_existing_folder_is_refused(folder: Path) -> None:
    """Nothing is overwritten."""
    before = (folder / "encoder.onnx").stat().st_mtime_ns
    with pytest.raises(InvalidRequest, match=r"^export: expected a new folder, got '.*asr-en', which exists$"):
        export_sherpa(load_bundle(SHIPPED), folder)
    assert (folder / "encoder.onnx").stat().st_mtime_ns == before


@needs_roles
def test_an_export_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder appears at the end or not at all."""

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        export_sherpa(load_bundle(SHIPPED), tmp_path / "asr-en")
    assert list(tmp_path.iterdir()) == []


@needs_roles
def test_other_features_are_refused(tmp_path: Path) -> None:
    """A front end that sherpa-onnx would not compute is found by running it."""
    bundle = shutil.copytree(SHIPPED, tmp_path / "asr-en")
    model = onnx.load(bundle / "step.onnx")
    (filters,) = (tensor for tensor in model.graph.initializer if list(tensor.dims) == [257, 80])
    filters.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(filters) * np.float32(2), filters.name))
    onnx.save(model, bundle / "step.onnx")
    digest = hashlib.sha256((bundle / "step.onnx").read_bytes()).hexdigest()
    edit_manifest(bundle, lambda manifest: manifest["graphs"][0].update(sha256=digest))
    with pytest.raises(BundleError, match=r"^bundle asr-en: log_mel differs from Kaldi's filterbank by 0\.69, allowed"):
        export_sherpa(load_bundle(bundle), tmp_path / "out")


def test_a_bundle_without_the_roles_is_refused(tmp_path: Path) -> None:
    """Everything that is missing is said at once, and nothing is written."""
    bundle = load_bundle(write_counter_asr(tmp_path))
    lacks = "role encoded, role joint_encoded, role joint_contexts, role log_probs, parameter context_size"
    with pytest.raises(BundleError, match=f"^bundle counter-asr: cannot be exported to sherpa-onnx: lacks {lacks}$"):
        export_sherpa(bundle, tmp_path / "out")
    assert not (tmp_path / "out").exists()
