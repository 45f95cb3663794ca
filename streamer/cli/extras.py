"""Optional packages of some commands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from streamer.errors import InvalidRequest

NO_ONNX = "onnx is not installed, expected the extra convert: pip install 'streamer-speech[convert]'"


@contextmanager
def convert_extra() -> Iterator[None]:
    """Around imports of what converts models: raises `InvalidRequest` if the package `onnx` is not there."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise InvalidRequest(NO_ONNX) from None
