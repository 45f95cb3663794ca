"""The importer of Whisper checkpoints: every format, and every way in which a file can be wrong."""

from __future__ import annotations

import base64
import json
import os
import pickle
import random
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")
pytest.importorskip("safetensors", reason="safetensors is not installed")
peer = pytest.importorskip("whisper.tokenizer", reason="openai-whisper is not installed")

from models.careless_whisper import import_checkpoint  # noqa: E402
from models.careless_whisper.checkpoint_files import read_checkpoint  # noqa: E402
from models.careless_whisper.checkpoints import adapted_name, template  # noqa: E402
from models.careless_whisper.config import Chunking, Dims  # noqa: E402
from models.careless_whisper.model import Whisper, block_mask  # noqa: E402
from models.careless_whisper.token_files import read_pieces  # noqa: E402
from models.careless_whisper.tokenizer import LANGUAGES, of_pieces, of_ranks, read_ranks  # noqa: E402
from models.common.safe_files import CheckpointError  # noqa: E402
from streamer.bundle.loader import load_bundle  # noqa: E402
from tests.models.test_whisper_model import BASE, LARGE_V2, SMALL, TINY  # noqa: E402
from tests.models.whisper_checkpoints import (  # noqa: E402
    CFG,
    DIMS,
    PIECES,
    adapted_weights,
    hugging_face_folder,
    hugging_face_weights,
    lightning_file,
    openai_file,
    random_model,
    vocabulary_json,
    whisper_rt_file,
    write_tokens,
)

torch.set_num_threads(1)
ASSETS = Path(peer.__file__).with_name("assets")


@dataclass
class Exported:
    """What the importer handed to the exporter."""

    model: Whisper
    chunking: Chunking
    languages: tuple[str, ...]
    about: dict
    options: dict
    half_state: bool


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> list[Exported]:
    """Stands for the exporter, which takes its time and has tests of its own; the bundle is a lone manifest."""
    calls = []

    def export(model, chunking, vocabulary, folder, about, half_state, options, card):
        (folder / "manifest.json").write_text(card.read_text(encoding="utf-8"), encoding="utf-8")
        calls.append(Exported(model, chunking, vocabulary.languages, about, options, half_state))

    monkeypatch.setattr(import_checkpoint, "export_bundle", export)
    monkeypatch.setattr(import_checkpoint, "require_sound", lambda _: None)
    return calls


def run(checkpoint: Path, folder: Path, *arguments: str) -> int:
    tokens = write_tokens(folder) if "--tokens" not in arguments else None
    given = ["--tokens", str(tokens)] if tokens else []
    return import_checkpoint.main([str(checkpoint), "-o", str(folder / "out"), *given, *arguments])


def logits(model: Whisper, chunking: Chunking | None = None) -> torch.Tensor:
    """In double precision, so that the order in which products are summed does not count."""
    generator = torch.Generator().manual_seed(1)
    mel = torch.randn(1, DIMS.n_mels, 2 * DIMS.n_audio_ctx, generator=generator)
    tokens = torch.randint(DIMS.n_vocab, (1, 7), generator=generator)
    mask = chunking and block_mask(DIMS.n_audio_ctx, chunking).double()
    with torch.no_grad():
        return deepcopy(model).double()(mel.double(), tokens, mask)


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    """The one message of the importer, without its name."""
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert error.startswith("import_checkpoint: ")
    return error.removeprefix("import_checkpoint: ").strip()


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if "out" in path.name}


# Names and shapes


@pytest.mark.parametrize(("dims", "count"), [(TINY, 263), (BASE, 389), (SMALL, 767), (LARGE_V2, 2027)])
def test_files_with_adapters_hold_so_many_parameters(dims: Dims, count: int) -> None:
    """11 + 23 per layer of the encoder + 40 per layer of the decoder, of the shapes that WhisperRT writes."""
    shapes = {adapted_name(key): tuple(value.shape) for key, value in template(dims, 8).state_dict().items()}
    width = dims.n_audio_state
    assert len(shapes) == count == 11 + 23 * dims.n_audio_layer + 40 * dims.n_text_layer
    assert shapes["encoder.blocks.0.attn.query.base_layer.bias"] == (width,)
    assert shapes["decoder.blocks.0.cross_attn.out.lora_layer.lora_A"] == (width, 8)
    assert shapes["decoder.blocks.0.cross_attn.out.lora_layer.lora_B"] == (8, width)
    assert shapes["encoder.blocks.0.attn_ln.weight"] == (width,)
    assert "encoder.blocks.0.attn.key.base_layer.bias" not in shapes
    assert not [key for key in shapes if "_ln" in key and "layer." in key]


