"""One table says how every error looks on every transport."""

from __future__ import annotations

import grpc

from streamer import errors
from streamer.errors import WIRE_CODES, StreamerError, wire_code


def test_every_error_has_a_row() -> None:
    """A new error class without a row would be reported as a bug of the server."""
    classes = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, StreamerError)}
    assert set(WIRE_CODES) == classes - {StreamerError}


def test_the_codes_exist() -> None:
    """gRPC knows the names; HTTP statuses are errors; close codes are ones a server may send (RFC 6455, 7.4)."""
    for code in WIRE_CODES.values():
        assert hasattr(grpc.StatusCode, code.grpc)
        assert 400 <= code.http < 600
        assert code.websocket in {1009, 1011, 1012, 1013} or 4000 <= code.websocket < 5000


def test_a_subclass_inherits_and_a_stranger_is_internal() -> None:
    """What is not ours is a bug, whatever its class."""

    class Stricter(errors.InvalidRequest):
        pass

    assert wire_code(Stricter()) is WIRE_CODES[errors.InvalidRequest]
    assert wire_code(ZeroDivisionError()).grpc == "INTERNAL"
