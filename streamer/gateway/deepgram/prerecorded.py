"""`POST /v1/listen`: a file in, its text out. What it is, its first bytes say; its content type need not."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from contextlib import aclosing
from dataclasses import dataclass
from typing import BinaryIO

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from streamer.audio.files import UploadLimits
from streamer.errors import InvalidRequest, StreamerError
from streamer.gateway.deepgram.answers import answer
from streamer.gateway.deepgram.described import REQUEST_ID_HEADER, RequestInfo, error_response, new_request_id
from streamer.gateway.deepgram.live import PATH
from streamer.gateway.deepgram.raw import RawUpload
from streamer.gateway.deepgram.request import FileRequest, read_file
from streamer.gateway.recognition import ENCODING, Recognition, Upload, opened, transcript_of, unless_gone
from streamer.gateway.relay import ClientGone
from streamer.gateway.services import Services
from streamer.gateway.uploads import Uploads, limited_body
from streamer.host.callers import Caller
from streamer.host.reading import read_ahead
from streamer.session.messages import Config
from streamer.transcripts.transcript import Transcript

_MIB = 1 << 20
_NAME = "upload"

log = structlog.get_logger()


def routes(services: Services) -> list[BaseRoute]:
    """Return the route of files."""
    return [Route(PATH, _Prerecorded(services).create, methods=["POST"])]


class _Prerecorded:
    """The endpoint. It counts the requests that it holds a file of."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._settings = services.settings.deepgram
        self._uploads = Uploads(self._settings.max_uploads)

    async def create(self, request: Request) -> Response:
        request_id = new_request_id()
        try:
            caller = self._services.access.of_request(request)
            wanted = read_file(request.query_params.multi_items(), self._services)
            _check_type(request)
            with self._uploads.one(caller):
                return await self._answer(request, wanted, RequestInfo(wanted.wanted.model, request_id), caller)
        except (ClientGone, ClientDisconnect):
            # Nobody is left to read it.
            return Response(status_code=499)
        except Exception as error:
            if not isinstance(error, StreamerError):
                log.exception("deepgram transcription failed")
            return error_response(error, request_id)

    async def _answer(self, request: Request, wanted: FileRequest, info: RequestInfo, caller: Caller) -> Response:
        file = await asyncio.to_thread(_Received)
        try:
            await self._receive(request, file)
            transcripts = await unless_gone(request, self._transcripts(file, wanted, caller))
        finally:
            await asyncio.to_thread(file.close)
        told = answer(transcripts, wanted, info, file.sha256)
        return JSONResponse(told, headers={REQUEST_ID_HEADER: info.id})

    async def _receive(self, request: Request, file: _Received) -> None:
        idle_s = self._services.settings.session.idle_timeout_ms / 1000
        async with aclosing(limited_body(request, self._settings.max_upload_mb * _MIB, idle_s)) as body:
            async for chunk in body:
                await asyncio.to_thread(file.write, chunk)
        await asyncio.to_thread(file.flush)

    async def _transcripts(self, file: _Received, wanted: FileRequest, caller: Caller) -> list[Transcript]:
        """Recognise the average of the channels, or one channel after the other, so that it takes one slot."""
        if not wanted.multichannel:
            return [(await self._recognised(file, None, wanted, caller)).transcript]
        found = await self._recognised(file, 0, wanted, caller)
        others = [await self._recognised(file, channel, wanted, caller) for channel in range(1, found.channels)]
        return [each.transcript for each in (found, *others)]

    async def _recognised(self, file: _Received, channel: int | None, wanted: FileRequest, caller: Caller) -> _Heard:
        services = self._services
        limits = UploadLimits(max_duration_s=self._settings.max_audio_s)
        # Not in a thread: a client that went meanwhile would leave it open.
        data = file.again()
        if wanted.format is None:
            sound = read_ahead(Upload(data, _NAME, channel).decoded(limits, services.settings.session))
        else:
            sound = read_ahead(RawUpload(data, wanted.format).frames(limits, services.settings.session))
        try:
            form = await opened(sound)
            stream = services.host.connect(caller)
        except BaseException:
            await sound.aclose()
            raise
        recognition = Recognition(stream, _config(wanted, form.sample_rate), sound, services.write_timeout_s)
        try:
            model = wanted.wanted.model.key
            return _Heard(await transcript_of(recognition, _NAME, model, form.sample_rate), form.channels)
        finally:
            await recognition.close()


@dataclass(frozen=True, slots=True)
class _Heard:
    """What was said in a file, or in one of its `channels`."""

    transcript: Transcript
    channels: int


class _Received:
    """The body of a request, on disk, to be read as often as it has channels. For threads, not for an event loop."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `close`
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The digest of what was written."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        """Append `data`."""
        self._file.write(data)
        self._hash.update(data)

    def flush(self) -> None:
        """Have all of it on disk."""
        self._file.flush()

    def again(self) -> BinaryIO:
        """Open it, flushed before, at its begin; only one of these may be open at a time. Touches no disk."""
        found = os.fdopen(os.dup(self._file.fileno()), "rb")
        found.seek(0)
        return found

    def close(self) -> None:
        """Delete it."""
        self._file.close()


def _check_type(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        raise InvalidRequest("url: is not supported, no address is ever fetched from here; send the audio itself")
    if kind.startswith("multipart/"):
        raise InvalidRequest(f"expected the audio itself as the body, got {kind:.60}")


def _config(wanted: FileRequest, sample_rate: int) -> Config:
    return Config(
        wanted.format.encoding if wanted.format else ENCODING,
        sample_rate,
        channels=1,
        model=wanted.wanted.model.key,
        mode="file",
        language=wanted.wanted.language,
        interim_results=False,
        endpointing=wanted.wanted.endpointing,
        decoding=wanted.wanted.decoding,
    )
