"""The loader: good bundles pass, every damage is named."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import onnxruntime as ort
import pytest

from streamer.bundle import loader
from streamer.bundle.loader import load_bundle, open_session
from streamer.errors import BundleError, InvalidRequest
from tests.toys import (
    damage,
    edit_manifest,
    graph,
    write_beams,
    write_counter_asr,
    write_faulty,
    write_ragged,
    write_speaker,
    write_variants,
    write_wrong_order,
)

WRITERS = [write_counter_asr, write_beams, write_ragged, write_speaker, write_variants, write_wrong_order, write_faulty]


@pytest.mark.parametrize("write", WRITERS)
def test_every_toy_loads(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    """A bundle whose files and graphs match its manifest loads."""
    folder = write(tmp_path)
    bundle = load_bundle(folder)
    assert bundle.folder == folder
    assert bundle.key == f"{folder.name}@1.0.0"


def test_the_digest_changes_with_the_manifest(tmp_path: Path) -> None:
    """The digest is the manifest's sha256, which holds the hashes of all other files."""
    folder = write_counter_asr(tmp_path)
    before = load_bundle(folder).digest
    assert before == hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    edit_manifest(folder, lambda manifest: manifest.update(description="another"))
    assert load_bundle(folder).digest != before


STEP = "bundle counter-asr: graph step: "
ALL_INPUTS = "pcm, slots_stream, start_encoder, start_search, total, last"
DAMAGES = [
    (damage.missing_file, STEP + "file step.onnx is missing"),
    (damage.missing_input, STEP + f"expected input audio_in, got only {ALL_INPUTS}"),
    (damage.missing_output, STEP + "expected output tokens, got only total_out, last_out, ids, logp"),
    (damage.undeclared_output, STEP + "output logp is not in the manifest, expected ids, total_out, last_out"),
    (damage.wrong_shape, STEP + "input pcm: expected shape [free, 160], got [free, 320]"),
    (damage.wrong_rank, STEP + "input pcm: expected shape [free, 320, 1], got [free, 320]"),
    (damage.wrong_type, STEP + "output ids: expected tensor(int32), got tensor(int64)"),
    (damage.wrong_state_shape, STEP + "input total: expected shape [free, 2], got [free, 1]"),
]


@pytest.mark.parametrize(("harm", "message"), DAMAGES, ids=[harm.__name__ for harm, _ in DAMAGES])
def test_damage_is_named(tmp_path: Path, harm: Callable[[Path], None], message: str) -> None:
    """The error names bundle, graph and tensor, what was expected and what is there."""
    folder = write_counter_asr(tmp_path)
    harm(folder)
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    assert str(caught.value) == message


def test_a_wrong_hash_is_named(tmp_path: Path) -> None:
    """A file that changed after export is refused with both hashes."""
    folder = write_counter_asr(tmp_path)
    expected = hashlib.sha256((folder / "tokens.txt").read_bytes()).hexdigest()
    damage.wrong_hash(folder)
    got = hashlib.sha256((folder / "tokens.txt").read_bytes()).hexdigest()
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    assert str(caught.value) == (f"bundle counter-asr: asset: sha256 of tokens.txt: expected {expected}, got {got}")


def test_a_file_that_is_no_graph_is_named_without_its_path(tmp_path: Path) -> None:
    """What ONNX Runtime says about a broken file is passed on, without the server's paths."""
    folder = write_counter_asr(tmp_path)
    damage.not_onnx(folder)
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    assert str(caught.value).startswith(STEP + "cannot load step.onnx: ")
    assert str(tmp_path) not in str(caught.value)


def test_a_link_out_of_the_bundle_is_refused(tmp_path: Path) -> None:
    """A file that is a link to somewhere else is not opened."""
    folder = write_counter_asr(tmp_path)
    outside = tmp_path / "tokens.txt"
    (folder / "tokens.txt").rename(outside)
    (folder / "tokens.txt").symlink_to(outside)
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    assert str(caught.value) == "bundle counter-asr: asset: file tokens.txt leads out of the bundle"


def test_a_fixed_batch_axis_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph exported for one batch size cannot be batched across streams."""

    def fixed(self: graph.GraphBuilder, name: str, data_type: str, dims: tuple[int, ...]) -> str:
        return self.input(name, data_type, [1, *dims])

    monkeypatch.setattr(graph.GraphBuilder, "row_input", fixed)
    with pytest.raises(BundleError) as caught:
        load_bundle(write_counter_asr(tmp_path))
    assert str(caught.value) == STEP + "input pcm: expected shape [free, 320], got [1, 320]"


def test_a_provider_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider is never replaced by another one in silence."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    bundle = load_bundle(write_counter_asr(tmp_path))
    with pytest.raises(InvalidRequest) as caught:
        open_session(bundle.folder, bundle.manifest, bundle.manifest.graphs[0], "cuda")
    assert str(caught.value) == "provider cuda: expected CUDAExecutionProvider, got only CPUExecutionProvider"


def test_a_provider_that_is_dropped_on_opening_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that is listed, but that a session then goes without, is an error too."""
    bundle = load_bundle(write_counter_asr(tmp_path))
    monkeypatch.setattr(loader, "PROVIDERS", {"cuda": ("FancyProvider", "CPUExecutionProvider")})
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["FancyProvider"])

    class Dropped:
        def __init__(self, *arguments: object, **options: object) -> None: ...

        def get_providers(self) -> list[str]:
            return ["CPUExecutionProvider"]

    monkeypatch.setattr(ort, "InferenceSession", Dropped)
    with pytest.raises(InvalidRequest, match=r"^provider cuda: expected FancyProvider, got only CPUExecutionProvider$"):
        open_session(bundle.folder, bundle.manifest, bundle.manifest.graphs[0], "cuda")
