"""The microphone with sound cards that a test plays."""

from __future__ import annotations

import sys
import threading
import types

import pytest

from streamer.client.microphone import Microphone
from streamer.errors import InvalidRequest


class Card:
    """Calls back with the frames given, at once and on a thread of its own."""

    def __init__(self, *frames: bytes) -> None:
        self.frames = frames
        self.asked = None
        self.calls = []

    def __call__(self, rate, samples, device, take):
        self.asked = (rate, samples, device)
        thread = threading.Thread(target=lambda: [take(frame) for frame in self.frames])
        thread.start()
        thread.join()
        return self

    def stop(self):
        self.calls.append("stop")

    def close(self):
        self.calls.append("close")


def test_frames_come_in_order_until_it_is_stopped():
    """What was recorded before is not lost, and the device is given back."""
    card = Card(b"ab", b"cd")
    microphone = Microphone(8000, "usb", open_input=card)
    frames = iter(microphone)
    assert next(frames) == b"ab"
    microphone.stop()
    assert list(frames) == [b"cd"]
    assert card.asked == (8000, 320, "usb")
    assert card.calls == ["stop", "close"]


def test_a_duration_ends_it_at_the_sample():
    """The last frame is cut."""
    assert b"".join(Microphone(1000, duration_s=0.005, open_input=Card(b"12345678", b"abcdefgh"))) == b"12345678ab"


def test_audio_that_nobody_takes_is_reported():
    """Lost audio is never passed over in silence, and memory is bounded."""
    frames = iter(Microphone(open_input=Card(*[b"ab"] * 1000)))
    with pytest.raises(OSError, match=r"^microphone: 30 s of audio were not taken$"):
        next(frames)


def test_leaving_gives_the_device_back():
    """However the iteration ends."""
    card = Card(b"ab")
    frames = iter(Microphone(open_input=card))
    next(frames)
    frames.close()
    assert card.calls == ["stop", "close"]


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    """At once, not when audio is wanted."""
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    expected = r"^microphone: sounddevice is not installed, expected the extra microphone: pip install "
    with pytest.raises(InvalidRequest, match=expected):
        Microphone()


class PortAudioError(Exception):
    pass


class FakeSounddevice(types.ModuleType):
    PortAudioError = PortAudioError

    def __init__(self, error=None):
        super().__init__("sounddevice")
        self.error = error

    def RawInputStream(self, **options):  # noqa: N802 - the name of sounddevice
        if self.error is not None:
            raise self.error
        self.options = options
        self.calls = []
        return types.SimpleNamespace(
            start=lambda: options["callback"](memoryview(b"abcd"), 2, None, None),
            stop=lambda: self.calls.append("stop"),
            close=lambda: self.calls.append("close"),
        )


def test_sounddevice_is_asked_for_mono_pcm(monkeypatch):
    """In the format that is declared to the server; its buffers are copied, they are reused."""
    fake = FakeSounddevice()
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    assert next(iter(Microphone(16_000, 3))) == b"abcd"
    callback = fake.options.pop("callback")
    assert callable(callback)
    assert fake.options == {"samplerate": 16_000, "blocksize": 640, "device": 3, "channels": 1, "dtype": "int16"}
    assert fake.calls == ["stop", "close"]


@pytest.mark.parametrize("error", [PortAudioError("no device"), ValueError("no device")])
def test_a_device_that_cannot_record_is_named(monkeypatch, error):
    """With the reason of PortAudio."""
    monkeypatch.setitem(sys.modules, "sounddevice", FakeSounddevice(error))
    with pytest.raises(InvalidRequest, match=r"^microphone: cannot record from 'usb' at 16000 Hz: no device$"):
        next(iter(Microphone(device="usb")))


def test_without_portaudio_the_error_says_so(monkeypatch, tmp_path):
    """The package is there, the library of the system is not."""
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InvalidRequest, match=r"^microphone: portaudio library not found, expected PortAudio, "):
        Microphone()
