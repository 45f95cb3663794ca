"""Who may come in: credentials to callers, the same on every surface."""

from __future__ import annotations

from streamer.host.callers import ANONYMOUS, Caller


class Access:
    """Tells callers by their credentials. Without keys in the settings everybody is `ANONYMOUS`."""

    def caller(self, credential: str | None) -> Caller:
        """Return who shows `credential` (a key or a ticket, None if none was shown); raises `Unauthenticated`."""
        return ANONYMOUS
