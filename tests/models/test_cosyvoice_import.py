"""The importer of CosyVoice: names and shapes of the released files, and every way in which a folder can be wrong."""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.common.safe_files import CheckpointError  # noqa: E402
from models.flow_tts import import_checkpoint  # noqa: E402
from models.flow_tts.cosyvoice import memory  # noqa: E402
from models.flow_tts.cosyvoice.checkpoint import read_checkpoint  # noqa: E402
from models.flow_tts.cosyvoice.config import (  # noqa: E402
    DitSizes,
    EncoderSizes,
    HiftSizes,
    LmSizes,
    Options,
    PlainEncoderSizes,
    UNetSizes,
)
from models.flow_tts.cosyvoice.export import upstream_noise_rows  # noqa: E402
from models.flow_tts.cosyvoice.flow import Flow2, Flow3  # noqa: E402
from models.flow_tts.cosyvoice.hift import Hift  # noqa: E402
from models.flow_tts.cosyvoice.lm import TokenLm  # noqa: E402
from models.flow_tts.cosyvoice.names import GAIN_AND_DIRECTION, PARAMETRIZED, released_shapes, unfolded  # noqa: E402
from models.flow_tts.cosyvoice.settings import Sampling, read_settings, scalars  # noqa: E402
from tests.models.cosyvoice_toys import DIT, ENCODER, HIFTS, LM2, LM3, PLAIN, TOKENS, UNET, toy_flow, toy_hift, toy_lm  # noqa: E402  # noqa: E402

torch.set_num_threads(1)
Weights = dict[str, Any]
VERSIONS = (2, 3)
UPS = "ups.0.parametrizations.weight.original"
YAML = """
__set_seed1: !apply:random.seed [1986]
sample_rate: 24000
token_frame_rate: 25
token_mel_ratio: 2
chunk_size: 5
flow: !new:cosyvoice.flow.flow.CausalMaskedDiffWithXvec
  token_mel_ratio: !ref <token_mel_ratio>
  decoder: !new:cosyvoice.flow.flow_matching.CausalConditionalCFM
    cfm_params: !new:omegaconf.DictConfig
      content:
        sigma_min: 1e-06
        inference_cfg_rate: 0.7
    estimator: !new:cosyvoice.flow.decoder.CausalConditionalDecoder
      attention_head_dim: 8
      static_chunk_size: !ref <chunk_size> * <token_mel_ratio>
llm: !new:cosyvoice.llm.llm.Qwen2LM
  sampling: !name:cosyvoice.utils.common.ras_sampling
    top_p: 0.7
    top_k: 20
    win_size: 8
    tau_r: 0.25
"""


class Folder:
    """Files of a toy, which a test may spoil before they are written."""

    def __init__(self, path: Path, version: int) -> None:
        self.path, self.version = path, version
        self.flow: Weights = toy_flow(version).state_dict()
        self.hift: Weights = unfolded(toy_hift(version))
        head = torch.zeros(LM2.texts, LM2.width)
        self.lm: Weights = {**toy_lm(version).state_dict(), "llm.model.lm_head.weight": head}
        self.yaml: str | None = YAML
        self.config: Any = {"num_attention_heads": 4, "rope_theta": 1000000.0, "rms_norm_eps": 1e-06}

    def write(self) -> Path:
        self.path.mkdir(exist_ok=True)
        for name in ("flow", "hift"):
            torch.save(getattr(self, name), self.path / f"{name}.pt")
        torch.save(self.lm, self.path / "llm.pt")
        if self.yaml is not None:
            (self.path / f"cosyvoice{self.version}.yaml").write_text(self.yaml, encoding="utf-8")
        text_model = self.path / "CosyVoice-BlankEN"
        text_model.mkdir(exist_ok=True)
        (text_model / "config.json").write_text(json.dumps(self.config), encoding="utf-8")
        (text_model / "vocab.json").write_text("{}", encoding="utf-8")
        return self.path


