"""What the tests of this surface ask, and of whom."""

from __future__ import annotations

from typing import Any

from streamer.config import Settings
from streamer.gateway.access import Access
from streamer.gateway.readiness import Readiness
from streamer.gateway.services import Services
from tests.gateway.fake_host import FakeHost, FakeModelInfo

PATH = "/v1/listen"
LINEAR = "encoding=linear16&sample_rate=16000"


class ListeningHost(FakeHost):
    """A fake host with a detector of voice activity."""

    def models(self) -> tuple[FakeModelInfo, ...]:
        return (*super().models(), FakeModelInfo(name="listener", task="vad", languages=()))


def services(host: FakeHost | None = None, **settings: Any) -> Services:
    chosen = host or ListeningHost()
    return Services(chosen, Settings(**settings), Access(), Readiness(chosen))  # type: ignore[arg-type]