def test_tiny_with_adapters_is_read_whole_and_merges_exactly(tmp_path: Path) -> None:
    """A dictionary of the size of tiny: the merged model is the unmerged one to 1e-5."""
    dims = replace(TINY, n_vocab=1000, n_audio_ctx=100)
    checkpoint = read_checkpoint(whisper_rt_file(tmp_path, random_scaled(dims)))
    assert (checkpoint.rank, checkpoint.chunking, checkpoint.dims) == (8, Chunking(5, 2), dims)
    model, mask = checkpoint.model(), block_mask(100, Chunking(5, 2))
    mel, tokens = torch.randn(1, 80, 200), torch.randint(1000, (1, 20))
    with torch.no_grad():
        expected = model(mel, tokens, mask)
        model.merge()
        torch.testing.assert_close(model(mel, tokens, mask), expected, atol=1e-5, rtol=1e-5)
        # The checkpoint is as it was: merging has changed the model alone.
        assert (checkpoint.model(adapted=False)(mel, tokens, mask) - expected).abs().max() > 1e-4


def random_scaled(dims: Dims) -> Whisper:
    model = Whisper(dims)
    model.adapt(8)
    for name, parameter in model.named_parameters():
        if name.endswith("lora_b"):
            torch.nn.init.normal_(parameter, std=0.02, generator=torch.Generator().manual_seed(4))
    # Of the spread that released embeddings have, about.
    model.decoder.token_embedding.weight.data *= 0.05
    return model.requires_grad_(False)


# Formats


def test_openai_s_file_becomes_a_streaming_or_an_offline_bundle(
    tmp_path: Path, exported: list[Exported], capsys: pytest.CaptureFixture[str]
) -> None:
    """Its weights arrive as they are; how audio is cut must be said, or that it is not."""
    model = random_model()
    path = openai_file(tmp_path, model)
    assert run(path, tmp_path) == 1
    assert refusal(capsys) == (
        "OpenAI checkpoint that does not say how its audio is cut: expected --gran, or --offline"
    )
    assert run(path, tmp_path, "--gran", "10", "--extra", "1", "--half-state", "--options", "window=4") == 0
    assert run(path, tmp_path, "--offline", "--force", "--name", "slow", "--languages", "zh", "en") == 0
    first, second = exported
    torch.testing.assert_close(logits(first.model), logits(model))
    assert (first.chunking, first.half_state, first.options) == (Chunking(10, 1), True, {"window": 4})
    assert first.about == {
        "name": "toy-openai",
        "version": "1.0.0",
        "description": "Whisper, 32 wide, 2 + 2 layers, chunks of 200 ms",
        "licence": "not stated",
        "languages": ["en", "zh"],
    }
    assert second.chunking == Chunking(60, 0)
    assert (second.about["languages"], second.options) == (["zh", "en"], {"language": "zh"})
    assert second.languages == ("en", "zh")
    assert second.about["description"] == "Whisper, 32 wide, 2 + 2 layers, offline, windows of 1200 ms"


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("prefix", ["model.", ""])
def test_hugging_face_s_folder_is_read(tmp_path: Path, exported: list[Exported], shards: int, prefix: str) -> None:
    """Whole or in shards, with the head or without; its `vocab.json` holds the tokens."""
    model = random_model()
    weights = hugging_face_weights(model, prefix)
    if not prefix:
        del weights["proj_out.weight"]
    folder = hugging_face_folder(tmp_path, model, shards, {key: value.half() for key, value in weights.items()})
    (folder / "vocab.json").write_text(json.dumps(vocabulary_json()), encoding="utf-8")
    assert import_checkpoint.main([str(folder), "-o", str(tmp_path / "out"), "--gran", "15"]) == 0
    rounded = {key: value.half().float() for key, value in model.state_dict().items()}
    found = exported[0].model.state_dict()
    assert found.keys() == rounded.keys()
    assert all(torch.equal(found[key], value) for key, value in rounded.items())
    assert exported[0].about["name"] == "toy-whisper"


