"""The importer of codecs: names and shapes of the released sizes, and every way in which a file can be wrong."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")
pytest.importorskip("encodec", reason="encodec is not installed")
pytest.importorskip("moshi", reason="moshi is not installed")

from moshi.models import loaders  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from models.codec import encodec_checkpoint, import_checkpoint, mimi_checkpoint  # noqa: E402
from models.codec.encodec import EncodecSizes  # noqa: E402
from models.codec.import_checkpoint import read_checkpoint  # noqa: E402
from models.codec.mimi import MimiSizes  # noqa: E402
from models.codec.parts import expected_shapes  # noqa: E402
from models.common.safe_files import CheckpointError  # noqa: E402
from tests.models.codec_peers import TOY_ENCODEC, TOY_MIMI, Peer, encodec_peer, mimi_peer, sounds  # noqa: E402

torch.set_num_threads(1)
Weights = dict[str, Any]
ENTER = "encoder.model.0.conv.conv"
BOOK = "quantizer.rvq_rest.vq.layers.2._codebook."
ATTENTION = "decoder_transformer.transformer.layers.1.self_attn"


@pytest.fixture(scope="module")
def peers() -> dict[str, Peer]:
    return {"encodec": encodec_peer(), "mimi": mimi_peer()}


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stands for the exporter, which takes its time and has tests of its own; the bundle is a lone manifest."""
    calls: list[Any] = []

    def export(model, folder, about, offer, card, half_state):
        (folder / "manifest.json").write_text(card.read_text(encoding="utf-8"), encoding="utf-8")
        calls.append((model, about, half_state))

    monkeypatch.setattr(import_checkpoint, "export_bundle", export)
    monkeypatch.setattr(import_checkpoint, "require_sound", lambda _: None)
    return calls


def run(path: Path, *arguments: str) -> int:
    return import_checkpoint.main([str(path), "-o", str(path.parent / "out"), *arguments])


def saved(folder: Path, weights: Any, name: str = "toy.pt") -> Path:
    torch.save(weights, folder / name)
    return folder / name


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    """The one message of the importer, without its name."""
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert error.startswith("import_checkpoint: ")
    return error.removeprefix("import_checkpoint: ").strip()


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if "out" in path.name}


# Names, shapes, formats


def test_released_sizes_have_the_package_s_names_and_shapes(peers: dict[str, Peer]) -> None:
    """252 tensors of EnCodec, 318 of Mimi, all of the shapes that the packages give them, both ways."""
    released = encodec_peer(EncodecSizes()).model.state_dict()
    books = encodec_checkpoint._book_shapes([f"quantizer.vq.layers.{k}._codebook." for k in range(32)], EncodecSizes())
    expected = expected_shapes(encodec_checkpoint.parts_of(EncodecSizes()), {}) | books
    assert len(expected) == 252
    assert expected == {name: value.shape for name, value in released.items()}
    with torch.device("meta"):
        found = loaders.get_mimi(None, device="meta").state_dict()
    parts = {part.theirs: part.shape for part in mimi_checkpoint.parts_of(MimiSizes())}
    names = ["quantizer.rvq_first.vq.layers.0._codebook."]
    names += [f"quantizer.rvq_rest.vq.layers.{k}._codebook." for k in range(31)]
    parts |= mimi_checkpoint._book_shapes(names, MimiSizes())
    assert len(parts) == 318
    assert parts == {name: value.shape for name, value in found.items()}


@pytest.mark.parametrize("kind", ["encodec", "mimi"])
def test_whole_signals_of_torch_are_the_package_s(tmp_path: Path, peers: dict[str, Peer], kind: str) -> None:
    """Sizes and kind are told by the tensors; codes are equal, samples to 1e-6."""
    peer = peers[kind]
    checkpoint = read_checkpoint(saved(tmp_path, peer.weights()))
    assert (checkpoint.kind, checkpoint.model.sizes) == (kind, {"encodec": TOY_ENCODEC, "mimi": TOY_MIMI}[kind])
    for pcm in sounds(1.6):
        codes = peer.encode(pcm)
        assert torch.equal(checkpoint.model.encode(pcm), codes)
        assert (checkpoint.model.decode(codes) - peer.decode(codes)).abs().max() < 1e-6


