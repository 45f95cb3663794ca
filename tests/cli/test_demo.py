"""What the demo shows, and when it fails."""

from __future__ import annotations

import pytest

from streamer.cli.demo import _clipped, _compare, _Screen
from streamer.session.messages import Result, Word

INTERIM = Result(0, 1, "the fer", 0, False, False, 1600, 8000, 0.9)
FINAL = Result(0, 2, "the ferry", 9, True, True, 1600, 16000, 0.9, (Word("the", 1600, 3200, 0.95),))


def test_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Elsewhere than on a terminal each change is a line; finals list their words."""
    screen = _Screen(16000, is_terminal=False)
    screen.ready("m@1.0.0", 320.0, 400.0)
    screen.result(INTERIM, 0.0214)
    screen.result(FINAL, None)
    screen.server_lag(12.0)
    screen.close()
    assert capsys.readouterr().out == (
        "  m@1.0.0, a step every 320 ms, algorithmic delay 400 ms\n"
        "    0.50 s  lag   21 ms  the fer\n"
        "    0.10 s to   1.00 s  final: the ferry\n"
        "        0.10 s to   0.20 s  0.95  the\n"
        "  lag of interim text: median 21 ms, at most 21 ms; within the server: median 12 ms, at most 12 ms\n"
    )


def test_one_line_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal interim text is written over, and gone before the final."""
    screen = _Screen(16000, is_terminal=True)
    screen.result(INTERIM, 0.0214)
    screen.result(FINAL, None)
    out = capsys.readouterr().out
    assert out.startswith("\r\x1b[K    0.50 s  lag   21 ms  the fer\r\x1b[K    0.10 s to   1.00 s  final: the ferry\n")


def test_long_interims_show_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that would wrap could not be written over."""
    monkeypatch.setenv("COLUMNS", "21")
    assert _clipped("x" * 20) == "x" * 20
    assert _clipped("a" * 10 + "b" * 15) == "..." + "a" * 2 + "b" * 15


def test_texts_that_differ(capsys: pytest.CaptureFixture[str]) -> None:
    """A difference is shown with its transport."""
    assert _compare({"grpc://a": "one", "ws://b": "one"}, "one")
    assert not _compare({"grpc://a": "one", "ws://b": "two"}, "one")
    assert capsys.readouterr().out.splitlines() == [
        "batch text equals live text over both transports",
        "the text differs over ws://b: expected 'one', got 'two'",
    ]


def test_no_text_at_all() -> None:
    """Equal texts without a word prove nothing."""
    assert not _compare({"grpc://a": "", "ws://b": ""}, "")
