"""The sound card as a place for audio to go, through the optional package sounddevice (PortAudio)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from streamer.client.microphone import load_sounddevice
from streamer.errors import InvalidRequest


class Output(Protocol):
    """A sound device that plays."""

    def write(self, data: bytes) -> object:
        """Play samples, waiting for room."""

    def stop(self) -> None:
        """Wait until all was played."""

    def close(self) -> None:
        """Give the device back at once."""


OpenOutput = Callable[[int, "int | str | None"], Output]
"""Opens a device for mono 16-bit PCM: sample rate, device."""


class Loudspeaker:
    """Plays mono 16-bit PCM. `device` is a name or number of sounddevice, None its default.

    Raises `InvalidRequest` when the package or the device is not there.
    """

    def __init__(self, device: int | str | None = None, *, open_output: OpenOutput | None = None) -> None:
        self._device = device
        self._open_output = open_output or _open_sounddevice()
        self._output: Output | None = None

    def open(self, sample_rate: int) -> None:
        """Open the device for audio of this rate."""
        self._output = self._open_output(sample_rate, self._device)

    def play(self, data: bytes) -> None:
        """Play samples; waits until the device has room for them."""
        if self._output is not None:
            self._output.write(data)

    def drain(self) -> None:
        """Wait until all was played."""
        if self._output is not None:
            self._output.stop()

    def close(self) -> None:
        """Give the device back, whether all was played or not. Idempotent."""
        output, self._output = self._output, None
        if output is not None:
            output.close()


def _open_sounddevice() -> OpenOutput:
    sounddevice = load_sounddevice("loudspeaker")

    def open_output(sample_rate: int, device: int | str | None) -> Output:
        try:
            opened = sounddevice.RawOutputStream(samplerate=sample_rate, device=device, channels=1, dtype="int16")
            opened.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            named = "default device" if device is None else repr(device)
            raise InvalidRequest(f"loudspeaker: cannot play on {named} at {sample_rate} Hz: {error}") from None
        return opened  # type: ignore[no-any-return]

    return open_output
