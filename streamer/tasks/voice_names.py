"""What lists of models say of voices."""

from __future__ import annotations

from streamer.bundle.manifest import Manifest

# Speaks symbols whose durations it decides first.
PROGRAM = "flow_voice"


def voices_of(manifest: Manifest) -> tuple[str, ...]:
    """Return the names in the parameter `voices` ("kathleen,john"), none for models that do not speak."""
    names = manifest.task.parameters.get("voices")
    return tuple(name.strip() for name in names.split(",")) if isinstance(names, str) else ()


def tells_words(manifest: Manifest) -> bool:
    """Tell whether a model that speaks knows where its words are, before it has said them."""
    return manifest.task.kind == "synthesize" and manifest.task.program == PROGRAM
