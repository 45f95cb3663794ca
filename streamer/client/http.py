"""The few HTTP requests of a client: the list of models and uploads of files. They block; call them on a thread."""

from __future__ import annotations

import http.client
import json
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from streamer.client.access import Access
from streamer.client.multipart import Fields, Multipart
from streamer.errors import WIRE_CODES
from streamer.wire.failure import Failure

# The server may take its time over a long file.
_TIMEOUT_S = 3600.0
_SHOWN = 200
_NAMES = {code.name for code in WIRE_CODES.values()}
_NAME_OF = {code.http: code.name for code in reversed(WIRE_CODES.values())}


def get_json(url: str, path: str, access: Access) -> Any:
    """GET `path` from the HTTP side of the server at `url` (`ws://` or `wss://`).

    Raises the `StreamerError` that the server answers, and `ConnectionError`.
    """
    return _request(url, "GET", path, access, {}, None)


def post_file(url: str, path: str, access: Access, fields: Fields, file: BinaryIO, name: str) -> Any:
    """POST a form with the fields and the field `file` to `path`, and return the JSON that is answered.

    The file is sent as it is read. Raises the `StreamerError` that the server answers, and `ConnectionError`.
    """
    form = Multipart(fields, file, name)
    return _request(url, "POST", path, access, {"content-type": form.content_type}, form)


def _request(url: str, method: str, path: str, access: Access, headers: dict[str, str], body: Multipart | None) -> Any:
    parts = urlsplit(url)
    connection = _connection(parts.netloc, parts.scheme == "wss", access)
    try:
        connection.request(method, path, body, {**headers, **access.headers}, encode_chunked=True)
        response = connection.getresponse()
        content = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(f"no answer from {parts.netloc}: {error or type(error).__name__}") from None
    finally:
        connection.close()
    return _answer(response, content)


def _connection(netloc: str, is_secure: bool, access: Access) -> http.client.HTTPConnection:
    if is_secure:
        return http.client.HTTPSConnection(netloc, timeout=_TIMEOUT_S, context=access.ssl_context())
    return http.client.HTTPConnection(netloc, timeout=_TIMEOUT_S)


def _answer(response: http.client.HTTPResponse, content: bytes) -> Any:
    try:
        plain = json.loads(content)
    except ValueError:
        plain = None
    if response.status == 200 and plain is not None:
        return plain
    raise _failure(response, plain, content)


def _failure(response: http.client.HTTPResponse, plain: Any, content: bytes) -> Exception:
    if response.status not in _NAME_OF:
        return ConnectionError(f"server answered {response.status}: {content[:_SHOWN].decode(errors='replace')}")
    # Ours holds the message, OpenAI's an object of it.
    told = plain.get("error", plain) if isinstance(plain, dict) else None
    told = told if isinstance(told, dict) else {}
    code = told.get("code")
    name = code if code in _NAMES else _NAME_OF[response.status]
    retry = response.headers.get("retry-after-ms")
    message = str(told.get("message") or response.reason)
    return Failure.named(name, message, int(retry) if retry and retry.isdecimal() else None).to_error()
