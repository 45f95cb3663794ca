"""Tables of entropy mode 1: whole integers, what they save, and that the server's own coder takes them."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.train

pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.lmcodec.tables import TOTAL, Shape, bits, build_tables, classify, pairs, to_integers  # noqa: E402
from streamer.tasks.code_tables import CodeTables  # noqa: E402
from tests.models.lmcodec_toys import BOOKS, SIZE, toy_codes  # noqa: E402

SHAPE = Shape(previous=5, below=3, backoff=20)


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return build_tables([toy_codes(3000, seed=seed) for seed in range(2)], SIZE, SHAPE)


def test_frequencies_fill_the_range(arrays: dict[str, np.ndarray]) -> None:
    frequencies = arrays["frequencies"]
    assert frequencies.shape == (BOOKS, SHAPE.previous, SHAPE.below, SIZE)
    assert frequencies.dtype == np.uint16
    assert (frequencies.sum(-1, dtype=np.int64) == TOTAL).all()
    assert frequencies.min() >= 1


def test_integers_sum_to_the_total_whatever_the_probabilities() -> None:
    certain = np.eye(SIZE)
    found = to_integers(np.concatenate([certain, np.full((1, SIZE), 1 / SIZE)]))
    assert (found.sum(-1, dtype=np.int64) == TOTAL).all()
    assert found.min() == 1
    assert found.max() == TOTAL - SIZE + 1


def test_tables_save_bits_on_codes_they_have_not_counted(arrays: dict[str, np.ndarray]) -> None:
    unseen = [toy_codes(1000, seed=9)]
    single = build_tables([toy_codes(3000)], SIZE, Shape(previous=2, below=1))
    assert bits(arrays, unseen).mean() < bits(single, unseen).mean() < np.log2(SIZE) + 0.05


def test_the_server_codes_as_many_bits_as_are_promised(arrays: dict[str, np.ndarray]) -> None:
    tables, codes = CodeTables.of(arrays), toy_codes(1000, seed=9)
    start = np.full(BOOKS, -1)
    data = tables.encode(codes, start)
    assert np.array_equal(tables.decode(data, *codes.shape, start), codes)
    assert 8 * len(data) == pytest.approx(bits(arrays, [codes]).sum() * len(codes), rel=1e-3)


def test_an_absent_code_stands_for_any(arrays: dict[str, np.ndarray]) -> None:
    """After a keyframe a code is as likely as it is overall, given the code below."""
    assert (arrays["previous_class"][:, -1] == SHAPE.previous - 1).all()
    assert (arrays["previous_class"][:, :-1] < SHAPE.previous - 1).all()
    codes = np.concatenate([toy_codes(3000, seed=seed)[1:, 0] for seed in range(2)])
    counted = np.bincount(codes, minlength=SIZE) / len(codes)
    assert np.abs(arrays["frequencies"][0, -1, 0] / TOTAL - counted).max() < 0.01


def test_codes_before_the_same_are_of_one_class() -> None:
    """Half of the codes lead to low codes, half to high ones: two classes tell all that there is to tell."""
    rng = np.random.default_rng(0)
    neighbour = rng.integers(SIZE, size=5000)
    code = rng.integers(SIZE // 2, size=5000) + SIZE // 2 * (neighbour % 2)
    found = classify(pairs(neighbour, code, SIZE), 2, rng)
    assert len(set(found[::2])) == len(set(found[1::2])) == 1
    assert found[0] != found[1]
