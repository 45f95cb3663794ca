"""Reads a multipart form with one file, held to limits of size and time; large files go to disk, not to memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import BinaryIO

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from streamer.errors import InvalidRequest, MessageTooLarge, StreamTimeout
from streamer.gateway.openai.errors import BadParameter, expected
from streamer.gateway.relay import ClientGone

_MOST_FIELDS = 1100
_MOST_FIELD_BYTES = 65536
_TYPE = "multipart/form-data"


@dataclass(slots=True)
class Form:
    """The fields of a form: values by name, and the file. Whoever takes `file` closes it."""

    file: BinaryIO
    file_name: str
    values: dict[str, list[str]] = field(default_factory=dict)


async def read_form(request: Request, max_bytes: int, idle_s: float) -> Form:
    """Read the form of `request`, whose file is the field `file`.

    Raises `MessageTooLarge` above `max_bytes`, at once if the request says so beforehand, `StreamTimeout` when nothing
    comes for `idle_s` seconds, `InvalidRequest` for what is no such form, and `ClientGone`.
    """
    _check_headers(request, max_bytes)
    try:
        async with aclosing(_limited(request, max_bytes, idle_s)) as body:
            parser = MultiPartParser(
                request.headers, body, max_files=1, max_fields=_MOST_FIELDS, max_part_size=_MOST_FIELD_BYTES
            )
            parts = (await parser.parse()).multi_items()
    except MultiPartException as error:
        raise InvalidRequest(f"form: {error.message.rstrip('.').lower()}") from None
    except ClientDisconnect:
        raise ClientGone from None
    return _sorted(parts)


def _check_headers(request: Request, max_bytes: int) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _TYPE:
        raise InvalidRequest(f"expected content-type {_TYPE}, got {kind[:60] or 'nothing'}")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise _too_large(int(length), max_bytes)


async def _limited(request: Request, max_bytes: int, idle_s: float) -> AsyncGenerator[bytes, None]:
    received = 0
    body: AsyncIterator[bytes] = request.stream()
    while True:
        try:
            async with asyncio.timeout(idle_s):
                chunk = await anext(body, None)
        except TimeoutError:
            raise StreamTimeout(f"nothing of the upload within {idle_s:g} s") from None
        if chunk is None:
            return
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(received, max_bytes)
        yield chunk


def _too_large(size: int, max_bytes: int) -> MessageTooLarge:
    return MessageTooLarge(f"upload of {size} bytes exceeds the limit of {max_bytes} bytes")


def _sorted(parts: list[tuple[str, str | UploadFile]]) -> Form:
    file: UploadFile | None = None
    values: dict[str, list[str]] = {}
    for name, value in parts:
        if isinstance(value, str):
            values.setdefault(name, []).append(value)
        else:
            file = value
            if name != "file":
                value.file.close()
                raise BadParameter(name, "expected text, got a file")
    if file is None:
        # Text under this name is what clients send that forget the file name.
        raise expected("file", "a file with a name", "text" if values.get("file") else None)
    return Form(file.file, file.filename or "upload", values)
