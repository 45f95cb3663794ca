"""The check of one bundle: recorded references are replayed and every failure is a line."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.bundle.check import check_files, check_references
from streamer.bundle.loader import load_bundle
from tests.toys import counter_expected, damage, edit_manifest, write_counter_asr

STEPS = 6
NAME = "reference run.npz of graph step"


@pytest.fixture
def recorded() -> dict[str, np.ndarray]:
    pcm = (np.random.default_rng(0).standard_normal(STEPS * 320) * 0.1).astype(np.float32)
    ids = counter_expected(pcm)
    sums = np.cumsum(np.round(np.abs(pcm.reshape(-1, 80)).mean(1) * np.float32(200)).astype(np.int64))
    logp = (sums % 10 * np.float32(-0.1)).astype(np.float32).reshape(STEPS, 4)
    return {"in.pcm": pcm.reshape(STEPS, 320), "out.ids": ids, "out.logp": logp}


def _check(tmp_path: Path, recorded: dict[str, np.ndarray], **options: Any) -> tuple[bool, str]:
    folder = write_counter_asr(tmp_path)
    np.savez(folder / "run.npz", **recorded)
    digest = hashlib.sha256((folder / "run.npz").read_bytes()).hexdigest()
    entry = {"graph": "step", "file": "run.npz", "sha256": digest, **options}
    edit_manifest(folder, lambda manifest: manifest.update(references=[entry]))
    (check,) = check_references(load_bundle(folder))
    assert check.name == NAME
    return check.ok, check.detail


def test_a_true_recording_passes(tmp_path: Path, recorded: dict[str, np.ndarray]) -> None:
    """Integers are equal and floats within the tolerance, over steps that carry state."""
    assert _check(tmp_path, recorded) == (True, "largest difference 0, allowed 0.001")


def test_a_wrong_integer_is_found(tmp_path: Path, recorded: dict[str, np.ndarray]) -> None:
    """One wrong token in a late step is a failure that names the step."""
    recorded["out.ids"][5] = [1, 0, 1, 0]
    ok, detail = _check(tmp_path, recorded)
    assert not ok
    assert detail.startswith("output ids of step 5: expected [1, 0, 1, 0], got [")


def test_a_wrong_float_is_found(tmp_path: Path, recorded: dict[str, np.ndarray]) -> None:
    """A difference above the tolerance is a failure with its size."""
    recorded["out.logp"][2, 1] += 0.5
    assert _check(tmp_path, recorded) == (False, "output logp of step 2: differs by 0.5, allowed 0.001")


def test_the_tolerance_is_the_references_own(tmp_path: Path, recorded: dict[str, np.ndarray]) -> None:
    """A bundle may allow more."""
    recorded["out.logp"][2, 1] += 0.5
    assert _check(tmp_path, recorded, tolerance=1.0) == (True, "largest difference 0.5, allowed 1")


def test_a_nan_is_not_within_any_tolerance(tmp_path: Path, recorded: dict[str, np.ndarray]) -> None:
    """A recording with NaN fails."""
    recorded["out.logp"][0, 0] = np.nan
    assert _check(tmp_path, recorded) == (False, "output logp of step 0: differs by nan, allowed 0.001")


def test_a_wrong_shape_is_found(tmp_path: Path, recorded: dict[str, np.ndarray]) -> None:
    """Shapes are compared before values."""
    recorded["out.ids"] = recorded["out.ids"][:, :3]
    assert _check(tmp_path, recorded) == (False, "output ids of step 0: expected shape [3], got [4]")


def test_a_missing_tensor_is_named(tmp_path: Path, recorded: dict[str, np.ndarray]) -> None:
    """A recording must hold every input and output."""
    del recorded["out.logp"]
    detail = "cannot be replayed: expected in.pcm, out.ids, out.logp, lacks out.logp"
    assert _check(tmp_path, recorded) == (False, detail)


def test_uneven_steps_are_refused(tmp_path: Path, recorded: dict[str, np.ndarray]) -> None:
    """All tensors of a recording have the same number of steps."""
    recorded["out.ids"] = recorded["out.ids"][:4]
    detail = "cannot be replayed: expected as many steps of every tensor, got [4, 6]"
    assert _check(tmp_path, recorded) == (False, detail)


def test_an_input_the_graph_refuses_is_a_failed_check(tmp_path: Path, recorded: dict[str, np.ndarray]) -> None:
    """What ONNX Runtime raises becomes a line of the report."""
    recorded["in.pcm"] = recorded["in.pcm"][:, :100]
    ok, detail = _check(tmp_path, recorded)
    assert not ok
    assert detail.startswith("cannot be replayed: step 0 raised ")


def test_a_damaged_bundle_is_a_report(tmp_path: Path) -> None:
    """Damage does not raise: it is the one failed check."""
    folder = write_counter_asr(tmp_path)
    damage.missing_file(folder)
    bundle, report = check_files(folder)
    assert bundle is None
    assert not report.ok
    assert str(report) == (
        "bundle counter-asr\nFAIL files and signatures: bundle counter-asr: graph step: file step.onnx is missing"
    )


def test_a_good_bundle_is_loaded_and_reported(tmp_path: Path) -> None:
    """The report reads as lines."""
    bundle, report = check_files(write_counter_asr(tmp_path))
    assert bundle is not None
    assert report.ok
    assert str(report) == "bundle counter-asr@1.0.0\nok   files and signatures: 1 graphs match the manifest"
