"""Models of sherpa-onnx become bundles from the command line, whole or not at all."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile

from streamer.bundle.loader import load_bundle
from streamer.errors import BundleError
from tests.bundle.sherpa import k2_peer, served, toys
from tests.bundle.sherpa.toys import Toy, edit, set_metadata, write_toy
from tests.cli.conftest import streamer

ONE_LINE = "streamer: "


def run_import(source: Path, target: Path, *more: object) -> tuple[int, str]:
    """Import and return the status and what was said: on standard output if all went well, else on standard error."""
    result = streamer("bundle", "import", "sherpa", source, "--out", target, "--name", "toy", *more)
    return result.exit_code, result.stdout if result.exit_code == 0 else result.stderr


def assert_refused(source: Path, target: Path, expected: str, *more: object) -> None:
    """The import says one line and leaves nothing in the folder of the target."""
    status, said = run_import(source, target, *more)
    assert (status, said) == (1, f"{ONE_LINE}{expected}\n")
    assert not target.exists()
    assert [path for path in target.parent.iterdir() if path != source] == []


def test_import(tmp_path: Path) -> None:
    """The bundle is there, says what was given, passes the check and names its sources in the model card."""
    source = write_toy(tmp_path / "model", "zipformer2")
    target = tmp_path / "bundles" / "toy"
    about = ["--language", "en", "--language", "de", "--licence", "MIT", "--version", "2.0.1"]
    status, said = run_import(source, target, *about)
    assert status == 0, said
    assert said == f"{target}: toy@2.0.1, zipformer2 transducer, imported from the format of sherpa-onnx\n"
    manifest = json.loads((target / "manifest.json").read_text())
    assert (manifest["name"], manifest["version"], manifest["licence"]) == ("toy", "2.0.1", "MIT")
    assert manifest["languages"] == ["en", "de"]
    card = (target / "README.md").read_text()
    assert "Licence, as given at the import: MIT" in card
    assert all(f"| {file} | " in card for file in ("encoder.onnx", "decoder.onnx", "joiner.onnx", "tokens.txt"))
    assert sorted(path.name for path in target.iterdir()) == sorted(
        ["README.md", "joint.onnx", "manifest.json", "step.onnx", "tokens.txt"]
    )
    assert [path.name for path in target.parent.iterdir()] == ["toy"]
    assert streamer("bundle", "check", target).exit_code == 0


def test_transcribe(tmp_path: Path) -> None:
    """`streamer transcribe` serves an imported bundle and says what sherpa-onnx says, and what it holds back."""
    source = write_toy(tmp_path / "model", "lstm")
    assert run_import(source, tmp_path / "bundles" / "toy")[0] == 0
    signal = served.speech(4)[3]
    soundfile.write(tmp_path / "a.wav", signal, 16000, "FLOAT")
    options = ["--bundle-path", tmp_path / "bundles", "--model", "toy", "--format", "json", "--quiet"]
    result = streamer("transcribe", tmp_path / "a.wav", *options)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)["text"].replace(" ", "")
    [heard] = k2_peer.listen(k2_peer.transducer(source), [signal], toys.PIECES)
    expected = "".join(toys.PIECES[token] for token in heard.ids).replace("\u2581", "")
    assert len(expected) > 10
    assert found.startswith(expected)
    assert len(found) > len(expected)


def test_beam_search(tmp_path: Path) -> None:
    """An imported transducer can be searched on the host: a beam of one says what the greedy search says."""
    toy = Toy.of("lstm")
    toy.pieces[1] = "x"
    assert run_import(write_toy(tmp_path / "model", toy), tmp_path / "bundles" / "toy")[0] == 0
    soundfile.write(tmp_path / "a.wav", served.speech(1)[0], 16000, "FLOAT")
    options = ["--bundle-path", tmp_path / "bundles", "--model", "toy", "--quiet"]
    greedy, beam, wide = (
        streamer("transcribe", tmp_path / "a.wav", *options, *more) for more in ([], ["--beam", 1], ["--beam", 4])
    )
    assert greedy.exit_code == beam.exit_code == wide.exit_code == 0, beam.stderr
    assert greedy.stdout == beam.stdout != wide.stdout


def test_fixed_batch_is_told(tmp_path: Path) -> None:
    """A model that runs one stream at a time is imported with a remark."""
    toy = Toy.of("lstm")
    toy.batch = 1
    status, said = run_import(write_toy(tmp_path / "model", toy), tmp_path / "bundle")
    assert status == 0
    assert said.endswith("; runs one stream at a time, because its rows depend on each other or its batch is fixed\n")


def test_target_exists(tmp_path: Path) -> None:
    """What is there is not touched."""
    target = tmp_path / "bundle"
    target.mkdir()
    status, said = run_import(write_toy(tmp_path / "model", "lstm"), target)
    assert (status, said) == (1, f"{ONE_LINE}import: expected a new folder, got {str(target)!r}, which exists\n")
    assert list(target.iterdir()) == []


def test_without_onnx(tmp_path: Path) -> None:
    """Without the package `onnx` the message says what to install."""
    source, target = write_toy(tmp_path / "model", "lstm"), tmp_path / "bundle"
    hidden = "import sys; sys.modules['onnx'] = None; from streamer.cli.main import app; app()"
    command = ["bundle", "import", "sherpa", str(source), "--out", str(target), "--name", "toy"]
    result = subprocess.run([sys.executable, "-c", hidden, *command], capture_output=True, text=True, check=False)
    expected = "onnx is not installed, expected the extra convert: pip install 'streamer-speech[convert]'"
    assert (result.returncode, result.stderr) == (1, f"{ONE_LINE}{expected}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_not_found(tmp_path: Path) -> None:
    """A folder that is not there, one without ONNX files and one without tokens are told apart."""
    assert_refused(tmp_path / "none", tmp_path / "bundle", "expected a folder, got 'none'")
    source = tmp_path / "model"
    source.mkdir()
    assert_refused(source, tmp_path / "bundle", "model: expected ONNX files, got none")
    write_toy(source, "lstm")
    (source / "tokens.txt").unlink()
    assert_refused(source, tmp_path / "bundle", "model: expected tokens.txt, which is missing")


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("decoder.onnx", "model: expected a file decoder*.onnx, which is missing"),
        (
            "joiner.onnx",
            "encoder.onnx: model_type: expected one of conformer, ebranchformer, lstm, {others}zipformer, zipformer2, "
            "zipformer2_ctc, got 'lstm without joiner'",
        ),
    ],
)
def test_missing_part(tmp_path: Path, file: str, expected: str) -> None:
    """A transducer needs its three files."""
    from streamer.bundle.sherpa.importing import IMPORTERS

    source = write_toy(tmp_path / "model", "lstm")
    (source / file).unlink()
    others = "".join(f"{name}, " for name in sorted(IMPORTERS) if "lstm" < name < "zip")
    assert_refused(source, tmp_path / "bundle", expected.format(others=others))


def test_several_files(tmp_path: Path) -> None:
    """Of two files for one part none is chosen; an int8 file gives way unless it is asked for."""
    source = write_toy(tmp_path / "model", "lstm")
    (source / "encoder.onnx").rename(source / "encoder-epoch-1.onnx")
    (source / "encoder-epoch-1.int8.onnx").write_bytes(b"none")
    target = tmp_path / "bundle"
    found = "encoder-epoch-1.int8.onnx: cannot be read as ONNX: "
    assert run_import(source, target, "--prefer-int8")[1].startswith(ONE_LINE + found)
    assert run_import(source, target)[0] == 0
    (source / "encoder-epoch-2.onnx").write_bytes(b"none")
    names = "encoder-epoch-1.onnx, encoder-epoch-2.onnx"
    assert run_import(source, tmp_path / "b")[1] == f"{ONE_LINE}expected one file for the encoder, got 2: {names}\n"


def shorter(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def no_nodes(path: Path) -> None:
    path.write_bytes(b"")


def external(path: Path) -> None:
    """Move the weights to a file that is not there."""
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=100)
    (path.parent / "weights.bin").unlink()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda path: path.write_text("not a model"), "Error parsing message"),
        (shorter, "Error parsing message"),
        (no_nodes, "The model does not have an ir_version set properly."),
        (external, "Data of TensorProto ( tensor name: "),
    ],
)
def test_not_a_model(tmp_path: Path, change: Callable[[Path], object], expected: str) -> None:
    """A file that is no model, is cut short or has lost its weights is named."""
    source = write_toy(tmp_path / "model", "lstm")
    change(source / "encoder.onnx")
    status, said = run_import(source, tmp_path / "bundle")
    assert status == 1
    assert said.startswith(f"{ONE_LINE}encoder.onnx: cannot be read as ONNX: {expected}")
    assert said.count("\n") == 1
    assert str(tmp_path) not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_external_weights(tmp_path: Path) -> None:
    """Weights in a file of their own become part of the bundle's graph."""
    plain = write_toy(tmp_path / "plain", "lstm")
    source = write_toy(tmp_path / "model", "lstm")
    model = onnx.load(source / "encoder.onnx")
    onnx.save(model, source / "encoder.onnx", save_as_external_data=True, location="weights.bin", size_threshold=100)
    assert run_import(source, tmp_path / "one")[0] == run_import(plain, tmp_path / "two")[0] == 0
    shutil.rmtree(source)
    one, two = (served.run_alone(load_bundle(tmp_path / name), served.speech(1))[0] for name in ("one", "two"))
    np.testing.assert_array_equal(one.logps, two.logps)