def test_hugging_face_s_names_are_the_known_ones() -> None:
    """One of each kind, spelled out."""
    names = set(hugging_face_weights(random_model()))
    assert names >= {
        "proj_out.weight",
        "model.encoder.conv1.weight",
        "model.encoder.embed_positions.weight",
        "model.encoder.layers.0.self_attn.q_proj.weight",
        "model.encoder.layers.0.self_attn.k_proj.weight",
        "model.encoder.layers.1.self_attn.out_proj.bias",
        "model.encoder.layers.0.self_attn_layer_norm.weight",
        "model.encoder.layers.0.fc1.weight",
        "model.encoder.layers.0.fc2.bias",
        "model.encoder.layers.0.final_layer_norm.bias",
        "model.encoder.layer_norm.weight",
        "model.decoder.embed_tokens.weight",
        "model.decoder.embed_positions.weight",
        "model.decoder.layers.0.encoder_attn.v_proj.weight",
        "model.decoder.layers.0.encoder_attn_layer_norm.weight",
        "model.decoder.layer_norm.bias",
    }
    assert "model.encoder.layers.0.self_attn.k_proj.bias" not in names


def test_adapters_are_merged_or_left_out(
    tmp_path: Path, exported: list[Exported], capsys: pytest.CaptureFixture[str]
) -> None:
    """A WhisperRT file streams as it was trained, with its adapters; offline it is the model that it began from."""
    model = random_model(rank=8)
    path = whisper_rt_file(tmp_path, model)
    assert run(path, tmp_path) == 0
    assert run(path, tmp_path, "--offline", "--force") == 0
    assert run(path, tmp_path, "--extra", "0", "--force") == 0
    assert "note: trained with --gran 5 --extra 2" in capsys.readouterr().out
    streaming, offline, other = exported
    assert (streaming.chunking, offline.chunking, other.chunking) == (Chunking(5, 2), Chunking(60), Chunking(5))
    torch.testing.assert_close(
        logits(streaming.model, Chunking(5, 2)), logits(model, Chunking(5, 2)), atol=1e-5, rtol=1e-5
    )
    assert "adapters of rank 8 merged" in streaming.about["description"]
    for projection in model.modules():
        if hasattr(projection, "lora_a"):
            projection.lora_a = projection.lora_b = None
    assert torch.equal(logits(offline.model), logits(model))


def test_output_of_its_training_is_read(tmp_path: Path, exported: list[Exported]) -> None:
    """All names have a prefix, the rank is that of the tensors, chunks must be said."""
    model = random_model(rank=3)
    assert run(lightning_file(tmp_path, model), tmp_path, "--gran", "15", "--extra", "1") == 0
    torch.testing.assert_close(logits(exported[0].model), logits(model), atol=1e-5, rtol=1e-5)


@pytest.mark.soak
@pytest.mark.parametrize("form", ["WhisperRT", "OpenAI", "Hugging Face"])
def test_a_bundle_is_written_that_the_server_loads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    """From each format to a checked bundle, with tokens, languages and a card (offline: `test_whisper_offline`)."""
    writers = {"WhisperRT": whisper_rt_file, "OpenAI": openai_file, "Hugging Face": hugging_face_folder}
    model = random_model(8 if form == "WhisperRT" else 0, replace(DIMS, n_audio_layer=1, n_text_layer=1))
    path = writers[form](tmp_path, model)
    arguments = ["--licence", "MIT", "--languages", "en", "--name", "toy", "--gran", "5", "--extra", "2"]
    assert run(path, tmp_path, *arguments) == 0, capsys.readouterr().err
    bundle = load_bundle(tmp_path / "out")
    manifest = bundle.manifest
    assert (manifest.name, manifest.licence, manifest.languages) == ("toy", "MIT", ("en",))
    parameters = manifest.task.parameters
    assert (parameters["gran"], parameters["extra"], parameters["language"]) == (5, 2, "en")
    assert (parameters["eot"], parameters["first_language"]) == (len(PIECES), len(PIECES) + 2)
    assert read_ranks(bundle.folder / manifest.task.assets["tokens"]) == {piece: i for i, piece in enumerate(PIECES)}
    assert (bundle.folder / manifest.task.assets["languages"]).read_text() == "en\nzh\n"
    assert "| bytes | sha256 |" in (bundle.folder / "README.md").read_text(encoding="utf-8")
    assert left_in(tmp_path) == {"out"}


