"""The codec's parity ladder: whole, in steps, as ONNX, in the server's engine; causality and gaps."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.codec.checkpoint import read_bundle  # noqa: E402
from models.codec.export import decode_graph, encode_graph  # noqa: E402
from models.codec.model import Codec  # noqa: E402
from models.codec.serving import decoder_reach  # noqa: E402
from models.common.parity import EngineRun, largest_difference, torch_alone  # noqa: E402
from models.common.renew_card import renew_card  # noqa: E402
from streamer.bundle.loader import load_bundle  # noqa: E402
from streamer.engine.check import check_bundle  # noqa: E402
from streamer.errors import BundleError  # noqa: E402
from tests.models.codec_toys import code_stream, decoded, one_step, pcm_stream, recut, run  # noqa: E402

SEED = 11
FRAMES = 60
CUTTINGS = ([1] * FRAMES, [2] * 30, [5] * 12, [16, 16, 16, 12], [1, 7, 3, 16, 2, 11, 20], [FRAMES])


@pytest.fixture(scope="module")
def model(codec: Codec) -> Codec:
    return codec


@pytest.fixture(scope="module")
def bundle(codec_bundle: Path) -> Path:
    return codec_bundle


def test_whole_torch_equals_torch_in_steps_of_any_length(model: Codec) -> None:
    """The whole signal of training and chunks of serving give the same codes and samples, however it is cut."""
    rng = np.random.default_rng(SEED)
    audio = torch.from_numpy(one_step(pcm_stream(rng, FRAMES, 1, model))["pcm"]).reshape(1, -1)
    packets = one_step(code_stream(rng, FRAMES, 1, model.config))
    codes, kind = (torch.from_numpy(packets[name])[None] for name in ("codes", "kind"))
    with torch.no_grad():
        whole_codes, whole = model.encode(audio), model.decode(codes, kind)
        for lengths in CUTTINGS:
            past, heard = model.initial_states(1)
            found, parts, at = [], [], 0
            for length in lengths:
                piece = slice(at * model.config.frame_samples, (at + length) * model.config.frame_samples)
                part, past = model.encode_step(audio[:, piece], past)
                found.append(part)
                part, heard = model.decode_step(codes[:, at : at + length], kind[:, at : at + length], heard)
                parts.append(part)
                at += length
            assert torch.equal(torch.cat(found, 1), whole_codes)
            assert (torch.cat(parts, 1) - whole).abs().max() < 1e-5
    assert len(torch.unique(whole_codes)) == model.config.words
    assert whole.std() > 0.01


def test_tables_say_what_the_quantiser_says(model: Codec) -> None:
    """The graphs' gathers and products are the quantiser of training, and what no codec sends is read safely."""
    rng = np.random.default_rng(SEED)
    (audio,) = pcm_stream(rng, 1, FRAMES, model)
    (packet,) = code_stream(rng, 1, FRAMES, model.config)
    with torch.no_grad():
        whole = model.encode(torch.from_numpy(audio["pcm"]).reshape(1, -1))
        samples = model.decode(*(torch.from_numpy(packet[name])[None] for name in ("codes", "kind")))
    np.testing.assert_array_equal(torch_alone(encode_graph(model), [audio])["codes"][0], whole[0])
    np.testing.assert_allclose(decoded(model, [packet]).reshape(-1), samples[0], atol=1e-5)
    wild = dict(
        packet, codes=np.where(packet["codes"] < 0, np.iinfo(np.int64).min, packet["codes"]), kind=packet["kind"]
    )
    np.testing.assert_array_equal(decoded(model, [wild]), decoded(model, [packet]))
    beyond = dict(packet, codes=np.full_like(packet["codes"], np.iinfo(np.int64).max))
    last = dict(packet, codes=np.full_like(packet["codes"], model.config.words - 1))
    np.testing.assert_array_equal(decoded(model, [beyond]), decoded(model, [last]))


def test_engine_with_interleaved_streams_equals_each_torch_stream_alone(model: Codec, bundle: Path) -> None:
    """Slots are shuffled and reused, arenas dirty, batches random and of mixed bitrates, losses and packet lengths."""
    rng = np.random.default_rng(SEED)
    lengths = rng.choice([1, 2, 5], 30)
    audio = [pcm_stream(rng, int(rng.integers(2, 9)), int(n), model) for n in lengths]
    packets = [code_stream(rng, int(rng.integers(2, 9)), int(n), model.config) for n in lengths]
    for graph, streams, output in ((encode_graph(model), audio, "codes"), (decode_graph(model), packets, "pcm")):
        alone = [torch_alone(graph, stream) for stream in streams]
        served = EngineRun(bundle, {"codes": "encode", "pcm": "decode"}[output]).run(streams)
        assert largest_difference(alone, served, output) < 1e-4


def test_one_slot_in_steps_of_any_length_equals_torch(model: Codec, bundle: Path) -> None:
    """The ONNX graphs take any number of frames at any step."""
    rng = np.random.default_rng(SEED)
    audio, packets = pcm_stream(rng, FRAMES, 1, model), code_stream(rng, FRAMES, 1, model.config)
    runner = EngineRun(bundle, "encode").runner
    codes = torch_alone(encode_graph(model), [one_step(audio)])["codes"][0]
    samples = decoded(model, [one_step(packets)])
    for slot, lengths in enumerate(CUTTINGS):
        np.testing.assert_array_equal(run(runner, "encode", slot, recut(audio, lengths)), codes)
        np.testing.assert_allclose(run(runner, "decode", slot, recut(packets, lengths)), samples, atol=1e-4)


def test_the_exported_bundle_checks(model: Codec, bundle: Path) -> None:
    """Files, roles and reference runs are what the server expects, and state is updated in place."""
    report = check_bundle(bundle)
    assert report.ok, report
    manifest = EngineRun(bundle, "encode").manifest
    parameters = manifest.task.parameters
    assert parameters["receptive_frames"] == decoder_reach(model.config)
    assert manifest.graph("encode").audio.delay_samples == 320 + model.config.hop
    rates = [rate.split(":") for rate in str(parameters["rates"]).split(",")]
    for bits_per_s, books in rates:
        assert int(bits_per_s) == int(books) * model.config.bits * 50
    assert str(parameters["default_rate"]) in dict(rates)


def test_a_codec_comes_back_from_its_bundle(model: Codec, bundle: Path) -> None:
    """What training may begin from has the weights that were exported, or says which were folded into others."""
    if model.config.code_width:
        with pytest.raises(ValueError, match=r"^bundle toy-codec: expected weights called quantiser.books.1.codebook,"):
            read_bundle(bundle)
        return
    expected = model.state_dict()
    for name, tensor in read_bundle(bundle).state_dict().items():
        if not name.endswith((".usage", ".mass")):
            torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0, msg=name)


def test_a_card_is_renewed(bundle: Path, tmp_path: Path) -> None:
    """The bundle checks with its new card, and only manifest and card differ."""
    folder, card = tmp_path / "copy", tmp_path / "card.md"
    shutil.copytree(bundle, folder)
    card.write_text("Better figures.\n", encoding="utf-8")
    renew_card(folder, card)
    assert load_bundle(folder).manifest.graphs == load_bundle(bundle).manifest.graphs
    assert (folder / "README.md").read_text(encoding="utf-8") == "Better figures.\n"
    (folder / "README.md").write_text("Others.\n", encoding="utf-8")
    with pytest.raises(BundleError, match="sha256 of README.md"):
        load_bundle(folder)
