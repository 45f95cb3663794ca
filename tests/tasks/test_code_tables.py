"""Codes by static tables, and by the logits of an integer network."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import BundleError, InvalidRequest
from streamer.tasks import code_network
from streamer.tasks.code_tables import ABSENT, CodeTables, last_codes
from streamer.tasks.range_coder import TOTAL, RangeDecoder, encode_intervals

BOOKS, CODES = 5, 64
# 2^(-d/8), as a model would ship it.
WEIGHTS = np.floor(2.0 ** (15 - np.arange(128) / 8)).astype(np.uint16)


def arrays(seed: int = 0, books: int = BOOKS, codes: int = CODES) -> dict[str, np.ndarray]:
    """Tables of any numbers, in 3 classes of codes before and 2 of codes below."""
    rng = np.random.default_rng(seed)
    weights = rng.gamma(0.3, size=(books, 3, 2, codes))
    sizes = 1 + np.floor(weights / weights.sum(-1, keepdims=True) * (TOTAL - codes)).astype(np.int64)
    sizes[..., seed % codes] += TOTAL - sizes.sum(-1)
    return {
        "previous_class": rng.integers(0, 3, (books, codes + 1)).astype(np.uint8),
        "below_class": rng.integers(0, 2, (books, codes + 1)).astype(np.uint8),
        "frequencies": sizes.astype(np.uint16),
    }


TABLES = CodeTables.of(arrays())
START = np.full(BOOKS, ABSENT)


def codes_of(frames: int, n_books: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, CODES, (frames, n_books))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 16), st.integers(1, BOOKS)), min_size=1, max_size=6), st.integers(0, 99))
def test_packets_come_back(shapes: list[tuple[int, int]], seed: int) -> None:
    """One after the other, whose rates change; the context goes on from each to the next."""
    before = START
    for number, (frames, n_books) in enumerate(shapes):
        codes = codes_of(frames, n_books, seed + number)
        data = TABLES.encode(codes, before)
        np.testing.assert_array_equal(TABLES.decode(data, frames, n_books, before), codes)
        before = last_codes(codes, BOOKS)


def test_contexts_are_the_code_before_and_the_code_below() -> None:
    """As a table that is looked up by hand, frame after frame and book after book."""
    given, codes = arrays(), codes_of(4, 3, seed=1)
    previous = np.array([7, ABSENT, 9, 1, 2])
    begins, sizes = TABLES.intervals(codes, previous)
    for frame in range(4):
        for book in range(3):
            before = codes[frame - 1, book] if frame else previous[book]
            below = codes[frame, book - 1] if book else ABSENT
            classes = given["previous_class"][book][before], given["below_class"][book][below]
            row = given["frequencies"][book][classes].astype(int)
            code = codes[frame, book]
            assert (begins[frame, book], sizes[frame, book]) == (row[:code].sum(), row[code])
            bounds = TABLES.bounds(book, before, below)
            assert (bounds[code], bounds[code + 1], bounds[-1]) == (begins[frame, book], row[: code + 1].sum(), TOTAL)
    assert TABLES.encode(codes, previous) == encode_intervals(begins, sizes)


def test_what_is_absent_has_a_class_of_its_own() -> None:
    """Codes of books that were not sent are absent in the next frame's context."""
    np.testing.assert_array_equal(last_codes(np.array([[1, 2], [3, 4]]), 4), [3, 4, ABSENT, ABSENT])
    given = arrays()
    given["previous_class"][:] = 0
    given["previous_class"][:, -1] = 2
    tables = CodeTables.of(given)
    np.testing.assert_array_equal(
        np.diff(tables.bounds(1, ABSENT, 5)), given["frequencies"][1, 2, given["below_class"][1, 5]]
    )


def test_likely_codes_take_fewer_bytes() -> None:
    """Within a byte of what their frequencies allow."""
    codes = np.zeros((16, BOOKS), np.int64)
    for frame in range(16):
        for book in range(BOOKS):
            before = codes[frame - 1, book] if frame else ABSENT
            below = codes[frame, book - 1] if book else ABSENT
            codes[frame, book] = np.diff(TABLES.bounds(book, before, below)).argmax()
    _, sizes = TABLES.intervals(codes, START)
    assert len(TABLES.encode(codes, START)) <= np.ceil(-np.log2(sizes / TOTAL).sum() / 8 + 0.01)


@settings(deadline=None)
@given(st.binary(max_size=80), st.integers(1, 16), st.integers(1, BOOKS))
def test_any_bytes_give_codes_or_are_refused(data: bytes, frames: int, n_books: int) -> None:
    """Codes in range, or a refusal."""
    try:
        codes = TABLES.decode(data, frames, n_books, START)
    except InvalidRequest:
        return
    assert codes.shape == (frames, n_books)
    assert codes.min() >= 0
    assert codes.max() < CODES


