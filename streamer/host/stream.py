"""One live stream: the session on the worker's side, the queue ends on the event loop's side."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog

from streamer.errors import ModelFault, StreamerError, Superseded
from streamer.host.kept import Rows
from streamer.host.outbox import Outbox
from streamer.host.tracing import StreamTrace
from streamer.session.detector import SpeechDetector
from streamer.session.messages import Audio, ClientMessage, Config, ServerMessage, Text
from streamer.session.session import Session
from streamer.work import Lease, Priority, Result, Row, Step

if TYPE_CHECKING:
    from streamer.engine.worker import Worker
    from streamer.host.metrics import StreamMeasures
    from streamer.host.resuming import Keeper
    from streamer.host.snapshots import SnapshotStore
    from streamer.tasks.base import Task

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Leases:
    """The rows of one bundle that a stream holds: one of each pool."""

    bundle: str
    held: tuple[Lease, ...]


class Stream:
    """A handle for one transport connection. Its methods belong to the event loop that called `Host.connect`.

    Until the stream is admitted its session lives on the event loop; from then on only its worker's thread touches it.
    `admit` takes a config, and either attaches the stream to a worker and posts `begin` to it, or raises. `measures` is
    told of every step and every question for final words, on the worker's thread.
    """

    def __init__(
        self,
        session: Session,
        outbox: Outbox,
        clock: Callable[[], float],
        admit: Callable[[Stream, Config, float], None],
        on_end: Callable[[Stream, StreamerError | None], None],
        measures: StreamMeasures,
        room_ms: float,
        trace: StreamTrace,
    ) -> None:
        self.session = session
        self.outbox = outbox
        self._clock = clock
        self._admit = admit
        self._on_end = on_end
        self._measures = measures
        self._room_ms = room_ms
        self._trace = trace
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        # What `settle` waits for; each pair of counts is equal when nothing is on its way.
        self._progress = asyncio.Event()
        self._posted = self._handled = 0
        self._steps_begun = self._steps_done = 0
        # Set by `attach`, when the host has admitted the stream.
        self._worker: Worker | None = None
        self._leases: tuple[Lease, ...] = ()
        self._bundle = ""
        # The bundle and the leases of the voice activity detector, if the stream has one.
        self._detector_bundle = ""
        self._detector_leases: tuple[Lease, ...] = ()
        # Of a resumable stream, from `begin` on.
        self._keeper: Keeper | None = None
        # Streams of this worker with news since its last iteration; shared with the host, worker's thread only.
        self._dirty: set[Stream] = set()
        self._priority = Priority.LIVE
        # Audio handed to the worker and received by its session, in ms: the same sum, so both end up equal.
        self._ms_sent = 0.0
        self._ms_received = 0.0
        self._ended = False
        self._aborted = False
        # Whether the next step waits until the client has read more.
        self._is_held = False
        # Both sides may release.
        self._release_lock = threading.Lock()
        self.connected_at = clock()

    # Event loop side

    async def send(self, message: ClientMessage) -> None:
        """Pass `message` on; waits while too much audio is buffered.

        Never raises for the stream's own end: what is sent after it is dropped, and `receive` tells why.
        """
        now = self._clock()
        if self._worker is None:
            self._open(message, now)
            return
        while not self._has_room() and not self._ended:
            self._room.clear()
            if self._has_room():
                break
            await self._room.wait()
        if self._ended:
            return
        if isinstance(message, Audio | Text):
            self._ms_sent += self.session.longest_ms(message)
        self._posted += 1
        self._worker.post(partial(self._receive, message, now))

    async def settle(self) -> None:
        """Wait until the model has done what it can with all that was sent, and what it said of it was received.

        For protocols that answer every frame. Also returns when the stream has ended.
        """
        while True:
            self._progress.clear()
            if self._ended or self._is_settled():
                return
            await self._progress.wait()

    async def receive(self) -> ServerMessage | None:
        """Return the next message, None after the last one; raises the error that ended the stream."""
        while True:
            self._news.clear()
            message = self.outbox.take()
            self._progress.set()
            self._let_go()
            if message is not None or self.outbox.finished:
                return message
            await self._news.wait()

    def abort(self) -> None:
        """The client is gone: free its slot and drop what is pending. Never raises."""
        if self._worker is None:
            self._end(None)
        else:
            # The slot is free for the next client at once; results that still come for it are dropped by the engine.
            self._aborted = True
            self._release()
            self._worker.post(partial(self._end, None))

    def supersede(self) -> None:
        """The client goes on with the stream over another connection: free its slot at once."""
        error = Superseded("stream was resumed over another connection")
        if self._worker is None:
            self.fail(error)
        else:
            self._aborted = True
            self._release()
            self._worker.post(partial(self.fail, error))

    def wake(self) -> None:
        """Tell waiting `send`, `settle` and `receive` calls to look again."""
        self._progress.set()
        if self.outbox.has_news:
            self._news.set()
        if self._ended or self._has_room():
            self._room.set()

    def attach(
        self,
        worker: Worker,
        leases: Leases,
        config: Config,
        dirty: set[Stream],
        chunk_ms: float,
        detection: Leases | None = None,
    ) -> None:
        """Bind the admitted stream to its worker and its leases; it adds itself to `dirty` when it has news.

        `detection` are those of its voice activity detector, of the same worker. The room is what may wait beyond the
        chunk of `chunk_ms` that is being collected, however long chunks are.
        """
        self._room_ms += chunk_ms
        self._worker, self._bundle, self._leases, self._dirty = worker, leases.bundle, leases.held, dirty
        if detection is not None:
            self._detector_bundle, self._detector_leases = detection.bundle, detection.held
        self._priority = Priority.FILE if config.mode == "file" else Priority.LIVE
        self._trace.admitted(config, leases.bundle)

    @property
    def bundle(self) -> str:
        """Name and version of the model that serves the stream; empty until it is admitted."""
        return self._bundle

    @property
    def worker(self) -> Worker | None:
        """The worker that serves the stream; None until it is admitted."""
        return self._worker

    def _open(self, message: ClientMessage, now: float) -> None:
        if self._ended:
            return
        try:
            self.session.receive(message, now)
            if self.session.config is not None:
                self._admit(self, self.session.config, now)
                return
        except StreamerError as error:
            self.fail(error)
            return
        self.publish()
        self.wake()

    def _let_go(self) -> None:
        if self._is_held and not self._ended and not self.outbox.is_full:
            self._is_held = False
            assert self._worker is not None
            self._worker.post(self._go_on)

    def _has_room(self) -> bool:
        rate = self.session.config.sample_rate if self.session.config else 1
        queued_ms = self._ms_sent - self._ms_received
        return queued_ms + 1000 * self.session.buffered_samples / rate < self._room_ms

    def _is_settled(self) -> bool:
        # In this order: once every message was handled, only steps that are out can follow.
        is_handled = self._handled == self._posted
        return is_handled and self._steps_done == self._steps_begun and not self.outbox.has_news

    # Worker side

    def begin(
        self, task: Task, now: float, detector: SpeechDetector | None = None, keeper: Keeper | None = None
    ) -> None:
        """Open the session with `task`, as of `now`; the first thing that its worker does with it.

        `keeper` is there for a resumable stream, of which it makes the detector.
        """
        rows = self._rows()
        with self._faults():
            if self._ended or self._aborted:
                return
            self._keeper = keeper
            if keeper is None:
                self.session.open(task, self._bundle, now, detector)
            else:
                self.session = keeper.begin(self.session, task, rows, now)
            # A stream that was restored may have audio.
            self._advance()

    def _receive(self, message: ClientMessage, now: float) -> None:
        if isinstance(message, Audio | Text):
            self._ms_received += self.session.longest_ms(message)
        with self._faults():
            if not self._ended and not self._aborted:
                self.session.receive(message, now)
                if not self.session.speaks:
                    self._measures.received(message, now)
                self._advance()
        self._handled += 1

    def _advance(self) -> None:
        """Submit the next steps if any are due, and publish what the session has to say."""
        assert self._worker is not None
        self._detect()
        # Read before the flag: whoever aborts sets the flag first, so these are the leases of a stream that lives.
        leases = self._leases
        step = None if self._must_wait() else self.session.next_step(self._clock())
        if step is not None and not self._aborted:
            row = Row(leases, step.inputs, step.start)
            # Many streams may come back at once: live ones must not wait for what these have heard already.
            priority = Priority.FILE if self.session.is_warming_up else self._priority
            work = Step(self._bundle, step.target, row, self.session.deadline(), priority)
            self._steps_begun += 1
            self._worker.submit(work, self._complete)
        self.publish()

    def _must_wait(self) -> bool:
        """Whether the client has to read more before the next step."""
        # The flag first: whoever reads the box empty after it looks at the flag, and who did before is seen here.
        self._is_held = True
        self._is_held = self.outbox.is_full
        return self._is_held

    def _go_on(self) -> None:
        """The client has read what a step waited for."""
        with self._faults():
            if not self._ended and not self._aborted:
                self._advance()

    def _detect(self) -> None:
        """Submit the next step of the detector if one is due."""
        assert self._worker is not None
        # As in `_advance`.
        leases = self._detector_leases
        if not leases:
            return
        step = self.session.next_detection()
        if step is not None and not self._aborted:
            row = Row(leases, step.inputs, step.start)
            deadline = self.session.detection_deadline()
            priority = Priority.FILE if self.session.is_detector_warming_up else self._priority
            work = Step(self._detector_bundle, step.target, row, deadline, priority)
            self._worker.submit(work, self._complete_detection)

    def _complete_detection(self, result: Result) -> None:
        with self._faults():
            if self._ended or self._aborted:
                return
            if result.error is not None:
                raise result.error
            self.session.complete_detection(result.outputs, self._clock())
            self._advance()

    def _complete(self, result: Result) -> None:
        rows = self._rows()
        with self._faults():
            if self._ended or self._aborted:
                return
            if result.error is not None:
                raise result.error
            self.session.complete(result.outputs, self._clock())
            if self._keeper is not None:
                self._keeper.after_step(self.session, rows, self._clock())
            assert self.session.config is not None
            self._measures.step(self.session.config.mode, self.session.lag_s)
            self._advance()
            self._steps_done += 1

    def tick(self, now: float) -> None:
        """Run the timers: idle and session limits, `Flow`, unread results."""
        with self._faults():
            if not self._ended:
                self.session.tick(now)
                self.outbox.check(now)
                if self.session.is_early:
                    self._advance()
                self.publish()

    def move(self, store: SnapshotStore, error: StreamerError, warning: ServerMessage) -> None:
        """Write the stream down and then end it with `error`; say `warning` if it cannot be written down."""
        rows = self._rows()
        with self._faults():
            if self._ended or self._aborted:
                return
            self.publish()
            saved = self._keeper.save(self.session, rows) if self._keeper else None
            if saved is None:
                self.say(warning)
                return
            # What comes from now on is not part of it; its client sends that again.
            self._aborted = True
            store.save(saved).add_done_callback(lambda _: rows.worker.post(partial(self.fail, error)))

    def _rows(self) -> Rows:
        """Read before the flags: whoever aborts sets a flag first, so these are the rows of a stream that lives."""
        assert self._worker is not None
        return Rows(self._worker, self._leases, self._detector_leases)

    def say(self, message: ServerMessage) -> None:
        """Put a message of the host's own into the stream."""
        self._dirty.add(self)
        self.outbox.put(message, self._clock())

    def publish(self) -> None:
        """Move the session's messages to the outbox, and end the stream after its last one."""
        now = self._clock()
        self._dirty.add(self)
        self._put_messages(now)
        if self.session.closed:
            self._end(self.session.error)

    def fail(self, error: StreamerError) -> None:
        """End the stream with `error`; what was said before it is still delivered."""
        now = self._clock()
        self.session.fail(error)
        self._put_messages(now)
        self._end(error)

    def _put_messages(self, now: float) -> None:
        for message in self.session.take_messages():
            self._trace.said(message)
            if self.session.config is not None:
                self._measures.said(message, self.session.config.mode, now)
            self.outbox.put(message, now)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """End the stream with whatever is raised inside; of a bug the client learns no details."""
        try:
            yield
        except StreamerError as error:
            self.fail(error)
        except Exception as error:
            log.exception("bug in a stream", session=self.session.session_id)
            self.fail(ModelFault(f"internal error in this stream: {type(error).__name__}"))

    def _end(self, error: StreamerError | None) -> None:
        if self._ended:
            return
        self._ended = True
        self._dirty.add(self)
        self._trace.ended(error)
        self.outbox.close(error)
        self._release()
        self._on_end(self, error)

    def _release(self) -> None:
        with self._release_lock:
            leases = (*self._leases, *self._detector_leases)
            self._leases = self._detector_leases = ()
        if self._worker is not None:
            for lease in leases:
                self._worker.release(lease)
