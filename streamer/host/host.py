"""The host: which streams exist, who may come in, and how they all leave."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import structlog
from prometheus_client import CollectorRegistry, generate_latest

from streamer.bundle.loader import Bundle
from streamer.config import Settings
from streamer.engine.engine import Engine
from streamer.engine.worker import Worker
from streamer.errors import (
    Draining,
    InvalidRequest,
    Overloaded,
    StreamerError,
    StreamTimeout,
    wire_code,
)
from streamer.host.callers import ANONYMOUS, Caller
from streamer.host.catalogue import Catalogue, ModelInfo, task_options
from streamer.host.detection import speech_detector
from streamer.host.metrics import HostMetrics, StreamMeasures
from streamer.host.outbox import Outbox
from streamer.host.quotas import AudioMeter, Quotas
from streamer.host.resuming import ResumeDesk
from streamer.host.rollout import Rollout
from streamer.host.stream import Leases, Stream
from streamer.host.tracing import tracing_of
from streamer.session.messages import Config, Warning
from streamer.session.session import Session, SessionSettings
from streamer.work import Lease

_TICK_S = 0.25
# A live client that is too fast must meet the limit of its session, not silent back-pressure.
_LIVE_SLACK_MS = 4000.0
# How long a worker may take to end its streams when the server stops: a model call that hangs must not hold it up.
_CLOSE_S = 5.0
_DRAINING = "server is shutting down, connect to another one"
_MOVED = "server is shutting down, resume the stream when it is back or on another one"

log = structlog.get_logger()


class Host:
    """Joins sessions to the engine. `bundles` are served; the first one of each task is its default.

    Made and used on one event loop; the engine must be started before streams connect. Raises `InvalidRequest` or
    `BundleError` for a bundle whose task cannot be served.
    """

    def __init__(
        self,
        engine: Engine,
        bundles: Iterable[Bundle],
        settings: Settings,
        registry: CollectorRegistry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._tracing = tracing_of(settings.tracing)
        self._catalogue = Catalogue(bundles, engine.settings.runtime)
        self.rollout = Rollout(engine, self._catalogue, settings)
        self._settings = settings
        self._registry = registry
        self._metrics = HostMetrics(registry)
        self._clock = clock
        limits = settings.session
        self._session_settings = SessionSettings(
            max_frame_bytes=limits.max_frame_bytes,
            max_frame_ms=limits.max_frame_ms,
            max_ahead_ms=limits.max_ahead_ms,
            idle_timeout_ms=limits.idle_timeout_ms,
            max_session_ms=limits.max_session_ms,
            resume_interval_ms=settings.resume.interval_ms,
        )
        self._desk = ResumeDesk(settings, self._session_settings, self._metrics.resumed)
        self._streams: dict[Stream, Caller] = {}
        self._opening: set[Stream] = set()
        self._quotas = Quotas(clock)
        self._meter = AudioMeter(self._quotas)
        self._dirty: dict[Worker, set[Stream]] = {}
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening_timer: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the engine (loads, self-tests and warms up every bundle) and the timers."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._engine.start)
        if self._desk.store is not None:
            await asyncio.to_thread(self._desk.store.sweep)
        for worker in self._engine.workers:
            self._dirty[worker] = set()
            worker.after_iteration(self._wake_after(worker))
            worker.call_every(_TICK_S, self._tick_of(worker))
        self._opening_timer = asyncio.create_task(self._time_out_openings())

    async def stop(self) -> None:
        """Stop the timers and the engine; streams still open end as drained."""
        self._draining = True
        await self._close_all(Draining("server stopped"))
        if self._opening_timer is not None:
            self._opening_timer.cancel()
        await asyncio.to_thread(self._engine.stop)
        await asyncio.to_thread(self._tracing.close)

    @property
    def ready(self) -> bool:
        """Whether a new stream would be served: warmed up, inference works, not draining."""
        return self._engine.ready and not self._draining

    @property
    def open_streams(self) -> int:
        """Streams that are connected now."""
        return len(self._streams)

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The engine's workers, for those who count slots."""
        return tuple(self._engine.workers)

    async def until_empty(self) -> None:
        """Wait until no stream is connected."""
        await self._empty.wait()

    def models(self) -> tuple[ModelInfo, ...]:
        """What is served, defaults first within each task."""
        return self._catalogue.infos()

    def metrics_text(self, with_keys: bool = True) -> bytes:
        """Return all metrics in Prometheus' text format; series of keys, which have their names, only on request."""
        by_key = generate_latest(self._metrics.by_key) if with_keys else b""
        return generate_latest(self._registry) + by_key

    def connect(self, caller: Caller = ANONYMOUS) -> Stream:
        """Begin a stream of `caller` in state OPENING; raises `Draining`, `Overloaded` or `QuotaExceeded`."""
        try:
            self._let_in(caller)
        except StreamerError as error:
            self.count_refusal(error)
            raise
        session = Session(secrets.token_hex(8), self._session_settings)
        limits = self._settings.session
        stream = Stream(
            session,
            Outbox(limits.unread_limit_ms / 1000),
            self._clock,
            admit=self._admit,
            on_end=self._stream_ended,
            measures=StreamMeasures(self._metrics),
            room_ms=limits.max_ahead_ms + _LIVE_SLACK_MS,
            trace=self._tracing.begin(session.session_id, caller.name),
        )
        self._streams[stream] = caller
        self._opening.add(stream)
        self._empty.clear()
        self._metrics.open_streams.set(len(self._streams))
        self._metrics.opened(caller.name)
        return stream

    def count_refusal(self, error: StreamerError) -> None:
        """Count who was sent away with `error` before there was a stream."""
        self._metrics.refused(error)

    async def drain(self, deadline_s: float) -> None:
        """Take no new streams, warn the open ones, wait for them, end the rest as `Draining` at the deadline.

        With a state folder, streams that can be resumed are written down and end at once.
        """
        self._draining = True
        warning = Warning("draining", f"server shuts down, finish within {deadline_s:g} s")
        for stream in tuple(self._streams):
            if stream.worker is None:
                # Nothing is lost with it, and no warning may come before `Ready`.
                stream.fail(Draining(_DRAINING))
            elif self._desk.store is not None:
                stream.worker.post(partial(stream.move, self._desk.store, Draining(_MOVED), warning))
            else:
                stream.worker.post(partial(stream.say, warning))
        try:
            await asyncio.wait_for(self.until_empty(), deadline_s)
        except TimeoutError:
            await self._close_all(Draining("server shut down before the stream ended"))

    def _let_in(self, caller: Caller) -> None:
        if self._draining:
            raise Draining(_DRAINING)
        if len(self._opening) >= self._settings.access.max_opening:
            raise Overloaded(f"{len(self._opening)} connections have sent no config yet, try again later")
        self._quotas.open_stream(caller)

    def _admit(self, stream: Stream, config: Config, now: float) -> None:
        """Choose a worker, take its leases and let it open the session; raises `StreamerError` and then holds none."""
        caller = self._streams[stream].name
        ticket = self._desk.ticket(config, caller)
        model = self._catalogue.resolve(config.task, ticket.identity.bundle if ticket else config.model)
        manifest = model.bundle.manifest
        if config.language and manifest.languages and config.language not in manifest.languages:
            raise InvalidRequest(
                f"model {manifest.name} speaks {', '.join(manifest.languages)}, got language {config.language!r}"
            )
        task = model.make_task(task_options(config))
        has_detector = config.vad.wanted and config.task != "vad"
        detection = self._catalogue.detection() if has_detector else None
        keeper = self._desk.keeper(stream.session, caller, model, detection, ticket) if config.resumable else None
        if ticket is not None:
            self._supersede(ticket.identity.session_id, stream)
        lanes = (model, detection) if detection else (model,)
        worker, (leases, *detector_leases) = self._lease([lane.bundle for lane in lanes])
        chunk_ms = 1000 * task.chunk_samples / task.sample_rate
        self._opening.discard(stream)
        stream.attach(worker, leases, config, self._dirty[worker], chunk_ms, *detector_leases)
        detector = speech_detector(detection, config) if detection and keeper is None else None
        worker.post(partial(stream.begin, task, now, detector, keeper))

    def _supersede(self, session_id: str, by: Stream) -> None:
        """End the stream that a client has taken up over another connection, if it is still here."""
        for stream in tuple(self._streams):
            if stream is not by and stream.session.session_id == session_id:
                stream.supersede()
        by.session.session_id = session_id

    def _lease(self, bundles: Sequence[Bundle]) -> tuple[Worker, list[Leases]]:
        """Lease a row of every pool of every bundle from one worker, chosen by the first bundle; all or none."""
        worker = self._engine.choose_worker(bundles[0].key)
        lent: list[Lease] = []
        try:
            for bundle in bundles:
                for pool in bundle.manifest.pools:
                    lent.append(worker.lease(bundle.key, pool.name))
        except StreamerError:
            for lease in lent:
                worker.release(lease)
            raise
        return worker, [Leases(b.key, tuple(lease for lease in lent if lease.bundle == b.key)) for b in bundles]

    def _stream_ended(self, stream: Stream, error: StreamerError | None) -> None:
        """Forget a stream; called on its worker's thread, or on the loop if it was never admitted."""
        # A session that is still open although nothing went wrong has lost its client.
        no_error = "ok" if stream.session.closed else "gone"
        outcome = wire_code(error).name if error else no_error
        if error is not None and outcome == "internal":
            log.error("stream failed", session=stream.session.session_id, error=str(error))
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._forget, stream, outcome)

    def _forget(self, stream: Stream, outcome: str) -> None:
        caller = self._streams.pop(stream)
        self._opening.discard(stream)
        self._quotas.close_stream(caller)
        self._count_audio(stream, caller, self._meter.end)
        self._metrics.closed(caller.name)
        log.info("stream ended", **_summary(stream, caller), outcome=outcome)
        self._metrics.open_streams.set(len(self._streams))
        self._metrics.streams.labels(outcome).inc()
        if not self._streams:
            self._empty.set()
        stream.wake()

    def _wake_after(self, worker: Worker) -> Callable[[], None]:
        """One wake-up of the event loop per iteration of the worker, however many streams have news."""
        dirty = self._dirty[worker]

        def after_iteration() -> None:
            if dirty and self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(_wake, tuple(dirty))
                dirty.clear()

        return after_iteration

    def _tick_of(self, worker: Worker) -> Callable[[], None]:
        def tick() -> None:
            now = self._clock()
            for stream in tuple(self._streams):
                if stream.worker is worker:
                    stream.tick(now)

        return tick

    async def _time_out_openings(self) -> None:
        """Count audio; end streams that connect and never send a config; look whether retired models can go."""
        limit_s = self._session_settings.idle_timeout_ms / 1000
        while True:
            await asyncio.sleep(_TICK_S)
            self.rollout.remove_retired()
            now = self._clock()
            for stream, caller in tuple(self._streams.items()):
                self._count_audio(stream, caller, self._meter.count)
                if stream.worker is None and now - stream.connected_at > limit_s:
                    stream.fail(StreamTimeout(f"no config within {limit_s:g} s"))

    def _count_audio(self, stream: Stream, caller: Caller, count: Callable[[Stream, Caller, float], float]) -> None:
        seconds, config = count(stream, caller, stream.session.heard_s), stream.session.config
        if seconds and config is not None:
            self._metrics.heard(caller.name, config.mode, seconds)

    async def _close_all(self, error: StreamerError) -> None:
        for stream in tuple(self._streams):
            if stream.worker is None:
                stream.fail(error)
            else:
                stream.worker.post(partial(stream.fail, error))
        try:
            await asyncio.wait_for(self.until_empty(), _CLOSE_S)
        except TimeoutError:
            log.error("streams did not end", count=len(self._streams))


def _summary(stream: Stream, caller: Caller) -> dict[str, object]:
    """What the log says of an ended stream; nothing that a client chose freely, and nothing that was said."""
    config, key = stream.session.config, {"key": caller.name} if caller.name else {}
    heard = {"model": stream.bundle, "mode": config.mode, "audio_s": round(stream.session.heard_s, 2)} if config else {}
    return {"session": stream.session.session_id, **key, **(heard if stream.bundle else {})}


def _wake(streams: tuple[Stream, ...]) -> None:
    for stream in streams:
        stream.wake()
