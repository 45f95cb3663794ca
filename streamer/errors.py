"""The exception tree and the one table that maps it to wire codes.

Messages state a lower-case fact, then expected against got, without a full stop. They are shown to clients, so they
never hold a path of the server or the audio or text of a stream.
"""

from __future__ import annotations

from dataclasses import dataclass


class StreamerError(Exception):
    """Base of every error that `streamer` raises on purpose."""


class InvalidRequest(StreamerError):
    """The client sent something that the protocol or the model does not allow."""


class UnknownBundle(StreamerError):
    """No bundle of that name and version is served here."""


class BundleError(StreamerError):
    """A bundle on disk is damaged or contradicts its manifest."""


class Unauthenticated(StreamerError):
    """The client showed no credentials, or none that hold."""


class PermissionDenied(StreamerError):
    """The client is known, but may not do this."""


class Superseded(StreamerError):
    """The stream went on over another connection."""


class QuotaExceeded(StreamerError):
    """The client has reached a limit of its own; it may try again after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StreamTimeout(StreamerError):
    """The stream was idle for too long or reached its maximal length."""


class MessageTooLarge(StreamerError):
    """One message, or the audio it decodes to, exceeds the announced limit."""


class TooFast(StreamerError):
    """Live audio ran ahead of the wall clock by more than the announced limit."""


class SlowReader(StreamerError):
    """The client left more results unread than the server keeps for it."""


class Overloaded(StreamerError):
    """No slot is free; the client may try again after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Draining(StreamerError):
    """The server is shutting down and takes no new streams."""


class ModelFault(StreamerError):
    """A model raised, or returned what its manifest does not allow."""


@dataclass(frozen=True, slots=True)
class WireCode:
    """How one class of errors looks on each transport.

    `grpc` is the name of a `grpc.StatusCode`, `http` a response status and `websocket` a close code (RFC 6455).
    """

    name: str
    grpc: str
    http: int
    websocket: int


INTERNAL = WireCode("internal", "INTERNAL", 500, 1011)

WIRE_CODES: dict[type[StreamerError], WireCode] = {
    InvalidRequest: WireCode("invalid_request", "INVALID_ARGUMENT", 400, 4400),
    Unauthenticated: WireCode("unauthenticated", "UNAUTHENTICATED", 401, 4401),
    PermissionDenied: WireCode("permission_denied", "PERMISSION_DENIED", 403, 4403),
    UnknownBundle: WireCode("unknown_model", "NOT_FOUND", 404, 4404),
    Superseded: WireCode("superseded", "ABORTED", 409, 4409),
    QuotaExceeded: WireCode("quota_exceeded", "RESOURCE_EXHAUSTED", 429, 4429),
    BundleError: INTERNAL,
    StreamTimeout: WireCode("timeout", "DEADLINE_EXCEEDED", 408, 4408),
    MessageTooLarge: WireCode("message_too_large", "OUT_OF_RANGE", 413, 1009),
    TooFast: WireCode("too_fast", "RESOURCE_EXHAUSTED", 429, 4429),
    SlowReader: WireCode("slow_reader", "RESOURCE_EXHAUSTED", 429, 4429),
    Overloaded: WireCode("overloaded", "RESOURCE_EXHAUSTED", 503, 1013),
    Draining: WireCode("draining", "UNAVAILABLE", 503, 1012),
    ModelFault: INTERNAL,
}


def wire_code(error: BaseException) -> WireCode:
    """Return the wire code of `error`; anything unknown is internal."""
    for kind in type(error).__mro__:
        if kind in WIRE_CODES:
            return WIRE_CODES[kind]
    return INTERNAL
