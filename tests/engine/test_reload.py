"""Bundles that come and go while streams are served."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from streamer.bundle.loader import Bundle
from streamer.engine.engine import Engine
from streamer.engine.settings import EngineSettings
from streamer.errors import BundleError, UnknownBundle
from tests.engine.conftest import Toys
from tests.engine.support import CounterStream, loud_audio
from tests.toys import counter_expected, write_counter_asr

OLD, NEW = "counter-asr@1.0.0", "counter-asr@1.1.0"


def newer(bundle: Bundle) -> Bundle:
    """The same bundle under the next version."""
    return replace(bundle, manifest=bundle.manifest.model_copy(update={"version": "1.1.0"}))


def engine_of(toy: Toys, registry: CollectorRegistry | None = None) -> Engine:
    settings = EngineSettings(workers=2, max_streams=4)
    engine = Engine([toy(write_counter_asr)], settings, registry=registry or CollectorRegistry())
    engine.prepare()
    return engine


def play(stream: CounterStream) -> None:
    """Drive the stream's worker until the stream is done."""
    while not stream.done:
        if not stream.waiting:
            stream.worker.post(stream.advance)
        stream.worker.run_once()


def test_streams_go_on_while_a_version_replaces_theirs(toy: Toys) -> None:
    """A stream that began with the old version ends with it; a new one gets the new version; both are right."""
    engine = engine_of(toy)
    audio = [loud_audio(np.random.default_rng(seed), 12) for seed in range(2)]
    old = CounterStream(engine.choose_worker(OLD), OLD, audio[0])
    for _ in range(2):
        old.worker.post(old.advance)
        old.worker.run_once()
    engine.add(newer(toy(write_counter_asr)))
    engine.retire(OLD)
    new = CounterStream(engine.choose_worker(NEW), NEW, audio[1])
    play(new)
    play(old)
    for stream, pcm in ((old, audio[0]), (new, audio[1])):
        assert stream.errors == []
        assert np.array_equal(np.concatenate(stream.ids), counter_expected(pcm).reshape(-1))


def test_a_retired_bundle_takes_no_streams_and_leaves_when_empty(toy: Toys) -> None:
    """It cannot be removed under a stream; once it can, nothing of it is left, metrics included."""
    registry = CollectorRegistry()
    engine = engine_of(toy, registry)
    stream = CounterStream(engine.choose_worker(OLD), OLD, loud_audio(np.random.default_rng(0), 2))
    engine.add(newer(toy(write_counter_asr)))
    engine.retire(OLD)
    with pytest.raises(UnknownBundle, match=r"^unknown bundle 'counter-asr@1\.0\.0', expected one of counter-asr@1"):
        engine.choose_worker(OLD)
    assert engine.used_slots(OLD) == 1
    expected = rf"^bundle counter-asr@1\.0\.0 has 1 leased slots on worker {stream.worker.index}, expected none$"
    with pytest.raises(ValueError, match=expected):
        stream.worker.remove(OLD)
    play(stream)
    engine.remove(OLD)
    labels = {"bundle": OLD, "pool": "stream", "worker": "0"}
    assert registry.get_sample_value("streamer_slots_capacity", labels) is None
    assert registry.get_sample_value("streamer_slots_capacity", {**labels, "bundle": NEW}) == 2
    assert [worker.free_slots(NEW) for worker in engine.workers] == [2, 2]


def test_a_removed_bundle_can_come_back(toy: Toys) -> None:
    """Loading, unloading and loading again leaves every slot free."""
    engine = engine_of(toy)
    engine.retire(OLD)
    engine.remove(OLD)
    engine.add(toy(write_counter_asr))
    pcm = loud_audio(np.random.default_rng(0), 3)
    stream = CounterStream(engine.choose_worker(OLD), OLD, pcm)
    play(stream)
    assert np.array_equal(np.concatenate(stream.ids), counter_expected(pcm).reshape(-1))


def test_a_bundle_is_added_once(toy: Toys) -> None:
    """Neither one that is served nor one whose streams are still open can be added again."""
    engine = engine_of(toy)
    bundle = toy(write_counter_asr)
    with pytest.raises(ValueError, match=r"^bundle counter-asr@1\.0\.0 is served already$"):
        engine.add(bundle)
    CounterStream(engine.choose_worker(OLD), OLD, loud_audio(np.random.default_rng(0), 2))
    engine.retire(OLD)
    with pytest.raises(ValueError, match=r"^bundle counter-asr@1\.0\.0 is served already$"):
        engine.add(bundle)


def test_a_bundle_that_does_not_fit_changes_nothing(toy: Toys) -> None:
    """What cannot be loaded is an error, and the server goes on as it was."""
    engine = Engine([toy(write_counter_asr)], EngineSettings(workers=1, memory_budget_bytes=64))
    engine.prepare()
    big = newer(toy(write_counter_asr))
    states = tuple(state.model_copy(update={"dims": (1000,)}) for state in big.manifest.states)
    big = replace(big, manifest=big.manifest.model_copy(update={"states": states}))
    with pytest.raises(BundleError, match="scratch rows need"):
        engine.add(big)
    assert [bundle.key for bundle in engine.bundles] == [OLD]
    assert engine.choose_worker(OLD).free_slots(OLD) == 3
