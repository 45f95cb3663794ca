"""The range coder: what was written is read, in as few bytes as the frequencies allow, and damage ends."""

from __future__ import annotations

import random
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import InvalidRequest, ModelFault
from streamer.tasks.range_coder import TOTAL, RangeDecoder, RangeEncoder, encode_intervals

Interval = tuple[int, int]
Bounds = np.ndarray

# Where two intervals meet: in the middle, and such that one of them is as rare or as frequent as can be.
SPLITS = [np.array((0, split, TOTAL)) for split in (TOTAL // 2, 1, TOTAL - 1, 255, 257)]
WHOLE = np.array((0, TOTAL))
UNIFORM = np.arange(0, TOTAL + 1, 64)


def skewed(n_symbols: int, seed: int, shape: float = 0.3) -> Bounds:
    """Bounds of a few frequent symbols and many rare ones."""
    weights = np.random.default_rng(seed).gamma(shape, size=n_symbols)
    sizes = 1 + np.floor(weights / weights.sum() * (TOTAL - n_symbols)).astype(np.int64)
    sizes[seed % n_symbols] += TOTAL - sizes.sum()
    return np.concatenate(([0], sizes.cumsum()))


def write(symbols: list[int], tables: list[Bounds]) -> bytes:
    """Write each symbol by the table of its place, which go round."""
    begins = np.array([tables[place % len(tables)][symbol] for place, symbol in enumerate(symbols)])
    ends = np.array([tables[place % len(tables)][symbol + 1] for place, symbol in enumerate(symbols)])
    return encode_intervals(begins, ends - begins)


def read(data: bytes, n_symbols: int, tables: list[Bounds]) -> list[int]:
    decoder = RangeDecoder(data)
    found = [decoder.symbol(tables[place % len(tables)]) for place in range(n_symbols)]
    decoder.finish()
    return found


def information(symbols: list[int], tables: list[Bounds]) -> float:
    """Bits that an ideal coder takes."""
    pairs = [(tables[place % len(tables)], symbol) for place, symbol in enumerate(symbols)]
    sizes = np.array([bounds[symbol + 1] - bounds[symbol] for bounds, symbol in pairs])
    return float(-np.log2(sizes / TOTAL).sum())


def drawn(n_symbols: int, tables: list[Bounds], seed: int, likely: bool = True) -> list[int]:
    """Draw symbols as likely as their tables say, or all alike."""
    rng = np.random.default_rng(seed)
    if likely:
        targets = rng.integers(0, TOTAL, n_symbols)
        return [
            int(tables[place % len(tables)].searchsorted(target, side="right")) - 1
            for place, target in enumerate(targets)
        ]
    return [int(rng.integers(len(tables[place % len(tables)]) - 1)) for place in range(n_symbols)]


@pytest.mark.parametrize("n_symbols", [100_000, pytest.param(1_000_000, marks=pytest.mark.soak)])
def test_many_symbols_come_back_in_their_information(n_symbols: int) -> None:
    """Within 0.1 % and the last byte of what the frequencies allow, over tables of all kinds."""
    tables = [skewed(1024, seed) for seed in range(12)] + [skewed(16, 1), UNIFORM, *SPLITS, WHOLE]
    symbols = drawn(n_symbols, tables, seed=1)
    data = write(symbols, tables)
    ideal = information(symbols, tables)
    assert read(data, n_symbols, tables) == symbols
    assert ideal - 8 < 8 * len(data) <= 1.001 * ideal + 8


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 8), min_size=1, max_size=6),
    st.integers(0, 60),
    st.integers(0, 10_000),
    st.booleans(),
)
def test_symbols_come_back(kinds: list[int], n_symbols: int, seed: int, likely: bool) -> None:
    """Whatever the tables, and however unlikely what happens."""
    all_tables = [*SPLITS, WHOLE, UNIFORM, skewed(1024, seed), skewed(3, seed, 0.01)]
    tables = [all_tables[kind] for kind in kinds]
    symbols = drawn(n_symbols, tables, seed, likely)
    data = write(symbols, tables)
    assert read(data, n_symbols, tables) == symbols
    # What range a coder of 32 bits loses is less than 1/256 for each symbol.
    assert 8 * len(data) < information(symbols, tables) + 8 + n_symbols / 128


