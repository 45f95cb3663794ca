"""A folder with the toy's tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tasks import toy


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("toy")
    toy.write_tokens(path)
    return path