# Files that are wrong


class Malicious:
    """Its pickle writes a file when it is run."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.target}",)


def test_a_malicious_pickle_is_never_run(
    tmp_path: Path, exported: list[Exported], capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither within a checkpoint of torch nor bare; the message names what was asked for."""
    target = tmp_path / "owned"
    inside = openai_file(tmp_path, random_model(), model_state_dict=Malicious(target))
    bare = tmp_path / "bare.pt"
    bare.write_bytes(pickle.dumps(Malicious(target), protocol=2))
    assert run(inside, tmp_path, "--offline") == 1
    assert refusal(capsys).startswith("toy-openai.pt: expected tensors and plain data, got posix.system, which only")
    assert run(bare, tmp_path, "--offline") == 1
    assert refusal(capsys).startswith("bare.pt: expected ")
    assert not target.exists()
    assert not left_in(tmp_path)


def test_a_configuration_object_is_refused_and_says_what_to_do(
    tmp_path: Path, exported: list[Exported], capsys: pytest.CaptureFixture[str]
) -> None:
    """Training output with a pickled configuration names the class, and how the file can be saved again."""
    path = lightning_file(tmp_path, random_model(rank=8), hyper_parameters={"cfg": Chunking(5, 2)})
    assert run(path, tmp_path) == 1
    assert refusal(capsys) == (
        "toy-lightning.ckpt: expected tensors and plain data, got models.careless_whisper.config.Chunking, which only"
        " running its code could make\n"
        "  where you trust the file, save it again as a dictionary of dims, cfg and state_dict"
    )


