"""What every decoder of audio files offers."""

from __future__ import annotations

from typing import Protocol

from streamer.work import Array


class Reader(Protocol):
    """An open audio file, decoded from its begin to its end."""

    sample_rate: int
    """Samples per second of one channel."""
    channels: int
    n_samples: int | None
    """Samples per channel that the header tells; None if it tells nothing reliable."""
    guessed_s: float | None
    """Length in seconds, for those who show progress; None if nothing tells it."""

    def read(self) -> Array:
        """Return the next samples, float32 `[n, channels]`, `n` bounded; none after the last.

        Raises `InvalidRequest` for a damaged or truncated file.
        """

    def close(self) -> None:
        """Free the decoder and close the file."""
