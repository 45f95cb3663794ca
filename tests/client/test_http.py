"""HTTP of the client against a server that answers what a test says."""

from __future__ import annotations

import io
import json
import threading
from contextlib import contextmanager
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from streamer.client.access import Access
from streamer.client.http import get_json, post_file
from streamer.errors import (
    InvalidRequest,
    MessageTooLarge,
    ModelFault,
    Overloaded,
    QuotaExceeded,
    TooFast,
    Unauthenticated,
    UnknownBundle,
)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self._answer()

    def do_POST(self):
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        self.server.posted = (self.headers, body)
        self._answer()

    def log_message(self, *_):
        pass

    def _answer(self):
        status, headers, content = self.server.answer
        self.server.path = self.path
        self.server.authorization = self.headers["authorization"]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def answering(status, plain, headers=None):
    server = HTTPServer(("127.0.0.1", 0), Handler)
    content = plain if isinstance(plain, bytes) else json.dumps(plain).encode()
    server.answer = (status, headers or {}, content)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server, f"ws://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_json_is_fetched_with_the_key():
    """From the HTTP side of the WebSocket's port."""
    with answering(200, {"models": []}) as (server, url):
        assert get_json(url, "/v1/models", Access("secret")) == {"models": []}
    assert (server.path, server.authorization) == ("/v1/models", "Bearer secret")


def test_a_file_is_posted_as_a_form():
    """Fields may come twice; the file arrives byte for byte, whatever is in it and however it is called."""
    fields = [("model", "m"), ("list[]", "a"), ("list[]", "b")]
    content = b"\r\n--x\r\n" + bytes(range(256)) * 600
    with answering(200, {}) as (server, url):
        post_file(url, "/x", Access(), fields, io.BytesIO(content), 'a "b"\n.mp3')
    headers, body = server.posted
    message = BytesParser().parsebytes(b"content-type: " + headers["content-type"].encode() + b"\r\n\r\n" + body)
    parts = message.get_payload()
    names = [part.get_param("name", header="content-disposition") for part in parts]
    assert names == ["model", "list[]", "list[]", "file"]
    assert [part.get_payload(decode=True) for part in parts] == [b"m", b"a", b"b", content]
    assert parts[-1].get_filename() == "a %22b%22%0A.mp3"


@pytest.mark.parametrize(
    ("status", "plain", "kind"),
    [
        (400, {"error": {"code": "invalid_request", "message": "no"}}, InvalidRequest),
        (400, {"error": {"code": None, "message": "no"}}, InvalidRequest),
        (401, {"error": {"code": "invalid_api_key", "message": "no"}}, Unauthenticated),
        (404, {"error": {"code": "model_not_found", "message": "no"}}, UnknownBundle),
        (413, {"type": "error", "code": "message_too_large", "message": "no"}, MessageTooLarge),
        (429, {"type": "error", "code": "too_fast", "message": "no"}, TooFast),
        (429, {"error": {"code": "rate_limit_exceeded", "message": "no"}}, QuotaExceeded),
        (500, {"error": {"code": "server_error", "message": "no"}}, ModelFault),
        (503, {"error": "no"}, Overloaded),
    ],
)
def test_errors_come_back_as_their_class(status, plain, kind):
    """By their name if it is one of ours, else by the status."""
    with answering(status, plain, {"retry-after-ms": "250"}) as (_, url), pytest.raises(kind) as raised:
        get_json(url, "/", Access())
    assert type(raised.value) is kind
    assert getattr(raised.value, "retry_after_s", 0.25) == 0.25
    if isinstance(plain.get("error", plain), dict):
        assert str(raised.value) == "no"


@pytest.mark.parametrize(("status", "plain"), [(502, b"<html>bad gateway"), (200, b"<html>hello"), (302, b"")])
def test_what_no_server_of_ours_says_is_a_connection_error(status, plain):
    """Redirects are not followed: they could carry the key elsewhere."""
    with answering(status, plain) as (_, url), pytest.raises(ConnectionError, match=rf"^server answered {status}: "):
        get_json(url, "/", Access("secret"))


def test_no_server_is_a_connection_error():
    """With its address."""
    with answering(200, {}) as (_, url):
        pass
    with pytest.raises(ConnectionError, match=r"^no answer from 127\.0\.0\.1:\d+: "):
        get_json(url, "/", Access())
