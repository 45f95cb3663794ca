"""`POST /v1/audio/transcriptions`: a file in, its text out, whole or as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from typing import TYPE_CHECKING

import structlog
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from streamer.audio.files import UploadLimits
from streamer.errors import InvalidRequest, StreamerError
from streamer.gateway.openai.answers import answer, server_sent
from streamer.gateway.openai.errors import BadParameter, describe, error_response
from streamer.gateway.openai.form import read_form
from streamer.gateway.openai.growing import GrowingText
from streamer.gateway.openai.request import TranscriptionRequest, read_request
from streamer.gateway.recognition import (
    ENCODING,
    NoSuchChannel,
    Opened,
    Recognition,
    Upload,
    opened,
    transcript_of,
    unless_gone,
)
from streamer.gateway.relay import ClientGone
from streamer.gateway.services import Services
from streamer.gateway.uploads import Uploads
from streamer.host.callers import Caller
from streamer.host.reading import read_ahead
from streamer.session.messages import Audio, Config, Ready, Result, ServerMessage

if TYPE_CHECKING:
    from streamer.config import SessionSection

_MIB = 1 << 20

log = structlog.get_logger()


def routes(services: Services) -> list[BaseRoute]:
    """Return the route of transcriptions."""
    endpoint = _Transcriptions(services)
    return [Route("/v1/audio/transcriptions", endpoint.create, methods=["POST"])]


class _Transcriptions:
    """The endpoint. It counts the requests that it holds a file of."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._settings = services.settings.openai
        self._uploads = Uploads(self._settings.max_uploads)

    async def create(self, request: Request) -> Response:
        try:
            caller = self._services.access.of_request(request)
            return await self._answer(request, caller)
        except ClientGone:
            # Nobody is left to read it.
            return Response(status_code=499)
        except StreamerError as error:
            return error_response(error)
        except Exception as error:
            log.exception("transcription failed")
            return error_response(error)

    async def _answer(self, request: Request, caller: Caller) -> Response:
        services = self._services
        with self._uploads.one(caller):
            form = await read_form(
                request, self._settings.max_upload_mb * _MIB, services.settings.session.idle_timeout_ms / 1000
            )
            try:
                wanted = read_request(form, services)
            except BaseException:
                form.file.close()
                raise
        upload = Upload(form.file, form.file_name, wanted.channel)
        limits = UploadLimits(max_duration_s=self._settings.max_audio_s)
        sound = read_ahead(_decoded(upload, limits, services.settings.session))
        try:
            rate = (await opened(sound)).sample_rate
            stream = services.host.connect(caller)
        except BaseException:
            await sound.aclose()
            raise
        recognition = Recognition(stream, _config(wanted, rate), sound, services.write_timeout_s)
        if wanted.stream:
            return await _event_stream(request, recognition)
        model = wanted.model.key
        try:
            transcript = await unless_gone(request, transcript_of(recognition, form.file_name, model, rate))
        finally:
            await recognition.close()
        return answer(transcript, wanted)


def _decoded(upload: Upload, limits: UploadLimits, session: SessionSection) -> Generator[Opened | Audio, None, None]:
    """Decode; what is wrong with the file is told of the parameter that holds it."""
    try:
        yield from upload.decoded(limits, session)
    except InvalidRequest as error:
        raise BadParameter("channel" if isinstance(error, NoSuchChannel) else "file", str(error)) from None


def _config(request: TranscriptionRequest, sample_rate: int) -> Config:
    return Config(
        ENCODING,
        sample_rate,
        channels=1,
        model=request.model.key,
        mode="file",
        language=request.language,
        interim_results=request.stream,
        decoding=request.decoding,
    )


async def _event_stream(request: Request, recognition: Recognition) -> Response:
    """Wait until the stream is admitted, so that a refusal still has its own status; then say what is heard."""
    messages = aiter(recognition)
    try:
        await unless_gone(request, _until_ready(messages))
    except BaseException:
        await recognition.close()
        raise
    return _EventStream(recognition, _events(messages))


async def _until_ready(messages: AsyncIterator[ServerMessage]) -> None:
    while not isinstance(await anext(messages), Ready):
        pass


async def _events(messages: AsyncIterator[ServerMessage]) -> AsyncIterator[str]:
    text = GrowingText()
    try:
        async for message in messages:
            if isinstance(message, Result):
                text.take(message)
                if piece := text.piece():
                    yield server_sent({"type": "transcript.text.delta", "delta": piece})
        yield server_sent({"type": "transcript.text.done", "text": text.text})
    except StreamerError as error:
        yield server_sent({"error": describe(error)})
    except Exception as error:
        log.exception("transcription failed")
        yield server_sent({"error": describe(error)})


class _EventStream(StreamingResponse):
    """Frees the slot when the response is over, even if it never began."""

    def __init__(self, recognition: Recognition, events: AsyncIterator[str]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"cache-control": "no-store"})
        self._recognition = recognition

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._recognition.close()
