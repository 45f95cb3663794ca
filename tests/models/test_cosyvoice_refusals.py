"""The importer of CosyVoice: every way in which a folder or a setting can be wrong."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.common.safe_files import CheckpointError  # noqa: E402
from models.flow_tts import import_checkpoint  # noqa: E402
from models.flow_tts.cosyvoice import memory  # noqa: E402
from models.flow_tts.cosyvoice.checkpoint import read_checkpoint  # noqa: E402
from models.flow_tts.cosyvoice.config import (  # noqa: E402
    Options,
)
from models.flow_tts.cosyvoice.names import unfolded  # noqa: E402
from models.flow_tts.cosyvoice.settings import read_settings  # noqa: E402
from tests.models.cosyvoice_folders import YAML, Folder, prompt, write_prompt  # noqa: E402
from tests.models.cosyvoice_toys import toy_hift  # noqa: E402  # noqa: E402

torch.set_num_threads(1)
VERSIONS = (2, 3)
UPS = "ups.0.parametrizations.weight.original"


@pytest.fixture
def second(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "CosyVoice2-0.5B", 2)


# Refusals


def spoil_missing(folder: Folder) -> None:
    del folder.flow["encoder.after_norm.bias"], folder.flow["encoder_proj.weight"]


def spoil_unknown(folder: Folder) -> None:
    folder.flow["decoder.estimator.extra"] = torch.zeros(3)


def spoil_shape(folder: Folder) -> None:
    folder.hift["conv_post.bias"] = torch.zeros(17)


def spoil_half_a_pair(folder: Folder) -> None:
    del folder.hift[f"{UPS}0"]


def spoil_values(folder: Folder) -> None:
    folder.lm["llm_decoder.bias"][0] = float("nan")


def spoil_kind(folder: Folder) -> None:
    folder.lm["speech_embedding.weight"] = folder.lm["speech_embedding.weight"].int()


def spoil_other(folder: Folder) -> None:
    folder.flow = {"encoder.something": torch.zeros(2)}


def spoil_names(folder: Folder) -> None:
    folder.flow = [torch.zeros(2)]  # type: ignore[assignment]


def spoil_twice(folder: Folder) -> None:
    folder.hift["generator.conv_post.bias"] = torch.zeros(18)


def spoil_heads(folder: Folder) -> None:
    folder.config["num_attention_heads"] = 5


def spoil_config(folder: Folder) -> None:
    folder.config = [1]


def spoil_layers(folder: Folder) -> None:
    folder.flow |= {f"encoder.encoders.{n}.norm_ff.bias": torch.zeros(1) for n in range(200)}


def spoil_rate(folder: Folder) -> None:
    folder.yaml = YAML.replace("24000", "22050")


def spoil_guidance(folder: Folder) -> None:
    folder.yaml = YAML.replace("inference_cfg_rate: 0.7", "inference_cfg_rate: 1.5")


def spoil_chunk(folder: Folder) -> None:
    folder.yaml = YAML.replace("chunk_size: 5", "chunk_size: 0")


def spoil_yaml(folder: Folder) -> None:
    folder.yaml = "a: [1, 2"


def spoil_python_tag(folder: Folder) -> None:
    folder.yaml = "a: !!python/object/apply:os.system ['true']"


def spoil_python_key(folder: Folder) -> None:
    folder.yaml = "!!python/object/apply:os.getcwd []: 1"


SPOILT: list[tuple[Callable[[Folder], None], str]] = [
    (
        spoil_missing,
        "flow.pt: 2 of its tensors do not fit the model:\n  missing: encoder.after_norm.bias\n"
        "  missing: encoder_proj.weight",
    ),
    (spoil_unknown, "flow.pt: 1 of its tensors do not fit the model:\n  not known: decoder.estimator.extra"),
    (spoil_shape, "hift.pt: 1 of its tensors do not fit the model:\n  conv_post.bias: expected [18], got [17]"),
    (spoil_half_a_pair, f"hift.pt: 1 of its tensors do not fit the model:\n  missing: {UPS}0"),
    (
        spoil_values,
        "llm.pt: 1 of its tensors do not fit the model:\n"
        "  llm_decoder.bias: expected finite values up to 3.40282e+38, got nan",
    ),
    (
        spoil_kind,
        "llm.pt: 1 of its tensors do not fit the model:\n"
        "  speech_embedding.weight: expected a dense tensor of 16, 32 or 64 bit floats, got torch.int32",
    ),
    (
        spoil_other,
        "flow.pt: expected tensors called encoder.up_encoders. (CosyVoice 2) or pre_lookahead_layer. (CosyVoice 3),"
        " got encoder.something",
    ),
    (spoil_names, "flow.pt: expected weights by name, got list"),
    (spoil_twice, "hift.pt: expected each tensor once, got some with and without generator."),
    (spoil_heads, "llm.pt: num_attention_heads: expected a multiple of 5, got 32"),
    (spoil_config, "config.json: expected names and values, got list"),
    (spoil_layers, "flow.pt: encoder.encoders: expected at most 128 parts, got 200"),
    (
        spoil_rate,
        "cosyvoice2.yaml: expected what this importer can do:\n  sample_rate: expected 24000, got 22050",
    ),
    (
        spoil_guidance,
        "cosyvoice2.yaml: expected what this importer can do:\n"
        "  flow.decoder.cfm_params.content.inference_cfg_rate: expected 0.7, got 1.5",
    ),
    (spoil_chunk, "cosyvoice2.yaml: chunk_size: expected 1 to 1000, got 0"),
    (spoil_yaml, "cosyvoice2.yaml: expected yaml, got a file that is none: while parsing a flow sequence"),
    (
        spoil_python_tag,
        "cosyvoice2.yaml: expected plain data, got the tag 'tag:yaml.org,2002:python/object/apply:os.system',"
        " which makes objects",
    ),
    (
        spoil_python_key,
        "cosyvoice2.yaml: expected plain data, got the tag 'tag:yaml.org,2002:python/object/apply:os.getcwd',"
        " which makes objects",
    ),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILT, ids=lambda value: getattr(value, "__name__", ""))
def test_what_is_wrong_is_said(second: Folder, spoil: Callable[[Folder], None], message: str) -> None:
    """One message with all of it, in the names of the file."""
    spoil(second)
    with pytest.raises(CheckpointError) as refused:
        read_checkpoint(second.write())
    assert str(refused.value) == message


class Unsafe:
    """A pickle that would make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("name", ["flow.pt", "hift.pt", "llm.pt"])
