"""Text in portions to tokens and line breaks."""

from __future__ import annotations

from streamer.tasks.text.scanner import LONGEST_TOKEN, LineBreak, Scanner
from streamer.tasks.text.tokens import Token


def found(*portions: str) -> list[str]:
    scanner = Scanner()
    items = [item for portion in portions for item in scanner.push(portion)]
    return ["/" if isinstance(item, LineBreak) else item.core for item in (*items, *scanner.finish())]


def test_a_token_is_complete_with_its_blank() -> None:
    """What touches the end of what has come waits."""
    scanner = Scanner()
    assert list(scanner.push("one tw")) == [Token("one", (0, 1, 2), 3, "")]
    assert list(scanner.push("o,")) == []
    assert list(scanner.finish()) == [Token("two", (4, 5, 6), 7, ",")]
    assert scanner.received_chars == 8


def test_line_feeds_break_lines_unless_they_wrap_them() -> None:
    """One before a small letter is a blank, two are a break once, and carriage returns do not count."""
    assert found("a\nb\nC\n\n\nd\r\ne\r\n\r\nf") == ["a", "b", "/", "C", "/", "d", "e", "/", "f"]
    assert found("a\n", "B") == found("a", "\nB") == ["a", "/", "B"]
    assert found("a\n \n", "b") == ["a", "/", "b"]


def test_a_run_without_blanks_is_cut() -> None:
    """No token is longer than the limit, in whatever portions it came."""
    run = "x" * (2 * LONGEST_TOKEN + 1)
    assert found(run) == found(*run) == ["x" * LONGEST_TOKEN] * 2 + ["x"]
