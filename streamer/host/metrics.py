"""What operators see of streams; the engine has its own metrics in the same registry."""

from __future__ import annotations

from collections import deque

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from streamer.errors import StreamerError, wire_code
from streamer.session.messages import ClientMessage, Done, End, Finalize, Finalized, ServerMessage

# Around one chunk of 20 to 640 ms, in seconds.
_LAG_BUCKETS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24)
# Names of keys in labels. They come from the operator's settings, but keys come and go while series stay.
_MAX_KEYS = 256
_OTHER = "(other)"


class HostMetrics:
    """Streams by outcome, what was refused before there was one, audio, lag, and what each key uses."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.open_streams = Gauge("streamer_open_streams", "Streams connected now", registry=registry)
        self.streams = Counter("streamer_streams", "Streams ended, by outcome", ["outcome"], registry=registry)
        self.resumed = Counter("streamer_resumed_streams", "Streams taken up again, by how", ["way"], registry=registry)
        self._refusals = Counter(
            "streamer_refusals",
            "Requests and connections refused before a stream began, by refusal",
            ["refusal"],
            registry=registry,
        )
        self._audio = Counter("streamer_audio_seconds", "Audio heard, by mode", ["mode"], registry=registry)
        # Apart from the rest, because not everybody who may read metrics may know the names of keys.
        self.by_key = CollectorRegistry()
        self._key_audio = Counter("streamer_key_audio_seconds", "Audio heard, by key", ["key"], registry=self.by_key)
        self._key_streams = Gauge(
            "streamer_key_open_streams", "Streams connected now, by key", ["key"], registry=self.by_key
        )
        self.lag = Histogram(
            "streamer_lag_seconds",
            "From the arrival of the last sample a step needs to its result",
            ["mode"],
            buckets=_LAG_BUCKETS,
            registry=registry,
        )
        self.finalisation = Histogram(
            "streamer_finalisation_seconds",
            "From the arrival of Finalize or End to its answer",
            ["mode"],
            buckets=_LAG_BUCKETS,
            registry=registry,
        )
        self._keys: set[str] = set()

    def refused(self, error: StreamerError) -> None:
        """Count who was sent away before there was a stream."""
        self._refusals.labels(wire_code(error).name).inc()

    def heard(self, key: str, mode: str, seconds: float) -> None:
        """Count audio of a stream; `key` is empty where there is none."""
        self._audio.labels(mode).inc(seconds)
        if key:
            self._key_audio.labels(self._label(key)).inc(seconds)

    def opened(self, key: str) -> None:
        """Count one more open stream of `key`."""
        if key:
            self._key_streams.labels(self._label(key)).inc()

    def closed(self, key: str) -> None:
        """Count one less open stream of `key`."""
        if key:
            self._key_streams.labels(self._label(key)).dec()

    def _label(self, key: str) -> str:
        if key not in self._keys and len(self._keys) >= _MAX_KEYS:
            return _OTHER
        self._keys.add(key)
        return key


class StreamMeasures:
    """What one stream adds to the histograms. Used on the thread of its worker; `now` is in seconds."""

    def __init__(self, metrics: HostMetrics) -> None:
        self._metrics = metrics
        self._asked: deque[float] = deque()

    def step(self, mode: str, lag_s: float) -> None:
        """Take the lag of a step."""
        self._metrics.lag.labels(mode).observe(lag_s)

    def received(self, message: ClientMessage, now: float) -> None:
        """Look whether `message`, which came at `now`, asks for the last words."""
        if isinstance(message, Finalize | End):
            self._asked.append(now)

    def said(self, message: ServerMessage, mode: str, now: float) -> None:
        """Look whether `message` answers what was asked for; a stream that was cancelled has no last words."""
        if not isinstance(message, Finalized | Done) or not self._asked:
            return
        asked = self._asked.popleft()
        if not (isinstance(message, Done) and message.cancelled):
            self._metrics.finalisation.labels(mode).observe(now - asked)
