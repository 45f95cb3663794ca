"""`streamer listen` against a gateway over a fake host that runs on a thread of its own."""

from __future__ import annotations

import os
import sys

import pytest
from typer.testing import CliRunner

from streamer.cli.main import app
from streamer.client import microphone
from tests.client.test_docs import brief, served
from tests.client.test_wav import wav
from tests.gateway.fake_host import FakeHost


def run(*arguments: str):
    return CliRunner().invoke(app, ["listen", *arguments])


@pytest.mark.parametrize("transport", ["grpc", "websocket"])
def test_a_file_is_transcribed_by_the_server(tmp_path, transport):
    """A line for each segment."""
    path = tmp_path / "talk.wav"
    path.write_bytes(wav(data=bytes(6400)))
    with served(FakeHost()) as addresses:
        result = run(str(path), "--server", getattr(addresses, transport))
    assert (result.exit_code, result.stdout) == (0, "3200\n3200\n")


def test_the_microphone_is_the_default(monkeypatch):
    """Finals go to standard output; options reach the server."""
    monkeypatch.setattr(microphone, "_open_sounddevice", lambda: brief)
    host = FakeHost()
    with served(host) as addresses:
        result = run("--server", addresses.websocket, "--model", "echo", "--language", "en", "--device", "3")
    assert (result.exit_code, result.stdout) == (0, "1280\n1280\n")
    config = host.streams[0].got[0]
    assert (config.model, config.language, config.mode) == ("echo", "en", "live")


def test_standard_input_is_streamed(monkeypatch):
    """In the format that is named, as it comes."""
    reading, writing = os.pipe()
    os.write(writing, bytes(1600))
    os.close(writing)
    host = FakeHost()
    with served(host) as addresses, os.fdopen(reading, "rb") as pipe:
        monkeypatch.setattr("streamer.cli.listen.sys", Stdin(pipe))
        result = run("-", "--server", addresses.grpc, "--encoding", "pcm_mulaw", "--rate", "8000")
    assert (result.exit_code, result.stdout) == (0, "800\n800\n")
    assert host.streams[0].got[0].encoding == "pcm_mulaw"


class Stdin:
    """`sys` with another standard input: the runner replaces the real one."""

    def __init__(self, stdin):
        self.stdin = stdin
        self.stderr = sys.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-",), "streamer: standard input needs --encoding and --rate, nothing in it tells them\n"),
        (("none.wav",), "streamer: none.wav: no such file or directory\n"),
        (("-", "--server", "http://x"), "streamer: url: expected one of grpc://, grpcs://, ws://, wss://, "),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(arguments, message):
    """With status 1."""
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith(message)


def test_the_key_is_read_from_its_file(tmp_path):
    """Without the newline; keys do not belong into command lines."""
    from streamer.errors import Unauthenticated
    from tests.gateway.keyring import ADA, access_settings

    (tmp_path / "key").write_text(ADA + "\n")
    (tmp_path / "talk.wav").write_bytes(wav(data=bytes(3200)))
    with served(FakeHost(), access=access_settings()) as addresses:
        arguments = (str(tmp_path / "talk.wav"), "--server", addresses.websocket)
        assert run(*arguments, "--api-key-file", str(tmp_path / "key")).stdout == "3200\n"
        refused = run(*arguments)
    assert refused.exit_code == 1
    assert Unauthenticated.__name__ not in refused.stderr
