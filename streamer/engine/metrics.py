"""What operators see of models; the registry is the caller's."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# From a tiny model's step to a step that is late for every live stream, in seconds.
_STEP_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64)


class EngineMetrics:
    """Steps, batches, queues, slots and faults, by bundle and graph."""

    def __init__(self, registry: CollectorRegistry) -> None:
        graph = ["bundle", "graph"]
        self.step = Histogram(
            "streamer_step_seconds",
            "One batched call of a graph, by the batch size it was padded to",
            [*graph, "bucket"],
            buckets=_STEP_BUCKETS,
            registry=registry,
        )
        self.batch = Histogram(
            "streamer_batch_rows", "Streams served by one call", graph, buckets=_BATCH_BUCKETS, registry=registry
        )
        self.queue = Histogram(
            "streamer_queue_seconds",
            "From a step's submission to its call, by graph or program",
            ["bundle", "target"],
            buckets=_STEP_BUCKETS,
            registry=registry,
        )
        pool = ["bundle", "pool", "worker"]
        self.slots_used = Gauge("streamer_slots_used", "Leased slots", pool, registry=registry)
        self.slots_capacity = Gauge("streamer_slots_capacity", "All slots", pool, registry=registry)
        self.self_test_failures = Counter(
            "streamer_self_test_failures", "Graphs that may not update arenas in place", graph, registry=registry
        )
        self.faults = Counter("streamer_faults", "Rows that ended in a model fault", graph, registry=registry)

    def forget_slots(self, bundle: str, pool: str, worker: str) -> None:
        """A bundle that is gone has no slots to show."""
        for gauge in (self.slots_used, self.slots_capacity):
            gauge.remove(bundle, pool, worker)
