"""The runner: batches, faults that stay with their row, snapshots."""

from __future__ import annotations

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from streamer.engine.execution import Mode
from streamer.engine.metrics import EngineMetrics
from streamer.engine.runner import Runner, Snapshot
from streamer.errors import InvalidRequest, ModelFault
from streamer.work import Array, Result, Row
from tests.engine.conftest import Toys
from tests.engine.support import BOTH, lease, loud_audio, make_dirty, row, runner_of
from tests.toys import (
    counter_expected,
    speaker_expected,
    write_beams,
    write_counter_asr,
    write_faulty,
    write_ragged,
    write_speaker,
    write_variants,
)

ALL = frozenset({"all"})
NOWHERE = np.array(9, np.int64)
FIRST = np.array(0, np.int64)


def _wide_faulty(folder):  # type: ignore[no-untyped-def]
    """Rows too large for a journal of a graph that never raised."""
    return write_faulty(folder, memory=1 << 16)


def _faulty_row(slot: int, x: float, index: Array = FIRST, start: bool = False) -> Row:
    return row(slot, ALL if start else (), x=x, index=index)


def _values(results: list[Result]) -> list[float | str]:
    return [str(result.error) if result.error else float(result.outputs["y"][0]) for result in results]


def _started(runner: Runner) -> Runner:
    """The slots 0 to 2 have totals 1, 2 and 3."""
    runner.run("step", [_faulty_row(slot, float((slot + 1) ** 2), start=True) for slot in range(3)])
    return runner


def test_groups_are_copied_alone(toy: Toys) -> None:
    """Some groups of a lease can be read and written back without the others."""
    runner = runner_of(toy(write_counter_asr), slots=3)
    make_dirty(runner)
    before = runner.snapshot([lease(1)])
    search = runner.snapshot([lease(1)], ["search"])
    assert search.tensors.keys() == {"last"}
    runner.run("step", [row(1, BOTH, pcm=loud_audio(np.random.default_rng(0), 1))])
    after = runner.snapshot([lease(1)])
    runner.restore([lease(1)], search, ["search"])
    found = runner.snapshot([lease(1)]).tensors
    assert found["last"].tolist() == before.tensors["last"].tolist() != after.tensors["last"].tolist()
    assert found["total"].tolist() == after.tensors["total"].tolist()
    with pytest.raises(InvalidRequest, match=r"^snapshot: expected states \['last', 'total'\], got \['last'\]$"):
        runner.restore([lease(1)], search)


@pytest.mark.parametrize("count", [1, 3, 8, 13])
def test_any_number_of_rows_is_run(toy: Toys, count: int) -> None:
    """Rows are padded to a bucket and split at the largest batch, and results keep their order."""
    runner = runner_of(toy(write_counter_asr), slots=13)
    make_dirty(runner)
    pcm = [loud_audio(np.random.default_rng(seed), 1) + np.float32(0.05) for seed in range(count)]
    results = runner.run("step", [row(slot, BOTH, pcm=pcm[slot]) for slot in range(count)])
    for audio, result in zip(pcm, results, strict=True):
        assert result.outputs["ids"].tolist() == counter_expected(audio)[0].tolist()


def test_a_graph_may_limit_its_batch(toy: Toys) -> None:
    """The smaller of the manifest's and the setting's limit counts; a program's is that of its graphs with state."""
    assert runner_of(toy(write_counter_asr), max_batch=4).max_batch("step") == 4
    assert runner_of(toy(write_counter_asr), max_batch=4).max_batch("some_program") == 4
    bundle = toy(write_variants)
    graphs = tuple(graph.model_copy(update={"max_batch": 2}) for graph in bundle.manifest.graphs)
    limited = type(bundle)(bundle.folder, bundle.manifest.model_copy(update={"graphs": graphs}), bundle.digest)
    assert runner_of(limited).max_batch("short") == 2
    assert runner_of(limited).max_batch("some_program") == 2


def test_variants_share_their_state(toy: Toys) -> None:
    """A stream may go on with another length of the same graph."""
    runner = runner_of(toy(write_variants))
    make_dirty(runner)
    (first,) = runner.run("short", [row(3, ALL, x=np.ones(4, np.float32))])
    (second,) = runner.run("long", [row(3, x=np.ones(8, np.float32))])
    (third,) = runner.run("short", [row(3, x=np.ones(4, np.float32))])
    assert [result.outputs["y"][0] for result in (first, second, third)] == [4, 12, 16]


