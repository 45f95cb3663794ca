"""Where speech begins and ends, from probabilities per frame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.bundle.manifest import read_manifest
from streamer.errors import BundleError, InvalidRequest, ModelFault
from streamer.tasks.base import Activity
from streamer.tasks.decoding import Decoding
from streamer.tasks.detection import Vad, check_vad
from streamer.tasks.options import TaskOptions
from streamer.tasks.registry import program_of, task_maker
from streamer.tasks.vad import Detection, DetectSpeech
from tests.toys import edit_manifest, write_listener
from tests.toys.listener import FRAME, LATE

PER_STEP = 4
# Frames of 5 ms: 4 of speech, 6 of silence.
OPTIONS = Vad(min_speech_s=0.02, min_silence_s=0.03)


@pytest.fixture(scope="module")
def detection(tmp_path_factory: pytest.TempPathFactory) -> Detection:
    return Detection.of(read_manifest(write_listener(tmp_path_factory.mktemp("listener"))))


def steps(frames: str) -> list[np.ndarray]:
    """Outputs of steps: `#` is speech, `-` may go on as speech, `.` is silence; late as the toy is."""
    values = [{"#": 0.9, "-": 0.4, ".": 0.0}[frame] for frame in "." * LATE + frames]
    values += [0.0] * (-len(values) % PER_STEP)
    return list(np.array(values, np.float32).reshape(-1, PER_STEP))


def hear(task: DetectSpeech, frames: str, is_padded: bool = False) -> list[Activity]:
    return [found for values in steps(frames) for found in task.complete({"speech": values}, is_padded)]


def at(kind: str, frame: int) -> Activity:
    return Activity(kind, frame * FRAME)


def test_speech_begins_at_its_first_frame_and_ends_after_its_last(detection: Detection) -> None:
    """The start is moved back to where the run began, the end to where silence did."""
    task = DetectSpeech(detection, OPTIONS)
    found = hear(task, "......########..........####.........")
    assert found == [at("speech_start", 6), at("speech_end", 14), at("speech_start", 24), at("speech_end", 28)]


def test_short_sounds_and_short_pauses_do_not_count(detection: Detection) -> None:
    """A run below `min_speech_s` is no speech, a gap below `min_silence_s` is no end, a doubtful frame is neither."""
    task = DetectSpeech(detection, OPTIONS)
    assert hear(task, "....##........") == []
    task = DetectSpeech(detection, OPTIONS)
    assert hear(task, "....######...######..........") == [at("speech_start", 4), at("speech_end", 19)]
    task = DetectSpeech(detection, OPTIONS)
    assert hear(task, "--------............") == []


def test_a_threshold_moves_both_ends_of_the_hysteresis(detection: Detection) -> None:
    """What may only go on as speech at the default threshold begins it at a lower one."""
    task = DetectSpeech(detection, Vad(threshold=0.3, min_speech_s=0.02, min_silence_s=0.03))
    assert [found.kind for found in hear(task, "....--------............")] == ["speech_start", "speech_end"]


def test_padding_ends_no_speech_but_the_end_does(detection: Detection) -> None:
    """Made-up silence is no pause; `finish_segment` ends what goes on, once."""
    task = DetectSpeech(detection, OPTIONS)
    assert hear(task, "..########") == [at("speech_start", 2)]
    assert [found for _ in range(5) for found in task.complete({"speech": np.zeros(4)}, is_padded=True)] == []
    assert task.finish_segment() == [at("speech_end", 10)]
    assert task.finish_segment() == []


def test_spans_are_what_may_be_speech(detection: Detection) -> None:
    """A gate learns of every frame that may be speech, however short, and forgets the past when told to."""
    task = DetectSpeech(detection, OPTIONS)
    task.keep_spans()
    hear(task, "....#####.........######........")
    assert task.spans == [(4 * FRAME, 9 * FRAME), (18 * FRAME, 24 * FRAME)]
    assert task.heard >= 32 * FRAME
    task.forget(9 * FRAME)
    assert task.spans == [(18 * FRAME, 24 * FRAME)]


def test_what_is_remembered_does_not_grow_with_the_stream(detection: Detection) -> None:
    """Nobody forgets spans where nobody asks for them: a resume token of a long stream would not fit."""
    task = DetectSpeech(detection, OPTIONS)
    hear(task, "..#######.........")
    begun = len(json.dumps(task.state()))
    hear(task, "..#######........." * 500)
    assert len(json.dumps(task.state())) < begun + 20


@settings(max_examples=50, deadline=None)
@given(frames=st.text("#-.", min_size=1, max_size=120), cut=st.integers(0, 30))
def test_a_task_can_be_written_down_between_any_two_steps(detection: Detection, frames: str, cut: int) -> None:
    """A restored task says what the first one would; starts and ends alternate, in order."""
    task, found = DetectSpeech(detection, OPTIONS), []
    for index, values in enumerate(steps(frames)):
        if index == cut:
            state = json.loads(json.dumps(task.state()))
            task = DetectSpeech(detection, OPTIONS)
            task.restore(state)
        found += task.complete({"speech": values})
    found += task.finish_segment()
    assert found == [*hear(other := DetectSpeech(detection, OPTIONS), frames), *other.finish_segment()]
    assert [event.kind for event in found] == ["speech_start", "speech_end"] * (len(found) // 2)
    assert [event.sample for event in found] == sorted(event.sample for event in found)


def test_a_skipped_chunk_is_silence(detection: Detection) -> None:
    """Skipping counts the frames of the chunk as silence, and the next step starts anew."""
    task = DetectSpeech(detection, OPTIONS)
    assert task.step(np.zeros(320, np.float32)).start == {"encoder"}
    assert hear(task, "..########") == [at("speech_start", 2)]
    assert task.step(np.zeros(320, np.float32)).start == set()
    assert [*task.skip(), *task.skip()] == [at("speech_end", 10)]
    assert task.step(np.zeros(320, np.float32)).start == {"encoder"}


@pytest.mark.parametrize("values", [np.zeros(3), np.full(4, 1.5), np.array([0, 0, np.nan, 0])])
def test_bad_outputs_are_a_fault(detection: Detection, values: np.ndarray) -> None:
    """A graph that returns other lengths, or no probabilities, breaks its word."""
    with pytest.raises(ModelFault, match="probabilities of speech"):
        DetectSpeech(detection, OPTIONS).complete({"speech": values})


def _without(role: str) -> Any:
    return lambda manifest: manifest["task"]["roles"].pop(role)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("pcm"), r"^bundle listener: task vad needs the role pcm$"),
        (_without("speech"), r"^bundle listener: task vad needs the role speech$"),
        (
            lambda m: m["task"]["parameters"].pop("frame_samples"),
            r"^bundle listener: task vad needs the parameter frame_samples$",
        ),
        (lambda m: m["task"]["parameters"].update(frame_samples=81), r"expected whole frames that cover the hop, got"),
        (lambda m: m["task"]["parameters"].update(speech_delay_samples=7), r"expected whole frames that cover the hop"),
        (lambda m: m["task"]["roles"].update(speech="step.pcm"), r"role speech: pcm is on the wrong side of graph"),
    ],
)
def test_a_manifest_says_what_it_lacks(tmp_path: Path, change: Any, message: str) -> None:
    """Roles and parameters are checked when the bundle is loaded."""
    folder = write_listener(tmp_path)
    edit_manifest(folder, change)
    with pytest.raises(BundleError, match=message):
        task_maker(read_manifest(folder), folder)


def test_the_registry_makes_detectors(tmp_path: Path) -> None:
    """A detector has no program, and refuses options of a search."""
    folder = write_listener(tmp_path)
    manifest = read_manifest(folder)
    make = task_maker(manifest, folder)
    assert program_of(manifest, folder) is None
    assert isinstance(make(TaskOptions()), DetectSpeech)
    with pytest.raises(InvalidRequest, match=r"^model listener detects speech and has no search, got options of dec"):
        make(TaskOptions(decoding=Decoding("beam")))


@pytest.mark.parametrize(
    ("vad", "message"),
    [
        (Vad(threshold=0.01), r"^expected vad\.threshold from 0\.05 to 0\.95, got 0\.01$"),
        (Vad(threshold=float("nan")), r"^expected vad\.threshold from 0\.05 to 0\.95, got nan$"),
        (Vad(min_speech_s=-1), r"^expected vad\.min_speech_s from 0 to 10, got -1$"),
        (Vad(min_silence_s=float("inf")), r"^expected vad\.min_silence_s from 0 to 10, got inf$"),
    ],
)
def test_bad_options_are_refused(vad: Vad, message: str) -> None:
    """Every option has its range."""
    with pytest.raises(InvalidRequest, match=message):
        check_vad(vad)
