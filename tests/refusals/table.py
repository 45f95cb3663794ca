"""Writes docs/refusals.md: `python -m tests.refusals.table`. Names what has no condition yet."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from streamer.errors import WIRE_CODES
from tests.refusals.conditions import FAULTS, RULES, Rule
from tests.refusals.source import Refusal, refusals

FILE = Path(__file__).parents[2] / "docs" / "refusals.md"
_INTRODUCTION = """# Refusals

Every refusal of this server, generated from its source (`python -m tests.refusals.table`); `make test` fails when it
is not up to date. `…` stands for a value. The same error has the same name and the same message on every surface:

- gRPC: the status, the message as details, the name in the trailer `streamer-error`, `retry-after-ms` if there is one;
- HTTP: the status, `{"type": "error", "code": NAME, "message": ...}` (dialects wrap it as their clients expect),
  `Retry-After`, and `WWW-Authenticate` with 401;
- WebSocket: one JSON text frame of the same form, then the close code with the name as reason. A browser cannot read
  the status of a refused upgrade, so the connection is accepted first.
  Deepgram's clients expect otherwise ([protocols.md](protocols.md)): a refused upgrade, or close codes 1008 and 1011.

A refusal before `Ready` costs nothing and takes no slot; one after it ends this stream, and no other.

"""
_HEAD = """| condition | name | gRPC | HTTP | WebSocket | message |
|---|---|---|---|---|---|
"""


@cache
def rule_of(refusal: Refusal) -> Rule | None:
    """Return the rule that says when `refusal` happens; None if there is none."""
    return next((rule for rule in RULES if rule.fits(refusal)), None)


def without_condition(found: Iterable[Refusal]) -> list[Refusal]:
    """Return the refusals that no rule fits."""
    return [refusal for refusal in found if rule_of(refusal) is None]


def table(found: tuple[Refusal, ...]) -> str:
    """Return the text of docs/refusals.md."""
    return _INTRODUCTION + _HEAD + "".join(_rows(found))


def _rows(found: tuple[Refusal, ...]) -> Iterator[str]:
    for kind, code in WIRE_CODES.items():
        grouped: dict[str, dict[str, None]] = {}
        for rule in RULES:
            for refusal in found:
                if rule.condition and refusal.kind == kind.__name__ and rule_of(refusal) == rule:
                    message = "any" if rule in FAULTS else f"`{refusal.message}`".replace("|", "\\|")
                    grouped.setdefault(rule.condition, {})[message] = None
        for condition, messages in grouped.items():
            codes = f"{code.name} | {code.grpc} | {code.http} | {code.websocket}"
            yield f"| {condition} | {codes} | {'<br>'.join(sorted(messages))} |\n"


def _main() -> int:
    found = refusals()
    for refusal in without_condition(found):
        sys.stderr.write(f"no condition for {refusal.kind} in {refusal.module}:{refusal.line}: {refusal.message}\n")
    FILE.write_text(table(found), encoding="utf-8")
    return 1 if without_condition(found) else 0


if __name__ == "__main__":
    sys.exit(_main())
