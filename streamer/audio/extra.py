"""PyAV, the optional package that decodes live flac and Opus, webm and m4a."""

from __future__ import annotations

from functools import cache
from types import ModuleType

from streamer.errors import InvalidRequest

NO_AV = "the package av, which is not installed, expected the extra av: pip install 'streamer-speech[av]'"


@cache
def load_av() -> ModuleType | None:
    """Import PyAV, which takes a moment the first time; None where it is not installed."""
    try:
        import av
    except ModuleNotFoundError as error:
        if error.name != "av":
            raise
        return None
    return av


def require_av(what: str) -> ModuleType:
    """Return PyAV; raises `InvalidRequest` saying that `what` needs it where it is not installed."""
    av = load_av()
    if av is None:
        raise InvalidRequest(f"{what} needs {NO_AV}")
    return av
