"""The self-test: sound bundles run in place, an exporter's mistake is caught, said and served right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from streamer.engine import selftest
from streamer.engine.execution import Mode
from streamer.engine.metrics import EngineMetrics
from streamer.engine.runner import open_sessions
from streamer.engine.selftest import Finding, choose_mode, find_aliasing, find_leak
from streamer.engine.settings import EngineSettings
from streamer.errors import BundleError
from tests.engine.conftest import Toys
from tests.toys import (
    write_beams,
    write_counter_asr,
    write_faulty,
    write_forgetful,
    write_ragged,
    write_speaker,
    write_variants,
    write_wrong_order,
)

SETTINGS = EngineSettings()
CAPACITY = {"stream": 4, "beam": 8}


@pytest.mark.parametrize("write", [write_counter_asr, write_beams, write_ragged, write_speaker, write_variants])
def test_sound_bundles_run_in_place(toy: Toys, write: Callable[[Path], Path]) -> None:
    """Graphs that read before they scatter, alone or over shared state, are proved safe."""
    bundle = toy(write)
    with capture_logs() as logs:
        assert choose_mode(bundle, open_sessions(bundle, SETTINGS), CAPACITY, SETTINGS) is Mode.ALIASED
    assert logs == []


def test_a_late_read_is_found(toy: Toys) -> None:
    """A scatter before the last read of its arena changes the output."""
    bundle = toy(write_wrong_order)
    finding = find_aliasing(bundle, open_sessions(bundle, SETTINGS), SETTINGS)
    assert finding == Finding("step", "output y differs in place")


def test_a_failed_self_test_is_a_warning_a_metric_and_a_fallback(toy: Toys) -> None:
    """Small arenas are swapped, and operators can see it."""
    bundle, registry = toy(write_wrong_order), CollectorRegistry()
    with capture_logs() as logs:
        mode = choose_mode(bundle, open_sessions(bundle, SETTINGS), CAPACITY, SETTINGS, EngineMetrics(registry))
    assert mode is Mode.SWAPPED
    assert logs == [
        {
            "event": "self-test failed, state is copied",
            "log_level": "warning",
            "bundle": "wrong-order@1.0.0",
            "graph": "step",
            "detail": "output y differs in place",
            "mode": "swapped",
        }
    ]
    labels = {"bundle": "wrong-order@1.0.0", "graph": "step"}
    assert registry.get_sample_value("streamer_self_test_failures_total", labels) == 1


def test_large_arenas_are_gathered(toy: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit rows go through the host instead of copying whole arenas."""
    monkeypatch.setattr(selftest, "_SWAP_LIMIT", 5 * 4 - 1)
    bundle = toy(write_wrong_order)
    with capture_logs():
        assert choose_mode(bundle, open_sessions(bundle, SETTINGS), CAPACITY, SETTINGS) is Mode.GATHERED


def test_a_start_that_forgets_to_reset_is_refused(toy: Toys) -> None:
    """A stream that hears who had its slot before cannot be served in any mode."""
    bundle = toy(write_forgetful)
    with pytest.raises(BundleError) as caught:
        choose_mode(bundle, open_sessions(bundle, SETTINGS), CAPACITY, SETTINGS)
    assert str(caught.value) == "bundle forgetful: graph step: output y differs after other use of the slot"


def test_a_graph_that_takes_no_random_input_is_not_trusted(toy: Toys) -> None:
    """What cannot be proved runs on copied state, but is no error."""
    bundle = toy(write_faulty)
    sessions = open_sessions(bundle, SETTINGS)
    refused = "random input was refused: bundle faulty@1.0.0: graph step: output y is not finite"
    assert find_leak(bundle, sessions, SETTINGS) == Finding("step", refused, refused=True)
    with capture_logs() as logs:
        assert choose_mode(bundle, sessions, CAPACITY, SETTINGS) is Mode.SWAPPED
    assert logs[0]["detail"] == refused


def test_a_state_that_differs_is_found(toy: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arenas are compared too: a mistake may show in the outputs only steps later."""
    monkeypatch.setattr(selftest, "_outputs_differ", lambda one, other: None)
    monkeypatch.setattr(selftest, "_same", lambda one, other: False)
    bundle = toy(write_variants)
    finding = find_aliasing(bundle, open_sessions(bundle, SETTINGS), SETTINGS)
    assert finding == Finding("short", "state total differs in place")
