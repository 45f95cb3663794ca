"""The models that are served, under the names of clients: bundles, `name@version`, aliases of the settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from streamer.errors import InvalidRequest, UnknownBundle
from streamer.gateway.languages import served_language
from streamer.gateway.services import Services

if TYPE_CHECKING:
    from streamer.host.catalogue import ModelInfo

TASK = "transcribe"
VOICE_TASK = "synthesize"


def transcribers(services: Services) -> list[ModelInfo]:
    """Return the served models that turn speech into text, the default first."""
    served = [info for info in services.host.models() if info.task == TASK]
    return sorted(served, key=lambda info: not info.is_default)


def has_detector(services: Services) -> bool:
    """Whether voice activity is detected here."""
    return any(info.task == "vad" for info in services.host.models())


def find(name: str, aliases: Mapping[str, str], served: Iterable[ModelInfo]) -> ModelInfo:
    """Return the model of `served` that a client calls `name`; raises `UnknownBundle`."""
    served = tuple(served)
    found = _named(aliases.get(name, name), served)
    if found is None:
        known = ", ".join([*(info.name for info in served), *aliases])
        raise UnknownBundle(f"unknown model {name!r:.100}, expected one of {known}")
    return found


def language_of(tag: str, info: ModelInfo, services: Services) -> str:
    """Return what `info` calls the language `tag`, empty if none is given; raises `InvalidRequest`."""
    language = served_language(tag, info.key, services.host.models())
    if language and info.languages and language not in info.languages:
        raise InvalidRequest(f"model {info.name} speaks {', '.join(info.languages)}, got {tag!r:.40}")
    return language


def voices(services: Services) -> list[ModelInfo]:
    """Return the served models that turn text into speech, the default first."""
    served = [info for info in services.host.models() if info.task == VOICE_TASK]
    return sorted(served, key=lambda info: not info.is_default)


def check_aliases(section: str, aliases: Mapping[str, str], served: Iterable[ModelInfo]) -> None:
    """Raise `InvalidRequest` if an alias of this section of the settings stands for none of the models `served`."""
    served = tuple(served)
    for alias, name in aliases.items():
        if not _named(name, served):
            known = ", ".join(info.name for info in served)
            raise InvalidRequest(f"setting {section}.aliases.{alias}: expected one of {known}, got {name!r}")


def _named(name: str, served: Iterable[ModelInfo]) -> ModelInfo | None:
    return next((info for info in served if name in (info.name, info.key)), None)