def test_a_group_restarts_while_another_lives(toy: Toys) -> None:
    """Starting `search` forgets the last token and keeps the running sum."""
    runner = runner_of(toy(write_counter_asr))
    make_dirty(runner)
    pcm = loud_audio(np.random.default_rng(1), 12)
    seen = []
    for index, chunk in enumerate(pcm.reshape(-1, 320)):
        start = BOTH if index == 0 else {"search"} if index == 9 else ()
        seen.append(runner.run("step", [row(2, start, pcm=chunk)])[0].outputs["ids"])
    assert np.array_equal(seen, counter_expected(pcm, frozenset({9})))
    assert not np.array_equal(seen, counter_expected(pcm))


def test_ragged_outputs_count_their_frames(toy: Toys) -> None:
    """`n_valid` and `first_frame` are scalars per row."""
    runner = runner_of(toy(write_ragged))
    make_dirty(runner)
    seen = []
    for index in range(5):
        (result,) = runner.run("step", [row(0, ALL if index == 0 else (), pcm=np.zeros(8, np.float32))])
        seen.append((int(result.outputs["n_valid"]), int(result.outputs["first_frame"])))
    assert seen == [(1, 0), (2, 1), (3, 3), (1, 6), (2, 7)]


def test_free_lengths_are_batched_by_shape(toy: Toys) -> None:
    """Rows of other lengths run in calls of their own, and all results come back in order."""
    runner = runner_of(toy(write_speaker))
    texts = [np.arange(length, dtype=np.int64) for length in (3, 5, 3, 1)]
    frames = runner.run("frames", [Row((), {"tokens": text}) for text in texts])
    pcm = runner.run("vocoder", [Row((), {"frames": result.outputs["frames"]}) for result in frames])
    for text, result in zip(texts, pcm, strict=True):
        np.testing.assert_array_equal(result.outputs["pcm"], speaker_expected(text))


