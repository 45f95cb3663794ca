"""NeMo, WeNet, T-one and Paraformer models, imported by the command's own way and run in the engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from streamer.bundle.loader import Bundle
from streamer.bundle.sherpa.importing import type_of
from streamer.bundle.sherpa.source import find_files, read_model
from streamer.engine.check import check_bundle
from streamer.engine.runner import Runner
from streamer.tasks.base import Task, Transcript
from streamer.tasks.options import TaskOptions
from streamer.tasks.registry import task_maker
from streamer.work import Lease, Row
from tests.bundle.sherpa import nemo_toys, paraformer_toys, served, t_one_toys, wenet_toys
from tests.engine.support import make_dirty, runner_of

TOYS: dict[str, Callable[[Path], Path]] = {
    "nemo_ctc": nemo_toys.write_ctc,
    "nemo_transducer": nemo_toys.write_transducer,
    "paraformer": paraformer_toys.write_model,
    "t_one_ctc": t_one_toys.write_model,
    "wenet_ctc": wenet_toys.write_model,
}
SIGNALS = served.speech(5)


@pytest.fixture(scope="module", params=list(TOYS))
def imported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Bundle]:
    """A type, the files of a toy of that type, and the bundle that was made of them."""
    folder = tmp_path_factory.mktemp(request.param)
    source = folder / "model"
    source.mkdir()
    TOYS[request.param](source)
    return request.param, source, served.import_bundle(source, folder / "bundle")


def test_types_are_told_by_their_metadata(imported: tuple[str, Path, Bundle]) -> None:
    """Nobody has to say what kind of model a folder holds."""
    kind, source, _ = imported
    assert type_of({part: read_model(path) for part, path in find_files(source).items()}) == kind


def test_the_check_of_the_server_passes(imported: tuple[str, Path, Bundle]) -> None:
    """Task, starts and state in place are as the engine wants them."""
    report = check_bundle(imported[2].folder)
    assert report.ok, str(report)


def test_streams_do_not_hear_each_other(imported: tuple[str, Path, Bundle]) -> None:
    """Streams that are interleaved in used slots, in batches where the model has them, say what each says alone."""
    bundle, said = imported[2], 0
    both = served.run_alone(bundle, SIGNALS), served.run_together(bundle, SIGNALS)
    for alone, together in zip(*both, strict=True):
        np.testing.assert_array_equal(together.ids, alone.ids)
        np.testing.assert_allclose(together.logps, alone.logps, atol=1e-5)
        said += np.count_nonzero(np.array(alone.ids) != bundle.manifest.task.parameters["blank_id"])
    assert said > 20


def transcribe(bundle: Bundle, signal: np.ndarray) -> tuple[Transcript, Transcript]:
    """The last interim, and the final, of a signal whose whole chunks are one segment."""
    task: Task = task_maker(bundle.manifest, bundle.folder)(TaskOptions())
    runner: Runner = runner_of(bundle)
    make_dirty(runner)
    interims: list[Transcript] = []
    for chunk in range(served.chunks_of(bundle, signal)):
        begin = chunk * task.hop_samples
        step = task.step(signal[begin : begin + task.chunk_samples])
        row = Row((Lease(bundle.key, "stream", 2, 1),), step.inputs, step.start)
        (result,) = runner.run(step.target, [row])
        interims += task.complete(result.outputs)
    (final,) = task.finish_segment()
    return interims[-1], final


def test_a_segment_ends_with_what_paraformer_has_gathered(tmp_path: Path) -> None:
    """The final has one more token than sherpa-onnx would say: what was gathered of it and never fired."""
    source = tmp_path / "model"
    source.mkdir()
    bundle = served.import_bundle(paraformer_toys.write_model(source), tmp_path / "bundle")
    grown = 0
    for signal in SIGNALS:
        interim, final = transcribe(bundle, signal)
        assert final.text.startswith(interim.text)
        assert len(final.text) - len(interim.text) in (0, 1)
        grown += len(final.text) - len(interim.text)
    assert 0 < grown < len(SIGNALS)


def test_all_symbols_of_a_frame_are_one_place_in_time(tmp_path: Path) -> None:
    """A transducer that says ten symbols in every frame says them within the audio."""
    source = tmp_path / "model"
    source.mkdir()
    bundle = served.import_bundle(nemo_toys.write_transducer(source, blank_bias=-9.0), tmp_path / "bundle")
    _, final = transcribe(bundle, SIGNALS[0][:12000])
    frames = served.chunks_of(bundle, SIGNALS[0][:12000]) * nemo_toys.FRAMES
    assert len(final.text.replace(" ", "")) == 10 * frames
    assert final.end_sample <= 12000
