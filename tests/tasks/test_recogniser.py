"""What a manifest must say for a recogniser, and what its graph may return."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.errors import BundleError, InvalidRequest, ModelFault
from streamer.tasks.decoding import Decoding
from streamer.tasks.options import TaskOptions
from streamer.tasks.recogniser import Recogniser
from streamer.tasks.registry import task_maker
from streamer.tasks.transcribe import Transcribe
from tests.tasks import toy


def recogniser(tmp_path: Path, data: dict[str, Any]) -> Recogniser:
    toy.write_tokens(tmp_path)
    return Recogniser.of(toy.parsed(data), tmp_path)


def test_reads_the_manifest(tmp_path: Path) -> None:
    """Roles, parameters and assets arrive where they are used."""
    read = recogniser(tmp_path, toy.manifest())
    assert (read.ids, read.logps, read.blank_id, read.flush_samples) == ("ids", "logp", 0, toy.FLUSH)
    assert (read.timing.sample_rate, read.timing.frame_samples, read.timing.token_delay_samples) == (16000, 160, 320)
    assert read.vocabulary.pieces == tuple(toy.PIECES)


def without(part: str, name: str) -> dict[str, Any]:
    data = toy.manifest()
    del data["task"][part][name]
    return data


def with_value(part: str, name: str, value: Any) -> dict[str, Any]:
    data = toy.manifest()
    data["task"][part][name] = value
    return data


def with_graph(**changes: Any) -> dict[str, Any]:
    data = toy.manifest()
    data["graphs"][0].update(changes)
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (without("roles", "pcm"), "task transcribe needs the role pcm"),
        (without("roles", "token_ids"), "task transcribe needs the role token_ids"),
        (without("roles", "token_logp"), "task transcribe needs the role token_logp"),
        (with_value("roles", "pcm", "step.ids"), "role pcm: ids is on the wrong side of graph step"),
        (with_value("roles", "token_ids", "step.pcm"), "role token_ids: pcm is on the wrong side of graph step"),
        (
            with_value("roles", "token_ids", "step.logp"),
            "role token_ids: expected TYPE_INT64 of one dimension, got TYPE_FP32 [5]",
        ),
        (without("parameters", "blank_id"), "task transcribe needs the parameter blank_id"),
        (without("parameters", "frame_samples"), "task transcribe needs the parameter frame_samples"),
        (without("parameters", "token_delay_samples"), "task transcribe needs the parameter token_delay_samples"),
        (without("parameters", "flush_samples"), "task transcribe needs the parameter flush_samples"),
        (with_value("parameters", "blank_id", -1), "parameter blank_id: expected an integer from 0, got -1"),
        (with_value("parameters", "blank_id", True), "parameter blank_id: expected an integer from 0, got True"),
        (with_value("parameters", "frame_samples", 0), "parameter frame_samples: expected an integer from 1, got 0"),
        (
            with_value("parameters", "frame_samples", 1.5),
            "parameter frame_samples: expected an integer from 1, got 1.5",
        ),
        (
            with_value("parameters", "flush_samples", 10),
            "parameter flush_samples: expected an integer from 160, got 10",
        ),
        (without("assets", "tokens"), "task transcribe needs the asset tokens"),
        (with_graph(audio=None), "role pcm: graph step has no audio input pcm"),
        (
            with_value("parameters", "frame_samples", 320),
            "expected frames that cover the hop, or n_valid, got 5 frames of 320 samples for a hop of 800",
        ),
        (
            with_graph(audio={"input": "pcm", "chunk_samples": 700, "hop_samples": 800, "delay_samples": 800}),
            "hop of 800 samples exceeds chunk of 700",
        ),
    ],
)
def test_refuses_bad_bundles(tmp_path: Path, data: dict[str, Any], message: str) -> None:
    """A bundle that does not fit the task is refused before any audio comes."""
    with pytest.raises(BundleError) as caught:
        recogniser(tmp_path, data)
    assert str(caught.value) == f"bundle toy: {message}"


def test_refuses_roles_of_several_graphs(tmp_path: Path) -> None:
    """One call per chunk means one graph."""
    data = toy.manifest()
    data["graphs"].append({**data["graphs"][0], "name": "other"})
    data["task"]["roles"]["token_logp"] = "other.logp"
    with pytest.raises(BundleError, match="expected pcm, token_ids and token_logp in one graph"):
        recogniser(tmp_path, data)


def variable(tmp_path: Path) -> Recogniser:
    data = with_graph(n_valid="n", first_frame="first")
    data["graphs"][0]["outputs"] += [
        {"name": "n", "data_type": "TYPE_INT64", "dims": []},
        {"name": "first", "data_type": "TYPE_INT64", "dims": []},
    ]
    return recogniser(tmp_path, data)


def outputs(n: int, first: int, frames: int = 5, scores: int = 5) -> dict[str, np.ndarray]:
    return {
        "ids": np.arange(frames),
        "logp": np.zeros(scores, np.float32),
        "n": np.array(n),
        "first": np.array([first]),
    }


def test_variable_frames(tmp_path: Path) -> None:
    """Only valid frames count, from the frame that the graph names."""
    frames = variable(tmp_path).frames(outputs(n=3, first=7), frames_done=4)
    assert (frames.first, frames.ids.tolist(), len(frames.logps)) == (7, [0, 1, 2], 3)
    assert variable(tmp_path).frames(outputs(n=0, first=0), frames_done=4).first == 4


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (outputs(6, 7), "expected 0 to 5 valid frames, got 6"),
        (outputs(-1, 7), "expected 0 to 5 valid frames, got -1"),
        (outputs(2, 3), "expected a first frame of at least 4, got 3"),
        (outputs(2, 4, scores=4), r"expected one log-probability per token, got (4,) for (5,)"),
        ({"logp": np.zeros(5)}, "graph step returned no ids"),
    ],
)
def test_refuses_bad_outputs(tmp_path: Path, made: dict[str, np.ndarray], message: str) -> None:
    """A graph that breaks its word is a model fault."""
    with pytest.raises(ModelFault) as caught:
        variable(tmp_path).frames(made, frames_done=4)
    assert str(caught.value) == message


def test_registry(tmp_path: Path) -> None:
    """The kind of the bundle chooses the host loop; other kinds are not served."""
    toy.write_tokens(tmp_path)
    assert isinstance(task_maker(toy.parsed(toy.manifest()), tmp_path)(TaskOptions()), Transcribe)
    with pytest.raises(
        InvalidRequest, match=r"^expected a model for transcribe or vad or codec or synthesize, toy is for enhance$"
    ):
        task_maker(toy.parsed(toy.manifest(kind="enhance")), tmp_path)


def test_a_beam_needs_a_model_for_it(tmp_path: Path) -> None:
    """A search that the bundle cannot do is refused when the stream is made, by the option that asks for it."""
    toy.write_tokens(tmp_path)
    make = task_maker(toy.parsed(toy.manifest()), tmp_path)
    with pytest.raises(InvalidRequest, match=r"^model toy has no beam search, got decoding method beam$"):
        make(TaskOptions(decoding=Decoding("beam")))
    with pytest.raises(InvalidRequest, match=r"^model toy has no beam search, got decoding n_best$"):
        make(TaskOptions(decoding=Decoding(n_best=2)))


def test_streams_do_not_read_the_disk(tmp_path: Path) -> None:
    """A folder that is replaced under a running server changes no text of it."""
    toy.write_tokens(tmp_path)
    make = task_maker(toy.parsed(toy.manifest()), tmp_path)
    (tmp_path / "tokens.txt").unlink()
    task = make(TaskOptions())
    ids = np.array([toy.IDS["\u2581a"], 0, 0, 0, 0])
    task.complete({"ids": ids, "logp": np.zeros(5, np.float32)})
    assert [transcript.text for transcript in task.finish_segment()] == ["a"]
