"""Results of an evaluation kept by what they were computed from, so that a rerun computes only what is new."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from models.codec.peers.coded import Coded, System


class Cache:
    """Files in a folder, named by digests of content."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def coded(self, system: System, samples: np.ndarray) -> Coded:
        """What `system` makes of f32[n], coded at most once for each `System.key`."""
        path = self._folder / f"{digest('coded', system.key, samples)}.npz"
        if path.exists():
            with np.load(path) as kept:
                wire = int(kept["wire_bytes"])
                return Coded(kept["samples"], int(kept["payload_bits"]), None if wire < 0 else wire)
        found = system.code(samples)
        wire = -1 if found.wire_bytes is None else found.wire_bytes
        with _replacing(path) as partial:
            np.savez(partial, samples=found.samples, payload_bits=found.payload_bits, wire_bytes=wire)
        return found

    def find(self, key: str) -> Any | None:
        """The JSON value put under `key`, None if there is none."""
        path = self._folder / f"{key}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def put(self, key: str, value: Any) -> None:
        """Keep a JSON value."""
        with _replacing(self._folder / f"{key}.json") as partial:
            partial.write_text(json.dumps(value), encoding="utf-8")

    def get(self, key: str, compute: Callable[[], Any]) -> Any:
        """The value under `key`, computed and kept if there is none."""
        found = self.find(key)
        if found is None:
            found = compute()
            self.put(key, found)
        return found


def digest(*parts: object) -> str:
    """Name of a result: arrays count by their bytes, everything else by how it prints."""
    running = hashlib.sha256()
    for part in parts:
        data = np.ascontiguousarray(part).tobytes() if isinstance(part, np.ndarray) else str(part).encode()
        running.update(len(data).to_bytes(8, "little") + data)
    return running.hexdigest()[:32]


class _replacing:  # noqa: N801 - reads as the verb of its `with`
    """A path to write to that takes its final name once it is whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f".partial-{path.name}")

    def __enter__(self) -> Path:
        return self._partial

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None:
            self._partial.replace(self._path)