def test_files_that_are_no_checkpoints_are_refused(
    tmp_path: Path, exported: list[Exported], capsys: pytest.CaptureFixture[str]
) -> None:
    """One line each."""
    whole = openai_file(tmp_path, random_model()).read_bytes()
    noise = random.Random(0).randbytes(3000)
    files = {"cut.pt": whole[: len(whole) // 2], "empty.pt": b"", "noise.pt": noise, "text.pt": b"hello\n" * 99}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        assert run(tmp_path / name, tmp_path, "--offline") == 1
        message = refusal(capsys)
        assert message.startswith(f"{name}: expected a checkpoint of torch, got a file that is none or damaged: ")
        assert "\n" not in message
        assert "weights_only" not in message
    torch.save([1, 2], tmp_path / "list.pt")
    assert run(tmp_path / "list.pt", tmp_path) == 1
    assert refusal(capsys) == "list.pt: expected a dictionary of dims and weights, got list"
    torch.save({"weights": {}, "step": 3}, tmp_path / "other.pt")
    assert run(tmp_path / "other.pt", tmp_path) == 1
    assert refusal(capsys) == (
        "other.pt: expected dims with model_state_dict (OpenAI) or state_dict (WhisperRT), got step, weights"
    )
    assert run(tmp_path / "none.pt", tmp_path) == 1
    assert refusal(capsys) == f"cannot read {tmp_path}/none.pt: No such file or directory"
    (tmp_path / "folder").mkdir()
    assert run(tmp_path / "folder", tmp_path) == 1
    assert refusal(capsys) == "folder: expected config.json and model.safetensors (Hugging Face), got nothing"
    assert not left_in(tmp_path)


def test_a_file_without_permission_is_refused(
    tmp_path: Path, exported: list[Exported], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading and writing, as the system says it."""
    path = openai_file(tmp_path, random_model())

    def refuse(self: Path, *arguments: object, **named: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        assert import_checkpoint.main([str(path), "-o", str(tmp_path / "out"), "--offline"]) == 1
    assert refusal(capsys) == f"cannot read {path}: Permission denied"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        assert run(path, tmp_path, "--offline") == 1
    assert "Permission denied" in refusal(capsys)
    assert not left_in(tmp_path)


def test_all_parameters_that_do_not_fit_are_listed(
    tmp_path: Path, exported: list[Exported], capsys: pytest.CaptureFixture[str]
) -> None:
    """Missing, unknown, of another shape, of another type, not finite: one message, in the names of the file."""
    weights = adapted_weights(random_model(rank=8))
    del weights["encoder.conv1.bias"], weights["decoder.blocks.1.attn.key.lora_layer.lora_B"]
    weights["encoder.blocks.0.attn_ln.base_layer.weight"] = torch.zeros(32)
    weights["encoder.conv1.weight"] = torch.zeros(32, 80, 3)
    weights["decoder.ln.weight"] = torch.zeros(32, dtype=torch.int64)
    weights["decoder.ln.bias"] = torch.full((32,), torch.nan)
    weights["decoder.positional_embedding"] = "none"
    weights["encoder.ln_post.weight"] = torch.full((32,), 1e6)
    path = whisper_rt_file(tmp_path, random_model(rank=8), state_dict=weights)
    assert run(path, tmp_path) == 1
    assert refusal(capsys).splitlines() == [
        "toy-rt.pt: 8 of its parameters do not fit its sizes:",
        "  missing: encoder.conv1.bias",
        "  missing: decoder.blocks.1.attn.key.lora_layer.lora_B",
        "  not known: encoder.blocks.0.attn_ln.base_layer.weight",
        "  encoder.conv1.weight: expected [32, 16, 3], got [32, 80, 3]",
        "  encoder.ln_post.weight: expected finite values up to 65504, got 1e+06",
        "  decoder.positional_embedding: expected a dense tensor of 16, 32 or 64 bit floats, got str",
        "  decoder.ln.weight: expected a dense tensor of 16, 32 or 64 bit floats, got torch.int64",
        "  decoder.ln.bias: expected finite values up to 65504, got nan",
    ]
    assert not exported


def test_sizes_that_contradict_the_weights_are_refused(
    tmp_path: Path, exported: list[Exported], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every parameter that another size would have is listed; sizes that no model has are named."""
    model = random_model()
    stated = {**asdict(DIMS), "n_vocab": 51865, "n_text_layer": 3}
    assert run(openai_file(tmp_path, model, dims=stated), tmp_path) == 1
    message = refusal(capsys)
    assert "decoder.token_embedding.weight: expected [51865, 32], got [1771, 32]" in message
    assert "missing: decoder.blocks.2.mlp.2.bias" in message
    assert len(message.splitlines()) == 1 + 1 + len([key for key in model.state_dict() if "decoder.blocks.0." in key])
    stated = {**asdict(DIMS), "n_mels": 0, "n_audio_layer": 10**9, "n_text_head": "2", "depth": 1}
    del stated["n_vocab"]
    assert run(openai_file(tmp_path, model, dims=stated), tmp_path) == 1
    assert refusal(capsys).splitlines() == [
        "toy-openai.pt: its sizes are not those of a Whisper model:",
        "  dims lack n_vocab",
        "  dims hold 'depth', which is unknown",
        "  n_mels: expected an integer from 1 to 1048576, got 0",
        "  n_audio_layer: expected an integer from 1 to 256, got 1000000000",
        "  n_text_head: expected an integer from 1 to 1048576, got '2'",
    ]
    assert (
        run(openai_file(tmp_path, model, dims={**asdict(DIMS), "n_text_state": 64, "n_audio_head": 3}), tmp_path) == 1
    )
    assert refusal(capsys).splitlines()[1:] == [
        "  n_text_state: expected that of the encoder, 32, got 64",
        "  n_audio_state: expected an even multiple of 3 heads, got 32",
    ]


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        ({**CFG, "rank": 4}, "toy-rt.pt: expected adapters of rank 4, as its cfg says, got 8"),
        ({**CFG, "gran": 0}, "toy-rt.pt: cfg gran: expected an integer from 1 on, got 0"),
        (
            {**CFG, "extra_gran_blocks": True},
            "toy-rt.pt: cfg extra_gran_blocks: expected an integer from 0 on, got True",
        ),
        ({**CFG, "gran": 40}, "toy-rt.pt: first block: expected at most 60 frames, got 120"),
        ([5, 2], "toy-rt.pt: cfg: expected gran, rank and extra_gran_blocks, got list"),
    ],
)
def test_a_configuration_that_contradicts_is_refused(
    tmp_path: Path, exported: list[Exported], capsys: pytest.CaptureFixture[str], cfg: object, message: str
) -> None:
    """Ranks are compared with the tensors, chunks with the window."""
    assert run(whisper_rt_file(tmp_path, random_model(rank=8), cfg=cfg), tmp_path) == 1
    assert refusal(capsys) == message


def test_adapters_of_different_ranks_are_refused(tmp_path: Path) -> None:
    """Every tensor of another rank is named."""
    weights = adapted_weights(random_model(rank=8))
    weights["encoder.blocks.0.attn.out.lora_layer.lora_A"] = torch.zeros(32, 9)
    path = whisper_rt_file(tmp_path, random_model(rank=8), state_dict=weights)
    with pytest.raises(CheckpointError, match=r"attn\.out\.lora_layer\.lora_A: expected \[32, 8\], got \[32, 9\]$"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"activation_function": "relu"}, "activation_function: expected 'gelu', got 'relu'"),
        ({"model_type": "bert"}, "model_type: expected 'whisper', got 'bert'"),
        ({"encoder_ffn_dim": 100}, "encoder_ffn_dim: expected 128, got 100"),
        ({"encoder_layers": None}, "n_audio_layer: expected an integer from 1 to 256, got None"),
    ],
)
def test_hugging_face_s_configuration_must_be_whisper_s(tmp_path: Path, changed: dict, message: str) -> None:
    """What would be another model is refused."""
    with pytest.raises(CheckpointError) as raised:
        read_checkpoint(hugging_face_folder(tmp_path, random_model(), **changed))
    assert str(raised.value).splitlines()[1:] == [f"  {message}"]