def test_what_is_known_of_fit_rows_is_bounded(toy: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lengths that were forgotten are checked anew, and what is unfit stays so beside what is fit."""
    monkeypatch.setattr("streamer.engine.runner._MOST_FIT", 2)
    runner = runner_of(toy(write_speaker))
    for length in (1, 2, 3, 4, 1, 3):
        text = np.arange(length, dtype=np.int64)
        fit, unfit = runner.run("frames", [Row((), {"tokens": text}), Row((), {"tokens": text.astype(np.int32)})])
        (spoken,) = runner.run("vocoder", [Row((), {"frames": fit.outputs["frames"]})])
        np.testing.assert_array_equal(spoken.outputs["pcm"], speaker_expected(text))
        assert str(unfit.error).endswith(f"input tokens: expected int64 [-1], got int32 [{length}]")


def test_a_second_lease_joins_mid_stream(toy: Toys) -> None:
    """A beam that starts late reads the memory its stream has built, and nothing of its slot's past."""
    runner = runner_of(toy(write_beams))
    make_dirty(runner)
    x = {"x": np.ones(4, np.float32)}
    runner.run("encode", [Row((lease(1),), x, frozenset({"encoder"}))])
    runner.run("encode", [Row((lease(1),), x)])
    token = {"token": np.array([5], np.int64)}
    beams = [Row((lease(1), lease(beam, "beam")), token, frozenset({"search"})) for beam in (3, 0)]
    assert [result.outputs["score"][0] for result in runner.run("decode", beams)] == [13.0, 13.0]


def test_an_unfit_row_faults_alone(toy: Toys) -> None:
    """A wrong input never reaches the graph and does not hurt its neighbours."""
    runner = runner_of(toy(write_variants))
    good, bad = np.ones(4, np.float32), np.ones(5, np.float32)
    results = runner.run("short", [row(0, ALL, x=good), row(1, ALL, x=bad), row(2, ALL, x=good)])
    message = "bundle variants@1.0.0: graph short: input x: expected float32 [4], got float32 [5]"
    assert _values(results) == [4.0, message, 4.0]
    assert isinstance(results[1].error, ModelFault)


@pytest.mark.parametrize("mode", Mode)
def test_a_nan_faults_its_row_alone(toy: Toys, mode: Mode) -> None:
    """Neighbours go on, and the slot is clean for the next stream."""
    runner = _started(runner_of(toy(write_faulty), mode))
    results = runner.run("step", [_faulty_row(0, 1), _faulty_row(1, -1), _faulty_row(2, 1)])
    assert _values(results) == [12.0, "bundle faulty@1.0.0: graph step: output y is not finite", 14.0]
    assert runner.arenas.front["total"].read(range(3))[:, 0].tolist() == [2, 0, 4]


@pytest.mark.parametrize("mode", Mode)
def test_an_exception_faults_the_row_that_raises_alone(toy: Toys, mode: Mode) -> None:
    """The others run again, from the state they had: this graph writes its state before it raises."""
    runner = _started(runner_of(toy(write_faulty), mode))
    with capture_logs() as logs:
        results = runner.run("step", [_faulty_row(0, 1), _faulty_row(1, 1, NOWHERE), _faulty_row(2, 1)])
    assert _values(results) == [12.0, "bundle faulty@1.0.0: graph step: inference failed", 14.0]
    assert runner.arenas.front["total"].read(range(3))[:, 0].tolist() == [2, 0, 4]
    assert [(entry["event"], entry["rows"]) for entry in logs] == [("graph raised", 1)]


def test_large_rows_are_journalled_after_the_first_exception(toy: Toys) -> None:
    """The first exception of a graph with large rows faults its batch, for its state is unknown; later ones do not."""
    runner = _started(runner_of(toy(_wide_faulty)))
    message = "bundle faulty@1.0.0: graph step: inference failed"
    first = runner.run("step", [_faulty_row(0, 1), _faulty_row(1, 1, NOWHERE)])
    assert _values(first) == [message, message]
    second = runner.run("step", [_faulty_row(0, 1, start=True), _faulty_row(1, 1, NOWHERE), _faulty_row(2, 1)])
    assert _values(second) == [11.0, message, 14.0]


def test_two_rows_cannot_write_one_slot(toy: Toys) -> None:
    """Rows of one slot would overwrite each other in one batch, so they run alone, in order."""
    runner = runner_of(toy(write_variants))
    one = row(1, ALL, x=np.ones(4, np.float32))
    results = runner.run("short", [one, row(1, x=np.ones(4, np.float32))])
    assert _values(results) == [4.0, 8.0]


def test_an_unknown_graph_is_a_key_error(toy: Toys) -> None:
    """Asking for a graph that is not there is a bug of the caller."""
    runner = runner_of(toy(write_variants))
    assert not runner.has_graph("middle")
    with pytest.raises(KeyError):
        runner.run("middle", [])


@pytest.mark.parametrize("write", [write_counter_asr, write_beams, write_ragged, write_speaker, write_variants])
def test_warm_up_and_canary_touch_no_stream(toy: Toys, write) -> None:  # type: ignore[no-untyped-def]
    """Padding alone changes scratch rows only."""
    runner = runner_of(toy(write))
    make_dirty(runner)
    before = {name: arena.read(range(6)) for name, arena in runner.arenas.front.items()}
    runner.warm_up()
    runner.canary()
    for name, rows in before.items():
        np.testing.assert_array_equal(runner.arenas.front[name].read(range(6)), rows)


def test_a_graph_that_raises_cannot_warm_up(toy: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken graph with fixed dimensions is found before the first stream."""
    runner = runner_of(toy(write_variants))
    monkeypatch.setattr(runner, "_call", _raise)
    for check in (runner.warm_up, runner.canary):
        with pytest.raises(ModelFault, match=r"^bundle variants@1\.0\.0: graph short: inference failed$"):
            check()


def test_a_graph_of_free_lengths_may_refuse_the_warm_up(toy: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    """The arbitrary length that is tried proves nothing."""
    runner = runner_of(toy(write_speaker), max_batch=1)
    monkeypatch.setattr(runner, "_call", _raise)
    with capture_logs() as logs:
        runner.warm_up()
        runner.canary()
    assert [(entry["event"], entry["graph"]) for entry in logs] == [
        ("warm-up skipped", "frames"),
        ("warm-up skipped", "vocoder"),
    ]


def _raise(*_: object) -> None:
    raise RuntimeError("broken")


@pytest.mark.parametrize("mode", Mode)
def test_a_restored_stream_goes_on_in_another_slot(toy: Toys, mode: Mode) -> None:
    """Snapshot, restore elsewhere among dirty slots, and the tokens are those of one uninterrupted stream."""
    pcm = loud_audio(np.random.default_rng(2), 10)
    chunks = pcm.reshape(-1, 320)
    first, second = runner_of(toy(write_counter_asr), mode), runner_of(toy(write_counter_asr), mode)
    make_dirty(first, 1)
    make_dirty(second, 2)
    seen = [first.run("step", [row(0, BOTH if i == 0 else (), pcm=chunks[i])])[0].outputs["ids"] for i in range(5)]
    second.restore([lease(4)], first.snapshot([lease(0)]))
    seen += [second.run("step", [row(4, pcm=chunks[i])])[0].outputs["ids"] for i in range(5, 10)]
    assert np.array_equal(seen, counter_expected(pcm))


def test_a_fork_and_its_source_do_not_hear_each_other(toy: Toys) -> None:
    """After a fork both go their own ways from one state."""
    runner = runner_of(toy(write_variants))
    runner.run("short", [row(0, ALL, x=np.ones(4, np.float32))])
    runner.fork([lease(0)], [lease(5)])
    results = runner.run("short", [row(0, x=np.ones(4, np.float32)), row(5, x=np.full(4, 2, np.float32))])
    assert _values(results) == [8.0, 12.0]


def test_a_snapshot_holds_the_pools_of_its_leases(toy: Toys) -> None:
    """Rows are in the order of the leases; pools without a lease are left out."""
    runner = runner_of(toy(write_beams))
    make_dirty(runner)
    history = runner.arenas.front["history"].read([4, 2])
    snapshot = runner.snapshot([lease(4, "beam"), lease(2, "beam")])
    assert list(snapshot.tensors) == ["history"]
    np.testing.assert_array_equal(snapshot.tensors["history"], history)
    assert snapshot.digest == runner.bundle.digest


def test_a_snapshot_that_does_not_fit_is_refused(toy: Toys) -> None:
    """Another bundle, other states, types or numbers of rows: refused, and nothing is written."""
    runner = runner_of(toy(write_variants))
    digest = runner.bundle.digest
    total = np.full((1, 1), 7, np.float32)
    cases = [
        (
            Snapshot("f" * 64, {"total": total}),
            f"snapshot of another bundle: expected digest {digest[:12]}, got ffffffffffff",
        ),
        (Snapshot(digest, {"sum": total}), "snapshot: expected states ['total'], got ['sum']"),
        (Snapshot(digest, {"total": total[:0]}), "snapshot of total: expected float32 [1, 1], got float32 [0, 1]"),
        (
            Snapshot(digest, {"total": total.astype(np.float64)}),
            "snapshot of total: expected float32 [1, 1], got float64 [1, 1]",
        ),
    ]
    for snapshot, message in cases:
        with pytest.raises(InvalidRequest) as caught:
            runner.restore([lease(0)], snapshot)
        assert str(caught.value) == message
    assert not runner.arenas.front["total"].read(range(6)).any()


def test_calls_and_faults_are_counted(toy: Toys) -> None:
    """Step time by bucket, rows by batch, faults by graph; warm-up does not count."""
    registry = CollectorRegistry()
    runner = runner_of(toy(write_faulty), metrics=EngineMetrics(registry))
    _started(runner)
    runner.run("step", [_faulty_row(0, -1)])
    labels = {"bundle": "faulty@1.0.0", "graph": "step"}
    assert registry.get_sample_value("streamer_step_seconds_count", {**labels, "bucket": "4"}) == 1
    assert registry.get_sample_value("streamer_step_seconds_count", {**labels, "bucket": "1"}) == 1
    assert registry.get_sample_value("streamer_batch_rows_sum", labels) == 4
    assert registry.get_sample_value("streamer_faults_total", labels) == 1
