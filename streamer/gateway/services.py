"""What every surface of the gateway is given: the host, who may use it, and whether it wants new streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamer.gateway.access import Access
from streamer.gateway.readiness import Readiness

if TYPE_CHECKING:
    from streamer.config import Settings
    from streamer.host import Host


@dataclass(frozen=True, slots=True)
class Services:
    """One of these is shared by all surfaces of a server."""

    host: Host
    settings: Settings
    access: Access
    readiness: Readiness

    @property
    def write_timeout_s(self) -> float:
        """How long one message may wait to be taken by its client."""
        return self.settings.session.unread_limit_ms / 1000