@pytest.mark.parametrize(
    ("file", "metadata", "expected"),
    [
        ("encoder.onnx", {"d_model": None}, "encoder.onnx: metadata lacks d_model"),
        ("encoder.onnx", {"d_model": "six"}, "encoder.onnx: metadata d_model: expected an integer from 1, got 'six'"),
        ("encoder.onnx", {"d_model": 0}, "encoder.onnx: metadata d_model: expected an integer from 1, got '0'"),
        (
            "encoder.onnx",
            {"d_model": 7},
            "encoder.onnx: input in_0: expected TYPE_FP32 [2, batch, 7], got TYPE_FP32 [2, open, 6]",
        ),
        (
            "encoder.onnx",
            {"T": 36},
            "encoder.onnx: input x: expected TYPE_FP32 [batch, 36, 80], got TYPE_FP32 [open, 35, 80]",
        ),
        (
            "encoder.onnx",
            {"decode_chunk_len": 64},
            "encoder.onnx: expected decode_chunk_len <= T <= 1024, got decode_chunk_len 64 and T 35",
        ),
        (
            "encoder.onnx",
            {"decode_chunk_len": 30},
            "encoder.onnx: expected output [1, frames, width] of frames that divide 30, got [1, 8, 16]",
        ),
        ("encoder.onnx", {"feature": "whisper"}, "encoder.onnx: metadata feature: expected none, got 'whisper'"),
        ("decoder.onnx", {"context_size": None}, "decoder.onnx: metadata lacks context_size"),
        (
            "decoder.onnx",
            {"context_size": 3},
            "decoder.onnx: input y: expected TYPE_INT64 [batch, 3], got TYPE_INT64 [open, 2]",
        ),
        ("decoder.onnx", {"vocab_size": 13}, "tokens.txt: expected the 13 ids of the model, lacks 12"),
        ("decoder.onnx", {"vocab_size": 11}, "tokens.txt: expected the 11 ids of the model, got '\u2581j' beyond them"),
    ],
)
def test_wrong_metadata(tmp_path: Path, file: str, metadata: dict[str, object], expected: str) -> None:
    """Metadata that is missing, no number, or contradicts the file is named with what was expected."""
    source = write_toy(tmp_path / "model", "lstm")
    edit(source / file, lambda model: set_metadata(model, **metadata))
    assert_refused(source, tmp_path / "bundle", expected)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (
            {"num_encoder_layers": "1,999999999"},
            "encoder.onnx: metadata num_encoder_layers: expected at most 1000 layers, got 1000000000",
        ),
        ({"num_heads": "2"}, "encoder.onnx: metadata num_heads: expected 2 integers, got 1"),
        ({"num_heads": "2,x"}, "encoder.onnx: metadata num_heads: expected integers from 1, got '2,x'"),
        ({"num_heads": ""}, "encoder.onnx: metadata num_heads: expected integers from 1, got ''"),
        (
            {"num_encoder_layers": "2,2"},
            f"encoder.onnx: expected 27 inputs, got 21: x, {', '.join(f'in_{i}' for i in range(20))}",
        ),
    ],
)
def test_wrong_lists(tmp_path: Path, metadata: dict[str, object], expected: str) -> None:
    """Lists of another length, or of what is no number, are named; so is a count of tensors that they do not fit."""
    source = write_toy(tmp_path / "model", "zipformer2")
    edit(source / "encoder.onnx", lambda model: set_metadata(model, **metadata))
    assert_refused(source, tmp_path / "bundle", expected)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (
            [("TYPE_INT64", [2, "N", 6]), ("TYPE_FP32", [2, "N", 5])],
            "encoder.onnx: input in_0: expected TYPE_FP32 [2, batch, 6], got TYPE_INT64 [2, open, 6]",
        ),
        (
            [("TYPE_FP32", ["N", 2, 6]), ("TYPE_FP32", [2, "N", 5])],
            "encoder.onnx: input in_0: expected TYPE_FP32 [2, batch, 6], got TYPE_FP32 [open, 2, 6]",
        ),
        (
            [("TYPE_FP32", [2, "N", 5]), ("TYPE_FP32", [2, "N", 6])],
            "encoder.onnx: input in_0: expected TYPE_FP32 [2, batch, 6], got TYPE_FP32 [2, open, 5]",
        ),
        (
            [("TYPE_FP32", [2, "N", 6])],
            "encoder.onnx: expected 3 inputs, got 2: x, in_0",
        ),
    ],
)
def test_wrong_states(tmp_path: Path, states: list[tuple[str, list[int | str]]], expected: str) -> None:
    """States of another type, layout, order or number than the type's are named."""
    toy = Toy.of("lstm")
    toy.states = list(states)
    assert_refused(write_toy(tmp_path / "model", toy), tmp_path / "bundle", expected)


