"""Results of an evaluation kept by what they were computed from, so that a rerun computes only what is new."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np


class Cache:
    """Files in a folder, named by digests of content."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def find(self, key: str) -> Any | None:
        """The JSON value put under `key`, None if there is none."""
        path = self.folder / f"{key}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def put(self, key: str, value: Any) -> None:
        """Keep a JSON value."""
        with replacing(self.folder / f"{key}.json") as partial:
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


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to that takes its final name once it is whole."""
    partial = path.with_name(f".partial-{path.name}")
    yield partial
    partial.replace(path)
