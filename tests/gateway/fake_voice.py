"""A host with a voice that is no model: each character it is given lasts a hundredth of a second."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np

from streamer.errors import ModelFault
from streamer.gateway.recognisers import VOICE_TASK
from streamer.host.callers import ANONYMOUS, Caller
from streamer.session.messages import AudioOut, ClientMessage, Config, Done, End, Text
from tests.gateway.fake_host import FakeHost, FakeModelInfo, FakeStream

CHARACTER_SAMPLES = 240


def sound_of(text: str) -> bytes:
    """Samples that grow with the number of the character in Unicode."""
    levels = np.array([(ord(character) * 97) % 20_000 - 10_000 for character in text], "<i2")
    return np.repeat(levels, CHARACTER_SAMPLES).tobytes()


class FakeVoiceStream(FakeStream):
    """Speaks each text that it gets at once, but for tildes.

    At an exclamation mark it fails, at an asterisk it takes no more until a test lets it on.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.spoken = 0
        self.has_text = asyncio.Event()

    def _answer(self, message: ClientMessage) -> None:
        match message:
            case Text(text):
                self._speak(text)
            case End():
                self.say(Done(self.spoken, 0))
                self.end()
            case _:
                super()._answer(message)

    def _speak(self, text: str) -> None:
        said, failing, _ = text.partition("!")
        said, silenced, _ = said.partition("*")
        data = sound_of(said.replace("~", ""))
        if data:
            self.say(AudioOut(data, self.spoken))
            self.spoken += len(data) // 2
        if failing:
            self.end(ModelFault("step failed"))
        elif silenced:
            self.room.clear()
        self.has_text.set()


class FakeVoiceHost(FakeHost):
    """Hands out streams that speak, beside the recogniser."""

    streams: list[FakeVoiceStream]  # type: ignore[assignment]

    def connect(self, caller: Caller = ANONYMOUS) -> FakeVoiceStream:
        stream = FakeVoiceStream(self.error, self.first_message)
        super().connect(caller)
        self.streams[-1] = stream
        return stream

    def models(self) -> tuple[FakeModelInfo, ...]:
        voices = (
            FakeModelInfo("tenor", "2", VOICE_TASK, "sings", sample_rate=24_000, is_default=False),
            FakeModelInfo(
                "voice", "1", VOICE_TASK, "speaks", sample_rate=24_000, voices=("ada", "bob"), word_times=True
            ),
        )
        return (*super().models(), *voices)


def config_of(stream: FakeStream) -> Config:
    """What a stream was opened with."""
    assert isinstance(stream.got[0], Config)
    return stream.got[0]