def test_state_that_comes_back_otherwise(tmp_path: Path) -> None:
    """A state that leaves the model with another shape than it went in cannot be kept."""
    source = write_toy(tmp_path / "model", "lstm")

    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((2, 1, 7), np.float32), "wide"))
        next(node for node in model.graph.node if node.output[0] == "out_0").input[0] = "wide"
        del model.graph.output[1].type.tensor_type.shape.dim[:]
        for name in "abc":
            model.graph.output[1].type.tensor_type.shape.dim.add().dim_param = name

    edit(source / "encoder.onnx", change)
    expected = "encoder.onnx: state hidden: expected float32 [2, 1, 6] back, got float32 [2, 1, 7]"
    assert_refused(source, tmp_path / "bundle", expected)


def test_states_that_no_stream_can_have(tmp_path: Path) -> None:
    """A file that leaves its lengths open is not believed any number."""
    source = write_toy(tmp_path / "model", "lstm")

    def change(model: onnx.ModelProto) -> None:
        set_metadata(model, d_model=2 * 10**8)
        model.graph.input[1].type.tensor_type.shape.dim[2].dim_param = "any"

    edit(source / "encoder.onnx", change)
    expected = "encoder.onnx: expected states of at most 1 GiB a stream, got 1.5 GiB"
    assert_refused(source, tmp_path / "bundle", expected)


