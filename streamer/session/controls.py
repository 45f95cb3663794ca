"""Controls of a stream that wait for the audio before them."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

from streamer.session.messages import End, Endpointing, Finalize, Update


@dataclass(frozen=True, slots=True)
class Control:
    """A control that acts once all chunks up to `position` are done with. `received` counts the wire samples before.

    From the audio before it, a detector knows up to the wire sample `horizon` whether there is speech.
    """

    message: Finalize | Update | End
    position: int
    received: int
    horizon: int = 0


class Controls:
    """A queue, and how many of `Finalize` and `Update` came and acted since the stream began."""

    def __init__(self) -> None:
        self._waiting: deque[Control] = deque()
        self._acted = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def acted(self) -> int:
        """How many of `Finalize` and `Update` have acted."""
        return self._acted

    @property
    def received(self) -> int:
        """How many of `Finalize` and `Update` came."""
        return self._acted + sum(_is_numbered(control) for control in self._waiting)

    def add(self, control: Control) -> None:
        """Append a control."""
        self._waiting.append(control)

    def next_due(self, next_end: int, may_end: bool = True) -> Control | None:
        """Take the next control if its audio is done with: the next chunk ends at `next_end`, after its position.

        `End` waits for `may_end`.
        """
        if not self._waiting or next_end <= self._waiting[0].position:
            return None
        if isinstance(self._waiting[0].message, End) and not may_end:
            return None
        control = self._waiting.popleft()
        self._acted += _is_numbered(control)
        return control

    def flush_after(self, chunk_end: int) -> Control | None:
        """Return the first control that has flushed the audio of the chunk that ends at `chunk_end`, None if none."""
        flushes = (control for control in self._waiting if not isinstance(control.message, Update))
        return next((control for control in flushes if control.position >= chunk_end), None)

    def skip(self, acted: int) -> None:
        """The first `acted` controls acted in an earlier life of the stream."""
        self._acted = acted

    def clear(self) -> None:
        """Drop what waits."""
        self._waiting.clear()

    def state(self) -> dict[str, Any]:
        """Return everything as JSON-compatible data."""
        return {"acted": self._acted, "waiting": [_plain(control) for control in self._waiting]}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self._acted = state["acted"]
        self._waiting = deque(_of_plain(control) for control in state["waiting"])


def _is_numbered(control: Control) -> bool:
    return not isinstance(control.message, End)


def _plain(control: Control) -> dict[str, Any]:
    message = {"kind": type(control.message).__name__, **asdict(control.message)}
    return {"message": message, "position": control.position, "received": control.received, "horizon": control.horizon}


def _of_plain(state: dict[str, Any]) -> Control:
    fields = dict(state["message"])
    message: Finalize | Update | End
    match fields.pop("kind"):
        case "Finalize":
            message = Finalize(**fields)
        case "Update":
            message = Update(Endpointing(**fields["endpointing"]))
        case _:
            message = End()
    return Control(message, state["position"], state["received"], state["horizon"])
