"""Numbers to words."""

from __future__ import annotations

import pytest

from streamer.tasks.text import numbers


@pytest.mark.parametrize(
    ("number", "words"),
    [
        *((0, "zero"), ("000", "zero"), (13, "thirteen"), (-80, "minus eighty"), (101, "one hundred one")),
        (1_000_000_000_000, "one trillion"),
        ("1" * 19, " ".join(["one"] * 19)),
    ],
)
def test_cardinals(number: int | str, words: str) -> None:
    """Whole numbers, without "and", very long ones digit by digit."""
    assert numbers.cardinal(number) == words.split()


@pytest.mark.parametrize(
    ("number", "words"), [(1, "first"), ("012", "twelfth"), (20, "twentieth"), (123, "one hundred twenty third")]
)
def test_ordinals(number: int | str, words: str) -> None:
    """Places in a row."""
    assert numbers.ordinal(number) == words.split()


@pytest.mark.parametrize(
    ("number", "words"),
    [
        *((1066, "ten sixty six"), (1800, "eighteen hundred"), (1907, "nineteen oh seven"), (2000, "two thousand")),
        *(
            (2009, "two thousand nine"),
            (2010, "twenty ten"),
            (476, "four hundred seventy six"),
            (2100, "twenty one hundred"),
        ),
    ],
)
def test_years(number: int, words: str) -> None:
    """Years by their centuries, but those that begin a millennium."""
    assert numbers.year(number) == words.split()


def test_fractions_and_decades() -> None:
    """One has a singular, halves and sixties an irregular plural; nothing is divided by zero."""
    assert [
        " ".join(numbers.fraction(*parts)) for parts in ((1, 2), (3, 2), (1, 4), (2, 5), (1, 21), (3, 0), (2, 1))
    ] == [
        *(
            "one half",
            "three halves",
            "one quarter",
            "two fifths",
            "one over twenty one",
            "three over zero",
            "two wholes",
        )
    ]
    assert [" ".join(numbers.decade(text)) for text in ("60", "1960", "2010", "1800")] == [
        *("sixties", "nineteen sixties", "twenty tens", "eighteen hundreds")
    ]
