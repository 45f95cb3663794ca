"""Bodies of uploads: who may send how many, and how slowly."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.requests import Request

from streamer.errors import MessageTooLarge, Overloaded, QuotaExceeded, StreamTimeout
from streamer.gateway import uploads
from streamer.gateway.uploads import Uploads, limited_body
from streamer.host.callers import ANONYMOUS, Caller
from tests.gateway.serving import with_loop

ADA, BEN = Caller("ada"), Caller("ben", max_streams=1)


def test_one_caller_gets_half_of_the_places() -> None:
    """Who holds a key cannot keep the others from theirs."""
    counted = Uploads(4)
    with counted.one(ADA), counted.one(ADA):
        with pytest.raises(QuotaExceeded, match="expected at most 2 uploads at a time"), counted.one(ADA):
            pass
        with counted.one(BEN):
            pass


def test_a_caller_of_one_stream_sends_one_file() -> None:
    """Its place is free again after the upload."""
    counted = Uploads(8)
    for _ in range(2):
        with counted.one(BEN), pytest.raises(QuotaExceeded, match="at most 1 "), counted.one(BEN):
            pass


def test_those_who_show_no_key_may_have_all_places() -> None:
    """Where all are let in nobody can be told from the others; then the server is full."""
    counted = Uploads(2)
    with counted.one(ANONYMOUS), counted.one(ANONYMOUS), pytest.raises(Overloaded), counted.one(ANONYMOUS):
        pass


def request_of(receive: Callable[[], Awaitable[Any]], headers: list[tuple[bytes, bytes]] | None = None) -> Request:
    return Request({"type": "http", "method": "POST", "headers": headers or []}, receive)


async def body_of(request: Request, most: int = 10_000, idle_s: float = 0.05) -> bytes:
    return b"".join([chunk async for chunk in limited_body(request, most, idle_s)])


@with_loop
async def test_an_upload_that_trickles_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, all of them together do not."""
    monkeypatch.setattr(uploads, "LEAST_BYTES_PER_S", 1000)

    async def trickle() -> Any:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"x", "more_body": True}

    with pytest.raises(StreamTimeout, match="expected an upload of at least 1000 bytes per second, got less"):
        await body_of(request_of(trickle))


@with_loop
async def test_an_upload_that_stops_is_cut_off() -> None:
    """It is told how long that was waited for."""

    async def nothing() -> Any:
        await asyncio.Event().wait()

    with pytest.raises(StreamTimeout, match="nothing of the upload within 0.05 s"):
        await body_of(request_of(nothing))


@with_loop
async def test_a_length_that_is_too_large_is_refused_before_the_body() -> None:
    """Nothing of it is read."""

    async def never() -> Any:
        raise AssertionError("was read")

    with pytest.raises(MessageTooLarge, match="upload of 10001 bytes"):
        await body_of(request_of(never, [(b"content-length", b"10001")]))
