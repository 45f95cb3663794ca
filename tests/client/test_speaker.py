"""Loudspeakers, with cards that a test has made."""

from __future__ import annotations

import pytest

from streamer.client.speaker import Loudspeaker


class Card:
    """Remembers what is done with it, and with what."""

    def __init__(self) -> None:
        self.said: list[object] = []

    def __call__(self, sample_rate, device):
        self.said.append((sample_rate, device))
        return self

    def write(self, data):
        self.said.append(data)

    def stop(self):
        self.said.append("stop")

    def close(self):
        self.said.append("close")


def test_a_card_is_opened_played_on_drained_and_closed_once():
    """In that order; closing twice is closing once."""
    card = Card()
    speaker = Loudspeaker("usb", open_output=card)
    speaker.open(16000)
    speaker.play(b"12")
    speaker.play(b"34")
    speaker.drain()
    speaker.close()
    speaker.close()
    assert card.said == [(16000, "usb"), b"12", b"34", "stop", "close"]


@pytest.mark.parametrize("steps", [("drain",), ("close",), ("close", "drain")])
def test_what_was_never_opened_has_nothing_to_play(steps):
    """A stream that is refused gives no card back."""
    card = Card()
    speaker = Loudspeaker(open_output=card)
    for step in steps:
        getattr(speaker, step)()
    speaker.play(b"12")
    assert card.said == []
