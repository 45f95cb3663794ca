"""What the host loops of all codec streams share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamer.tasks.base import Finding
from streamer.tasks.endpoint import Endpointing


class CodecStream:
    """What the protocol of tasks asks for and codec streams do not have: segments, rules, and a written form."""

    def skip(self, is_padded: bool = False, interims: bool = True) -> Sequence[Finding]:
        """Every packet counts: a codec stream has no gate."""
        raise RuntimeError("a codec stream skips nothing")

    def update(self, endpointing: Endpointing) -> None:
        """Endpoint rules say nothing to a codec."""

    def state(self) -> dict[str, Any]:
        """Whoever goes on with a codec stream begins a new one."""
        raise RuntimeError("a codec stream is not written down")

    def restore(self, state: dict[str, Any]) -> None:
        """As `state`."""
        raise RuntimeError("a codec stream is not written down")
