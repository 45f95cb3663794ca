"""A form with one file, read block by block (RFC 7578)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from typing import BinaryIO

Fields = Sequence[tuple[str, str]]
"""Names and values; a name may come several times."""

_BLOCK_BYTES = 1 << 16


class Multipart:
    """The body of an upload; iterate to get its bytes, once."""

    def __init__(self, fields: Fields, file: BinaryIO, name: str) -> None:
        self._fields = fields
        self._file = file
        self._name = name
        self._boundary = secrets.token_hex(16)

    @property
    def content_type(self) -> str:
        """The header that goes with the body."""
        return f"multipart/form-data; boundary={self._boundary}"

    def __iter__(self) -> Iterator[bytes]:
        for name, value in self._fields:
            yield self._head(f'name="{name}"') + value.encode() + b"\r\n"
        yield self._head(f'name="file"; filename="{_quoted(self._name)}"')
        while block := self._file.read(_BLOCK_BYTES):
            yield block
        yield f"\r\n--{self._boundary}--\r\n".encode()

    def _head(self, disposition: str) -> bytes:
        return f"--{self._boundary}\r\ncontent-disposition: form-data; {disposition}\r\n\r\n".encode()


def _quoted(name: str) -> str:
    # As browsers do it (WHATWG HTML, 4.10.21.8).
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
