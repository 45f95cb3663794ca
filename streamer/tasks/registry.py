"""Which host loop serves which kind of bundle."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from streamer.bundle.manifest import Manifest
from streamer.errors import InvalidRequest
from streamer.tasks.base import Task
from streamer.tasks.beam_program import BeamProgram
from streamer.tasks.decoding import Decoding
from streamer.tasks.endpoint import Endpointing
from streamer.tasks.joint import Joint, read_language_model
from streamer.tasks.recogniser import Recogniser
from streamer.tasks.search import BeamOptions, BeamSearch, GreedySearch
from streamer.tasks.tokens import Vocabulary
from streamer.tasks.transcribe import Transcribe
from streamer.work import Program

KINDS = ("transcribe",)

TaskMaker = Callable[[Endpointing, Decoding], Task]
"""Makes the host loop of one new stream; raises `InvalidRequest` for a search that the model does not have."""


def task_maker(manifest: Manifest, folder: Path) -> TaskMaker:
    """Read what the host loops of the bundle in `folder` need: once, so that they do not depend on the disk later.

    Raises `InvalidRequest` for a task that is not served, `BundleError` for roles or parameters that do not fit it.
    """
    if manifest.task.kind not in KINDS:
        raise InvalidRequest(f"expected a model for {' or '.join(KINDS)}, {manifest.name} is for {manifest.task.kind}")
    return partial(_transcribe, manifest.name, Recogniser.of(manifest, folder), Joint.of(manifest))


def program_of(manifest: Manifest, folder: Path) -> Program | None:
    """Make the program that the manifest names, None if it names none that is known; raises `BundleError`."""
    joint = Joint.of(manifest)
    if joint is None:
        return None
    recogniser = Recogniser.of(manifest, folder)
    vocabulary, blank = recogniser.vocabulary, recogniser.blank_id
    tokens = range(len(vocabulary.pieces))
    # What has no text would only cost a hypothesis its context.
    forbidden = [token for token in tokens if token != blank and not _is_text(vocabulary, token)]
    starts = np.array([_is_text(vocabulary, token) and vocabulary.starts_word(token) for token in tokens])
    model = read_language_model(manifest, folder, vocabulary)
    return BeamProgram(joint, recogniser.audio.input, blank, forbidden, model, starts)


def _transcribe(
    model: str, recogniser: Recogniser, joint: Joint | None, endpointing: Endpointing, decoding: Decoding
) -> Task:
    if not decoding.is_beam:
        return Transcribe(recogniser, endpointing, GreedySearch(recogniser))
    if joint is None:
        asked_for = "method beam" if decoding.method else decoding.needs_beam
        raise InvalidRequest(f"model {model} has no beam search, got decoding {asked_for}")
    if decoding.lm_scale and not joint.has_language_model:
        raise InvalidRequest(f"model {model} has no language model, got decoding lm_scale {decoding.lm_scale:g}")
    search = BeamSearch(recogniser, BeamOptions.of(decoding, joint, recogniser))
    return Transcribe(recogniser, endpointing, search, decoding.n_best)


def _is_text(vocabulary: Vocabulary, token: int) -> bool:
    return token in vocabulary and vocabulary.has_text(token)