def test_encodec_of_the_released_size_is_the_package_s(tmp_path: Path) -> None:
    """15 M parameters: at least 99.9 % of the codes of 3 s of noise and of speech-like sound, samples to 1e-4."""
    peer = encodec_peer(EncodecSizes())
    model = encodec_checkpoint.encodec_of("released", peer.weights()).eval().requires_grad_(False)
    for pcm in sounds(3):
        codes = peer.encode(pcm)
        assert codes.shape == (1, 225, 32)
        assert (model.encode(pcm) == codes).float().mean() >= 0.999
        assert (model.decode(codes) - peer.decode(codes)).abs().max() < 1e-4


@pytest.mark.soak
def test_mimi_of_the_released_size_is_the_package_s() -> None:
    """79 M parameters: all codes of 3 s, samples to 1e-3."""
    peer = mimi_peer(MimiSizes())
    model = mimi_checkpoint.mimi_of("released", peer.weights()).eval().requires_grad_(False)
    for pcm in sounds(3.04):
        codes = peer.encode(pcm)
        assert codes.shape == (1, 38, 32)
        assert torch.equal(model.encode(pcm), codes)
        assert (model.decode(codes) - peer.decode(codes)).abs().max() < 1e-3


def old_names(weights: Weights) -> Weights:
    """Mimi as older files name it."""
    new = {"_codebook._initialized": "_codebook.inited", "cluster_usage": "cluster_size", "embedding_sum": "embed_avg"}
    new |= {"in_projs.0.weight": "in_proj_weight", "out_projs.0.weight": "out_proj.weight"}
    renamed = {}
    for name, value in weights.items():
        for today, before in new.items():
            name = name.replace(today, before)
        renamed[name] = value
    return renamed


def folded(weights: Weights) -> Weights:
    """EnCodec with its norms folded in."""
    plain = {name: value for name, value in weights.items() if not name.endswith(("weight_g", "weight_v"))}
    for name in weights:
        if name.endswith("weight_g"):
            direction = weights[f"{name[:-1]}v"]
            plain[name[:-2]] = weights[name] * direction / direction.flatten(1).norm(dim=1).view(-1, 1, 1)
    return plain


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("mimi", old_names),
        ("mimi", lambda weights: {"model": weights, "epoch": 3}),
        ("encodec", folded),
        ("encodec", lambda weights: {"best_state": weights}),
    ],
)
def test_other_forms_of_a_checkpoint_are_the_same_model(
    tmp_path: Path, peers: dict[str, Peer], kind: str, change: Callable[[Weights], Any]
) -> None:
    """Older names, files of training runs, norms that are folded in already."""
    plain = read_checkpoint(saved(tmp_path, peers[kind].weights())).model.state_dict()
    other = read_checkpoint(saved(tmp_path, change(peers[kind].weights()), "other.th")).model.state_dict()
    for name, value in plain.items():
        torch.testing.assert_close(other[name], value, atol=1e-6, rtol=1e-6, msg=name)


def test_the_bundle_is_named_by_its_file(tmp_path: Path, peers: dict[str, Peer], exported: list[Any]) -> None:
    """Safetensors by their folder; what the manifest says is what the tensors tell."""
    folder = tmp_path / "My Mimi"
    folder.mkdir()
    save_file(peers["mimi"].weights(), folder / "model.safetensors")
    assert run(folder / "model.safetensors", "--licence", "CC-BY-4.0", "--books", "4", "--half-state") == 0
    ((model, about, half_state),) = exported
    assert (model.sizes.books, half_state) == (4, True)
    assert about == {
        "name": "my-mimi",
        "version": "1.0.0",
        "description": "Mimi, 24 kHz, frames of 1920 samples, 4 books of 6 bits",
        "licence": "CC-BY-4.0",
    }
    assert "Bits per second (books): 300 (4)" in (folder / "out" / "manifest.json").read_text(encoding="utf-8")


# Files that are wrong


def without(name: str) -> Callable[[Weights], Weights]:
    return lambda weights: {key: value for key, value in weights.items() if key != name}


def replaced(name: str, value: Any) -> Callable[[Weights], Weights]:
    return lambda weights: weights | {name: value(weights[name]) if callable(value) else value}


