"""The importer of CosyVoice: names and shapes of the released files, and models that are those that were saved."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

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
from models.flow_tts.cosyvoice.settings import Sampling, scalars  # noqa: E402
from tests.models.cosyvoice_folders import YAML, Folder  # noqa: E402
from tests.models.cosyvoice_toys import DIT, ENCODER, HIFTS, LM2, LM3, PLAIN, TOKENS, UNET, toy_flow, toy_hift, toy_lm  # noqa: E402  # noqa: E402

torch.set_num_threads(1)
VERSIONS = (2, 3)
UPS = "ups.0.parametrizations.weight.original"


@pytest.fixture(params=VERSIONS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return Folder(tmp_path / "CosyVoice-0.5B", request.param)


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
