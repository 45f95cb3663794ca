"""Which host loop serves which kind of bundle."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from streamer.bundle.manifest import Manifest
from streamer.errors import InvalidRequest
from streamer.tasks.base import Task
from streamer.tasks.endpoint import Endpointing
from streamer.tasks.recogniser import Recogniser
from streamer.tasks.transcribe import Transcribe

KINDS = ("transcribe",)

TaskMaker = Callable[[Endpointing], Task]
"""Makes the host loop of one new stream."""


def task_maker(manifest: Manifest, folder: Path) -> TaskMaker:
    """Read what the host loops of the bundle in `folder` need: once, so that they do not depend on the disk later.

    Raises `InvalidRequest` for a task that is not served, `BundleError` for roles or parameters that do not fit it.
    """
    if manifest.task.kind not in KINDS:
        raise InvalidRequest(f"expected a model for {' or '.join(KINDS)}, {manifest.name} is for {manifest.task.kind}")
    return partial(Transcribe, Recogniser.of(manifest, folder))
