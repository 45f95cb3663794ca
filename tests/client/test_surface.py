"""The public surface of the client."""

from __future__ import annotations

import streamer.client


def test_what_is_exported_is_there():
    """Every name of `__all__`, in order, each with a docstring."""
    for name in streamer.client.__all__:
        assert getattr(streamer.client, name).__doc__, name
    assert sorted(streamer.client.__all__) == streamer.client.__all__
