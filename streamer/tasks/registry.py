"""Which host loop serves which kind of bundle."""

from __future__ import annotations

from pathlib import Path

from streamer.bundle.manifest import Manifest
from streamer.errors import InvalidRequest
from streamer.tasks.base import Task
from streamer.tasks.endpoint import Endpointing
from streamer.tasks.transcribe import Transcribe

KINDS = ("transcribe",)


def create_task(manifest: Manifest, folder: Path, endpointing: Endpointing | None = None) -> Task:
    """Return the host loop of one new stream of the bundle in `folder`.

    Raises `InvalidRequest` for a task that is not served, `BundleError` for roles or parameters that do not fit it.
    """
    if manifest.task.kind not in KINDS:
        raise InvalidRequest(f"expected a model for {' or '.join(KINDS)}, {manifest.name} is for {manifest.task.kind}")
    return Transcribe(manifest, folder, endpointing or Endpointing())
