"""Text frames of live clients."""

from __future__ import annotations

import pytest

from streamer.errors import InvalidRequest
from streamer.gateway.deepgram.controls import Control, read_control


@pytest.mark.parametrize("control", Control)
def test_every_control_is_read(control: Control) -> None:
    """By its type."""
    assert read_control(f'{{"type": "{control.value}"}}') is control


def test_what_changes_nothing_may_be_said() -> None:
    """There is one channel, and the packages of some languages send nulls."""
    assert read_control('{"type": "Finalize", "channel": 0}') is Control.FINALIZE
    assert read_control('{"type": "KeepAlive", "channel": null}') is Control.KEEP_ALIVE
    assert read_control('{"type": "Configure", "keyterms": ["a"], "features": null}') is Control.CONFIGURE


REFUSALS = {
    "finish": "message: expected JSON, got 'finish'",
    "[" * 60000: "message: expected JSON, got '[[[",
    "7": "message: expected a type KeepAlive, Finalize, CloseStream, Configure, got '7'",
    "{}": "message: expected a type KeepAlive, Finalize, CloseStream, Configure, got '{}'",
    '{"type": ["Finalize"]}': "message: expected a type ",
    '{"type": "finalize"}': "message: expected a type ",
    '{"type": "Finalize", "channel": 1}': "Finalize: expected nothing for 'channel', got 1",
    '{"type": "CloseStream", "when": "now"}': "CloseStream: expected nothing for 'when', got 'now'",
    '{"type": "KeepAlive", "x": "' + 65536 * "y" + '"}': "message: expected at most 65536 characters, got 65566",
}


@pytest.mark.parametrize("text", REFUSALS, ids=range(len(REFUSALS)))
def test_what_is_no_control(text: str) -> None:
    """It is refused with what was there."""
    with pytest.raises(InvalidRequest) as caught:
        read_control(text)
    assert str(caught.value).startswith(REFUSALS[text])
