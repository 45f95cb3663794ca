"""`POST /v1/audio/speech`: text in, its sound out while it is made, as a file or as server-sent events."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from streamer.audio.encoders import MEDIA_TYPES, Encoder, open_encoder
from streamer.errors import InvalidRequest, StreamerError
from streamer.gateway.conversation import Conversation
from streamer.gateway.openai.answers import server_sent
from streamer.gateway.openai.errors import BadParameter, describe, error_response
from streamer.gateway.openai.speech_request import SpeechRequest, most_bytes, read_speech_request
from streamer.gateway.recognisers import VOICE_TASK
from streamer.gateway.recognition import unless_gone
from streamer.gateway.relay import ClientGone
from streamer.gateway.services import Services
from streamer.gateway.uploads import limited_body
from streamer.session.messages import AudioOut, ClientMessage, Config, End, ServerMessage, Text

if TYPE_CHECKING:
    from streamer.host.callers import Caller

# That of OpenAI's sound, and of our voice.
RATE = 24_000
_ENCODING = "pcm_s16le"
_SAMPLE_BYTES = 2
# Well within what a stream takes in one message, whatever the characters.
_PART = 4000
# The only unit that sound of any voice has: a frame of 20 ms.
_FRAME_SAMPLES = RATE // 50

log = structlog.get_logger()


def routes(services: Services) -> list[BaseRoute]:
    """Return the route of speech."""
    return [Route("/v1/audio/speech", _Speech(services).create, methods=["POST"])]


class _Speech:
    """The endpoint."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def create(self, request: Request) -> Response:
        try:
            caller = self._services.access.of_request(request)
            return await self._answer(request, caller)
        except (ClientGone, ClientDisconnect):
            # Nobody is left to read it.
            return Response(status_code=499)
        except StreamerError as error:
            return error_response(error)
        except Exception as error:
            log.exception("speech failed")
            return error_response(error)

    async def _answer(self, request: Request, caller: Caller) -> Response:
        services = self._services
        max_bytes = most_bytes(services.settings.openai.max_input_chars)
        async with aclosing(limited_body(request, max_bytes, services.settings.session.idle_timeout_ms / 1000)) as body:
            wanted = read_speech_request(b"".join([part async for part in body]), services)
        encoder = _encoder(wanted)
        stream = services.host.connect(caller)
        conversation = Conversation(stream, _incoming(wanted), services.write_timeout_s)
        messages = aiter(conversation)
        try:
            first = await unless_gone(request, _first_audio(messages))
        except BaseException as error:
            await conversation.close()
            if isinstance(error, InvalidRequest) and str(error).startswith(_VOICE):
                raise BadParameter("voice", str(error).removeprefix(_VOICE)) from None
            raise
        return _SpeechResponse(wanted, conversation, _encoded(first, messages, encoder))


_VOICE = "synthesis voice: "


def _encoder(wanted: SpeechRequest) -> Encoder:
    try:
        return open_encoder(wanted.response_format, RATE)
    except InvalidRequest as error:
        raise BadParameter("response_format", str(error)) from None


async def _incoming(wanted: SpeechRequest) -> AsyncGenerator[ClientMessage, None]:
    yield Config("text", RATE, 1, task=VOICE_TASK, model=wanted.model.key, mode="file", synthesis=wanted.options)
    for start in range(0, len(wanted.text), _PART):
        yield Text(wanted.text[start : start + _PART])
    yield End()


async def _first_audio(messages: AsyncIterator[ServerMessage]) -> bytes:
    """Wait for the first sound, so that whatever is refused has its own status; empty if there is none at all."""
    async for message in messages:
        if isinstance(message, AudioOut):
            return message.data
    return b""


async def _encoded(first: bytes, messages: AsyncIterator[ServerMessage], encoder: Encoder) -> AsyncIterator[_Piece]:
    """Yield the file piece by piece. Coding takes a thread: the loop has other streams."""
    if first:
        yield await _piece(encoder, first)
        async for message in messages:
            if isinstance(message, AudioOut):
                yield await _piece(encoder, message.data)
    yield _Piece(await asyncio.to_thread(encoder.finish), 0)


class _Piece(bytes):
    """Bytes of a file, of so many samples of sound."""

    n_samples: int

    def __new__(cls, data: bytes, n_samples: int) -> _Piece:
        piece = super().__new__(cls, data)
        piece.n_samples = n_samples
        return piece


async def _piece(encoder: Encoder, pcm: bytes) -> _Piece:
    return _Piece(await asyncio.to_thread(encoder.encode, pcm), len(pcm) // _SAMPLE_BYTES)


async def _events(text: str, pieces: AsyncIterator[_Piece]) -> AsyncIterator[str]:
    n_samples = 0
    try:
        async for piece in pieces:
            n_samples += piece.n_samples
            if piece:
                yield server_sent({"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()})
        yield server_sent({"type": "speech.audio.done", "usage": _usage(text, n_samples)})
    except StreamerError as error:
        yield server_sent({"error": describe(error)})
    except Exception as error:
        log.exception("speech failed")
        yield server_sent({"error": describe(error)})


def _usage(text: str, n_samples: int) -> dict[str, int]:
    """What it cost, in what stands for tokens here: characters, and frames of sound."""
    frames = -(-n_samples // _FRAME_SAMPLES)
    return {"input_tokens": len(text), "output_tokens": frames, "total_tokens": len(text) + frames}


class _SpeechResponse(StreamingResponse):
    """Frees the slot when the response is over or its client gone, even if it never began.

    An error in the middle of a file breaks the connection off: there is no other way to say that the file is not whole.
    """

    def __init__(self, wanted: SpeechRequest, conversation: Conversation, pieces: AsyncIterator[_Piece]) -> None:
        is_event_stream = wanted.is_event_stream
        super().__init__(
            _events(wanted.text, pieces) if is_event_stream else (piece async for piece in pieces if piece),
            media_type="text/event-stream" if is_event_stream else MEDIA_TYPES[wanted.response_format],
            headers={"cache-control": "no-store", "x-streamer-model": wanted.model.key},
        )
        self._conversation = conversation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await unless_gone(Request(scope, receive), self.stream_response(send))
        except ClientGone:
            pass
        except StreamerError as error:
            log.warning("speech broken off", reason=str(error))
        except Exception:
            log.exception("speech failed")
        finally:
            await self._conversation.close()