@pytest.mark.parametrize(
    ("file", "constant", "expected"),
    [
        ("decoder.onnx", (1, 1, 16), "decoder.onnx: expected output [1, width], got [1, 1, 16]"),
        (
            "decoder.onnx",
            (1, 17),
            "joiner.onnx: input decoder_out: expected TYPE_FP32 [batch, 17], got TYPE_FP32 [open, 16]",
        ),
        ("joiner.onnx", (1, 13), "joiner.onnx: expected output [1, 12], got [1, 13]"),
    ],
)
def test_wrong_widths(tmp_path: Path, file: str, constant: tuple[int, ...], expected: str) -> None:
    """Decoder and joiner are tried: what they return must fit each other and the vocabulary."""
    source = write_toy(tmp_path / "model", "lstm")

    def change(model: onnx.ModelProto) -> None:
        output = model.graph.output[0]
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(constant, np.float32), output.name + "_"))
        next(node for node in model.graph.node if output.name in node.output).output[0] = "unused"
        model.graph.node.append(onnx.helper.make_node("Identity", [output.name + "_"], [output.name]))
        output.CopyFrom(onnx.helper.make_tensor_value_info(output.name, 1, [None] * len(constant)))

    edit(source / file, change)
    assert_refused(source, tmp_path / "bundle", expected)


