"""The examples of the documentation do what they say: each block of Python is run against a gateway."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamer.client import Client, microphone
from streamer.client.background import Background
from tests.client.test_microphone import Card
from tests.client.test_wav import wav
from tests.gateway.fake_host import FakeHost
from tests.gateway.serving import gateway_of

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def blocks(name: str) -> list[str]:
    return BLOCK.findall((ROOT / name).read_text())


DOCUMENTS = ("docs/client.md", "docs/codec.md", "README.md")
EXAMPLES = [(name, index) for name in DOCUMENTS for index in range(len(blocks(name)))]


def brief(rate, samples, device, take):
    """A sound card that has two frames, after which somebody stops the microphone."""
    card = Card(bytes(1280), bytes(1280))(rate, samples, device, take)
    take.__self__.stop()
    return card


@contextmanager
def served(host, **settings):
    async def made():
        return gateway_of(host, **settings)

    background = Background("test-server")
    gateway = background.run(made())
    try:
        yield background.run(gateway.start())
    finally:
        background.run(gateway.stop())
        background.close()


@contextmanager
def closed_clients(monkeypatch):
    """Closes what short examples leave to the end of the program."""
    clients, init = [], Client.__init__

    def noting(client, *args, **kwargs):
        init(client, *args, **kwargs)
        clients.append(client)

    monkeypatch.setattr(Client, "__init__", noting)
    try:
        yield
    finally:
        for client in clients:
            client.close()


def test_there_are_examples():
    """Files, microphones, iterables, event loops, codecs, reconnecting, keys."""
    assert len(blocks("docs/client.md")) == 9
    assert len(blocks("docs/codec.md")) == 3
    assert len(blocks("README.md")) >= 2


@pytest.mark.parametrize(("name", "index"), EXAMPLES)
def test_an_example_runs(name, index, tmp_path, monkeypatch, capsys):
    """As it is written, but for the address; a microphone records two frames and is stopped."""
    code = blocks(name)[index]
    (tmp_path / "talk.wav").write_bytes(wav(data=bytes(16000)))
    (tmp_path / "talk.raw").write_bytes(bytes(16000))
    for file in ("ca.pem", "client.pem", "client.key"):
        (tmp_path / file).write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(microphone, "_open_sounddevice", lambda: brief)
    # Five seconds from now there is nobody left to stop.
    monkeypatch.setattr(threading, "Timer", lambda _, stop: threading.Thread(target=lambda: None))
    host = FakeHost()
    with served(host) as addresses, closed_clients(monkeypatch):
        code = code.replace("ws://localhost:8080", addresses.websocket)
        code = code.replace("grpc://localhost:50051", addresses.grpc)
        code = code.replace("localhost:50051", addresses.grpc.removeprefix("grpc://"))
        exec(compile(code, f"{name} {index}", "exec"), {})
    assert ("wss://" in code) != bool(host.streams)
    if "print" in code and "Warning" not in code:
        assert re.search(r"\d{3}", capsys.readouterr().out)
