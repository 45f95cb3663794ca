"""Ports for servers that begin to listen later, or go away and come back."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """A port that no outgoing connection is given before its server listens: they begin at 32768 (ip(7))."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Several of them, no two alike."""
    found: list[int] = []
    for port in random.sample(range(20_000, 32_000), 100):
        if _is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"expected {count} free ports from 20000 to 31999, got {len(found)}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
