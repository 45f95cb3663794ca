"""The sound card as a source of audio, through the optional package sounddevice (PortAudio)."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Protocol

from streamer.errors import InvalidRequest

_NO_SOUNDDEVICE = "expected the extra microphone: pip install 'streamer-speech[microphone]'"
_NO_PORTAUDIO = "expected PortAudio, on Debian: apt install libportaudio2"
_FRAME_S = 0.04
# Audio that nobody takes for so long is lost, and that is told.
_LONGEST_WAIT_S = 30.0


class Input(Protocol):
    """A sound device that records, and calls back with each frame."""

    def stop(self) -> None:
        """Record no more."""

    def close(self) -> None:
        """Give the device back."""


OpenInput = Callable[[int, int, "int | str | None", Callable[[bytes], None]], Input]
"""Opens a device for mono 16-bit PCM: sample rate, samples per frame, device, and what is called with each frame."""


class Microphone:
    """Mono 16-bit PCM from a sound card; iterate to get it, in frames of 40 ms, until `stop`.

    `device` is a name or number of sounddevice, None its default. Recording begins with the iteration. Raises
    `InvalidRequest` when the package or the device is not there, and `OSError` when audio is not taken for half a
    minute.
    """

    encoding = "pcm_s16le"

    def __init__(
        self,
        sample_rate: int = 16_000,
        device: int | str | None = None,
        *,
        duration_s: float | None = None,
        open_input: OpenInput | None = None,
    ) -> None:
        self.sample_rate = sample_rate
        self._device = device
        self._left = None if duration_s is None else round(duration_s * sample_rate) * 2
        self._open_input = open_input or _open_sounddevice()
        frames = round(_LONGEST_WAIT_S / _FRAME_S)
        self._frames: queue.Queue[bytes | None] = queue.Queue(frames)
        self._lost = False

    def stop(self) -> None:
        """End the iteration, from any thread: what was recorded until now is the end."""
        try:
            self._frames.put_nowait(None)
        except queue.Full:
            self._lost = True

    def __iter__(self) -> Iterator[bytes]:
        frame_samples = max(1, round(_FRAME_S * self.sample_rate))
        device = self._open_input(self.sample_rate, frame_samples, self._device, self._take)
        try:
            yield from self._recorded()
        finally:
            device.stop()
            device.close()

    def _recorded(self) -> Iterator[bytes]:
        while (self._left is None or self._left > 0) and (frame := self._frames.get()) is not None:
            if self._lost:
                raise OSError(f"microphone: {_LONGEST_WAIT_S:g} s of audio were not taken")
            if self._left is not None:
                frame = frame[: self._left]
                self._left -= len(frame)
            yield frame

    def _take(self, frame: bytes) -> None:
        # Called by the thread of the sound card, which must not wait.
        try:
            self._frames.put_nowait(bytes(frame))
        except queue.Full:
            self._lost = True


def _open_sounddevice() -> OpenInput:
    sounddevice = load_sounddevice("microphone")

    def open_input(sample_rate: int, samples: int, device: int | str | None, take: Callable[[bytes], None]) -> Input:
        def callback(data: Any, *_: Any) -> None:
            take(bytes(data))

        try:
            opened = sounddevice.RawInputStream(
                samplerate=sample_rate, blocksize=samples, device=device, channels=1, dtype="int16", callback=callback
            )
            opened.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            named = "default device" if device is None else repr(device)
            raise InvalidRequest(f"microphone: cannot record from {named} at {sample_rate} Hz: {error}") from None
        return opened  # type: ignore[no-any-return]

    return open_input


def load_sounddevice(what: str) -> ModuleType:
    """Return the package; raises `InvalidRequest` saying which part of it `what` lacks."""
    try:
        import sounddevice
    except ModuleNotFoundError as error:
        if error.name != "sounddevice":
            raise
        raise InvalidRequest(f"{what}: sounddevice is not installed, {_NO_SOUNDDEVICE}") from None
    except OSError as error:
        raise InvalidRequest(f"{what}: {str(error).lower()}, {_NO_PORTAUDIO}") from None
    return sounddevice  # type: ignore[no-any-return]
