"""An error on its way over the wire: the same name, message and retry hint on every transport."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from streamer.errors import (
    INTERNAL,
    WIRE_CODES,
    ModelFault,
    Overloaded,
    QuotaExceeded,
    StreamerError,
    WireCode,
    wire_code,
)

# What a client sent may be part of a message. gRPC carries a message in its trailers, percent-encoded, and clients
# refuse trailers from 8 KiB on.
_MOST_CHARACTERS = 500

_KINDS: dict[str, type[StreamerError]] = {
    **{code.name: kind for kind, code in reversed(WIRE_CODES.items())},
    # Several classes are "internal"; a client can tell no more than that the server failed.
    INTERNAL.name: ModelFault,
}
_CODES: dict[str, WireCode] = {code.name: code for code in WIRE_CODES.values()}


@dataclass(frozen=True, slots=True)
class Failure:
    """What a client is told of an error."""

    code: WireCode
    message: str
    retry_after_ms: int | None = None

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Describe `error`; of one that is not ours the client learns nothing but that there was one."""
        if not isinstance(error, StreamerError):
            return cls(INTERNAL, "internal error")
        retry = math.ceil(1000 * error.retry_after_s) if isinstance(error, Overloaded | QuotaExceeded) else None
        return cls(wire_code(error), _cut(str(error)), retry)

    @classmethod
    def named(cls, name: Any, message: Any, retry_after_ms: Any = None) -> Failure:
        """Describe an error that was received, whatever its parts are; an unknown name is internal."""
        code = _CODES.get(name, INTERNAL) if isinstance(name, str) else INTERNAL
        return cls(code, str(message), retry_after_ms if isinstance(retry_after_ms, int) else None)

    def to_error(self) -> StreamerError:
        """Return the exception that stands for this failure at the client."""
        kind = _KINDS[self.code.name]
        if self.retry_after_ms is not None and issubclass(kind, Overloaded | QuotaExceeded):
            return kind(self.message, self.retry_after_ms / 1000)
        return kind(self.message)


def _cut(message: str) -> str:
    return message if len(message) <= _MOST_CHARACTERS else message[: _MOST_CHARACTERS - 3] + "..."
