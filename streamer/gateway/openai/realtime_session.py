"""One Realtime session: events of the client in; out come events to say and messages for the stream behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streamer.audio.pcm import count_samples
from streamer.errors import InvalidRequest, MessageTooLarge, UnknownBundle
from streamer.gateway.frames import pcm_frames
from streamer.gateway.openai import models
from streamer.gateway.openai import realtime_settings as shapes
from streamer.gateway.openai.errors import BadParameter, UnknownModel, expected
from streamer.gateway.openai.realtime_events import (
    APPEND,
    BETA_UPDATE,
    COMMIT,
    UPDATE,
    ClientEvent,
    Event,
    audio_of,
    error_event,
    new_id,
    read_event,
    server_event,
)
from streamer.gateway.openai.realtime_settings import RealtimeSettings, TurnDetection
from streamer.gateway.openai.request import keyword_decoding
from streamer.gateway.openai.turns import Turns
from streamer.gateway.recognisers import has_detector
from streamer.gateway.services import Services
from streamer.session.messages import ClientMessage, Config, Finalize, Vad

# Audio of one event may last for minutes. Short frames keep the pace of live streams even.
_FRAME_MS = 100
_QUERY = ("intent", "model", "ticket")
# What an event may ask for that cannot be had. The session goes on after it.
_REFUSALS = (InvalidRequest, UnknownBundle, MessageTooLarge)


class Session:
    """What a session is set to, and its items. `beta` is the dialect in which it speaks.

    Raises `InvalidRequest` or `UnknownBundle` if `query`, the parameters of the address, cannot be served.
    """

    def __init__(self, services: Services, query: Mapping[str, str], beta: bool) -> None:
        self._services = services
        self._beta = beta
        self._id = new_id("sess")
        self._settings = _at_first(services, query)
        limits = services.settings.session
        self._frames = limits.model_copy(update={"max_frame_ms": min(limits.max_frame_ms, _FRAME_MS)})
        self.turns = Turns(beta)
        # Whether a stream is behind it, and whether it must make way for one with other settings.
        self._streaming = False
        self.restarts = False

    def created(self) -> Event:
        """Return the first event of the session."""
        kind = "transcription_session.created" if self._beta else "session.created"
        return server_event(kind, session=self._plain(self._beta))

    async def take(self, message: str | bytes) -> tuple[Sequence[Event], Sequence[ClientMessage]]:
        """Act on a message of the client; returns what to say, and then what to send into the stream.

        Of a message that cannot be served it says so; nothing of it is done.
        """
        event: ClientEvent | None = None
        try:
            if isinstance(message, bytes):
                raise expected("event", "JSON text", f"binary data of {len(message)} bytes")
            event = await read_event(message)
            return await self._act(event)
        except _REFUSALS as error:
            return [error_event(error, event.event_id if event else getattr(error, "event_id", None))], []

    def stream_ended(self) -> Sequence[Event]:
        """The stream behind the session has said its last word; returns what to say of it."""
        self._streaming = self.restarts = False
        return self.turns.stream_ended()

    def config(self) -> Config:
        """Return the config of a stream for the settings of now."""
        now = self._settings
        info = models.resolve(self._services, now.model, "model")
        turns = now.turn_detection
        return Config(
            now.encoding,
            now.sample_rate,
            channels=1,
            model=info.key,
            # Turns are found while they are spoken, so their audio comes at the pace of speech.
            mode="live" if turns else self._services.settings.adapter_mode,
            language=models.language_of(now.language, info, self._services, "language"),
            decoding=keyword_decoding(now.keywords, "keywords"),
            vad=_detection(turns) if turns else Vad(),
        )

    async def _act(self, event: ClientEvent) -> tuple[Sequence[Event], Sequence[ClientMessage]]:
        match event.type:
            case kind if kind in (UPDATE, BETA_UPDATE):
                return [self._update(event)], []
            case kind if kind == APPEND:
                return [], self._append(await audio_of(event))
            case kind if kind == COMMIT:
                item_id, said = self.turns.commit()
                return said, [Finalize(item_id)]
            case _:
                cleared, said = self.turns.clear()
                return said, [Finalize(cleared)] if cleared else []

    def _append(self, data: bytes) -> Sequence[ClientMessage]:
        now = self._settings
        frames = list(pcm_frames(data, now.encoding, now.sample_rate, self._frames))
        if data and not self._streaming:
            self._streaming = True
            self.turns.stream_begins(now)
        if data:
            self.turns.appended(count_samples(len(data), now.encoding))
        return frames

    def _update(self, event: ClientEvent) -> Event:
        is_beta = event.type == BETA_UPDATE
        change = shapes.beta_updated if is_beta else shapes.updated
        settings = change(self._settings, event.values.get("session"))
        where = "session" if is_beta else "session.audio.input"
        _check(self._services, settings, where, "input_audio_transcription" if is_beta else "transcription")
        if self._streaming and settings != self._settings:
            if self.turns.is_busy:
                raise BadParameter("session", "cannot change while audio is not committed or cleared")
            self.restarts = True
        self._settings = settings
        kind = "transcription_session.updated" if is_beta else "session.updated"
        return server_event(kind, session=self._plain(is_beta))

    def _plain(self, is_beta: bool) -> dict[str, object]:
        return (shapes.beta_plain if is_beta else shapes.plain)(self._settings, self._id)


def _detection(turns: TurnDetection) -> Vad:
    return Vad(events=True, threshold=turns.threshold, min_silence_s=turns.silence_duration_ms / 1000)


def _at_first(services: Services, query: Mapping[str, str]) -> RealtimeSettings:
    for key in query:
        if key not in _QUERY:
            raise BadParameter(key[:60], f"is not known, expected one of {', '.join(_QUERY)}")
    if query.get("intent", "transcription") != "transcription":
        raise expected("intent", "transcription", query["intent"])
    served = models.transcribers(services)
    if not served:
        raise UnknownModel("model", "no model that transcribes is served here")
    model = query.get("model") or served[0].name
    models.resolve(services, model, "model")
    return RealtimeSettings(model, turn_detection=TurnDetection() if has_detector(services) else None)


def _check(services: Services, settings: RealtimeSettings, where: str, transcription: str) -> None:
    """Raise `BadParameter` or `UnknownModel` for settings that no stream can have here."""
    place = f"{where}.{transcription}"
    info = models.resolve(services, settings.model, f"{place}.model")
    models.language_of(settings.language, info, services, f"{place}.language")
    keyword_decoding(settings.keywords, f"{place}.keywords")
    if settings.turn_detection is not None and not has_detector(services):
        raise BadParameter(f"{where}.turn_detection", "no voice activity detector is served here, expected null")
