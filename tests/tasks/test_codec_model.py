"""What a codec's manifest says, and how one is refused that says it wrong."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.bundle.manifest import read_manifest
from streamer.bundle.runtime import Runtime
from streamer.errors import BundleError, InvalidRequest
from streamer.tasks.codec import CodecModel
from streamer.tasks.codec_decode import Decode
from streamer.tasks.codec_encode import Encode
from streamer.tasks.codec_options import CodecOptions
from streamer.tasks.codec_transcode import Transcode
from streamer.tasks.options import TaskOptions
from streamer.tasks.registry import program_of, task_maker
from tests.toys import edit_manifest, write_vowels
from tests.toys.codec import BITS, BOOKS, FRAME, RATE, RATES, codec_tables, write_codec, write_plain_codec

Manifest = dict[str, Any]


def parameters(**changes: Any) -> Callable[[Manifest], None]:
    def change(manifest: Manifest) -> None:
        for name, value in changes.items():
            if value is None:
                del manifest["task"]["parameters"][name]
            else:
                manifest["task"]["parameters"][name] = value

    return change


def roles(**changes: str | None) -> Callable[[Manifest], None]:
    def change(manifest: Manifest) -> None:
        for role, target in changes.items():
            if target is None:
                del manifest["task"]["roles"][role]
            else:
                manifest["task"]["roles"][role] = target

    return change


def top(**changes: Any) -> Callable[[Manifest], None]:
    return lambda manifest: manifest["task"].update(changes)


def without_audio(manifest: Manifest) -> None:
    del manifest["graphs"][0]["audio"]


def model_of(folder: Path) -> CodecModel:
    model = CodecModel.of(read_manifest(folder), folder)
    assert model is not None
    return model


def test_what_a_manifest_says(tmp_path: Path) -> None:
    """Sizes, rates, and what there is to code with."""
    model = model_of(write_codec(tmp_path))
    assert (model.sample_rate, model.frame_samples, model.books, model.bits) == (RATE, FRAME, BOOKS, BITS)
    assert (dict(model.rates), model.n_books(0), model.n_books(800)) == (RATES, 4, 1)
    assert [model.mode(name) for name in ("", "raw", "tables", "network", "float")] == [0, 0, 1, 2, 3]
    assert model.fingerprints[0] == bytes.fromhex(model.decode.sha256)[:8]
    assert len(set(model.fingerprints.values())) == 4
    assert [model.runtime_of(mode) for mode in range(4)] == [0, 0, 0, Runtime().number]
    plain = model_of(write_plain_codec(tmp_path))
    assert (plain.tables, plain.predictor, plain.silence_dbfs, dict(plain.networks)) == (None, None, None, {})


def without_roles(*prefixes: str) -> Callable[[Manifest], None]:
    def change(manifest: Manifest) -> None:
        roles = manifest["task"]["roles"]
        manifest["task"]["roles"] = {name: role for name, role in roles.items() if not name.startswith(prefixes)}

    return change


@pytest.mark.parametrize(
    ("left_out", "modes"),
    [(("none",), [2, 3]), (("entropy_",), [3]), (("float_",), [2]), (("entropy_", "float_"), [])],
)
def test_a_bundle_has_either_network_both_or_none(tmp_path: Path, left_out: tuple[str, ...], modes: list[int]) -> None:
    """Each by its own roles."""
    folder = write_codec(tmp_path)
    edit_manifest(folder, without_roles(*left_out))
    model = model_of(folder)
    assert sorted(model.networks) == modes
    assert sorted(model.fingerprints) == [0, 1, *modes]


def test_the_runtime_marks_streams_in_floats_alone(tmp_path: Path) -> None:
    """Whose sums depend on it; they need one thread of the CPU."""
    folder = write_codec(tmp_path)
    here = model_of(folder)
    there = CodecModel.of(read_manifest(folder), folder, Runtime("cuda", 2))
    assert there is not None
    assert [here.fingerprints[mode] == there.fingerprints[mode] for mode in range(4)] == [True, True, True, False]
    assert there.mode("network") == 2
    for use in (partial(there.mode, "float"), partial(there.check_mode, 3)):
        with pytest.raises(
            InvalidRequest, match=r"^codec entropy: expected the provider cpu with 1 thread for float, got cuda with 2$"
        ):
            use()


def test_the_kind_of_a_stream_follows_its_encodings(tmp_path: Path) -> None:
    """Audio is encoded; packets are decoded, or made packets of."""
    folder = write_codec(tmp_path)
    make = task_maker(read_manifest(folder), folder)
    assert isinstance(make(TaskOptions()), Encode)
    assert isinstance(make(TaskOptions(encoding="snc1")), Decode)
    assert isinstance(make(TaskOptions(encoding="snc1", codec=CodecOptions(output="snc1"))), Transcode)
    assert program_of(read_manifest(folder), folder) is not None
    vowels = write_vowels(tmp_path)
    assert CodecModel.of(read_manifest(vowels), vowels) is None


def with_look_ahead(manifest: Manifest) -> None:
    manifest["graphs"][0]["audio"]["chunk_samples"] = 120


def in_batches(manifest: Manifest) -> None:
    next(graph for graph in manifest["graphs"] if graph["name"] == "float_entropy_next")["max_batch"] = 4


BAD: list[tuple[Callable[[Manifest], None], str]] = [
    (top(program="beam_search"), "bundle codec: expected the program codec, got beam_search"),
    (roles(decoded=None), "bundle codec: task codec needs the role decoded"),
    (
        roles(pcm="encode.codes"),
        "bundle codec: role pcm: codes is on the wrong side of graph encode",
    ),
    (
        roles(frame_kind="entropy.codes"),
        "bundle codec: role frame_kind: expected a tensor of graph decode, got one of entropy",
    ),
    (parameters(frame_samples=160), "bundle codec: role pcm: expected [-1, 160], got [-1, 80]"),
    (parameters(books=12), "bundle codec: role codes: expected [-1, 12], got [-1, 4]"),
    (
        parameters(books=64),
        "bundle codec: expected at most 32 books of 16 bits and frames below 65536 samples, got 64 of 4 and 80",
    ),
    (parameters(bits_per_book=10), "bundle codec: expected tables of 4 books of 1024 codes, got 4 of 16"),
    (parameters(rates=None), "bundle codec: parameter rates: expected text, got None"),
    (parameters(rates="800-1"), "bundle codec: rates: expected rate:books,rate:books, got '800-1'"),
    (parameters(rates="800:9"), "bundle codec: rates: expected positive rates of 1 to 4 books, got '800:9'"),
    (parameters(default_rate=900), "bundle codec: default_rate: expected one of [800, 1600, 3200], got 900"),
    (parameters(coarse_books=5), "bundle codec: parameter coarse_books: expected at most 4, got 5"),
    (parameters(silence_dbfs="low"), "bundle codec: parameter silence_dbfs: expected a number, got 'low'"),
    (without_audio, "bundle codec: role pcm: graph encode has no audio input pcm"),
    (
        with_look_ahead,
        "bundle codec: role pcm: expected chunks and hops of a frame, 80, got 120 and 80",
    ),
    (
        in_batches,
        "bundle codec: graph float_entropy_next: expected max_batch 1 of a float network, got 4",
    ),
    (top(assets={}), "bundle codec: expected the asset tables beside the network, got none"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_refuses_bad_manifests(tmp_path: Path, change: Callable[[Manifest], None], message: str) -> None:
    """Before anything is served."""
    folder = write_codec(tmp_path)
    edit_manifest(folder, change)
    with pytest.raises(BundleError) as caught:
        model_of(folder)
    assert str(caught.value) == message


def _one_array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 no zip", b"text", _one_array()])
def test_refuses_tables_that_are_none(tmp_path: Path, data: bytes) -> None:
    """A damaged file is not read."""
    folder = write_codec(tmp_path)
    (folder / "tables.npz").write_bytes(data)
    with pytest.raises(BundleError, match=r"^bundle codec: cannot read the tables of codes: "):
        model_of(folder)


def test_refuses_a_network_without_weights(tmp_path: Path) -> None:
    """Tables alone do not say what a logit is worth."""
    folder = write_codec(tmp_path)
    arrays = {name: array for name, array in codec_tables().items() if name != "network"}
    file = io.BytesIO()
    np.savez(file, **arrays)
    (folder / "tables.npz").write_bytes(file.getvalue())
    with pytest.raises(BundleError, match=r"^expected the weights of an entropy network"):
        model_of(folder)
