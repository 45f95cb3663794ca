"""Whole streams in files, so that a restart on the same machine goes on without any replay."""

from __future__ import annotations

import contextlib
import hmac
import io
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from streamer.host.tokens import Identity
from streamer.work import Array

_VERSION = 2
_META = "meta"
# Prefixes of the states of the model and of the detector.
_STATE = "state."
_DETECTOR = "detector."
_SESSION_ID = re.compile(r"[0-9a-f]{1,64}")
_SUFFIX = ".stream"
_SEAL_BYTES = 32

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SavedStream:
    """A stream as it was between two steps: `session` is `Session.snapshot`, `tensors` the states of its model.

    `detector` are those of its detector, if it has one.
    """

    identity: Identity
    session: Mapping[str, Any]
    tensors: Mapping[str, Array]
    detector: Mapping[str, Array] = field(default_factory=dict)


class SnapshotStore:
    """One file per stream in `folder`, readable by its owner only, good for `valid_s` and for one reading.

    Files are sealed with `secret`: what was changed, or comes from elsewhere, is not taken. `save` may be
    called from any thread; it writes on a thread of its own.
    """

    def __init__(
        self, folder: Path, valid_s: float, secret: bytes, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._folder = folder
        self._secret = secret
        self._valid_s = valid_s
        self._now = wall_clock
        self._writer = ThreadPoolExecutor(1, "streamer-save")

    def save(self, stream: SavedStream) -> Future[None]:
        """Write `stream` in the background; if that fails it is logged, and the stream is resumed by replay."""
        return self._writer.submit(self._write, stream)

    def take(self, session_id: str) -> SavedStream | None:
        """Read and remove the file of a stream; None if there is none that is whole and good."""
        path = self._path(session_id)
        try:
            age_s = self._now() - path.lstat().st_mtime
            stream = _loaded(self._opened(path))
        except FileNotFoundError:
            return None
        except Exception as error:  # whatever a damaged file makes numpy, zipfile or json raise
            log.warning("snapshot of a stream cannot be read", session=session_id, error=type(error).__name__)
            path.unlink(missing_ok=True)
            return None
        path.unlink(missing_ok=True)
        return stream if age_s <= self._valid_s else None

    def sweep(self) -> None:
        """Remove the files of streams that nobody came back for."""
        for path in self._folder.glob(f"*{_SUFFIX}*"):
            # Another process may have been faster.
            with contextlib.suppress(FileNotFoundError):
                if self._now() - path.stat().st_mtime > self._valid_s:
                    path.unlink()

    def _write(self, stream: SavedStream) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            data = _stored(stream)
            _write(self._path(stream.identity.session_id), self._seal(data) + data)
        except OSError as error:
            log.warning("snapshot of a stream cannot be written", error=error.strerror)

    def _opened(self, path: Path) -> bytes:
        """Return what was sealed; raises `ValueError` if it was changed since."""
        # Links are not followed: what we write is a file.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            seal, data = file.read(_SEAL_BYTES), file.read()
        if not hmac.compare_digest(seal, self._seal(data)):
            raise ValueError("expected a snapshot that was sealed here, got another one")
        return data

    def _seal(self, data: bytes) -> bytes:
        return hmac.digest(self._secret, b"streamer snapshot\0" + data, "sha256")

    def _path(self, session_id: str) -> Path:
        if not _SESSION_ID.fullmatch(session_id):
            raise ValueError(f"expected a session id of hexadecimal digits, got {session_id!r}")
        return self._folder / f"{session_id}{_SUFFIX}"


def _stored(stream: SavedStream) -> bytes:
    meta = {"version": _VERSION, "identity": asdict(stream.identity), "session": stream.session}
    arrays = {f"{_STATE}{name}": tensor for name, tensor in stream.tensors.items()}
    arrays |= {f"{_DETECTOR}{name}": tensor for name, tensor in stream.detector.items()}
    arrays[_META] = np.frombuffer(json.dumps(meta, allow_nan=False).encode(), np.uint8)
    data = io.BytesIO()
    np.savez(data, **arrays)  # type: ignore[arg-type]  # the stubs of numpy 2 know an option among the names
    return data.getvalue()


def _write(path: Path, data: bytes) -> None:
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        # Not forced to the disk: what a machine that fails leaves behind is found damaged, and replayed.
        file.write(data)
    draft.replace(path)


def _loaded(data: bytes) -> SavedStream:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        meta = json.loads(arrays[_META].tobytes())
        if meta["version"] != _VERSION:
            raise ValueError(f"expected a snapshot of version {_VERSION}, got {meta['version']!r}")
        tensors, detector = (
            {name.removeprefix(prefix): arrays[name] for name in arrays.files if name.startswith(prefix)}
            for prefix in (_STATE, _DETECTOR)
        )
    return SavedStream(Identity(**meta["identity"]), meta["session"], tensors, detector)
