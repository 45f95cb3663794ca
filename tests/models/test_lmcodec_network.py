"""The integer network: training and serving compute the same bits, whoever computes them and in whatever company."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

import onnxruntime as ort  # noqa: E402

from models.common.parity import Chunks, EngineRun, first_change, largest_difference, torch_alone  # noqa: E402
from models.lmcodec.config import Config  # noqa: E402
from models.lmcodec.evaluate import network_bits  # noqa: E402
from models.lmcodec.integer import entropy_graph  # noqa: E402
from models.lmcodec.network import Network  # noqa: E402
from models.lmcodec.quantisation import WEIGHT_LIMIT, QuantisedLinear  # noqa: E402
from models.lmcodec.tables import Shape, bits, build_tables  # noqa: E402
from streamer.engine.check import check_bundle  # noqa: E402
from streamer.tasks.code_network import bounds, frequencies, intervals  # noqa: E402
from streamer.tasks.range_coder import RangeDecoder, encode_intervals  # noqa: E402
from tests.models.lmcodec_toys import BOOKS, CONFIG, SIZE, toy_bundle, toy_codes, toy_network  # noqa: E402

LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")


@pytest.fixture(scope="module")
def network() -> Network:
    return toy_network()


@pytest.fixture(scope="module")
def bundle(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle(tmp_path_factory.mktemp("codes"), network)


class Served:
    """The graphs of a bundle in ONNX Runtime, over `rows` streams in step."""

    def __init__(self, folder: Path, rows: int, level: str = "ORT_ENABLE_ALL", threads: int = 1) -> None:
        options = ort.SessionOptions()
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
        options.intra_op_num_threads = threads
        self._context, self._next = (
            ort.InferenceSession(str(folder / f"{name}.onnx"), options, providers=["CPUExecutionProvider"])
            for name in ("entropy", "entropy_next")
        )
        shape = next(value.shape for value in self._context.get_inputs() if value.name == "entropy_past")
        self._past = np.zeros((rows + 1, *shape[1:]), np.uint8)
        self._slots, self._started = np.arange(rows), False

    def context(self, previous: np.ndarray) -> np.ndarray:
        """Contexts i32[rows, width] after the codes i64[rows, books] of the frame before."""
        start = np.full(len(self._slots), not self._started)
        feeds = {"codes": previous, "slots_stream": self._slots, "start_entropy": start, "entropy_past": self._past}
        context, self._past = self._context.run(["context", "entropy_past_out"], feeds)
        self._started = True
        return context

    def logits(self, context: np.ndarray, codes: np.ndarray, book: np.ndarray) -> np.ndarray:
        """Logits i32[rows, size]."""
        return self._next.run(["logits"], {"context": context, "codes": codes, "book": book})[0]


def all_logits(served: Served, codes: np.ndarray) -> np.ndarray:
    """Logits i32[rows, frames, books, size] of i64[rows, frames, books], all books of a frame as rows of one call."""
    rows, frames, books = codes.shape
    previous, found = np.full((rows, books), -1), []
    for t in range(frames):
        context = served.context(previous)
        previous = codes[:, t]
        spread = (context.repeat(books, 0), previous.repeat(books, 0), np.tile(np.arange(books), rows))
        found.append(served.logits(*spread).reshape(rows, books, -1))
    return np.stack(found, 1)


def with_gaps(rows: int, frames: int, books: int, size: int, seed: int = 0) -> np.ndarray:
    """Random codes, some books and some whole frames of which are absent."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(size, size=(rows, frames, books))
    codes[rng.random((rows, frames)) < 0.1] = -1
    codes[rng.random(rows) < 0.3, frames // 2 :, books // 2 :] = -1
    return codes


def test_training_computes_the_integers_of_serving(network: Network, bundle: Path) -> None:
    """Teacher forced in float32 over whole sequences, or frame by frame and book by book in integers: the same."""
    codes = with_gaps(4, 40, CONFIG.books, SIZE)
    with torch.no_grad():
        whole = network.integers(torch.from_numpy(codes)).numpy()
    assert np.array_equal(all_logits(Served(bundle, 4), codes), whole)


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


def test_codes_at_and_above_the_book_are_ignored(network: Network, bundle: Path) -> None:
    """An encoder may pass the whole frame with every row, a decoder what it knows so far."""
    served = Served(bundle, 1)
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


def test_engine_equals_torch_alone(network: Network, bundle: Path) -> None:
    """Streams in random batches and reused slots get the contexts that they would get alone."""
    streams: list[Chunks] = [
        [{"codes": frame} for frame in with_gaps(1, frames, CONFIG.books, SIZE, seed=frames)[0]]
        for frames in range(3, 23)
    ]
    graph = entropy_graph(network)
    alone = [torch_alone(graph, stream) for stream in streams]
    assert largest_difference(alone, EngineRun(bundle, "entropy").run(streams), "context") == 0


def test_context_depends_on_the_past_alone(network: Network) -> None:
    graph = entropy_graph(network)
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


def coded(served: Served, codes: np.ndarray, table: np.ndarray) -> bytes:
    """The codes i64[frames, books] of a stream as bytes."""
    logits = all_logits(served, codes[None])[0]
    pairs = [intervals(frequencies(rows, table), frame) for rows, frame in zip(logits, codes, strict=True)]
    begins, sizes = (np.stack(parts) for parts in zip(*pairs, strict=True))
    return encode_intervals(begins, sizes)


def decoded(served: Served, data: bytes, frames: int, books: int, table: np.ndarray) -> np.ndarray:
    """What a decoder makes of `coded`, book after book, knowing nothing but the bytes."""
    decoder = RangeDecoder(data)
    codes = np.full((frames, books), -1)
    previous = codes[0]
    for frame in codes:
        context = served.context(previous[None])
        for book in range(books):
            logits = served.logits(context, frame[None], np.array([book]))[0]
            frame[book] = decoder.symbol(bounds(frequencies(logits, table)))
        previous = frame
    decoder.finish()
    return codes


def round_trip(bundle: Path, frames: int, books: int, size: int, encoder_level: str) -> float:
    """Code and decode `frames` frames on runtimes of different settings; bits of a code."""
    table = np.load(bundle / "tables.npz")["network"]
    codes = toy_codes(frames, books) if size == SIZE else np.random.default_rng(0).integers(size, size=(frames, books))
    data = coded(Served(bundle, 1, encoder_level), codes, table)
    assert np.array_equal(decoded(Served(bundle, 1), data, frames, books, table), codes)
    return 8 * len(data) / codes.size


def test_codes_survive_the_range_coder(bundle: Path) -> None:
    """Ten thousand codes, with a decoder that optimises its graphs and an encoder that does not."""
    bits = round_trip(bundle, 10_000 // CONFIG.books + 1, CONFIG.books, SIZE, "ORT_DISABLE_ALL")
    assert bits > 1


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
    round_trip(bundle, 5000, config.books, config.size, "ORT_ENABLE_BASIC")
