"""docs/refusals.md holds every refusal that the source can make."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.errors import WIRE_CODES, StreamerError, Superseded
from tests.refusals import table
from tests.refusals.conditions import RULES, Rule
from tests.refusals.source import Refusal, refusals

FOUND = refusals()


def test_every_refusal_has_a_condition() -> None:
    """A new message without words for when it happens fails here, and is named."""
    assert [f"{each.module}:{each.line}: {each.message}" for each in table.without_condition(FOUND)] == []


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_condition_has_a_refusal(rule: Rule) -> None:
    """Conditions of messages that are gone, or that a rule before them takes, are named."""
    assert any(table.rule_of(refusal) == rule for refusal in FOUND)


def test_the_document_is_what_the_source_says() -> None:
    """`python -m tests.refusals.table` writes it."""
    assert table.FILE.read_text(encoding="utf-8") == table.table(FOUND)


# Nothing raises these yet.
UNUSED = {Superseded}


@pytest.mark.parametrize("kind", WIRE_CODES, ids=lambda kind: kind.__name__)
def test_every_class_of_errors_is_in_the_table(kind: type[StreamerError]) -> None:
    """With its name and its code on every transport."""
    code = WIRE_CODES[kind]
    cells = f"| {code.name} | {code.grpc} | {code.http} | {code.websocket} |"
    assert (cells in table.FILE.read_text(encoding="utf-8")) == (kind not in UNUSED)


SAMPLE = """
LIMIT = 7
WHY = "too long"

class Odd(InvalidRequest):
    def __init__(self, param, message):
        super().__init__(f"{param}: {message}")

def check(value):
    raise MessageTooLarge(WHY)
    raise TooFast(f"{value:g} exceeds {LIMIT}" + ", wait")
    raise Odd("size", f"expected {LIMIT}, got {value}")
    raise ValueError("not ours")
    raise InvalidRequest(str(value))
"""


def test_messages_are_read_from_the_source(tmp_path: Path) -> None:
    """Constants are filled in, values are not; derived classes form their message; texts of other errors are left."""
    (tmp_path / "wire").mkdir()
    (tmp_path / "wire" / "sample.py").write_text(SAMPLE)
    assert refusals(tmp_path) == (
        Refusal("MessageTooLarge", "too long", "wire/sample.py", 10),
        Refusal("TooFast", "… exceeds 7, wait", "wire/sample.py", 11),
        Refusal("InvalidRequest", "size: expected 7, got …", "wire/sample.py", 12),
    )
