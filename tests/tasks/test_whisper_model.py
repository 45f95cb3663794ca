"""What is read from a Whisper bundle's manifest, and what is refused in it or by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streamer.errors import BundleError, InvalidRequest
from streamer.tasks.decoding import Decoding, Hotword
from streamer.tasks.options import TaskOptions
from streamer.tasks.registry import program_of, task_maker
from streamer.tasks.whisper import WhisperModel
from streamer.tasks.whisper_rules import Mode
from tests.tasks import toy as other_toy
from tests.tasks import whisper_toy as toy
from tests.tasks.whisper_runs import Served


def model(folder: Path, **parameters: Any) -> WhisperModel:
    found = WhisperModel.of(toy.bundle(folder, **parameters).manifest, folder)
    assert found is not None
    return found


def test_constants_of_a_manifest(tmp_path: Path) -> None:
    """Names of tensors by role, and the rules of windows and searches."""
    whisper = model(tmp_path, gran=15, extra=1, max_frames=1500, mode="frozen")
    assert whisper.names["encoded_frames"] == "frames"
    assert whisper.names["fresh_nodes"] == "fresh"
    assert (whisper.windows.first, whisper.windows.cut, whisper.windows.most_tokens) == (30, 1400, 400)
    assert (whisper.rules.eot, whisper.rules.max_text, whisper.rules.cells) == (toy.EOT, 448, 640)
    assert whisper.rules.mode is Mode.FROZEN


def test_a_flush_is_as_long_as_the_first_block(tmp_path: Path) -> None:
    """A stream that ends before it must still be heard, and decoded."""
    assert model(tmp_path, gran=15, flush_samples=100).flush_samples == 30 * toy.FRAME + toy.RIGHT
    assert model(tmp_path, gran=15, flush_samples=20000).flush_samples == 20000
    assert model(tmp_path, gran=15, flush_samples=20000, decode_every=2).flush_samples == 20000 + 15 * toy.FRAME


def test_other_bundles_are_none_of_it(tmp_path: Path) -> None:
    """A bundle without the program is read by its own task."""
    other_toy.write_tokens(tmp_path)
    manifest = other_toy.parsed(other_toy.manifest())
    assert WhisperModel.of(manifest, tmp_path) is None
    assert program_of(manifest, tmp_path) is None


def test_prompts(tmp_path: Path) -> None:
    """Special tokens in their order, with a language, without one that is known yet, and of a model of one."""
    several = model(tmp_path, language=None).prompt
    german = toy.FIRST_LANGUAGE + 1
    assert several.language("de") == german
    assert several.language("") == -1
    assert several.before(german) == (toy.SOT, german, toy.TRANSCRIBE, toy.NO_TIMESTAMPS)
    assert several.before(-1) == ()
    assert several.language_of(several.before(german)) == german
    one = model(tmp_path, first_language=-1, language=None).prompt
    assert one.language("en") == -1
    assert one.before(-1) == (toy.SOT, toy.NO_TIMESTAMPS)
    assert one.language_of(one.before(-1)) == -1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sot": None}, "bundle toy: program whisper needs the parameter sot"),
        ({"mode": "quick"}, "bundle toy: parameter mode: expected exact or frozen, got 'quick'"),
        ({"window": 1}, "bundle toy: parameter window: expected an integer from 2, got 1"),
        ({"look_back": -1}, "bundle toy: parameter look_back: expected an integer from 0, got -1"),
        ({"max_tokens_per_chunk": 0}, "bundle toy: parameter max_tokens_per_chunk: expected an integer from 1, got 0"),
        ({"cells": 460}, "bundle toy: parameter cells: expected an integer from 480, got 460"),
        ({"decode_every": 0}, "bundle toy: parameter decode_every: expected an integer from 1, got 0"),
        ({"language": "xx"}, "bundle toy: parameter language: expected one of 3 languages, got 'xx'"),
        (
            {"frame_samples": 160},
            "bundle toy: expected frames that cover the hop, got 5 frames of 160 samples for a hop of 1600",
        ),
    ],
)
def test_parameters_that_do_not_fit_are_refused(tmp_path: Path, parameters: dict[str, Any], message: str) -> None:
    """The message names the parameter, what was expected and what was there."""
    with pytest.raises(BundleError) as error:
        model(tmp_path, **parameters)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("role", "target", "message"),
    [
        ("heard", None, "bundle toy: program whisper needs the role heard"),
        (
            "top_ids",
            "decode.best",
            "bundle toy: role top_ids: expected TYPE_INT64 of two dimensions, got TYPE_INT64 [-1]",
        ),
        (
            "heard",
            "decode.best",
            "bundle toy: role heard: expected TYPE_INT64 of no dimension, got TYPE_INT64 [-1]",
        ),
        ("heard", "encode.frames", "bundle toy: expected the roles pcm, heard in one graph"),
    ],
)
def test_roles_that_do_not_fit_are_refused(tmp_path: Path, role: str, target: str | None, message: str) -> None:
    """Every role must be a tensor of its type and rank, and those of a graph together."""
    data = toy.manifest()
    data["task"]["roles"] = {**data["task"]["roles"], role: target}
    if target is None:
        del data["task"]["roles"][role]
    with pytest.raises(BundleError) as error:
        WhisperModel.of(toy.parsed(data), toy.write_assets(tmp_path))
    assert str(error.value) == message


def test_graphs_without_their_groups_are_refused(tmp_path: Path) -> None:
    """A window could not begin anew in a graph that has no start of its own."""
    data = toy.manifest()
    data["states"][1]["group"] = "listener"
    data["graphs"][1]["groups"], data["graphs"][2]["groups"] = ["listener"], ["listener", "search"]
    with pytest.raises(BundleError) as error:
        WhisperModel.of(toy.parsed(data), toy.write_assets(tmp_path))
    assert str(error.value) == "bundle toy: graph encode: expected the group encoder"


def test_assets_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """Languages must be there for a model that knows several, each once."""
    data = toy.manifest()
    del data["task"]["assets"]["languages"]
    with pytest.raises(BundleError, match="expected the asset languages of a model with first_language"):
        WhisperModel.of(toy.parsed(data), toy.write_assets(tmp_path))
    (tmp_path / "languages.txt").write_text("en\nde\nen\n", encoding="utf-8")
    with pytest.raises(BundleError, match=r"languages.txt: expected each language once, got 3 lines"):
        WhisperModel.of(toy.parsed(toy.manifest()), tmp_path)
    del data["task"]["assets"]["tokens"]
    with pytest.raises(BundleError, match="task transcribe needs the asset tokens"):
        WhisperModel.of(toy.parsed(data), tmp_path)


def test_either_kind_of_vocabulary_serves(tmp_path: Path) -> None:
    """`tokens.txt` in the place of a rank file."""
    data = toy.manifest()
    data["task"]["assets"]["tokens"] = "tokens.txt"
    data["assets"].append({"file": "tokens.txt", "sha256": "0" * 64})
    pieces = [piece.replace(" ", "\u2581") for piece in toy.PIECES]
    other_toy.write_tokens(toy.write_assets(tmp_path), pieces)
    whisper = WhisperModel.of(toy.parsed(data), tmp_path)
    assert whisper is not None
    assert whisper.vocabulary.starts_word(0)
    assert whisper.vocabulary.raw_text(1) == b"x1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"decoding": Decoding(hotwords=(Hotword("w0"),))},
            "model toy cannot be told of words, got decoding hotwords",
        ),
        ({"decoding": Decoding(lm_scale=0.5)}, "model toy has no language model, got decoding lm_scale 0.5"),
        ({"language": "xx"}, "model toy knows 3 languages, got language 'xx'"),
    ],
)
def test_what_the_model_cannot_do_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    """Before any audio, by name."""
    bundle = toy.bundle(tmp_path)
    make = task_maker(bundle.manifest, tmp_path)
    with pytest.raises(InvalidRequest) as error:
        make(TaskOptions(**options))
    assert str(error.value) == message


def test_a_language_model_of_no_weight_is_none(tmp_path: Path) -> None:
    """A stream that asks to do without one is served."""
    served = Served(tmp_path)
    assert served.transcribe(toy.speech([(5, 0)], 50), served.task(decoding=Decoding(lm_scale=0.0)))
