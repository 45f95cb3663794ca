"""Recognisers that say several tokens per frame, and those that hold tokens back until a segment ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.errors import BundleError, ModelFault
from streamer.tasks.recogniser import Recogniser
from tests.tasks import toy

FRAMES = toy.HOP // toy.FRAME


def manifest(symbols: int, length: int, **roles: str) -> dict[str, Any]:
    data = toy.manifest()
    data["task"]["parameters"]["symbols_per_frame"] = symbols
    data["task"]["roles"] |= roles
    graph = data["graphs"][0]
    kinds = {"ids": "TYPE_INT64", "logp": "TYPE_FP32"}
    graph["outputs"] = [{"name": name, "data_type": kind, "dims": [length]} for name, kind in kinds.items()]
    graph["outputs"] += [{"name": f"tail_{name}", "data_type": kind, "dims": [1]} for name, kind in kinds.items()]
    graph["outputs"].append({"name": "n", "data_type": "TYPE_INT64", "dims": []})
    return data


def recogniser(tmp_path: Path, data: dict[str, Any]) -> Recogniser:
    toy.write_tokens(tmp_path)
    return Recogniser.of(toy.parsed(data), tmp_path)


TAIL = {"tail_token_ids": "step.tail_ids", "tail_token_logp": "step.tail_logp"}


def test_the_tokens_of_a_frame_follow_each_other(tmp_path: Path) -> None:
    """With three symbols per frame, the token at index 7 belongs to the third frame of the step."""
    read = recogniser(tmp_path, manifest(3, 3 * FRAMES))
    ids = np.arange(3 * FRAMES)
    frames = read.frames({"ids": ids, "logp": np.zeros(3 * FRAMES, np.float32)}, 40)
    assert [frames.frame(index) for index in (0, 2, 3, 7)] == [40, 40, 41, 42]
    assert frames.end == 40 + FRAMES
    np.testing.assert_array_equal(frames.ids, ids)


def test_valid_frames_are_counted_in_frames_not_in_symbols(tmp_path: Path) -> None:
    """Two valid frames of three symbols are six tokens; more frames than the output holds are a fault."""
    data = manifest(3, 3 * FRAMES)
    data["graphs"][0]["n_valid"] = "n"
    read = recogniser(tmp_path, data)
    outputs = {"ids": np.arange(3 * FRAMES), "logp": np.zeros(3 * FRAMES, np.float32), "n": np.array(2)}
    assert len(read.frames(outputs, 0).ids) == 6
    with pytest.raises(ModelFault, match=rf"expected 0 to {FRAMES} valid frames, got {FRAMES + 1}"):
        read.frames({**outputs, "n": np.array(FRAMES + 1)}, 0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (manifest(0, FRAMES), "parameter symbols_per_frame: expected an integer from 1, got 0"),
        (manifest(3, 3 * FRAMES + 1), f"expected a multiple of 3 symbols per frame, got {3 * FRAMES + 1}"),
        (manifest(3, 3 * FRAMES + 3), f"got {FRAMES + 1} frames of 160 samples for a hop of 800"),
        (manifest(1, FRAMES, tail_token_ids="step.tail_ids"), "task transcribe needs the role tail_token_logp"),
        (
            manifest(1, FRAMES, tail_token_ids="step.tail_logp", tail_token_logp="step.tail_logp"),
            r"role tail_token_ids: expected TYPE_INT64 of one dimension, got TYPE_FP32 \[1\]",
        ),
    ],
)
def test_a_manifest_that_does_not_add_up_is_refused(tmp_path: Path, data: dict[str, Any], message: str) -> None:
    """Symbols that do not fill whole frames and half a pair of tail roles are errors when the bundle is read."""
    with pytest.raises(BundleError, match=message):
        recogniser(tmp_path, data)


def test_held_back_tokens_belong_to_the_last_frame(tmp_path: Path) -> None:
    """What the search would still say stands at the last frame of the step that said so."""
    read = recogniser(tmp_path, manifest(1, FRAMES, **TAIL))
    held = read.held_back({"tail_ids": np.array([4]), "tail_logp": np.array([-0.5], np.float32)}, 12)
    assert held is not None
    assert (held.ids.tolist(), held.logps.tolist(), held.frame(0)) == ([4], [-0.5], 11)


def test_without_tail_roles_nothing_is_held_back(tmp_path: Path) -> None:
    """A bundle that names no tail outputs is not asked for any."""
    assert recogniser(tmp_path, manifest(1, FRAMES)).held_back({}, 12) is None


def test_held_back_tokens_without_log_probabilities_are_a_fault(tmp_path: Path) -> None:
    """Ids and log-probabilities of the tail must be equally many."""
    read = recogniser(tmp_path, manifest(1, FRAMES, **TAIL))
    with pytest.raises(ModelFault, match=r"expected one log-probability per held back token, got \(2,\) for \(1,\)"):
        read.held_back({"tail_ids": np.array([4]), "tail_logp": np.zeros(2, np.float32)}, 12)
