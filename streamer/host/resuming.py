"""Streams that outlive their connections: reads what clients come back with, and takes points as streams go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Counter

from streamer.config import Settings
from streamer.errors import InvalidRequest
from streamer.host.catalogue import task_options
from streamer.host.detection import detection_task, speech_detector
from streamer.host.kept import Kept, Rows
from streamer.host.snapshots import SavedStream, SnapshotStore
from streamer.host.tokens import Identity, ResumeTokens, Ticket, check_owner, config_digest, resume_secret
from streamer.session.detector import SpeechDetector
from streamer.session.messages import Config, Decoding
from streamer.session.resume_point import Rebuilding, ResumePoint, Resumption
from streamer.session.session import Session, SessionSettings, SessionState

if TYPE_CHECKING:
    from streamer.host.catalogue import Model
    from streamer.tasks.base import Task

log = structlog.get_logger()


class ResumeDesk:
    """Knows the streams of clients that come back, from their tokens and from snapshots in the state folder.

    `resumed` counts them by their way.
    """

    def __init__(self, settings: Settings, session: SessionSettings, resumed: Counter) -> None:
        section = settings.resume
        secret = resume_secret(settings)
        self._tokens = ResumeTokens(secret, section.token_valid_s, section.max_token_chars)
        self._session_settings = session
        self._resumed = resumed
        self.store: SnapshotStore | None = None
        if settings.state_dir is not None:
            self.store = SnapshotStore(settings.state_dir / "streams", section.token_valid_s, secret)

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

    def keeper(
        self, session: Session, caller: str, model: Model, detection: Model | None, ticket: Ticket | None
    ) -> Keeper:
        """Return what keeps a resumable stream, of which `session` has the config, with the models of its lanes.

        It goes on from `ticket` if there is one. Raises `InvalidRequest` if a model is another one now.
        """
        config, bundle = session.config, model.bundle
        assert config is not None
        identity = Identity(
            session.session_id,
            caller,
            bundle.key,
            bundle.digest,
            config_digest(config),
            self._tokens.now(),
            detection.bundle.digest if detection else "",
        )
        if ticket is not None:
            _check_models(ticket.identity, identity, detection)
            identity = ticket.identity
        return Keeper(
            self._tokens,
            self._session_settings,
            identity,
            model,
            detection,
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
        model: Model,
        detection: Model | None,
        on_resumed: Callable[[str], None],
        ticket: Ticket | None = None,
        store: SnapshotStore | None = None,
    ) -> None:
        self.identity = identity
        self._tokens = tokens
        self._settings = settings
        self._kept = Kept.of(model.bundle)
        self._make_task = model.make_task
        self._detection = detection
        self._kept_detector = None if detection is None else Kept.of(detection.bundle)
        self._on_resumed = on_resumed
        self._store = store
        # Until the model is at its point.
        self._ticket = ticket

    def begin(self, session: Session, task: Task, rows: Rows, now: float) -> Session:
        """Open `session` with a fresh `task`; returns it, or the one that a snapshot restored in its place."""
        detector = self._fresh_detector(session.config)
        resumption = self._resumption(session, task, detector)
        if self._ticket is not None and self._store is not None:
            saved = self._store.take(self.identity.session_id)
            restored = saved and self._restored(saved, session, resumption, rows, now)
            if restored:
                self._ticket = None
                self._on_resumed("snapshot")
                return restored
        if self._ticket is not None:
            self._on_resumed("replay")
        session.open(task, self.identity.bundle, now, detector, resumption=resumption)
        if self._ticket is not None and self._kept_detector is not None:
            # Those of a detector that is replayed are none.
            self._kept_detector.write(rows.worker, rows.detector, self._ticket.detector)
        self._arrive(session, rows)
        return session

    def after_step(self, session: Session, rows: Rows, now: float) -> None:
        """Take a point if it is time, now that a step is complete."""
        self._arrive(session, rows)
        point = session.resume_point(now)
        if point is None:
            return
        states = self._kept.read(rows.worker, rows.model)
        detector = self._kept_detector.read(rows.worker, rows.detector) if self._kept_detector else {}
        token = self._tokens.issue(Ticket(self.identity, point, states, detector))
        # One that is too long is left out: the one before is still good.
        if token is not None:
            session.keep_token(token, point, now)

    def save(self, session: Session, rows: Rows) -> SavedStream | None:
        """Return the whole stream; None if it is not in the middle of its audio."""
        if session.state is not SessionState.OPEN or session.is_warming_up or session.is_detector_warming_up:
            return None
        states = self._kept.read_all(rows.worker, rows.model)
        detector = self._kept_detector.read_all(rows.worker, rows.detector) if self._kept_detector else {}
        return SavedStream(self.identity, session.snapshot(), states, detector)

    def _resumption(self, session: Session, task: Task, detector: SpeechDetector | None) -> Resumption:
        config, ticket = session.config, self._ticket
        assert config is not None
        if ticket is None or config.resume is None:
            point = ResumePoint.of_start(task, None if detector is None else detector.task)
            token = self._tokens.issue(Ticket(self.identity, point, {}))
            if token is None:
                raise InvalidRequest("resumable: expected a config that fits into a token, got a larger one")
            return Resumption(token, self._kept.memory_samples, point, detector=self._rebuilding(None))
        # Clocks of servers may differ, but a live stream is as old as the audio that was heard.
        age_s = max(self._tokens.now() - self.identity.opened_at, ticket.point.heard_by_any / config.sample_rate)
        return Resumption(
            config.resume.token,
            self._kept.memory_samples,
            ticket.point,
            config.resume.next_segment,
            age_s,
            self._make_task(replace(task_options(config), decoding=Decoding())),
            self._rebuilding(config),
        )

    def _rebuilding(self, config: Config | None) -> Rebuilding | None:
        """How the detector gets to its point, by the `config` of a stream that goes on."""
        if self._detection is None or self._kept_detector is None:
            return None
        warm_up = None if config is None else detection_task(self._detection, config)
        return Rebuilding(self._kept_detector.memory_samples, warm_up)

    def _fresh_detector(self, config: Config | None) -> SpeechDetector | None:
        return speech_detector(self._detection, config) if self._detection and config else None

    def _restored(
        self, saved: SavedStream, session: Session, resumption: Resumption, rows: Rows, now: float
    ) -> Session | None:
        config = session.config
        assert config is not None
        if saved.identity != self.identity:
            return None
        try:
            restored = Session.restored(
                dict(saved.session),
                self._settings,
                self._make_task(task_options(config)),
                now,
                self._fresh_detector(config),
            )
            if not restored.take_up(resumption, now):
                return None
            self._kept.write_all(rows.worker, rows.model, saved.tensors)
            if self._kept_detector is not None:
                self._kept_detector.write_all(rows.worker, rows.detector, saved.detector)
        except Exception as error:  # whatever a file that was changed, or of another version, comes to
            log.warning("snapshot does not fit", session=self.identity.session_id, error=type(error).__name__)
            return None
        return restored

    def _arrive(self, session: Session, rows: Rows) -> None:
        """Write the states of the point when the model has reached it."""
        if self._ticket is None or session.is_warming_up:
            return
        self._kept.write(rows.worker, rows.model, self._ticket.tensors)
        self._ticket = None


def _check_models(begun: Identity, now: Identity, detection: Model | None) -> None:
    """Raise `InvalidRequest` unless the models are those that the stream began with."""
    name = begun.bundle
    if begun.digest == now.digest and detection is not None:
        name = detection.bundle.key
    if (begun.digest, begun.detector) != (now.digest, now.detector):
        raise InvalidRequest(f"resume: expected the model {name} of the stream's begin, got another one")
