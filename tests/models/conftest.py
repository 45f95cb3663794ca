"""What several modules test, made once: an export takes half a minute."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from models.careless_whisper.model import Whisper
    from models.codec.model import Codec

WINDOW_FRAMES = 200


@pytest.fixture(scope="session")
def whisper() -> Whisper:
    """A toy Whisper whose windows are of 4 s."""
    import torch

    from tests.models.whisper_toys import toy_dims, toy_model

    torch.set_num_threads(1)
    return toy_model(toy_dims(frames=WINDOW_FRAMES))


@pytest.fixture(scope="session")
def whisper_bundle(whisper: Whisper, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its bundle: chunks of 300 ms, a first block of 600 ms."""
    from tests.models.whisper_toys import toy_bundle

    return toy_bundle(tmp_path_factory.mktemp("whisper"), whisper)


@pytest.fixture(scope="session", params=["default", "stream_codec"])
def codec(request: pytest.FixtureRequest) -> Codec:
    """A toy codec of each family."""
    import torch

    from tests.models.codec_toys import toy_codec

    torch.set_num_threads(1)
    return toy_codec(request.param)


@pytest.fixture(scope="session")
def codec_bundle(codec: Codec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its bundle."""
    from tests.models.codec_toys import write_toy

    return write_toy(tmp_path_factory.mktemp("codec") / "toy-codec", codec)
