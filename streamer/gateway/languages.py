"""Language tags of clients, like `en-US`, to the languages that models declare, like `en`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamer.host.catalogue import ModelInfo


def served_language(tag: str, model: str, models: Iterable[ModelInfo]) -> str:
    """Return what a config says for the language tag `tag` of a client that asked for `model` (empty: the default).

    Subtags are taken away from the end until the model declares what is left (the lookup of RFC 4647, section 3.4). A
    tag that finds nothing, or belongs to a model that is not served, is returned as it is: the host refuses it.
    """
    declared = {language.lower(): language for language in _languages(model, models)}
    wanted = tag.replace("_", "-").lower()
    while wanted:
        if wanted in declared:
            return declared[wanted]
        wanted = wanted.rpartition("-")[0]
    return tag


def _languages(model: str, models: Iterable[ModelInfo]) -> tuple[str, ...]:
    for info in models:
        is_asked = model in (info.name, info.key) if model else info.is_default
        if info.task == "transcribe" and is_asked:
            return info.languages
    return ()