def test_unsupported_type(tmp_path: Path) -> None:
    """An unknown type is named beside those that are known."""
    from streamer.bundle.sherpa.importing import IMPORTERS

    source = write_toy(tmp_path / "model", "lstm")
    edit(source / "encoder.onnx", lambda model: set_metadata(model, model_type="emformer"))
    known = ", ".join(sorted(IMPORTERS))
    assert {"conformer", "ebranchformer", "lstm", "zipformer", "zipformer2", "zipformer2_ctc"} <= set(IMPORTERS)
    expected = f"encoder.onnx: model_type: expected one of {known}, got 'emformer'"
    assert_refused(source, tmp_path / "bundle", expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<blk> 0\na b c 1\n", "tokens.txt line 2: expected `piece id`, got 'a b c 1'"),
        ("<blk> 0\na 0\n", "tokens.txt line 2: id 0 is listed twice"),
        ("", "tokens.txt lists no tokens"),
        ("<blk> 0\na 1\n", "tokens.txt: expected the 12 ids of the model, lacks 2"),
    ],
)
def test_wrong_tokens(tmp_path: Path, text: str, expected: str) -> None:
    """Tokens that cannot be read or do not fit the model are named."""
    source = write_toy(tmp_path / "model", "lstm")
    (source / "tokens.txt").write_text(text)
    assert_refused(source, tmp_path / "bundle", expected)


def test_tokens_without_blank(tmp_path: Path) -> None:
    """A CTC model needs to know its blank."""
    toy = Toy.of("zipformer2_ctc")
    toy.pieces[0] = "x"
    source = write_toy(tmp_path / "model", toy)
    expected = "tokens.txt: expected one of <blk>, <eps>, <blank>, got none"
    assert_refused(source, tmp_path / "bundle", expected)


def test_failing_check_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle that fails the server's own check does not come into being."""
    from streamer.bundle.check import Check

    monkeypatch.setattr("streamer.engine.check._task", lambda bundle: (Check("task", False, "is odd"),))
    expected = "the imported bundle fails a check: task: is odd"
    assert_refused(write_toy(tmp_path / "model", "lstm"), tmp_path / "bundle", expected)


def test_bug_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is raised on the way, nothing is left behind."""

    def broken(folder: Path) -> None:
        assert (folder / "manifest.json").exists()
        raise RuntimeError

    monkeypatch.setattr("streamer.engine.check.check_bundle", broken)
    result = streamer(
        *("bundle", "import", "sherpa", write_toy(tmp_path / "model", "lstm")),
        *("--out", tmp_path / "b" / "c", "--name", "toy"),
    )
    assert isinstance(result.exception, RuntimeError)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_name_of_a_bundle(tmp_path: Path) -> None:
    """A name that no bundle may have is refused."""
    source = write_toy(tmp_path / "model", "lstm")
    result = streamer("bundle", "import", "sherpa", source, "--out", tmp_path / "bundle", "--name", "Not A Name")
    assert result.exit_code == 1
    assert result.stderr.startswith("streamer: name: String should match pattern ")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_errors_are_lines(tmp_path: Path) -> None:
    """Errors of the bundle room name no path of this machine."""
    from streamer.bundle.sherpa.source import read_model

    with pytest.raises(BundleError, match=r"^x\.onnx: cannot be read as ONNX: "):
        read_model(tmp_path / "x.onnx")


def test_numbers_of_states_count(tmp_path: Path) -> None:
    """The memory of a stream is that of its states: nothing of a batch stays behind."""
    target = tmp_path / "bundle"
    assert run_import(write_toy(tmp_path / "model", "lstm"), target)[0] == 0
    manifest = json.loads((target / "manifest.json").read_text())
    sizes = {state["name"]: int(np.prod(state["dims"])) for state in manifest["states"]}
    assert sizes == {"carry": 120, "hidden": 12, "cell": 10, "context": 2}