@pytest.fixture(params=VERSIONS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return Folder(tmp_path / "CosyVoice-0.5B", request.param)


@pytest.fixture
def second(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "CosyVoice2-0.5B", 2)


# Names, shapes, formats


def test_released_sizes_have_as_many_tensors_and_numbers_as_the_released_files() -> None:
    """1121 tensors of 112 549 360 numbers, 328 of 20 821 295; nothing is allocated."""
    with torch.device("meta"):
        flow, hift = Flow2(EncoderSizes(), UNetSizes()), Hift(HiftSizes())
        third, causal = Flow3(PlainEncoderSizes(), DitSizes()), Hift(HiftSizes(causal=True))
        lm = TokenLm(LmSizes())
    counted = [
        (len(shapes), sum(shape.numel() for shape in shapes.values()))
        for shapes in map(released_shapes, (flow, hift, causal))
    ]
    assert counted == [(1121, 112_549_360), (328, 20_821_295), (328, 20_779_887)]
    estimator = sum(value.numel() for value in third.estimator.state_dict().values())
    assert round(estimator / 1e6) == 331
    # Of 641.94 M, less the head of text.
    head = LmSizes().texts * LmSizes().width
    assert sum(value.numel() for value in lm.state_dict().values()) + head == pytest.approx(641.94e6, abs=5e3)


def test_some_names_of_the_released_files() -> None:
    """As the specification lists them."""
    with torch.device("meta"):
        flow = released_shapes(Flow2(EncoderSizes(), UNetSizes()))
        third = released_shapes(Flow3(PlainEncoderSizes(), DitSizes()))
        hift, causal = (released_shapes(Hift(HiftSizes(causal))) for causal in (False, True))
    estimator = "decoder.estimator"
    expected = {
        "encoder.embed.out.1.bias": [512],
        "encoder.pre_lookahead_layer.conv1.weight": [512, 512, 4],
        "encoder.up_layer.conv.weight": [512, 512, 5],
        "encoder.up_encoders.3.self_attn.pos_bias_v": [8, 64],
        "encoder.encoders.5.feed_forward.w_2.weight": [512, 2048],
        f"{estimator}.time_mlp.linear_1.weight": [1024, 320],
        f"{estimator}.down_blocks.0.0.res_conv.weight": [256, 320, 1],
        f"{estimator}.mid_blocks.11.1.3.attn1.to_out.0.weight": [256, 512],
        f"{estimator}.up_blocks.0.0.block1.block.0.weight": [256, 512, 3],
        f"{estimator}.up_blocks.0.2.bias": [256],
        f"{estimator}.final_block.block.2.weight": [256],
        f"{estimator}.mid_blocks.0.1.0.ff.net.0.proj.weight": [1024, 256],
    }
    assert {name: list(flow[name]) for name in expected} == expected
    expected = {
        "pre_lookahead_layer.conv2.weight": [80, 1024, 3],
        f"{estimator}.time_embed.time_mlp.2.weight": [1024, 1024],
        f"{estimator}.input_embed.conv_pos_embed.conv2.0.weight": [1024, 64, 31],
        f"{estimator}.rotary_embed.inv_freq": [32],
        f"{estimator}.transformer_blocks.21.attn_norm.linear.weight": [6144, 1024],
        f"{estimator}.transformer_blocks.0.attn.to_out.0.weight": [1024, 1024],
        f"{estimator}.transformer_blocks.0.ff.ff.0.0.weight": [2048, 1024],
        f"{estimator}.norm_out.linear.weight": [2048, 1024],
    }
    assert {name: list(third[name]) for name in expected} == expected
    assert list(hift[f"{UPS}0"]) == [512, 1, 1]
    assert [list(shapes[f"{UPS}1"]) for shapes in (hift, causal)] == [[512, 256, 16], [256, 512, 16]]
    assert [list(shapes["conv_pre.parametrizations.weight.original1"])[2] for shapes in (hift, causal)] == [7, 5]
    assert list(hift["source_downs.0.weight"]) == [256, 18, 30]
    assert list(hift["resblocks.8.convs1.2.parametrizations.weight.original1"]) == [64, 64, 11]
    assert list(causal["f0_predictor.condnet.0.parametrizations.weight.original1"]) == [512, 80, 4]


def test_streams_keep_what_the_specification_counts() -> None:
    """4.6 MB a frame of version 2's estimator, 3.6 of version 3's; 0.59 MB of the causal vocoder, 25 kB an id."""
    from models.flow_tts.cosyvoice.graphs import steps_of

    options = Options(pages=10, cells=640)
    with torch.device("meta"):
        second = steps_of(TokenLm(LmSizes()), Flow2(EncoderSizes(), UNetSizes()), Hift(HiftSizes()), options)
        third = Flow3(PlainEncoderSizes(), DitSizes())
        steps = steps_of(TokenLm(LmSizes()), third, Hift(HiftSizes(causal=True)), options)
        sizes = {
            name: {state.name: state.dims for state in step.states}
            for name, step in {**second, "dit": steps["flow_step"], "causal": steps["vocoder_step"]}.items()
        }

    def numbers(graph: str, *states: str) -> int:
        return sum(torch.Size(sizes[graph][state]).numel() for state in states)

    frames = 10 * 50
    assert numbers("flow_step", "flow_keys", "flow_values") == 1_146_880 * frames
    assert sizes["flow_step"]["flow_past"] == (10, 2, 16_512)
    assert numbers("dit", "flow_keys", "flow_values") == 901_120 * frames
    assert numbers("lm_step", "lm_keys", "lm_values") == 6144 * 640
    # Residual blocks, those of the source, upsampling, and the last convolution.
    assert numbers("causal", "vocoder_past") == 96_768 + 35_328 + 11_008 + 6 * 64
    assert numbers("causal", "vocoder_pitch") == 8 * 512
    assert numbers("flow_encode_step", "encode_keys", "encode_values") == 6 * 2 * 512 * 250


@pytest.mark.parametrize("pair", [PARAMETRIZED, GAIN_AND_DIRECTION])
@pytest.mark.parametrize("prefix", ["", "generator."])
def test_models_are_those_that_were_saved(folder: Folder, pair: tuple[str, str], prefix: str) -> None:
    """Sizes are told by tensors; parameters are equal, folded filters to 1e-6, under either naming, with a prefix."""
    hift = unfolded(toy_hift(folder.version), pair)
    folder.hift = {prefix + name: value for name, value in hift.items()}
    found = read_checkpoint(folder.write())
    assert found.version == folder.version
    assert found.hift.sizes == HIFTS[folder.version]
    assert found.lm.sizes == (LM2 if folder.version == 2 else LM3)
    if folder.version == 2:
        assert (found.flow.encoder.sizes, found.flow.estimator.sizes) == (ENCODER, UNET)
    else:
        assert (found.flow.sizes, found.flow.estimator.sizes) == (PLAIN, DIT)
    for mine, theirs in ((found.flow, toy_flow(folder.version)), (found.lm, toy_lm(folder.version))):
        assert mine.state_dict().keys() == theirs.state_dict().keys()
        assert all(torch.equal(mine.state_dict()[name], value) for name, value in theirs.state_dict().items())
    for name, value in toy_hift(folder.version).state_dict().items():
        torch.testing.assert_close(found.hift.state_dict()[name], value, atol=1e-6, rtol=0)
    mel, noise = torch.randn(1, 6, 80), torch.rand(1, 6, 480, 9)
    torch.testing.assert_close(found.hift(mel, noise), toy_hift(folder.version)(mel, noise), atol=1e-4, rtol=0)
    assert [path.name for path in found.files[:3]] == ["flow.pt", "hift.pt", "llm.pt"]
    assert [path.name for path in found.tokeniser] == ["vocab.json"]


def test_norms_go_over_all_axes_but_the_first() -> None:
    """As torch's own weight norm has it, for convolutions and for transposed ones, whose first axis is the input's."""
    from torch.nn.utils.parametrizations import weight_norm

    from models.flow_tts.cosyvoice.names import folded

    for layer in (torch.nn.Conv1d(4, 6, 3), torch.nn.ConvTranspose1d(4, 6, 8, 4)):
        normed = weight_norm(layer)
        state = normed.state_dict()
        with torch.no_grad():
            state["parametrizations.weight.original0"].mul_(1.7)
        normed.load_state_dict(state)
        pair = [state[f"parametrizations.weight.original{index}"] for index in (0, 1)]
        torch.testing.assert_close(folded(*pair), normed.weight, atol=1e-6, rtol=0)


def test_released_ids(folder: Folder) -> None:
    """Where the specification puts them, after the speech tokens or in a table of their own."""
    ids = read_checkpoint(folder.write()).ids
    text, speech = LM2.texts, LM2.texts + TOKENS
    assert (ids.speech, ids.tokens) == (text, TOKENS)
    if folder.version == 2:
        start = text + LM2.speech
        assert (ids.start, ids.task, ids.end, ids.fill) == (start, start + 1, speech, speech + 2)
    else:
        assert (ids.start, ids.end, ids.task, ids.fill) == (speech, speech + 1, speech + 2, speech + 3)


def test_the_yaml_says_chunk_heads_and_sampling(folder: Folder) -> None:
    """Its tags are not followed, references are left out; without the file the released values hold."""
    settings = read_checkpoint(folder.write()).settings
    assert (settings.chunk, settings.head_width) == (5, 8)
    assert settings.sampling == Sampling(0.7, 20, 8, 0.25)
    found = scalars(folder.path / f"cosyvoice{folder.version}.yaml")
    assert found["flow.decoder.cfm_params.content.sigma_min"] == 1e-6
    assert "flow.token_mel_ratio" not in found


def test_tensors_that_are_of_no_use_may_be_absent_or_there(folder: Folder) -> None:
    """The text model's head, the turning frequencies, and what a training run notes."""
    del folder.lm["llm.model.lm_head.weight"]
    folder.flow.pop("decoder.estimator.rotary_embed.inv_freq", None)
    folder.flow |= {"epoch": 3, "step": 1000}
    folder.yaml = YAML.replace("attention_head_dim", "dim_head") if folder.version == 3 else YAML
    found = read_checkpoint(folder.write())
    assert found.flow.state_dict().keys() == toy_flow(folder.version).state_dict().keys()
    for name, value in toy_flow(folder.version).state_dict().items():
        torch.testing.assert_close(found.flow.state_dict()[name], value)


def test_upstream_noise_is_what_torch_draws_after_seeding_0() -> None:
    """One draw of [1, 80, 15000]."""
    torch.manual_seed(0)
    expected = torch.randn([1, 80, 50 * 300])[0].T.numpy()
    assert (upstream_noise_rows() == expected).all()


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

    def export(checkpoint, options, folder, about, card, half_weights, upstream_noise):
        (folder / "manifest.json").write_text(card.read_text(encoding="utf-8"), encoding="utf-8")
        calls.append((checkpoint, options, about, half_weights, upstream_noise))

    monkeypatch.setattr(import_checkpoint, "export_bundle", export)
    monkeypatch.setattr(import_checkpoint, "require_sound", lambda *_, **__: None)
    return calls


def run(folder: Folder, *arguments: str) -> int:
    return import_checkpoint.main([str(folder.path), "-o", str(folder.path.parent / "out"), *arguments])


def test_the_command_passes_on_what_it_is_told(second: Folder, exported: list[Any]) -> None:
    """Sizes, precision and noise; the name is the folder's, the card says what a stream keeps."""
    second.write()
    options = ("--pages", "9", "--cells", "300", "--half-state", "--half-weights", "--upstream-noise", "--licence", "x")
    assert run(second, *options) == 0
    _, given, about, half_weights, upstream_noise = exported[0]
    assert given == Options(chunk=5, pages=9, cells=300, half_state=True)
    assert (half_weights, upstream_noise) == (True, True)
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
