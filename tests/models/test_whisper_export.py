"""The bundle of a streaming Whisper: its manifest, the engine's proofs, and its decoder against the whole one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

import onnx  # noqa: E402
from structlog.testing import capture_logs  # noqa: E402

from models.careless_whisper.config import Chunking  # noqa: E402
from models.careless_whisper.export import export_bundle, roles  # noqa: E402
from models.careless_whisper.model import Whisper, block_mask  # noqa: E402
from models.common.onnx_export import HALF, TRANSPOSED, order_writers, require_partial_reads  # noqa: E402
from streamer.bundle.loader import load_bundle  # noqa: E402
from streamer.engine.check import check_bundle  # noqa: E402
from streamer.engine.execution import Mode  # noqa: E402
from streamer.engine.runner import open_sessions  # noqa: E402
from streamer.engine.selftest import choose_mode, find_leak  # noqa: E402
from streamer.engine.settings import EngineSettings  # noqa: E402
from tests.models.conftest import WINDOW_FRAMES  # noqa: E402
from tests.models.whisper_rig import EncodeCall, Rig, assert_close, sound, whole_caches, whole_mel  # noqa: E402
from tests.models.whisper_toys import ABOUT, CHUNKING, toy_bundle, toy_dims, toy_model, toy_vocabulary  # noqa: E402

FLOAT, FLOAT16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
GRAPHS = ("listen", "encode", "decode")
FRAMES = 45
TEXT = [21, 22, 25, 29, 5, 7, 3, 11, 2, 9, 4, 4]


@pytest.fixture(scope="module")
def model(whisper: Whisper) -> Whisper:
    return whisper


@pytest.fixture(scope="module")
def bundle(whisper_bundle: Path) -> Path:
    return whisper_bundle


@pytest.fixture
def rig(bundle: Path) -> Rig:
    rig = Rig(bundle)
    for slot in range(3):
        hear(rig, slot)
    return rig


def hear(rig: Rig, slot: int, bank: int = 0) -> None:
    """Encode 45 frames of the sound of this slot."""
    reached = rig.listen(slot, sound(40 + slot, FRAMES), [15] * 3)
    rig.encode([EncodeCall(slot, 30, bank=bank, fresh=True, start=("encoder",))])
    assert rig.encode([EncodeCall(slot, 15, bank=bank)]) == [reached]


def audio_of(model: Whisper, slot: int) -> torch.Tensor:
    mel = whole_mel(sound(40 + slot, FRAMES), [15] * 3, model.dims.n_mels)
    return whole_caches(model, mel, block_mask(FRAMES, CHUNKING))[1]


def nodes(
    tokens: list[int],
    past: list[list[int]] | None = None,
    fresh: list[list[int]] | None = None,
    places: list[int] | None = None,
    cells: int = 64,
    **other: Any,
) -> dict[str, np.ndarray]:
    """Inputs of `decode`: by default new nodes in a row after `len(past[0])` cells, all of which they see."""
    count = len(tokens)
    before = len(past[0]) if past else 0
    seen = np.zeros((count, cells), bool)
    seen[:, :before] = np.array(past, bool) if past else False
    fresh_seen = np.tril(np.ones((count, count), bool)) if fresh is None else np.array(fresh, bool)
    inputs: dict[str, Any] = {
        "tokens": tokens,
        "places": np.arange(before, before + count) if places is None else places,
        "past": seen,
        "fresh": fresh_seen,
        "keep": before,
        "count": count,
        "audio": np.arange(64),
        "bank": 0,
        "ask": np.arange(count),
        "check": [*tokens[1:], -1],
        "blank": False,
    }
    inputs |= other
    return {name: np.asarray(value, bool if name in ("past", "fresh", "blank") else np.int64) for name, value in
            inputs.items()}  # fmt: skip


def decode(rig: Rig, slot: int, inputs: dict[str, np.ndarray], *start: str) -> dict[str, np.ndarray]:
    return rig.run("decode", [rig.row(slot, inputs, *start)])[0]


def logits_of(model: Whisper, audio: torch.Tensor, tokens: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model.decoder(torch.tensor([tokens]), audio)[0]


def assert_answers(model: Whisper, found: dict[str, np.ndarray], logits: torch.Tensor, check: list[int]) -> None:
    """Every output of `decode` but the attention, from the logits f32[Q, V] of a whole pass."""
    vocabulary = toy_suppressed()
    allowed = logits.clone()
    allowed[:, vocabulary] = -1e9
    close = {"rtol": 0, "atol": 2e-5}
    np.testing.assert_array_equal(found["best"], allowed.argmax(1))
    np.testing.assert_allclose(found["best_logit"], allowed.amax(1), **close)
    np.testing.assert_allclose(found["log_sum"], allowed.logsumexp(1), **close)
    np.testing.assert_array_equal(found["top_ids"][:, :5], allowed.topk(5).indices)
    np.testing.assert_allclose(found["top_logps"][:, :5], allowed.log_softmax(1).topk(5).values, **close)
    for row, token in enumerate(check):
        if token >= 0:
            np.testing.assert_allclose(found["check_logit"][row], logits[row, token], **close)
            assert found["check_rank"][row] == (allowed[row] > found["check_logit"][row] + 1e-4).sum()


def toy_suppressed() -> list[int]:
    return [0, 1, *range(21, 30)]


def test_the_engine_updates_it_in_place(bundle: Path) -> None:
    """No warning, no leak between streams, no copy of the state."""
    loaded, settings = load_bundle(bundle), EngineSettings()
    sessions = open_sessions(loaded, settings)
    with capture_logs() as logs:
        assert find_leak(loaded, sessions, settings) is None
        assert choose_mode(loaded, sessions, {"stream": 4}, settings) is Mode.ALIASED
    assert logs == []
    report = check_bundle(bundle)
    assert report.ok, str(report)


def test_no_arena_is_copied(bundle: Path) -> None:
    """Arenas are read by index alone, before they are written."""
    manifest = load_bundle(bundle).manifest
    for graph in manifest.graphs:
        model = onnx.load(bundle / graph.file)
        before = len(model.graph.node)
        require_partial_reads(model, graph.reads)
        order_writers(model, graph.writes)
        assert len(model.graph.node) == before


def test_a_whole_read_is_refused() -> None:
    node = onnx.helper.make_node("Slice", ["arena", "from", "to"], ["rows"])
    with pytest.raises(ValueError, match="^state arena: expected Gather, GatherND, ScatterND, Shape of the arena, got"):
        require_partial_reads(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [])), ["arena"])


def test_every_weight_is_in_one_graph_once(model: Whisper, bundle: Path) -> None:
    """What is large is stored as half precision, under the name of its parameter."""
    weights = {name: weight for name, weight in model.named_parameters() if weight.dim() > 1}
    found: Counter[str] = Counter()
    for graph in GRAPHS:
        for tensor in onnx.load(bundle / f"{graph}.onnx").graph.initializer:
            name = tensor.name.removeprefix("step.model.").removesuffix(HALF).removesuffix(TRANSPOSED)
            if name in weights:
                found[name] += 1
                assert tensor.data_type == (FLOAT16 if weights[name].numel() >= 4096 else FLOAT), name
    assert found == Counter(weights.keys())


def test_the_manifest_plays_all_roles(bundle: Path) -> None:
    manifest = load_bundle(bundle).manifest
    assert [graph.name for graph in manifest.graphs] == list(GRAPHS)
    assert set(manifest.task.roles) == set(roles())
    assert len(set(manifest.task.roles.values())) == sum(len(g.inputs) + len(g.outputs) for g in manifest.graphs)
    parameters = manifest.task.parameters
    assert parameters["max_frames"] == WINDOW_FRAMES
    assert (parameters["sot"], parameters["eot"], parameters["first_language"]) == (21, 20, 22)
    assert (bundle / manifest.task.assets["languages"]).read_text() == "en\nde\n"
    assert manifest.graph("listen").audio.delay_samples == 15 * 320 + 200


def test_prefill_and_steps_are_one_pass(rig: Rig, model: Whisper) -> None:
    logits = logits_of(model, audio_of(model, 0), TEXT)
    found = decode(rig, 0, nodes(TEXT[:7]), "search")
    assert_answers(model, found, logits[:7], TEXT[1:7])
    assert found["cells"] == 7
    for at in range(7, len(TEXT)):
        found = decode(rig, 0, nodes([TEXT[at]], [[1] * at]))
        assert_answers(model, found, logits[at : at + 1], [])
        assert found["cells"] == at + 1


def test_a_cropped_text_goes_on_like_a_new_one(rig: Rig, model: Whisper) -> None:
    other = [*TEXT[:6], 8, 13, 2]
    decode(rig, 0, nodes(TEXT), "search")
    cropped = decode(rig, 0, nodes(other[6:], [[1] * 6] * 3))
    assert cropped["cells"] == 9
    assert_answers(model, cropped, logits_of(model, audio_of(model, 0), other)[6:], other[7:])


def test_padding_nodes_are_forgotten(rig: Rig, model: Whisper) -> None:
    """Two real nodes of eight; the next step neither sees the others nor counts them."""
    logits = logits_of(model, audio_of(model, 1), TEXT[:4])
    padded = nodes([*TEXT[:2], *[1] * 6], count=2, ask=[1, 1], check=[-1, -1])
    found = decode(rig, 1, padded, "search")
    assert found["cells"] == 2
    assert_answers(model, found, logits[[1, 1]], [])
    found = decode(rig, 1, nodes(TEXT[2:4], [[1] * 64] * 2, places=[2, 3], keep=99))
    assert_answers(model, found, logits[2:4], TEXT[3:4])
    assert found["cells"] == 4


def test_two_hypotheses_of_a_tree_are_each_alone(rig: Rig, model: Whisper) -> None:
    """They share a prompt of four cells, part in the new nodes, and go on from cells of their own."""
    audio = audio_of(model, 2)
    one, two = [*TEXT[:4], 5, 7, 9], [*TEXT[:4], 6, 8, 12]
    decode(rig, 2, nodes(TEXT[:4]), "search")
    apart = [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]
    found = decode(rig, 2, nodes([5, 7, 6, 8], [[1] * 4] * 4, apart, places=[4, 5, 4, 5]))
    logits = torch.cat([logits_of(model, audio, one)[4:6], logits_of(model, audio, two)[4:6]])
    assert_answers(model, found, logits, [])
    past = [[1, 1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0, 1, 1]]
    found = decode(rig, 2, nodes([9, 12], past, [[1, 0], [0, 1]], places=[6, 6]))
    assert_answers(model, found, torch.stack([logits_of(model, audio, text)[6] for text in (one, two)]), [])


def test_streams_share_a_call(rig: Rig, model: Whisper) -> None:
    """Three streams whose texts and audio differ, in one padded call, are each alone."""
    texts = [TEXT[:6], [*TEXT[:4], 9, 8], [*TEXT[:4], 2, 2]]
    rows = [rig.row(slot, nodes(text), "search") for slot, text in enumerate(texts)]
    for slot, (found, text) in enumerate(zip(rig.run("decode", rows), texts, strict=True)):
        assert_answers(model, found, logits_of(model, audio_of(model, slot), text), text[1:])
    for name in ("self_keys", "self_values"):
        assert np.isfinite(rig.runner.arenas.front[name].read([5])).all()


def test_nothing_is_heard_of_an_empty_window(rig: Rig) -> None:
    """A bank that was never encoded in holds what others left: two such streams say the same."""
    one, two = (decode(rig, slot, nodes(TEXT, bank=1), "search") for slot in (0, 1))
    for name, value in one.items():
        np.testing.assert_array_equal(value, two[name], err_msg=name)
    assert (one["attended"] == 0).all()


def test_the_other_bank_is_another_window(rig: Rig, model: Whisper) -> None:
    hear(rig, 1, bank=1)
    logits = logits_of(model, audio_of(model, 1), TEXT)
    assert_answers(model, decode(rig, 1, nodes(TEXT, bank=1), "search"), logits, TEXT[1:])


def test_attention_is_that_of_the_upper_half(rig: Rig, model: Whisper) -> None:
    """The frame where the mean weight over heads of the upper layers is largest."""
    audio = audio_of(model, 0)
    weights = []
    block = model.decoder.blocks[1]

    def look(_: object, inputs: tuple[torch.Tensor, ...]) -> None:
        query = block.cross_attn.split(block.cross_attn.query(inputs[0]))
        keys = block.cross_attn.split(block.cross_attn.key(audio))
        weights.append((query @ keys.transpose(2, 3) / 4).softmax(-1).mean(1)[0])

    hook = block.cross_attn.register_forward_pre_hook(look)
    logits_of(model, audio, TEXT)
    hook.remove()
    found = decode(rig, 0, nodes(TEXT), "search")
    np.testing.assert_array_equal(found["attended"], weights[0].argmax(1))


def test_blanks_are_forbidden_on_request(rig: Rig, model: Whisper) -> None:
    """eot is what the blank rule of a vocabulary of pieces forbids."""
    logits = logits_of(model, audio_of(model, 0), TEXT)[-1]
    plain = decode(rig, 0, nodes(TEXT, check=[20] * len(TEXT)), "search")
    ruled = decode(rig, 0, nodes(TEXT, check=[20] * len(TEXT), blank=True), "search")
    assert 20 in plain["top_ids"][-1]
    said = ruled["top_logps"] > -1e8
    assert not (said & (ruled["top_ids"] == 20)).any()
    np.testing.assert_allclose(ruled["check_logit"][-1], logits[20], rtol=0, atol=2e-5)


def test_the_cache_never_overflows(rig: Rig) -> None:
    """256 cells: the last nodes are written over, and outputs stay finite."""
    cells = rig.runner.bundle.manifest.task.parameters["cells"]
    for at in range(0, 320, 32):
        past = [[1] * min(at, 300)] * 32
        inputs = nodes([3] * 32, past if at else None, places=[63] * 32, cells=300, keep=999)
        found = decode(rig, 0, inputs, *(["search"] if at == 0 else []))
        assert found["cells"] == min(at + 32, cells)


def test_half_precision_state_is_close(tmp_path: Path) -> None:
    model = toy_model(replace(toy_dims(), n_audio_layer=1, n_text_layer=1))
    folder = toy_bundle(tmp_path, model, half_state=True)
    loaded, settings = load_bundle(folder), EngineSettings()
    assert loaded.manifest.state("cross_keys").data_type == "TYPE_FP16"
    assert choose_mode(loaded, open_sessions(loaded, settings), {"stream": 4}, settings) is Mode.ALIASED
    rig = Rig(folder)
    hear(rig, 0)
    mel = whole_mel(sound(40, FRAMES), [15] * 3, model.dims.n_mels)
    caches, audio = whole_caches(model, mel, block_mask(FRAMES, CHUNKING))
    assert_close(rig.caches(0, FRAMES), caches, tolerance=0.01)
    decode(rig, 0, nodes(TEXT[:5]), "search")
    found = decode(rig, 0, nodes(TEXT[5:], [[1] * 5] * 7))
    logits = logits_of(model, audio, TEXT)[5:-1, TEXT[6:]].diagonal()
    np.testing.assert_allclose(found["check_logit"][:-1], logits, rtol=0, atol=0.05)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    model, vocabulary = toy_model(toy_dims(20)), toy_vocabulary(tmp_path)
    with pytest.raises(ValueError, match="^first block: expected at most 20 frames, got 30$"):
        export_bundle(model, Chunking(15, 1), vocabulary, tmp_path, ABOUT)
    model.dims = replace(toy_dims(), n_vocab=31)
    with pytest.raises(ValueError, match="^vocabulary: expected 31 ids, got 30$"):
        export_bundle(model, Chunking(15, 1), vocabulary, tmp_path, ABOUT)
