"""Who speaks the held-out sentences: the recorded speaker, synthesisers run as programs, folders of audio."""

import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from models.common import packs
from models.common.text import normalise

Speech = tuple[np.ndarray, int]
"""Samples f32[n] in [-1, 1], and how many there are in a second."""
Speaker = Callable[[str], Speech]
"""Speaks a text, cased and punctuated."""


@dataclass(frozen=True)
class Sentence:
    """A sentence nothing was trained on: its clip's name, its text, its words normalised, the recording of it."""

    name: str
    text: str
    words: str
    recording: Speech


def held_out_sentences(pack: Path, count: int) -> list[Sentence]:
    """The first `count` distinct prompts of a pack's dev split, each with its first recording.

    Raises `ValueError` if there are fewer.
    """
    found: dict[str, Sentence] = {}
    for utterance, samples, rate in packs.read_pack(pack, "dev"):
        words = normalise(utterance.text)
        if words and words not in found:
            found[words] = Sentence(Path(utterance.audio).stem, utterance.text, words, (samples, rate))
    if len(found) < count:
        raise ValueError(f"expected {count} distinct prompts in the dev split, got {len(found)}")
    return list(found.values())[:count]


def recorded(sentences: Sequence[Sentence]) -> Speaker:
    """The speaker herself: each sentence as it was recorded."""
    recordings = {sentence.text: sentence.recording for sentence in sentences}
    return recordings.__getitem__


def resynthesised(sentences: Sequence[Sentence], through: Callable[[Speech], Speech]) -> Speaker:
    """Her recordings put through something, say features and a vocoder."""
    recordings = {sentence.text: sentence.recording for sentence in sentences}
    return lambda text: through(recordings[text])


def from_folder(sentences: Sequence[Sentence], folder: Path) -> Speaker:
    """Files `NAME.wav`, NAME being that of a sentence; raises `FileNotFoundError` naming the first that is missing."""
    paths = {sentence.text: folder / f"{sentence.name}.wav" for sentence in sentences}
    for path in paths.values():
        if not path.exists():
            raise FileNotFoundError(f"expected speech in {path}, found no such file")
    return lambda text: _read(paths[text])


def flite(voice: str = "slt") -> Speaker:
    """flite with one of its voices, at its own tempo and pitch, a process for each sentence."""
    return lambda text: _by_program(lambda path: flite_command(text, path, voice))


def espeak_ng(voice: str = "en-us") -> Speaker:
    """espeak-ng with one of its voices, at its own tempo and pitch, a process for each sentence."""
    return lambda text: _by_program(lambda path: espeak_ng_command(text, path, voice))


def flite_command(text: str, path: Path, voice: str = "slt") -> list[str]:
    """How flite is asked to write a file."""
    return ["flite", "-voice", voice, "-t", text, "-o", str(path)]


def espeak_ng_command(text: str, path: Path, voice: str = "en-us") -> list[str]:
    """How espeak-ng is asked to write a file."""
    return ["espeak-ng", "-v", voice, "-w", str(path), text]


def version(program: str) -> str:
    """What a program says its version is, empty if it is not installed."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""
    return " ".join(said.split())


def _by_program(command: Callable[[Path], list[str]]) -> Speech:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        subprocess.run(command(path), check=True, capture_output=True)
        return _read(path)


def _read(path: Path) -> Speech:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return samples.mean(1), rate
