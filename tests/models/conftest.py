"""What several modules test, made once: an export takes half a minute."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from streamer.tasks import token_lm
from streamer.tasks.token_drawing import Sampling, draw_token

if TYPE_CHECKING:
    from models.careless_whisper.model import Whisper
    from models.codec.model import Codec

WINDOW_FRAMES = 200
Write = Callable[[Path], object]
Once = Callable[[str, Write], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """`once(name, write)` is a folder that `write(folder)` filled, in this process or in one that tests beside it."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def once(name: str, write: Write) -> Path:
        folder, draft = shared / f"once-{name}", tmp_path_factory.mktemp(name)
        with (shared / f"once-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                write(draft)
                draft.rename(folder)
        return folder

    return once


@pytest.fixture(scope="session")
def whisper() -> Whisper:
    """A toy Whisper whose windows are of 4 s, with the weights of its bundle."""
    import torch

    from models.common.onnx_export import round_weights
    from tests.models.whisper_toys import toy_dims, toy_model

    torch.set_num_threads(1)
    model = toy_model(toy_dims(frames=WINDOW_FRAMES))
    round_weights(model)
    return model


@pytest.fixture(scope="session")
def whisper_bundle(whisper: Whisper, once: Once) -> Path:
    """Its bundle: chunks of 300 ms, a first block of 600 ms."""
    from tests.models.whisper_toys import toy_bundle

    return once("whisper", lambda folder: toy_bundle(folder, whisper)) / "toy-whisper"


@pytest.fixture(scope="session", params=["default", "stream_codec"])
def codec_family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def codec(codec_family: str) -> Codec:
    """A toy codec of each family."""
    import torch

    from tests.models.codec_toys import toy_codec

    torch.set_num_threads(1)
    return toy_codec(codec_family)


@pytest.fixture(scope="session")
def codec_bundle(codec_family: str, codec: Codec, once: Once) -> Path:
    """Its bundle."""
    from tests.models.codec_toys import write_toy

    return once(codec_family, lambda folder: write_toy(folder / "toy-codec", codec)) / "toy-codec"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[int]]:
    """Tokens that the server draws, by the seed of their utterance, ends too."""
    noted: dict[int, list[int]] = {}

    def noting(logits: np.ndarray, said: Sequence[int], seed: int, sampling: Sampling) -> int:
        token = draw_token(logits, said, seed, sampling)
        noted.setdefault(seed, []).append(token)
        return token

    monkeypatch.setattr(token_lm, "draw_token", noting)
    return noted