REFUSED = {
    "missing": ("encodec", without(f"{ENTER}.bias"), [f"missing: {ENTER}.bias"]),
    "missing half": ("encodec", without(f"{ENTER}.weight_g"), [f"missing: {ENTER}.weight_g"]),
    "unknown": ("mimi", replaced("encoder.model.99.weight", torch.ones(1)), ["not known: encoder.model.99.weight"]),
    "shape": (
        "encodec",
        replaced(f"{ENTER}.weight_v", torch.ones(4, 2, 7)),
        [f"{ENTER}.weight_v: expected [4, 1, 7], got [4, 2, 7]"],
    ),
    "shape of a layer": (
        "mimi",
        replaced(f"{ATTENTION}.in_projs.0.weight", torch.ones(32, 32)),
        [f"{ATTENTION}.in_projs.0.weight: expected [96, 32], got [32, 32]"],
    ),
    "type": (
        "mimi",
        replaced("upsample.convtr.convtr.convtr.weight", torch.ones(32, 1, 4, dtype=torch.int8)),
        [
            "upsample.convtr.convtr.convtr.weight: expected a dense tensor of 16, 32 or 64 bit floats, got torch.int8",
        ],
    ),
    "not a number": (
        "encodec",
        replaced("decoder.model.15.conv.conv.bias", torch.tensor([float("nan")])),
        ["decoder.model.15.conv.conv.bias: expected finite values up to 3.40282e+38, got nan"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_tensors_that_do_not_fit_are_all_named(
    tmp_path: Path, peers: dict[str, Peer], exported: list[Any], capsys: pytest.CaptureFixture[str], case: str
) -> None:
    """Status 1, one message in the names of the file, nothing left behind."""
    kind, change, problems = REFUSED[case]
    assert run(saved(tmp_path, change(peers[kind].weights()))) == 1
    count = len(problems)
    assert refusal(capsys).splitlines() == [
        f"toy.pt: {count} of its parameters do not fit its sizes:",
        *(f"  {problem}" for problem in problems),
    ]
    assert not exported
    assert not left_in(tmp_path)


OTHER_REFUSALS = {
    "norms not folded in": (
        "mimi",
        lambda weights: (
            without(f"{ENTER}.weight")(weights)
            | {f"{ENTER}.weight_g": torch.ones(4, 1, 1), f"{ENTER}.weight_v": torch.ones(4, 1, 7)}
        ),
        f"toy.pt: weights whose norms are not folded in: expected weight, got weight_g, weight_v:\n  {ENTER}.weight",
    ),
    "a direction without length": (
        "encodec",
        replaced(f"{ENTER}.weight_v", torch.zeros(4, 1, 7)),
        f"filters without a direction:\n  {ENTER}.weight_v: expected filters that are not zero",
    ),
    "words never used": (
        "mimi",
        replaced(f"{BOOK}cluster_usage", torch.zeros(64)),
        f"toy.pt: books that were never trained:\n  {BOOK}cluster_usage: expected words in use, got at most 0",
    ),
    "words used less than never": (
        "mimi",
        replaced(f"{BOOK}cluster_usage", torch.full([64], -1.0)),
        f"toy.pt: books that were never trained:\n  {BOOK}cluster_usage: expected numbers from 0 on, got -1",
    ),
    "untrained book": (
        "encodec",
        replaced("quantizer.vq.layers.1._codebook.inited", torch.zeros(1)),
        "toy.pt: books that were never trained:\n  quantizer.vq.layers.1._codebook.inited: expected 1, got 0",
    ),
    "48 kHz": (
        "encodec",
        replaced("encoder.model.0.conv.norm.weight", torch.ones(4)),
        "toy.pt: expected EnCodec at 24 kHz, which is causal, got that at 48 kHz, which is not",
    ),
    "twice": (
        "mimi",
        lambda weights: weights | {f"{ATTENTION}.in_proj_weight": weights[f"{ATTENTION}.in_projs.0.weight"]},
        "toy.pt: parameters that are there twice:\n"
        f"  {ATTENTION}.in_projs.0.weight: there as {ATTENTION}.in_proj_weight too",
    ),
    "another model": (
        "encodec",
        lambda weights: {"emb.0.weight": torch.ones(3), "linears.0.bias": torch.ones(3)},
        "toy.pt: expected parameters called quantizer.vq. (EnCodec) or quantizer.rvq_first. (Mimi), got emb.0.weight,"
        " linears.0.bias",
    ),
    "no dictionary": ("encodec", lambda weights: [1, 2], "toy.pt: expected weights by name, got list"),
}


@pytest.mark.parametrize("case", OTHER_REFUSALS)
def test_checkpoints_that_make_no_model_are_refused(
    tmp_path: Path, peers: dict[str, Peer], exported: list[Any], capsys: pytest.CaptureFixture[str], case: str
) -> None:
    """Status 1, one message, nothing left behind."""
    kind, change, message = OTHER_REFUSALS[case]
    assert run(saved(tmp_path, change(peers[kind].weights()))) == 1
    assert refusal(capsys) == message
    assert not exported
    assert not left_in(tmp_path)


class Harmful:
    """What a pickle may run when it is opened."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch harmed",)


def test_a_pickle_with_code_is_refused_and_not_run(
    tmp_path: Path, exported: list[Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As torch writes it, and as a bare pickle."""
    monkeypatch.chdir(tmp_path)
    assert run(saved(tmp_path, {"quantizer.vq.layers.0": Harmful()}, "bad.th")) == 1
    assert refusal(capsys).splitlines() == [
        "bad.th: expected tensors and plain data, got posix.system, which only running its code could make",
        "  where you trust the file, save it again as a dictionary of weights by name",
    ]
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Harmful()))
    assert run(tmp_path / "bare.pt") == 1
    assert refusal(capsys).startswith("bare.pt: expected ")
    assert not (tmp_path / "harmed").exists()
    assert not left_in(tmp_path)


def test_damaged_and_absent_files_are_refused(
    tmp_path: Path, peers: dict[str, Peer], exported: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Cut files of both formats, files of neither, none at all."""
    path = saved(tmp_path, peers["mimi"].weights())
    path.write_bytes(path.read_bytes()[:5000])
    assert run(path) == 1
    assert refusal(capsys).startswith("toy.pt: expected a checkpoint of torch, got a file that is none or damaged: ")
    save_file(peers["mimi"].weights(), tmp_path / "toy.safetensors")
    (tmp_path / "toy.safetensors").write_bytes((tmp_path / "toy.safetensors").read_bytes()[:5000])
    assert run(tmp_path / "toy.safetensors") == 1
    assert refusal(capsys).startswith("toy.safetensors: expected safetensors, got a file that is none: ")
    assert run(tmp_path / "gone.pt") == 1
    assert refusal(capsys) == f"cannot read {tmp_path / 'gone.pt'}: No such file or directory"
    assert not left_in(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--books", "0"], "--books: expected 1 to 6, got 0"),
        (["--books", "7"], "--books: expected 1 to 6, got 7"),
        (["--name", "My Codec"], "--name: expected the form [a-z0-9][a-z0-9._-]*, got 'My Codec'"),
        (["--kind", "mimi"], "toy.pt: weights whose norms are not folded in"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    tmp_path: Path,
    peers: dict[str, Peer],
    exported: list[Any],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    """Each says what was expected."""
    assert run(saved(tmp_path, peers["encodec"].weights()), *arguments) == 1
    assert refusal(capsys).startswith(message)
    assert not left_in(tmp_path)


def test_a_failure_leaves_what_was_there(
    tmp_path: Path,
    peers: dict[str, Peer],
    exported: list[Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bundle is replaced with --force alone, and only by one that is whole."""
    path, out = saved(tmp_path, peers["encodec"].weights()), tmp_path / "out"
    assert run(path) == 0
    assert run(path) == 1
    assert refusal(capsys) == f"expected a new folder, got {out}, which exists; --force replaces a bundle"

    def fail(*arguments: object) -> None:
        raise ValueError("expected a disk, got none")

    monkeypatch.setattr(import_checkpoint, "export_bundle", fail)
    before = (out / "manifest.json").read_bytes()
    assert run(path, "--force") == 1
    assert refusal(capsys) == "expected a disk, got none"
    assert (out / "manifest.json").read_bytes() == before
    assert left_in(tmp_path) == {"out"}


def test_sizes_that_no_codec_has_are_refused() -> None:
    """Books of a number of words that bits cannot count, more books than there are, heads that do not divide."""
    weights = encodec_peer(EncodecSizes(filters=2, latent=8, books=2, words=64)).weights()
    few = {
        name: value[:48] if name.endswith(("embed", "embed_avg", "size")) else value for name, value in weights.items()
    }
    with pytest.raises(CheckpointError, match=r"  books: expected a power of two of words, got 48$"):
        encodec_checkpoint.encodec_of("toy", few)
    many = {f"quantizer.vq.layers.{k}._codebook.embed": torch.ones(2, 2) for k in range(33)}
    with pytest.raises(CheckpointError, match=r"^toy: expected at most 32 books, got 33$"):
        encodec_checkpoint.encodec_of("toy", many)
    with pytest.raises(CheckpointError, match=r"^width: expected a multiple of 16, got 24$"):
        mimi_checkpoint.mimi_of("toy", {"encoder_transformer.transformer.layers.0.norm1.bias": torch.ones(24)})
