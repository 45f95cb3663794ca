"""Whether this server should get new streams, for load balancers and people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamer.host import Host


class Readiness:
    """The host's readiness, which a drain overrides for good."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._draining = False

    def begin_drain(self) -> None:
        """From now on the answer is no."""
        self._draining = True

    @property
    def ready(self) -> bool:
        """Whether new streams are welcome."""
        return self.reason is None

    @property
    def reason(self) -> str | None:
        """Why new streams are not welcome; None if they are."""
        if self._draining:
            return "draining"
        return None if self._host.ready else "models are not ready"
