"""How requests, models, words and errors look in Deepgram's API."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from streamer.gateway.refusals import refusal_headers
from streamer.transcripts.transcript import Word
from streamer.wire.failure import Failure

if TYPE_CHECKING:
    from streamer.host.catalogue import ModelInfo

Event = dict[str, Any]

REQUEST_ID_HEADER = "dg-request-id"
_ERROR_HEADER = "dg-error"
_ARCHITECTURE = "streamer"
# Names that these clients know; all other errors are called what their HTTP status is.
_CODES = {
    "unauthenticated": "INVALID_AUTH",
    "permission_denied": "INSUFFICIENT_PERMISSIONS",
    "quota_exceeded": "TOO_MANY_REQUESTS",
    "message_too_large": "PAYLOAD_TOO_LARGE",
    "timeout": "SLOW_UPLOAD",
}
# A close frame holds at most 125 bytes, two of them the code (RFC 6455, section 5.5).
_MOST_REASON_BYTES = 123


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """One request, and the model that serves it."""

    model: ModelInfo
    id: str
    created: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def model_uuid(self) -> str:
        """The same for every server with this version of the model."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"streamer:{self.model.key}"))

    @property
    def model_info(self) -> dict[str, str]:
        """Name, version and kind of the model."""
        return {"name": self.model.name, "version": self.model.version, "arch": _ARCHITECTURE}

    def metadata(self, sha256: str, duration_s: float, channels: int) -> Event:
        """Return what is told of a request that is over: what came, and what heard it."""
        return {
            "transaction_key": "deprecated",
            "request_id": self.id,
            "sha256": sha256,
            "created": self.created.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "duration": round(duration_s, 6),
            "channels": channels,
            "models": [self.model_uuid],
            "model_info": {self.model_uuid: self.model_info},
        }


def new_request_id() -> str:
    """Return an identifier that no other request has."""
    return str(uuid.uuid4())


def alternative(text: str, confidence: float, words: Iterable[Word]) -> Event:
    """Return one text that a piece of audio may have."""
    return {"transcript": text, "confidence": round(confidence, 6), "words": [_word(word) for word in words]}


def error_body(failure: Failure, request_id: str) -> Event:
    """Return what a refused request is told."""
    code = _CODES.get(failure.code.name) or HTTPStatus(failure.code.http).phrase
    return {"err_code": code, "err_msg": failure.message, "request_id": request_id}


def error_response(error: BaseException, request_id: str) -> JSONResponse:
    """Return the response of a request that failed, or of a refused upgrade, whose body many clients cannot read."""
    failure = Failure.of(error)
    headers = refusal_headers(failure)
    headers[REQUEST_ID_HEADER] = request_id
    # A header is one printable line; what a client sent may be part of the message.
    ascii = failure.message.encode("ascii", "backslashreplace").decode()
    headers[_ERROR_HEADER] = "".join(letter if letter.isprintable() else " " for letter in ascii)
    return JSONResponse(error_body(failure, request_id), failure.code.http, headers)


def close_frame(failure: Failure) -> tuple[int, str]:
    """Return code and reason of the close frame of a stream that failed: whose fault it was, and what it was."""
    if failure.code.name == "timeout":
        code, kind = 1011, "NET-0001"
    elif failure.code.http >= 500:
        code, kind = 1011, "NET-0000"
    else:
        code, kind = 1008, "DATA-0000"
    return code, f"{kind} {failure.message}".encode()[:_MOST_REASON_BYTES].decode(errors="ignore")


def _word(word: Word) -> Event:
    return {
        "word": word.word,
        "start": round(word.start_s, 6),
        "end": round(word.end_s, 6),
        "confidence": round(word.confidence, 6),
    }