def test_payloads_that_are_too_long_are_refused() -> None:
    """Bytes behind the codes are no codes."""
    data = TABLES.encode(codes_of(4, 3, 0), START)
    with pytest.raises(InvalidRequest, match=r"^payload does not end where its codes do$"):
        TABLES.decode(data + b"\1\1", 4, 3, START)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"frequencies": None},
            r"expected previous_class, below_class, frequencies in the tables of codes, frequencies",
        ),
        ({"frequencies": np.zeros((2, 64), np.uint16)}, "expected frequencies u16 of 4 axes, got uint16 of 2"),
        ({"frequencies": np.full((5, 3, 2, 64), 1024)}, "expected frequencies u16 of 4 axes, got int64 of 4"),
        (
            {"frequencies": np.full((5, 3, 2, 64), 1023, np.uint16)},
            "expected frequencies of at least 1 that sum to 65536",
        ),
        (
            {"previous_class": np.zeros((5, 64), np.uint8)},
            r"expected previous_class u8 \(5, 65\) below 3, got \(5, 64\)",
        ),
        ({"below_class": np.full((5, 65), 2, np.uint8)}, r"expected below_class u8 \(5, 65\) below 2, got \(5, 65\)"),
    ],
)
def test_bad_tables_are_refused_by_name(changes: dict[str, np.ndarray | None], message: str) -> None:
    """A frequency of 0 could never be read, and sums are the same on both sides."""
    changed = {name: array for name, array in (arrays() | changes).items() if array is not None}
    with pytest.raises(BundleError, match=f"^{message}"):
        CodeTables.of(changed)


def test_a_frequency_of_nothing_is_refused() -> None:
    """Even where the sum is right."""
    changed = arrays()
    changed["frequencies"][1, 2, 1, 5:7] = (0, changed["frequencies"][1, 2, 1, 5:7].sum())
    with pytest.raises(BundleError, match="^expected frequencies of at least 1"):
        CodeTables.of(changed)


@settings(deadline=None)
@given(st.integers(2, 1024), st.integers(0, 99), st.sampled_from((0, 1, 50, 10**9)))
def test_frequencies_are_shares_of_the_whole(n_codes: int, seed: int, spread: int) -> None:
    """Each at least 1, together 2^16, ordered as the logits are."""
    logits = np.random.default_rng(seed).integers(-spread, spread + 1, (3, n_codes))
    found = code_network.frequencies(logits, WEIGHTS)
    assert found.dtype == np.int64
    assert (found.sum(-1) == TOTAL).all()
    assert found.min() >= 1
    best = found[np.arange(3), logits.argmax(-1)]
    assert (best == found.max(-1)).all()
    for row, frequencies in zip(logits, found, strict=True):
        np.testing.assert_array_equal(code_network.frequencies(row, WEIGHTS), frequencies)
        others, their_logits = (np.delete(each, row.argmax()) for each in (frequencies, row))
        assert (np.diff(others[np.argsort(their_logits)]) >= 0).all()


@settings(deadline=None)
@given(st.lists(st.integers(-300, 300), min_size=1, max_size=40))
def test_frequencies_are_those_of_the_format(logits: list[int]) -> None:
    """Step by step in Python's integers, as any other program would compute them."""
    shares = [int(WEIGHTS[min(max(logits) - logit, 127)]) for logit in logits]
    expected = [1 + share * (65536 - len(logits)) // sum(shares) for share in shares]
    expected[logits.index(max(logits))] += 65536 - sum(expected)
    assert code_network.frequencies(np.array(logits), WEIGHTS).tolist() == expected


def test_eight_steps_of_logits_are_a_bit() -> None:
    """Eight below the best is half as frequent; from 127 on all are alike, with what is the least at least."""
    found = code_network.frequencies(np.array([0, -8, -16, -126, -127, -(10**6)]), WEIGHTS)
    assert found[0] / found[1] == pytest.approx(2, abs=1e-3)
    assert found[1] / found[2] == pytest.approx(2, abs=1e-3)
    assert found[4] == found[5] == 1
    np.testing.assert_array_equal(code_network.frequencies(np.array([5, 5, 5]), WEIGHTS), [21846, 21845, 21845])


def test_logits_in_floats_are_rounded_first() -> None:
    """Half a unit up: a row alone as among others."""
    logits = np.array([[-0.5, -8.49, 7.5], [3.0, 2.5, -100.51]], np.float32)
    whole = np.array([[0, -8, 8], [3, 3, -101]])
    found = code_network.frequencies(logits, WEIGHTS)
    np.testing.assert_array_equal(found, code_network.frequencies(whole, WEIGHTS))
    for row, expected in zip(logits, found, strict=True):
        np.testing.assert_array_equal(code_network.frequencies(row, WEIGHTS), expected)


@settings(deadline=None)
@given(st.integers(0, 99), st.integers(1, 40))
def test_codes_by_logits_come_back(seed: int, n_codes: int) -> None:
    """All rows at once when writing, one after the other when reading."""
    rng = np.random.default_rng(seed)
    logits = rng.integers(-100, 100, (n_codes, CODES), dtype=np.int32)
    codes = rng.integers(0, CODES, n_codes)
    found = code_network.frequencies(logits, WEIGHTS)
    data = encode_intervals(*code_network.intervals(found, codes))
    decoder = RangeDecoder(data)
    read = [decoder.symbol(code_network.bounds(code_network.frequencies(row, WEIGHTS))) for row in logits]
    decoder.finish()
    assert read == codes.tolist()


@pytest.mark.parametrize(
    "given",
    [{}, {"network": WEIGHTS[:64]}, {"network": WEIGHTS.astype(np.int64)}, {"network": np.zeros(128, np.uint16)}],
    ids=["none", "short", "wide", "zero"],
)
def test_bad_weights_are_refused(given: dict[str, np.ndarray]) -> None:
    """A sum of nothing could not be divided by."""
    with pytest.raises(BundleError, match=r"^expected the weights of an entropy network, network u16 \(128,\)"):
        code_network.weights_of(given)
    assert code_network.weights_of({"network": WEIGHTS}) is WEIGHTS
