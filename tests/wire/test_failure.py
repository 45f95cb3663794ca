"""Errors on the wire."""

from __future__ import annotations

import pytest

from streamer.errors import INTERNAL, WIRE_CODES, BundleError, InvalidRequest, ModelFault, Overloaded, StreamerError
from streamer.wire.failure import Failure


@pytest.mark.parametrize("kind", WIRE_CODES)
def test_every_error_comes_back_as_its_class(kind):
    """Name and message are enough to rebuild the exception; a client cannot tell the internal ones apart."""
    failure = Failure.of(kind("it happened"))
    error = Failure.named(failure.code.name, failure.message, failure.retry_after_ms).to_error()
    assert type(error) is (ModelFault if kind is BundleError else kind)
    assert str(error) == "it happened"


def test_the_retry_hint_is_rounded_up():
    """A client that waits for it is never too early."""
    assert Failure.of(Overloaded("full", 0.0011)).retry_after_ms == 2
    assert Failure.of(ModelFault("nan")).retry_after_ms is None


def test_strangers_are_internal_and_tell_nothing():
    """An exception that is not ours may hold paths or text of streams."""
    assert Failure.of(KeyError("/srv/secret")) == Failure(INTERNAL, "internal error")


def test_a_class_without_a_row_is_internal():
    """The base class has no code of its own."""
    assert Failure.of(StreamerError("odd")).code is INTERNAL


@pytest.mark.parametrize(("name", "retry"), [("new_code", None), (None, "1"), (["x"], 1.5)])
def test_unknown_names_are_internal(name, retry):
    """A newer server may use codes that this client does not know."""
    assert Failure.named(name, "text", retry) == Failure(INTERNAL, "text")


def test_a_message_is_cut_to_what_every_transport_carries():
    """gRPC has little room for it, and a client needs no more of its own text than to know it again."""
    assert Failure.of(InvalidRequest("x" * 500)).message == "x" * 500
    assert Failure.of(InvalidRequest("x" * 501)).message == "x" * 497 + "..."