@pytest.mark.parametrize("split", [1, TOTAL - 1, TOTAL // 2])
@pytest.mark.parametrize("symbol", [0, 1])
def test_runs_of_the_rarest_and_the_commonest_come_back(split: int, symbol: int) -> None:
    """A thousand symbols of frequency 1 or 65535, which carry through long runs of bytes, or take hardly any."""
    tables = [np.array((0, split, TOTAL))]
    for last in (0, 1):
        symbols = [symbol] * 1000 + [last]
        assert read(write(symbols, tables), 1001, tables) == symbols
    size = TOTAL - split if symbol else split
    # The first symbol again and again is a number of zeros only, which are not written.
    n_bytes = 1000 * np.log2(TOTAL / size) / 8 if symbol else 0
    assert len(write([symbol] * 1000, tables)) == pytest.approx(n_bytes, abs=1.01)


def test_a_carry_goes_through_all_bytes() -> None:
    """The number grows at its end until it overflows up to its first byte."""
    encoder = RangeEncoder()
    intervals = [(TOTAL // 2 - 1, 2)] + [(TOTAL // 2 - 1, 2)] * 40 + [(TOTAL - 1, 1)]
    decoder_steps = []
    for begin, size in intervals:
        encoder.encode(begin, size)
        decoder_steps.append((begin, size))
    data = encoder.finish()
    decoder = RangeDecoder(data)
    for begin, size in decoder_steps:
        assert begin <= decoder.target() < begin + size
        decoder.consume(begin, size)
    decoder.finish()


def test_no_code_is_shorter() -> None:
    """None of all shorter byte strings decodes to the same symbols."""
    tables = [skewed(5, 2), np.array((0, 100, TOTAL)), SPLITS[0]]
    dice = random.Random(3)
    for _ in range(60):
        n_symbols = dice.randrange(1, 14)
        symbols = drawn(n_symbols, tables, dice.randrange(10**6), likely=dice.random() < 0.7)
        data = write(symbols, tables)
        if len(data) > 2:
            continue
        for size in range(len(data)):
            for shorter in product(range(256), repeat=size):
                assert symbols_of(bytes(shorter), n_symbols, tables) != symbols


def symbols_of(data: bytes, n_symbols: int, tables: list[Bounds]) -> list[int]:
    decoder = RangeDecoder(data)
    return [decoder.symbol(tables[place % len(tables)]) for place in range(n_symbols)]


@pytest.mark.parametrize("n_symbols", [3, 15, 48])
def test_a_packet_ends_within_a_byte_of_its_information(n_symbols: int) -> None:
    """Its last byte included, two to three bits on average."""
    tables = [skewed(1024, seed) for seed in range(3)]
    packets = [drawn(n_symbols, tables, seed) for seed in range(500)]
    over = [8 * len(write(symbols, tables)) - information(symbols, tables) for symbols in packets]
    assert 2 < np.mean(over) < 3
    assert max(over) < 8 + n_symbols / 1000


def test_codes_of_equal_frequency_take_what_packing_takes() -> None:
    """Entropy coding costs nothing where there is nothing to gain."""
    for n_codes in range(1, 100):
        symbols = drawn(n_codes, [UNIFORM], seed=n_codes)
        assert len(write(symbols, [UNIFORM])) <= -(-10 * n_codes // 8)


def test_nothing_takes_no_bytes() -> None:
    """Neither do symbols that are certain."""
    assert write([], [WHOLE]) == b""
    assert write([0] * 100, [WHOLE]) == b""


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 60), st.integers(0, 99))
def test_any_bytes_give_symbols_or_are_refused(data: bytes, n_symbols: int, seed: int) -> None:
    """In range, and in finite time; what does not end where its symbols end is refused."""
    tables = [*SPLITS, skewed(1024, seed)]
    decoder = RangeDecoder(data)
    found = [decoder.symbol(tables[place % len(tables)]) for place in range(n_symbols)]
    assert all(0 <= symbol < len(tables[place % len(tables)]) - 1 for place, symbol in enumerate(found))
    if len(data) <= len(write(found, tables)):
        return
    if not data.endswith(b"\0"):
        with pytest.raises(InvalidRequest, match=r"^payload does not end where its codes do$"):
            decoder.finish()


def test_whole_packets_of_other_frequencies_are_noticed() -> None:
    """Half of the payloads do not end where the codes of another table end: a check that takes no bytes."""
    mine, yours = [skewed(1024, seed) for seed in (1, 2)]
    seen = 0
    for seed in range(400):
        data = write(drawn(15, [mine], seed), [mine])
        try:
            read(data, 15, [yours])
        except InvalidRequest:
            seen += 1
    assert 0.4 < seen / 400 < 0.6


@pytest.mark.parametrize(("begin", "size"), [(0, 0), (TOTAL, 1), (1, TOTAL), (-1, 5)])
def test_an_impossible_interval_is_a_fault(begin: int, size: int) -> None:
    """It would never end."""
    with pytest.raises(ModelFault, match=f"^expected the interval of a code within 65536, got {size} from {begin}$"):
        RangeEncoder().encode(begin, size)
    with pytest.raises(ModelFault):
        RangeDecoder(b"").consume(begin, size)