def test_pickles_of_other_things_are_not_run(second: Folder, name: str) -> None:
    """A file that would call a function is refused, and the function is not called."""
    path, made = second.write() / name, second.path / "made"
    for save in (lambda: torch.save({"a": Unsafe(made)}, path), lambda: path.write_bytes(pickle.dumps(Unsafe(made)))):
        save()
        with pytest.raises(
            CheckpointError,
            match=rf"^{name}: expected (tensors and plain data, got \w+\.mkdir|.*a pickle of other things$)",
        ):
            read_checkpoint(second.path)
    assert not made.exists()


def test_tags_of_hyperpyyaml_are_not_run(tmp_path: Path) -> None:
    """What that loader would call by name is not called; anchors may refer to each other without end."""
    made, path = tmp_path / "made", tmp_path / "cosyvoice2.yaml"
    tags = f"a: !apply:os.mkdir ['{made}']\nb: !new:os.mkdir ['{made}']\nc: !name:os.mkdir\nd: !module:antigravity\n"
    laughs = "x0: &x0 [1, 1]\n" + "".join(f"x{n}: &x{n} [*x{n - 1}, *x{n - 1}]\n" for n in range(1, 60))
    path.write_text(f"{tags}{laughs}chunk_size: 25\n", encoding="utf-8")
    assert read_settings(path).chunk == 25
    assert not made.exists()
    path.write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"^cosyvoice2.yaml: expected yaml, got a file that is none"):
        read_settings(path)
    path.write_text("#" * (1 << 20) + "\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"^cosyvoice2.yaml: expected at most 1048576 bytes, got 1048577$"):
        read_settings(path)


def test_folders_that_lack_files_or_mix_versions(second: Folder) -> None:
    """Files that are missing are listed; the yaml of the other version is a contradiction."""
    path = second.write()
    (path / "hift.pt").unlink()
    with pytest.raises(CheckpointError, match=r"expected the files flow.pt, hift.pt and llm.pt, lacks hift.pt$"):
        read_checkpoint(path)
    torch.save(second.hift, path / "hift.pt")
    with pytest.raises(CheckpointError, match=r"lacks llm.rl.pt$"):
        read_checkpoint(path, "llm.rl.pt")
    (path / "cosyvoice2.yaml").rename(path / "cosyvoice3.yaml")
    with pytest.raises(
        CheckpointError, match=r"^flow.pt: expected CosyVoice 3, as cosyvoice3.yaml says, got CosyVoice 2$"
    ):
        read_checkpoint(path)
    torch.save(unfolded(toy_hift(3)), path / "hift.pt")
    (path / "cosyvoice3.yaml").rename(path / "cosyvoice2.yaml")
    with pytest.raises(CheckpointError, match=r"^hift.pt: \d+ of its tensors do not fit the model"):
        read_checkpoint(path)


# The command line


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stands for the exporter, which takes its time and has tests of its own; the bundle is a lone manifest."""
    calls: list[Any] = []

    def export(checkpoint, options, folder, about, card, half_weights, upstream_noise, voices):
        (folder / "manifest.json").write_text(card.read_text(encoding="utf-8"), encoding="utf-8")
        calls.append((checkpoint, options, about, half_weights, upstream_noise, voices))

    monkeypatch.setattr(import_checkpoint, "export_bundle", export)
    monkeypatch.setattr(import_checkpoint, "require_sound", lambda *_, **__: None)
    return calls


def run(folder: Folder, *arguments: str) -> int:
    out, voices = folder.path.parent / "out", write_prompt(folder.path / "voices.npz")
    return import_checkpoint.main([str(folder.path), "-o", str(out), "--voices", str(voices), *arguments])


def test_the_command_passes_on_what_it_is_told(second: Folder, exported: list[Any]) -> None:
    """Sizes, precision and noise; the name is the folder's, the card says what a stream keeps."""
    second.write()
    options = ("--pages", "9", "--cells", "300", "--half-state", "--half-weights", "--upstream-noise", "--licence", "x")
    assert run(second, *options) == 0
    _, given, about, half_weights, upstream_noise, voices = exported[0]
    assert given == Options(chunk=5, pages=9, cells=300, half_state=True)
    assert (half_weights, upstream_noise) == (True, True)
    assert voices.keys() == {"ada"}
    assert all(np.array_equal(voices["ada"][key], array) for key, array in prompt().items())
    assert about["name"] == "cosyvoice2-0.5b"
    assert about["licence"] == "x"
    assert about["description"].startswith("CosyVoice 2, 24 kHz, language model of 2 layers 32 wide, chunks of 200 ms")
    card = (second.path.parent / "out" / "manifest.json").read_text(encoding="utf-8")
    assert "Prompt and speech of a stream are 1.8 s at most" in card
    assert "320 ids" in card
    assert run(second, "--force", "--flow", "prefix") == 0
    assert not exported[1][1].cached


def test_state_that_this_machine_could_not_check_is_refused(
    second: Folder, exported: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is exported, with what would need less."""
    second.write()
    monkeypatch.setattr(memory, "physical_memory", lambda: 1_000_000)
    assert run(second) == 1
    error = capsys.readouterr().err
    assert re.search(r"state of 16 pages: expected \d+\.\d GB of memory to check the bundle, got 0\.0", error)
    assert "fewer --pages, --half-state and --flow prefix need less" in error
    assert not exported
    monkeypatch.setattr(memory, "physical_memory", lambda: 10_000_000)
    assert run(second, "--flow", "prefix", "--pages", "2", "--cells", "64") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--pages", "1"), "--pages: expected 2 to 1000, got 1"),
        (("--cells", "70000"), "--cells: expected 2 to 65536, got 70000"),
        (("--name", "A b"), "--name: expected the form"),
        (("--lm", "other.pt"), "lacks other.pt"),
    ],
)
def test_settings_that_make_no_sense(
    second: Folder, exported: list[Any], capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    """One message, status 1, and nothing is left behind."""
    second.write()
    assert run(second, *arguments) == 1
    assert message in capsys.readouterr().err
    assert not exported
    assert [path.name for path in second.path.parent.iterdir()] == [second.path.name]
