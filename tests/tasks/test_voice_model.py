"""Manifests of voices: what is read, and what is refused."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamer.bundle.manifest import read_manifest
from streamer.errors import BundleError, InvalidRequest
from streamer.tasks.decoding import Decoding
from streamer.tasks.options import TaskOptions
from streamer.tasks.registry import program_of, task_maker
from streamer.tasks.synthesis_options import SynthesisOptions
from streamer.tasks.voice_model import VoiceModel
from streamer.tasks.voice_reading import VoiceText
from tests.toys.bundle import edit_manifest
from tests.toys.voice import BANDS, DELAY, FRAME, LETTERS, RATE, SYMBOLS, TEMPERATURE, write_voice


def test_reads_the_manifest(tmp_path: Path) -> None:
    """Sizes are those of the tensors, constants those of the parameters."""
    folder = write_voice(tmp_path)
    model = VoiceModel.of(read_manifest(folder), folder)
    assert model is not None
    assert (model.bands, model.wave_noise, model.letters) == (BANDS, FRAME, LETTERS)
    assert (model.sample_rate, model.frame_samples, model.delay_samples) == (RATE, FRAME, DELAY)
    assert (model.temperature, model.voices) == (TEMPERATURE, ("ada",))
    assert model.symbols.symbols == SYMBOLS
    assert model.voice("") == model.voice("ada") == 0
    with pytest.raises(InvalidRequest, match=r"^synthesis voice: expected one of ada, got 'eve'$"):
        model.voice("eve")
    assert program_of(read_manifest(folder), folder) is not None


def _parameter(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest["task"]["parameters"].update({name: value})


def _role(role: str, target: str) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest["task"]["roles"].update({role: target})


def _without(section: str, name: str) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest["task"][section].pop(name)


def _dims(graph: int, side: str, tensor: int, dims: list[int]) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest["graphs"][graph][side][tensor].update(dims=dims)


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "program": (lambda m: m["task"].update(program="codec"), "expected the program flow_voice, got codec"),
    "rate": (lambda m: m.pop("sample_rate"), "expected a sample_rate, got none"),
    "role": (_without("roles", "mel"), "task synthesize needs the role mel"),
    "elsewhere": (_role("flow_noise", "vocoder_step.noise"), "role flow_noise: expected a tensor of graph flow_step"),
    "several": (_parameter("voices", "ada,bob"), "task synthesize needs the role voice"),
    "voices": (_parameter("voices", "ada,,bob"), "parameter voices: expected names with commas between them"),
    "temperature": (_parameter("temperature", 3), "parameter temperature: expected a number from 0 to 2, got 3"),
    "frame": (_parameter("frame_samples", 80), "role pcm: expected a last dimension of 80, got [-1, 160]"),
    "bands": (_dims(3, "outputs", 0, [-1, 5]), "role mel: expected a last dimension of 4, got [-1, 5]"),
    "letters": (_dims(0, "inputs", 0, [7]), "roles letters, sounds: expected n and 2 n, got 7 and 16"),
    "symbols": (_without("assets", "symbols"), "task synthesize needs the asset symbols"),
    "lexicon": (_without("assets", "lexicon"), "task synthesize needs the asset lexicon"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_refuses_what_does_not_fit(tmp_path: Path, name: str) -> None:
    """Each refusal names the bundle, what was expected and what is there."""
    folder = write_voice(tmp_path)
    change, refusal = BROKEN[name]
    edit_manifest(folder, change)
    with pytest.raises(BundleError) as error:
        task_maker(read_manifest(folder), folder)
    assert str(error.value).startswith(f"bundle voice: {refusal}")


@pytest.mark.parametrize(
    ("file", "data", "refusal"),
    [
        ("symbols.txt", b"\xff", "asset symbols: expected text in UTF-8, got other bytes"),
        ("symbols.txt", b"<pad>\n<pad>\n", "asset symbols: expected each once, got one twice"),
        ("lexicon.txt.gz", b"no gzip", "cannot read the lexicon lexicon.txt.gz"),
        (
            "lexicon.txt.gz",
            # Without the time, which would be part of the name of the test.
            gzip.compress(b"word\n", mtime=0),
            "lexicon lexicon.txt.gz: expected word, tab and phones, got 'word'",
        ),
    ],
)
def test_refuses_assets(tmp_path: Path, file: str, data: bytes, refusal: str) -> None:
    """The same of files."""
    folder = write_voice(tmp_path)
    (folder / file).write_bytes(data)
    with pytest.raises(BundleError) as error:
        task_maker(read_manifest(folder), folder)
    assert str(error.value).startswith(f"bundle voice: {refusal}")


def test_a_voice_may_lack_spelling(tmp_path: Path) -> None:
    """Words that its lexicon lacks are then spoken by their letters."""
    folder = write_voice(tmp_path)
    edit_manifest(folder, lambda manifest: [manifest["task"]["roles"].pop(role) for role in ("letters", "sounds")])
    manifest = read_manifest(folder)
    model = VoiceModel.of(manifest, folder)
    assert model is not None
    assert model.spell is None
    reader = VoiceText.of(model, manifest, folder).reader(SynthesisOptions())
    reader.feed("Zork. ")
    reader.read()
    assert reader.has_piece
    assert list(reader.take().new_piece().words) == []


def test_options_of_other_tasks_are_refused(tmp_path: Path) -> None:
    """A voice has no search."""
    folder = write_voice(tmp_path)
    with pytest.raises(InvalidRequest, match=r"^model voice speaks and has no search, got options of decoding$"):
        task_maker(read_manifest(folder), folder)(TaskOptions(decoding=Decoding(beam=2)))