def test_hugging_face_s_weights_are_checked(tmp_path: Path) -> None:
    """Its head must be the embedding; damaged files and indices that lead elsewhere are refused."""
    model = random_model()
    weights = hugging_face_weights(model)
    weights["proj_out.weight"] = weights["proj_out.weight"] + 1
    folder = hugging_face_folder(tmp_path, model, weights=weights)
    with pytest.raises(
        CheckpointError, match=r"  proj_out\.weight: expected the values of model\.decoder\.embed_tokens\.weight$"
    ):
        read_checkpoint(folder)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:1000])
    with pytest.raises(CheckpointError, match=r"^model\.safetensors: expected safetensors, got a file that is none: "):
        read_checkpoint(folder)
    (folder / "model.safetensors").unlink()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../../secret.safetensors"}}), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"expected files beside it, got '\.\./\.\./secret\.safetensors'$"):
        read_checkpoint(folder)
    index.write_text(json.dumps({"weight_map": {"a": "gone.safetensors"}}), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"^cannot read .*gone\.safetensors: No such file or directory$"):
        read_checkpoint(folder)
    (folder / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"^config\.json: expected JSON, got "):
        read_checkpoint(folder)


# Targets, names, languages


def test_nothing_is_left_half_written_and_nothing_foreign_is_replaced(
    tmp_path: Path, exported: list[Exported], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A target that exists is refused; --force replaces a bundle alone; a failure leaves what was there."""
    path, out = openai_file(tmp_path, random_model()), tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine", encoding="utf-8")
    assert run(path, tmp_path, "--offline") == 1
    assert refusal(capsys) == f"expected a new folder, got {out}, which exists; --force replaces a bundle"
    assert run(path, tmp_path, "--offline", "--force") == 1
    assert refusal(capsys) == f"--force: expected a bundle, got {out}, which is none"
    assert not exported
    (out / "manifest.json").write_text("{}", encoding="utf-8")

    def fail(*arguments: object) -> None:
        raise ValueError("expected a disk, got none")

    with monkeypatch.context() as patch:
        patch.setattr(import_checkpoint, "export_bundle", fail)
        assert run(path, tmp_path, "--offline", "--force") == 1
    assert refusal(capsys) == "expected a disk, got none"
    assert (out / "thesis.txt").exists()
    assert run(path, tmp_path, "--offline", "--force") == 0
    assert {file.name for file in out.iterdir()} == {"manifest.json"}
    assert left_in(tmp_path) == {"out"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--languages", "en", "xx"], "--languages: expected some of en, zh, got 'xx'"),
        (["--languages", "de"], "--languages: expected some of en, zh, got 'de'"),
        (["--name", "My Model"], "--name: expected the form [a-z0-9][a-z0-9._-]*, got 'My Model'"),
        (["--version", "2"], "--version: expected the form \\d+\\.\\d+\\.\\d+, got '2'"),
        (["--gran", "61"], "chunks of 61 frames, 0 more at first: expected 1 to 60 frames at first, got 61"),
        (["--gran", "0"], "chunks of 0 frames, 0 more at first: expected 1 to 60 frames at first, got 0"),
        (["--tokens", "nowhere.tiktoken"], "cannot read nowhere.tiktoken: No such file or directory"),
        (
            ["--tokens", str(ASSETS / "gpt2.tiktoken")],
            "gpt2.tiktoken: expected a model of 51765 ids with its 50256 tokens",
        ),
        (["--options", "haste=3"], "--options: expected some of mode=exact, window=8, look_back=2"),
        (["--options", "window=wide"], "--options: expected some of mode=exact, window=8, look_back=2"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    tmp_path: Path, exported: list[Exported], capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """Each says what was expected."""
    given = arguments if "--gran" in arguments else ["--gran", "5", *arguments]
    assert run(openai_file(tmp_path, random_model()), tmp_path, *given) == 1
    assert refusal(capsys).startswith(message)
    assert not left_in(tmp_path)


def test_offline_has_no_chunks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Contradictory arguments are a matter of usage."""
    with pytest.raises(SystemExit) as raised:
        run(tmp_path / "any.pt", tmp_path, "--offline", "--gran", "5")
    assert raised.value.code == 2
    assert "expected no --gran" in capsys.readouterr().err


# Tokens


# openai-whisper leaves its token file open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize(
    ("size", "asset", "languages"), [(51864, "gpt2", 99), (51865, "multilingual", 99), (51866, "multilingual", 100)]
)
def test_special_ids_are_those_of_openai_whisper(size: int, asset: str, languages: int) -> None:
    """For each of its vocabularies: ids, prompts, and what it suppresses."""
    theirs = peer.get_tokenizer(asset == "multilingual", num_languages=languages)
    ours, compat = (of_ranks(ASSETS / f"{asset}.tiktoken", size, compat=compat) for compat in (False, True))
    names = ("sot", "eot", "translate", "transcribe", "sot_lm", "sot_prev", "no_speech", "no_timestamps")
    assert [getattr(ours, name) for name in names] == [getattr(theirs, name) for name in names]
    assert ours.first_timestamp == theirs.timestamp_begin
    assert ours.languages == (LANGUAGES[:languages] if asset == "multilingual" else ())
    assert ours.prompt("en") == theirs.sot_sequence_including_notimestamps
    assert ours.blank == (*theirs.encode(" "), theirs.eot)
    tasks = {theirs.translate, theirs.transcribe, theirs.sot, theirs.sot_prev, theirs.sot_lm, theirs.no_speech}
    assert set(compat.suppressed) == {*theirs.non_speech_tokens, *tasks}
    assert set(ours.suppressed) == {*compat.suppressed, *range(ours.sot, size)}


