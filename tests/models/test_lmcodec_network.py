"""The entropy network: in integers, training and serving compute the same bits, whoever does it in whatever company.

In floats, they do what training does before it rounds; the same runtime does it the same again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

import onnx  # noqa: E402

from models.common.parity import Chunks, EngineRun, first_change, largest_difference, torch_alone  # noqa: E402
from models.lmcodec.config import Config  # noqa: E402
from models.lmcodec.evaluate import network_bits  # noqa: E402
from models.lmcodec.floating import FLOAT, FloatLinear, float_network  # noqa: E402
from models.lmcodec.integer import INTEGER  # noqa: E402
from models.lmcodec.network import LOGIT_PLACES, Network  # noqa: E402
from models.lmcodec.quantisation import WEIGHT_LIMIT, QuantisedLinear  # noqa: E402
from models.lmcodec.steps import UNIT, Arithmetic, entropy_graph  # noqa: E402
from models.lmcodec.tables import Shape, bits, build_tables  # noqa: E402
from streamer.engine.check import check_bundle  # noqa: E402
from tests.models.lmcodec_served import Served, all_logits, coded, decoded, with_gaps  # noqa: E402
from tests.models.lmcodec_toys import BOOKS, CONFIG, SIZE, toy_bundle, toy_codes, toy_network  # noqa: E402

LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")


@pytest.fixture(scope="module")
def network() -> Network:
    return toy_network()


@pytest.fixture(scope="module")
def bundle(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle(tmp_path_factory.mktemp("codes"), network, with_floats=True)


@pytest.fixture(params=[INTEGER, FLOAT], ids=lambda each: each.name)
def arithmetic(request: pytest.FixtureRequest) -> Arithmetic:
    return request.param


def served_network(network: Network, arithmetic: Arithmetic) -> Network:
    """What is exported of `network`."""
    return float_network(network) if arithmetic is FLOAT else network


def test_training_computes_the_integers_of_serving(network: Network, bundle: Path) -> None:
    """Teacher forced in float32 over whole sequences, or frame by frame and book by book in integers: the same."""
    codes = with_gaps(4, 40, CONFIG.books, SIZE)
    with torch.no_grad():
        whole = network.integers(torch.from_numpy(codes)).numpy()
    assert np.array_equal(all_logits(Served(bundle, 4), codes), whole)


def test_floats_are_those_of_training_before_they_are_rounded(network: Network, bundle: Path) -> None:
    """Whole sequences in torch and steps in ONNX Runtime differ in the order of their sums alone."""
    codes = with_gaps(4, 40, CONFIG.books, SIZE)
    with torch.no_grad():
        whole = float_network(network)(torch.from_numpy(codes)).numpy() * 2**LOGIT_PLACES
    np.testing.assert_allclose(all_logits(Served(bundle, 4, arithmetic=FLOAT), codes), whole, rtol=0, atol=1e-2)


def test_storing_floats_changes_them_little(network: Network) -> None:
    """Weights are kept in halves, tables on the grid of the integer network: less than rounding of the logits does."""
    codes = torch.from_numpy(with_gaps(2, 30, CONFIG.books, SIZE))
    with torch.no_grad():
        difference = (float_network(network)(codes) - network(codes)).abs()
    assert difference.mean() < 2.0**-LOGIT_PLACES / 2
    assert difference.max() < 2.0**-LOGIT_PLACES


def test_floats_are_kept_in_halves() -> None:
    """Also small ones of the head, which are in other units."""
    network = toy_network()
    with torch.no_grad():
        network.heads.head.weight.mul_(1e-4)
    head = FloatLinear(float_network(network).heads.head, unit=UNIT).weight
    assert torch.equal(head.half().float(), head)


def test_floats_take_their_tables_from_the_integers(bundle: Path) -> None:
    """Which are the larger part of either graph."""
    for name in ("entropy", "entropy_next"):
        tensors = onnx.load(bundle / f"float_{name}.onnx", load_external_data=False).graph.initializer
        shared = [tensor for tensor in tensors if tensor.external_data]
        assert any(tensor.name == "step.table" for tensor in shared)
        assert {entry.value for each in shared for entry in each.external_data if entry.key == "location"} == {
            f"{name}.onnx"
        }


def test_a_network_that_has_learnt_nothing_says_what_the_tables_say() -> None:
    tables = build_tables([toy_codes(2000)], SIZE, Shape(CONFIG.previous, CONFIG.below))
    network = Network(CONFIG)
    network.begin(tables, torch.randn(BOOKS, SIZE, 7))
    torch.nn.init.zeros_(network.heads.head.weight)
    network.limit()
    unseen = toy_codes(500, seed=3)
    ours = network_bits(network, [unseen], tables["network"])
    assert ours == pytest.approx(bits(tables, [unseen])[: CONFIG.books], rel=0.01)


def test_quantised_network_says_nearly_what_the_real_one_says(network: Network) -> None:
    codes = torch.from_numpy(with_gaps(2, 30, CONFIG.books, SIZE))
    with torch.no_grad():
        real, quantised = network(codes), network(codes, quantised=True)
    assert 0 < (real - quantised).abs().mean() < 0.1 * real.std()


def test_codes_at_and_above_the_book_are_ignored(bundle: Path, arithmetic: Arithmetic) -> None:
    """An encoder may pass the whole frame with every row, a decoder what it knows so far."""
    served = Served(bundle, 1, arithmetic=arithmetic)
    codes = with_gaps(1, 1, CONFIG.books, SIZE)[0].clip(0)
    context = served.context(np.full_like(codes, -1))
    for book in range(CONFIG.books):
        known = np.where(np.arange(CONFIG.books) < book, codes, -1)
        rows = [served.logits(context, given, np.array([book])) for given in (codes, known)]
        assert np.array_equal(*rows)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("threads", [1, 2])
def test_bits_do_not_depend_on_the_runtime(level: str, threads: int, bundle: Path) -> None:
    codes = with_gaps(5, 20, CONFIG.books, SIZE)
    plain = all_logits(Served(bundle, 5), codes)
    assert np.array_equal(all_logits(Served(bundle, 5, level, threads), codes), plain)


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 16])
def test_bits_do_not_depend_on_the_batch(rows: int, bundle: Path) -> None:
    codes = with_gaps(16, 10, CONFIG.books, SIZE)
    together = all_logits(Served(bundle, 16), codes)
    parts = [all_logits(Served(bundle, len(part)), part) for part in np.array_split(codes, 16 // rows)]
    assert np.array_equal(np.concatenate(parts), together)


def test_engine_equals_torch_alone(network: Network, bundle: Path, arithmetic: Arithmetic) -> None:
    """Streams in random batches and reused slots get the contexts that they would get alone."""
    streams: list[Chunks] = [
        [{"codes": frame} for frame in with_gaps(1, frames, CONFIG.books, SIZE, seed=frames)[0]]
        for frames in range(3, 23)
    ]
    graph = entropy_graph(served_network(network, arithmetic), arithmetic)
    alone = [torch_alone(graph, stream) for stream in streams]
    together = EngineRun(bundle, arithmetic.name).run(streams)
    assert largest_difference(alone, together, "context") <= (1e-3 if arithmetic is FLOAT else 0)
    again = EngineRun(bundle, arithmetic.name, seed=1).run(streams)
    assert largest_difference(together, again, "context") == 0


def test_context_depends_on_the_past_alone(network: Network, arithmetic: Arithmetic) -> None:
    graph = entropy_graph(served_network(network, arithmetic), arithmetic)
    chunks = [{"codes": frame} for frame in with_gaps(1, 20, CONFIG.books, SIZE)[0].clip(0)]
    changed = [{"codes": (chunk["codes"] + (t == 7)) % SIZE} for t, chunk in enumerate(chunks)]
    assert first_change(lambda stream: torch_alone(graph, stream), chunks, changed, "context") == 7


def test_logits_depend_on_earlier_frames_and_books_alone(network: Network) -> None:
    codes = torch.from_numpy(with_gaps(1, 12, CONFIG.books, SIZE)).clamp(min=0)
    changed = codes.clone()
    changed[0, 5, 1] = (changed[0, 5, 1] + 1) % SIZE
    with torch.no_grad():
        differs = (network.integers(codes) != network.integers(changed)).any(-1)[0]
    assert not differs[:5].any()
    assert differs[5].tolist() == [False, False, True]
    assert differs[6].all()


def test_bundle_passes_its_check(bundle: Path) -> None:
    report = check_bundle(bundle)
    assert report.ok, report


def test_sums_that_could_be_inexact_are_refused() -> None:
    layer = QuantisedLinear(4096, 1)
    torch.nn.init.constant_(layer.weight, 1.0)
    with pytest.raises(ValueError, match="expected sums below 8388608, got"):
        layer.integers()


def test_weights_fill_seven_bits_and_no_more() -> None:
    torch.manual_seed(0)
    weight, _, places = QuantisedLinear(40, 30).integers()
    largest = weight.abs().amax(0)
    assert weight.dtype == torch.int8
    assert int(largest.max()) <= WEIGHT_LIMIT
    assert int(largest.min()) > WEIGHT_LIMIT // 2
    assert len(set(places.tolist())) > 1 or int(places[0]) > 0


def round_trip(bundle: Path, frames: int, books: int, size: int, encoder: Served, decoder: Served) -> float:
    """Code and decode `frames` frames by two runtimes; bits of a code."""
    table = np.load(bundle / "tables.npz")["network"]
    codes = toy_codes(frames, books) if size == SIZE else np.random.default_rng(0).integers(size, size=(frames, books))
    data = coded(encoder, codes, table)
    assert np.array_equal(decoded(decoder, data, frames, books, table), codes)
    return 8 * len(data) / codes.size


def test_codes_survive_the_range_coder(bundle: Path) -> None:
    """Ten thousand codes, with a decoder that optimises its graphs and an encoder that does not."""
    runtimes = Served(bundle, 1, "ORT_DISABLE_ALL"), Served(bundle, 1)
    assert round_trip(bundle, 10_000 // CONFIG.books + 1, CONFIG.books, SIZE, *runtimes) > 1


def test_codes_survive_the_range_coder_in_floats(bundle: Path) -> None:
    """The encoder, which knows all books, and the decoder, which does not, ask the same graphs alike."""
    runtimes = Served(bundle, 1, arithmetic=FLOAT), Served(bundle, 1, arithmetic=FLOAT)
    assert round_trip(bundle, 1000, CONFIG.books, SIZE, *runtimes) > 1


@pytest.mark.soak
def test_a_hundred_thousand_frames_of_the_real_size(tmp_path: Path) -> None:
    """Every optimisation level, one thread and two, batches of 1 to 16: 10^5 frames in all, then a round trip."""
    config = Config()
    bundle = toy_bundle(tmp_path, toy_network(config))
    rng = np.random.default_rng(0)
    done = 0
    while done < 100_000:
        rows = int(rng.integers(1, 17))
        codes = with_gaps(rows, 50, config.books, config.size, seed=done)
        plain = all_logits(Served(bundle, rows), codes)
        level, threads = LEVELS[int(rng.integers(4))], int(rng.integers(1, 3))
        assert np.array_equal(all_logits(Served(bundle, rows, level, threads), codes), plain)
        done += rows * 50
    runtimes = Served(bundle, 1, "ORT_ENABLE_BASIC"), Served(bundle, 1)
    round_trip(bundle, 5000, config.books, config.size, *runtimes)
