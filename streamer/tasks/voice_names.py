"""What the voices of a model are called."""

from __future__ import annotations

from streamer.bundle.manifest import Manifest


def voices_of(manifest: Manifest) -> tuple[str, ...]:
    """Return the names in the parameter `voices` ("kathleen,john"), none for models that do not speak."""
    names = manifest.task.parameters.get("voices")
    return tuple(name.strip() for name in names.split(",")) if isinstance(names, str) else ()