def test_languages_are_those_of_openai_whisper() -> None:
    """In the order of their ids."""
    assert tuple(peer.LANGUAGES) == LANGUAGES
    vocabulary = of_ranks(ASSETS / "multilingual.tiktoken", 51865)
    assert vocabulary.prompt("de") == (50258, 50261, 50359, 50363)
    with pytest.raises(ValueError, match=r"^language: expected one of en, zh, .*, su, got 'yue'$"):
        vocabulary.prompt("yue")


@pytest.mark.parametrize("form", ["vocab.json", "tokenizer.json"])
@pytest.mark.parametrize("asset", ["gpt2", "multilingual"])
def test_a_byte_level_tokenizer_becomes_the_rank_file(tmp_path: Path, form: str, asset: str) -> None:
    """Hugging Face's spelling of OpenAI's tokens gives OpenAI's ranks back."""
    ranks = read_ranks(ASSETS / f"{asset}.tiktoken")
    pieces = spelled(ranks)
    assert pieces["\u0120the"] == ranks[b" the"]
    content = pieces if form == "vocab.json" else {"model": {"vocab": pieces}, "added_tokens": []}
    path = tmp_path / form
    path.write_text(json.dumps(content), encoding="utf-8")
    assert read_pieces(path)[0] == ranks


def spelled(ranks: dict[bytes, int]) -> dict[str, int]:
    from models.careless_whisper.tokenizer import byte_letters

    letters = {byte: letter for letter, byte in byte_letters().items()}
    return {"".join(letters[byte] for byte in token): rank for token, rank in ranks.items()} | {
        "<|endoftext|>": len(ranks)
    }


