"""Which host loop serves which kind of bundle."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from streamer.bundle.manifest import Manifest
from streamer.bundle.runtime import REPEATABLE, Runtime
from streamer.errors import InvalidRequest
from streamer.tasks.base import Task
from streamer.tasks.beam_program import BeamProgram
from streamer.tasks.codec import CodecModel
from streamer.tasks.codec_decode import Decode
from streamer.tasks.codec_encode import Encode
from streamer.tasks.codec_options import SNC1, output_of
from streamer.tasks.codec_program import CodecProgram
from streamer.tasks.codec_transcode import Transcode
from streamer.tasks.decoding import Decoding
from streamer.tasks.joint import Joint, read_language_model
from streamer.tasks.options import TaskOptions
from streamer.tasks.recogniser import Recogniser
from streamer.tasks.search import BeamOptions, BeamSearch, GreedySearch
from streamer.tasks.synthesize import Synthesize
from streamer.tasks.token_model import TokenModel
from streamer.tasks.token_program import TokenProgram
from streamer.tasks.token_speaking import SpeakTokens
from streamer.tasks.tokens import Vocabulary
from streamer.tasks.transcribe import Transcribe
from streamer.tasks.vad import Detection, DetectSpeech
from streamer.tasks.voice_model import VoiceModel
from streamer.tasks.voice_program import VoiceProgram
from streamer.tasks.voice_reading import VoiceText
from streamer.tasks.whisper import WhisperModel
from streamer.tasks.whisper_program import WhisperProgram
from streamer.tasks.whisper_search import WhisperSearch
from streamer.work import Program

KINDS = ("transcribe", "vad", "codec", "synthesize")


class TaskMaker(Protocol):
    """Makes the host loop of one new stream."""

    def __call__(self, options: TaskOptions) -> Task:
        """Raise `InvalidRequest` for what the model cannot do, as a search that it does not have."""


def task_maker(manifest: Manifest, folder: Path, runtime: Runtime = REPEATABLE) -> TaskMaker:
    """Read what the host loops of the bundle in `folder` need: once, so that they do not depend on the disk later.

    `runtime` is what the engine runs its graphs with.

    Raises `InvalidRequest` for a task that is not served, `BundleError` for roles or parameters that do not fit it.
    """
    if manifest.task.kind not in KINDS:
        raise InvalidRequest(f"expected a model for {' or '.join(KINDS)}, {manifest.name} is for {manifest.task.kind}")
    if manifest.task.kind == "vad":
        return partial(_detect, manifest.name, Detection.of(manifest))
    codec = CodecModel.of(manifest, folder, runtime)
    if codec is not None:
        return partial(_code, codec)
    tokens = TokenModel.of(manifest, folder)
    if tokens is not None:
        return partial(_speak_tokens, tokens)
    voice = VoiceModel.of(manifest, folder)
    if voice is not None:
        return partial(_speak, voice, VoiceText.of(voice, manifest, folder))
    whisper = WhisperModel.of(manifest, folder)
    if whisper is not None:
        return partial(_transcribe_windows, manifest.name, whisper)
    return partial(_transcribe, manifest.name, Recogniser.of(manifest, folder), Joint.of(manifest))


def program_of(manifest: Manifest, folder: Path) -> Program | None:
    """Make the program that the manifest names, None if it names none that is known; raises `BundleError`."""
    codec = CodecModel.of(manifest, folder)
    if codec is not None:
        return CodecProgram(codec)
    tokens = TokenModel.of(manifest, folder)
    if tokens is not None:
        return TokenProgram(tokens)
    voice = VoiceModel.of(manifest, folder)
    if voice is not None:
        return VoiceProgram(voice)
    whisper = WhisperModel.of(manifest, folder)
    if whisper is not None:
        return WhisperProgram(whisper)
    joint = Joint.of(manifest)
    if joint is None:
        return None
    recogniser = Recogniser.of(manifest, folder)
    vocabulary, blank = recogniser.vocabulary, recogniser.blank_id
    pieces = range(len(vocabulary.pieces))
    # What has no text would only cost a hypothesis its context.
    forbidden = [token for token in pieces if token != blank and not _is_text(vocabulary, token)]
    starts = np.array([_is_text(vocabulary, token) and vocabulary.starts_word(token) for token in pieces])
    model = read_language_model(manifest, folder, vocabulary)
    return BeamProgram(joint, recogniser.audio.input, blank, forbidden, model, starts)


def _detect(model: str, detection: Detection, options: TaskOptions) -> Task:
    if options.decoding != Decoding():
        raise InvalidRequest(f"model {model} detects speech and has no search, got options of decoding")
    if options.vad.gate:
        raise InvalidRequest(f"model {model} detects speech itself, got vad.gate")
    return DetectSpeech(detection, options.vad)


def _code(model: CodecModel, options: TaskOptions) -> Task:
    if options.decoding != Decoding():
        raise InvalidRequest(f"model {model.name} codes audio and has no search, got options of decoding")
    if options.encoding != SNC1:
        return Encode(model, options.codec, options.is_live)
    if output_of(options.codec, options.encoding) == SNC1:
        return Transcode(model, options.codec)
    return Decode(model, options.codec)


def _speak(model: VoiceModel, text: VoiceText, options: TaskOptions) -> Task:
    _require_no_search(model.name, options)
    return Synthesize(model, text, options.synthesis)


def _speak_tokens(model: TokenModel, options: TaskOptions) -> Task:
    _require_no_search(model.name, options)
    return SpeakTokens(model, options.synthesis)


def _require_no_search(model: str, options: TaskOptions) -> None:
    if options.decoding != Decoding():
        raise InvalidRequest(f"model {model} speaks and has no search, got options of decoding")


def _transcribe(model: str, recogniser: Recogniser, joint: Joint | None, options: TaskOptions) -> Task:
    endpointing, decoding = options.endpointing, options.decoding
    if options.vad.gate and recogniser.audio.hop_samples % recogniser.timing.frame_samples:
        raise InvalidRequest(f"model {model} cannot be gated by vad.gate: its steps are not of whole frames")
    if not decoding.is_beam:
        return Transcribe(recogniser, endpointing, GreedySearch(recogniser))
    if joint is None:
        asked_for = "method beam" if decoding.method else decoding.needs_beam
        raise InvalidRequest(f"model {model} has no beam search, got decoding {asked_for}")
    if decoding.lm_scale and not joint.has_language_model:
        raise InvalidRequest(f"model {model} has no language model, got decoding lm_scale {decoding.lm_scale:g}")
    search = BeamSearch(recogniser, BeamOptions.of(decoding, joint, recogniser))
    return Transcribe(recogniser, endpointing, search, decoding.n_best)


def _transcribe_windows(model: str, whisper: WhisperModel, options: TaskOptions) -> Task:
    decoding = options.decoding
    if decoding.hotwords:
        raise InvalidRequest(f"model {model} cannot be told of words, got decoding hotwords")
    if decoding.lm_scale:
        raise InvalidRequest(f"model {model} has no language model, got decoding lm_scale {decoding.lm_scale:g}")
    search = WhisperSearch(whisper, decoding.beam if decoding.is_beam else 0, whisper.language(model, options.language))
    return Transcribe(whisper, options.endpointing, search, decoding.n_best)


def _is_text(vocabulary: Vocabulary, token: int) -> bool:
    return token in vocabulary and vocabulary.has_text(token)
