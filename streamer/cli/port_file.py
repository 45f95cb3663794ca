"""Tells scripts where a server listens that was started with port 0."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TypedDict

from streamer.errors import StreamerError


class Ports(TypedDict):
    """What a port file holds."""

    host: str
    grpc_port: int
    http_port: int
    wyoming_port: int | None
    admin_port: int | None
    pid: int


def write_ports(
    path: Path,
    host: str,
    grpc_port: int,
    http_port: int,
    wyoming_port: int | None = None,
    admin_port: int | None = None,
) -> None:
    """Write the file in one piece: whoever sees it sees all of it. Raises `StreamerError`."""
    ports = Ports(
        host=host,
        grpc_port=grpc_port,
        http_port=http_port,
        wyoming_port=wyoming_port,
        admin_port=admin_port,
        pid=os.getpid(),
    )
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=path.name, delete=False) as file:
            json.dump(ports, file)
            file.write("\n")
        Path(file.name).replace(path)
    except OSError as error:
        raise StreamerError(f"cannot write port file {path}: {error.strerror}") from None


def read_ports(path: Path) -> Ports | None:
    """Read the file; None while it is not there."""
    try:
        ports: Ports = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return ports