def test_special_ids_of_another_order_are_refused(
    tmp_path: Path, exported: list[Exported], capsys: pytest.CaptureFixture[str]
) -> None:
    """A tokenizer whose special ids are not Whisper's would make the model say something else."""
    added = [{"content": "<|transcribe|>", "id": 300}, {"content": "<|mine|>", "id": 301}]
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"model": {"vocab": vocabulary_json()}, "added_tokens": added}), encoding="utf-8")
    assert run(openai_file(tmp_path, random_model()), tmp_path, "--offline", "--tokens", str(path)) == 1
    assert refusal(capsys) == (
        "tokenizer.json: its special ids are not those of Whisper:\n  <|transcribe|>: expected 265, got 300"
    )


def test_rank_files_that_are_wrong_are_refused(tmp_path: Path) -> None:
    """The line, or the ids, or the bytes that are missing."""
    path = tmp_path / "t.tiktoken"
    path.write_text("YQ== 0\nYg== one\n", encoding="ascii")
    with pytest.raises(ValueError, match=r"^t\.tiktoken line 2: expected `base64 id`, got 'Yg== one'$"):
        read_ranks(path)
    path.write_text("YQ== 0\nYg== 2\n", encoding="ascii")
    with pytest.raises(ValueError, match=r"^t\.tiktoken: expected ids from 0 to 1, got 2$"):
        read_ranks(path)
    path.write_text("YQ== 0\nYQ== 1\n", encoding="ascii")
    with pytest.raises(
        ValueError, match=r"^t\.tiktoken: expected ids 0, 1, 2, \.\.\. without gaps, got 1 ids up to 1$"
    ):
        read_ranks(path)
    path.write_text("".join(f"{base64.b64encode(bytes([i])).decode()} {i}\n" for i in range(200)), encoding="ascii")
    with pytest.raises(ValueError, match=r"expected a token for each of 256 bytes, got none for 56 of them$"):
        of_ranks(path, 200 + 8 + 1501)


def test_pieces_of_our_own_have_special_ids_above_them(tmp_path: Path) -> None:
    """Order as Whisper's, no timestamps; blank and unknown are never said."""
    path = tmp_path / "tokens.txt"
    path.write_text("<blk> 0\n<unk> 1\n\u2581a 2\nb 3\n", encoding="utf-8")
    vocabulary = of_pieces(path, ("en", "de"))
    assert (vocabulary.eot, vocabulary.sot, vocabulary.size) == (4, 5, 14)
    assert vocabulary.prompt("de") == (5, 7, 9, 13)
    assert vocabulary.suppressed == (0, 1, *range(5, 14))
    assert of_pieces(path).prompt() == (5, 11)
    path.write_text("<blk> 0\na 2\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"^tokens\.txt: expected ids 0 to 1 in order, one a line$"):
        of_pieces(path)
