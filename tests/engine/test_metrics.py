"""The engine's metrics: their names are what dashboards are built on."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from streamer.engine.metrics import EngineMetrics


def test_names_are_stable() -> None:
    """Every metric is in the caller's registry under its published name."""
    registry = CollectorRegistry()
    EngineMetrics(registry)
    assert sorted(metric.name for metric in registry.collect()) == [
        "streamer_batch_rows",
        "streamer_faults",
        "streamer_queue_seconds",
        "streamer_self_test_failures",
        "streamer_slots_capacity",
        "streamer_slots_used",
        "streamer_step_seconds",
    ]


def test_two_engines_need_two_registries() -> None:
    """Nothing is global: each registry has its own metrics."""
    first, second = EngineMetrics(CollectorRegistry()), EngineMetrics(CollectorRegistry())
    assert first.step is not second.step
