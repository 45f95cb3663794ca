"""Streams that outlive their connections: reads what clients come back with, and takes points as streams go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import structlog
from prometheus_client import Counter

from streamer.bundle.manifest import Manifest
from streamer.config import Settings
from streamer.engine.runner import Snapshot
from streamer.errors import InvalidRequest
from streamer.host.snapshots import SavedStream, SnapshotStore
from streamer.host.tokens import Identity, ResumeTokens, Ticket, check_owner, config_digest, resume_secret
from streamer.session.messages import Config, Decoding
from streamer.session.resume_point import ResumePoint, Resumption
from streamer.session.session import Session, SessionSettings, SessionState
from streamer.tasks.registry import TaskMaker
from streamer.tasks.transcribe import SEARCH_GROUP
from streamer.work import Lease

if TYPE_CHECKING:
    from streamer.engine.worker import Worker
    from streamer.host.catalogue import Model
    from streamer.tasks.base import Task

# A model whose whole state is at most this large travels in the token, and nothing is replayed.
_SMALL_BYTES = 4096

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Kept:
    """What a point of a model needs: `groups` of states beside it (None: all), and audio `memory_samples` back.

    `memory_samples` of None means from the beginning.
    """

    groups: frozenset[str] | None
    memory_samples: int | None

    @classmethod
    def of(cls, manifest: Manifest) -> Kept:
        """Decide for a bundle. A search remembers what it has said, so replay cannot rebuild it."""
        sizes = [int(np.prod(state.dims, dtype=np.int64)) * state.dtype.itemsize for state in manifest.states]
        if sum(sizes) <= _SMALL_BYTES:
            return cls(None, 0)
        groups = {state.group for state in manifest.states} & {SEARCH_GROUP}
        return cls(frozenset(groups), manifest.receptive_field_samples)


class ResumeDesk:
    """Knows the streams of clients that come back, from their tokens and from snapshots in the state folder.

    `resumed` counts them by their way.
    """

    def __init__(self, settings: Settings, session: SessionSettings, resumed: Counter) -> None:
        section = settings.resume
        self._tokens = ResumeTokens(resume_secret(settings), section.token_valid_s, section.max_token_chars)
        self._session_settings = session
        self._resumed = resumed
        self.store: SnapshotStore | None = None
        if settings.state_dir is not None:
            self.store = SnapshotStore(settings.state_dir / "streams", section.token_valid_s)

    def ticket(self, config: Config, caller: str) -> Ticket | None:
        """Return what the config's token says, None without one; raises `InvalidRequest` unless it is the caller's."""
        if config.resume is None:
            return None
        if not config.resumable:
            raise InvalidRequest("resume: expected a config that is resumable, as the one that the stream began with")
        ticket = self._tokens.read(config.resume.token)
        check_owner(ticket.identity, caller, config)
        if config.resume.next_segment < ticket.point.segments:
            expected, got = ticket.point.segments, config.resume.next_segment
            raise InvalidRequest(f"resume.next_segment: expected at least the token's {expected}, got {got}")
        return ticket

    def keeper(self, session: Session, caller: str, model: Model, ticket: Ticket | None) -> Keeper:
        """Return what keeps a resumable stream, of which `session` has the config.

        It goes on from `ticket` if there is one. Raises `InvalidRequest` if its model is another one now.
        """
        config, bundle = session.config, model.bundle
        assert config is not None
        identity = Identity(
            session.session_id, caller, bundle.key, bundle.digest, config_digest(config), self._tokens.now()
        )
        if ticket is not None:
            identity = ticket.identity
            if identity.digest != bundle.digest:
                raise InvalidRequest(f"resume: expected the model {bundle.key} of the stream's begin, got another one")
        kept = Kept.of(bundle.manifest)
        return Keeper(
            self._tokens,
            self._session_settings,
            identity,
            kept,
            model.make_task,
            lambda way: self._resumed.labels(way).inc(),
            ticket,
            self.store,
        )


class Keeper:
    """Keeps one stream resumable, on its worker's thread. `ticket` is there if it goes on with an earlier one."""

    def __init__(
        self,
        tokens: ResumeTokens,
        settings: SessionSettings,
        identity: Identity,
        kept: Kept,
        make_task: TaskMaker,
        on_resumed: Callable[[str], None],
        ticket: Ticket | None = None,
        store: SnapshotStore | None = None,
    ) -> None:
        self.identity = identity
        self._tokens = tokens
        self._settings = settings
        self._kept = kept
        self._make_task = make_task
        self._on_resumed = on_resumed
        self._store = store
        # Until the model is at its point.
        self._ticket = ticket

    def begin(self, session: Session, task: Task, worker: Worker, leases: tuple[Lease, ...], now: float) -> Session:
        """Open `session` with a fresh `task`; returns it, or the one that a snapshot restored in its place."""
        resumption = self._resumption(session, task)
        if self._ticket is not None and self._store is not None:
            saved = self._store.take(self.identity.session_id)
            restored = saved and self._restored(saved, session, resumption, worker, leases, now)
            if restored:
                self._ticket = None
                self._on_resumed("snapshot")
                return restored
        if self._ticket is not None:
            self._on_resumed("replay")
        session.open(task, self.identity.bundle, now, resumption=resumption)
        self._arrive(session, worker, leases)
        return session

    def after_step(self, session: Session, worker: Worker, leases: tuple[Lease, ...], now: float) -> None:
        """Take a point if it is time, now that a step is complete."""
        self._arrive(session, worker, leases)
        point = session.resume_point(now)
        if point is None:
            return
        tensors = worker.snapshot(leases, self._kept.groups).tensors if leases else {}
        token = self._tokens.issue(Ticket(self.identity, point, tensors))
        # One that is too long is left out: the one before is still good.
        if token is not None:
            session.keep_token(token, point, now)

    def save(self, session: Session, worker: Worker, leases: tuple[Lease, ...]) -> SavedStream | None:
        """Return the whole stream; None if it is not in the middle of its audio."""
        if session.state is not SessionState.OPEN or session.is_warming_up:
            return None
        tensors = worker.snapshot(leases).tensors if leases else {}
        return SavedStream(self.identity, session.snapshot(), tensors)

    def _resumption(self, session: Session, task: Task) -> Resumption:
        config, ticket = session.config, self._ticket
        assert config is not None
        if ticket is None or config.resume is None:
            point = ResumePoint.of_start(task)
            token = self._tokens.issue(Ticket(self.identity, point, {}))
            if token is None:
                raise InvalidRequest("resumable: expected a config that fits into a token, got a larger one")
            return Resumption(token, self._kept.memory_samples, point)
        # Clocks of servers may differ, but a live stream is as old as the audio that was heard.
        age_s = max(self._tokens.now() - self.identity.opened_at, ticket.point.heard / config.sample_rate)
        return Resumption(
            config.resume.token,
            self._kept.memory_samples,
            ticket.point,
            config.resume.next_segment,
            age_s,
            self._make_task(config.endpointing, Decoding(), config.vad),
        )

    def _restored(
        self,
        saved: SavedStream,
        session: Session,
        resumption: Resumption,
        worker: Worker,
        leases: tuple[Lease, ...],
        now: float,
    ) -> Session | None:
        config = session.config
        assert config is not None
        if saved.identity != self.identity:
            return None
        try:
            restored = Session.restored(
                dict(saved.session),
                self._settings,
                self._make_task(config.endpointing, config.decoding, config.vad),
                now,
            )
            if not restored.take_up(resumption, now):
                return None
            if leases:
                worker.restore(leases, Snapshot(self.identity.digest, saved.tensors))
        except (InvalidRequest, KeyError, TypeError) as error:
            log.warning("snapshot does not fit", session=self.identity.session_id, error=str(error))
            return None
        return restored

    def _arrive(self, session: Session, worker: Worker, leases: tuple[Lease, ...]) -> None:
        """Write the states of the point when the model has reached it."""
        if self._ticket is None or session.is_warming_up:
            return
        if self._ticket.tensors:
            worker.restore(leases, Snapshot(self.identity.digest, self._ticket.tensors), self._kept.groups)
        self._ticket = None
