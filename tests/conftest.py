"""What holds for all tests."""

from __future__ import annotations

import signal
from importlib.util import find_spec


def pytest_configure() -> None:
    """Hear Ctrl-C, here and in children: shells let what they start in the background ignore it, and tests press it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # The workshop has none.
    if find_spec("hypothesis") is not None:
        _let_examples_take_their_time()


def _let_examples_take_their_time() -> None:
    """How long one takes says nothing where processes share the cores."""
    from hypothesis import settings

    settings.register_profile("shared", deadline=None)
    settings.load_profile("shared")
