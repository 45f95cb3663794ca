"""Files that are there whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write, and put it at `path` on leaving without an exception; else nothing is left of it.

    Folders are made. What is there and no file, such as a device or a named pipe, is written to as it is. Raises
    `OSError`.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("wb", dir=path.parent, prefix=".streamer-", delete=False) as temporary:
        try:
            yield cast("BinaryIO", temporary)
            temporary.flush()
            # Temporary files are private; results get the permissions of any new file.
            Path(temporary.name).chmod(0o644)
            Path(temporary.name).replace(path)
        except BaseException:
            Path(temporary.name).unlink(missing_ok=True)
            raise
