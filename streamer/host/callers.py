"""Who opens streams, as the host sees it; how clients prove who they are is the gateway's business."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of streams: the holder of the key `name`, or nobody known (`name` empty) at `address`.

    Limits of None are none. `max_streams` may be open at a time; per minute, `max_new_streams_per_minute` may begin,
    `max_requests_per_minute` be asked and `audio_s_per_minute` seconds of audio be sent.
    """

    name: str
    max_streams: int | None = None
    max_new_streams_per_minute: int | None = None
    max_requests_per_minute: int | None = None
    audio_s_per_minute: float | None = None
    is_admin: bool = False
    address: str = ""

    @property
    def account(self) -> str:
        """On whose account the caller's use is kept; never the same for two keys, or for a key and an address."""
        return f"key {self.name}" if self.name else f"address {self.address}"


ANONYMOUS = Caller("")
