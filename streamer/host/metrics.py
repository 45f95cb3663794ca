"""What operators see of streams; the engine has its own metrics in the same registry."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# Around one chunk of 20 to 640 ms, in seconds.
_LAG_BUCKETS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24)


class HostMetrics:
    """Counters of streams by outcome, and the lag of every step."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.open_streams = Gauge("streamer_open_streams", "Streams connected now", registry=registry)
        self.streams = Counter("streamer_streams", "Streams ended, by outcome", ["outcome"], registry=registry)
        self.resumed = Counter("streamer_resumed_streams", "Streams taken up again, by how", ["way"], registry=registry)
        self.lag = Histogram(
            "streamer_lag_seconds",
            "From the arrival of the last sample a step needs to its result",
            ["mode"],
            buckets=_LAG_BUCKETS,
            registry=registry,
        )
