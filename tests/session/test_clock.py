"""The map between model samples and wire samples."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from streamer.session.clock import SampleMap


def test_scales_by_the_rates() -> None:
    """Without a flush only the rates matter; rounding is down."""
    clock = SampleMap(44100, 16000)
    assert [clock.to_wire(sample) for sample in (0, 1, 160, 16000, -5)] == [0, 2, 441, 44100, 0]
    assert not clock.is_padding(10**9)


def test_padding_maps_to_the_end_of_the_audio_before() -> None:
    """No model sample maps to audio that was never sent, and later audio is not shifted."""
    clock = SampleMap(8000, 16000)
    clock.flush(model_end=200, wire_end=100, next_model_start=800)
    clock.flush(model_end=1000, wire_end=200, next_model_start=1600)
    assert [clock.to_wire(sample) for sample in (100, 200, 500, 799)] == [50, 100, 100, 100]
    assert [clock.to_wire(sample) for sample in (800, 900, 1200, 1600, 1700)] == [100, 150, 200, 200, 250]
    assert [clock.is_padding(sample) for sample in (199, 200, 799, 800, 1000)] == [False, True, True, False, True]


def test_forgets_what_no_word_needs() -> None:
    """The region before is kept, because tokens come late; the map does not grow with the stream."""
    clock = SampleMap(16000, 16000)
    for index in range(100):
        clock.flush(1000 * index + 500, 500 * (index + 1), 1000 * (index + 1))
        clock.forget(1000 * (index + 1))
    assert len(clock.state()) == 2
    assert clock.to_wire(100_100) == 50_100
    assert clock.to_wire(99_400) == 49_900


@given(
    rates=st.tuples(st.integers(8000, 48000), st.integers(8000, 48000)),
    pieces=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 2000)), max_size=5),
)
def test_is_monotone_and_restores(rates: tuple[int, int], pieces: list[tuple[int, int]]) -> None:
    """Later model samples never map to earlier wire samples, also after JSON."""
    wire_rate, model_rate = rates
    clock, model, wire = SampleMap(wire_rate, model_rate), 0, 0
    for length, padding in pieces:
        wire += length
        end = model - (-length * model_rate // wire_rate)
        model = end + padding
        clock.flush(end, wire, model)
    other = SampleMap(wire_rate, model_rate)
    other.restore(json.loads(json.dumps(clock.state())))
    places = [other.to_wire(sample) for sample in range(0, model + 500, 37)]
    assert places == sorted(places)
    assert places == [clock.to_wire(sample) for sample in range(0, model + 500, 37)]
    assert other.to_wire(model) == wire
