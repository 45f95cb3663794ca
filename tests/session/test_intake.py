"""From wire samples to chunks."""

from __future__ import annotations

import json

import numpy as np

from streamer.session.intake import Intake


def test_counts_at_the_wire_rate() -> None:
    """Received and processed are wire samples; chunks know when they were complete."""
    intake = Intake(8000, 16000, chunk_samples=1000, hop_samples=800)
    intake.take(np.zeros(500, np.float32), now=1.0)
    assert (intake.received, intake.processed, intake.complete_at) == (500, 0, None)
    intake.take(np.zeros(900, np.float32), now=2.0)
    intake.take(np.zeros(100, np.float32), now=3.0)
    assert intake.complete_at == 2.0
    intake.advance()
    assert (intake.processed, intake.complete_at) == (500, 2.0)
    intake.advance()
    assert (intake.processed, intake.complete_at) == (900, 2.0)
    assert intake.hold_back_samples == 40


def test_flush_covers_everything_once() -> None:
    """A flush pads to the grid, tells padding from audio, and does nothing without new audio."""
    intake = Intake(16000, 16000, chunk_samples=1000, hop_samples=800)
    assert intake.flush(300, now=0.0) == 0
    intake.take(np.ones(900, np.float32), now=1.0)
    assert intake.peek() is None
    assert intake.flush(300, now=2.0) == 1800
    assert intake.flush(300, now=3.0) == 1800
    assert intake.complete_at == 2.0
    chunk = intake.peek()
    assert chunk is not None
    assert chunk.sum() == 900
    assert intake.is_padded
    intake.advance()
    intake.advance()
    assert intake.processed == 900
    intake.take(np.ones(800, np.float32), now=4.0)
    assert not intake.is_padded
    assert intake.to_wire(1800) == 900


def test_state_goes_through_json_and_clocks() -> None:
    """A restored intake goes on with the same chunks, on another clock."""
    rng = np.random.default_rng(0)
    intake = Intake(44100, 16000, chunk_samples=960, hop_samples=800)
    intake.take(rng.uniform(-1, 1, 5000).astype(np.float32), now=1.0)
    intake.advance()
    other = Intake(44100, 16000, chunk_samples=960, hop_samples=800)
    other.restore(json.loads(json.dumps(intake.state())), later_s=100.0)
    assert other.complete_at == 101.0
    tail = rng.uniform(-1, 1, 3000).astype(np.float32)
    for each in (intake, other):
        each.take(tail, now=200.0)
        each.flush(480, now=201.0)
    while (chunk := intake.peek()) is not None:
        np.testing.assert_array_equal(chunk, other.peek())
        intake.advance()
        other.advance()
    assert other.peek() is None
    assert other.processed == intake.processed == 8000
