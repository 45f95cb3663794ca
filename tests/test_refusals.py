"""docs/refusals.md holds every refusal that the source can make."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streamer.errors import WIRE_CODES, StreamerError
from tests.e2e.test_bad_input import CASES
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


@pytest.mark.parametrize("kind", WIRE_CODES, ids=lambda kind: kind.__name__)
def test_every_class_of_errors_is_in_the_table(kind: type[StreamerError]) -> None:
    """With its name and its code on every transport."""
    code = WIRE_CODES[kind]
    cells = f"| {code.name} | {code.grpc} | {code.http} | {code.websocket} |"
    assert cells in table.FILE.read_text(encoding="utf-8")


@pytest.mark.parametrize("case", CASES)
def test_what_clients_are_told_is_in_the_table(case: str) -> None:
    """Each message that the cases of bad input get over the wire fits a row of its class."""
    _, kind, told = CASES[case]
    name = WIRE_CODES[kind].name
    rows = [row for row in table.FILE.read_text(encoding="utf-8").splitlines() if f"| {name} |" in row]
    patterns = [".*".join(map(re.escape, text.split("…"))) for row in rows for text in re.findall("`([^`]+)`", row)]
    # A pattern of values only would fit everything.
    telling = [pattern for pattern in patterns if len(pattern.replace(".*", "")) > 12]
    assert any(re.fullmatch(pattern, told) for pattern in telling)


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
