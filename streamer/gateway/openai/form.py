"""Reads a multipart form with one file, held to limits of size and time; large files go to disk, not to memory."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, field
from typing import BinaryIO

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from streamer.errors import InvalidRequest
from streamer.gateway.openai.errors import BadParameter, expected
from streamer.gateway.relay import ClientGone
from streamer.gateway.uploads import limited_body

_MOST_FIELDS = 1100
_MOST_FIELD_BYTES = 65536
_TYPE = "multipart/form-data"
# What field names and values may be written in. Python has codecs besides that are no text, or hold half characters.
_CHARSETS = (b"utf-8", b"us-ascii", b"iso-8859-1")


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
    _check_type(request)
    try:
        async with aclosing(limited_body(request, max_bytes, idle_s)) as body:
            parser = _Parser(
                request.headers, body, max_files=1, max_fields=_MOST_FIELDS, max_part_size=_MOST_FIELD_BYTES
            )
            parts = (await parser.parse()).multi_items()
        parser.check_end(parts)
    except MultiPartException as error:
        raise InvalidRequest(f"form: {error.message.rstrip('.').lower()}") from None
    except ClientDisconnect:
        raise ClientGone from None
    return _sorted(parts)


def _check_type(request: Request) -> None:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind.strip().lower() != _TYPE.encode():
        raise InvalidRequest(f"expected content-type {_TYPE}, got {kind.decode('latin-1')[:60] or 'nothing'}")
    charset = options.get(b"charset", b"utf-8").lower()
    if charset not in _CHARSETS:
        raise InvalidRequest(f"form: expected charset utf-8, got {charset.decode('latin-1')!r:.60}")


class _Parser(MultiPartParser):
    def check_end(self, parts: list[tuple[str, str | UploadFile]]) -> None:
        """Close the file and raise `InvalidRequest` if the form ends in the middle of it."""
        whole: list[object] = [part.file for _, part in parts if isinstance(part, UploadFile)]
        for file in self._files_to_close_on_error:
            if file not in whole:
                file.close()
                raise InvalidRequest("form: expected a boundary after the file, got the end of the request")


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
