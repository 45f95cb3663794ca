"""Small request bodies, read with a limit."""

from __future__ import annotations

from starlette.requests import Request

from streamer.errors import InvalidRequest

MAX_COMMAND_BYTES = 4096


async def read_command(request: Request) -> bytes:
    """Return the body of an operator's command; raises `InvalidRequest` above `MAX_COMMAND_BYTES`."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_COMMAND_BYTES:
            raise InvalidRequest(f"expected a body of at most {MAX_COMMAND_BYTES} bytes, got more")
    return bytes(body)
