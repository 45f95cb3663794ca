"""One uploaded file through the host: decoded ahead on a thread, recognised as a stream of mode `file`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast

from starlette.requests import Request

from streamer.audio.files import UploadLimits, open_upload
from streamer.errors import InvalidRequest
from streamer.gateway.conversation import Conversation
from streamer.gateway.frames import pcm_frames
from streamer.gateway.relay import ClientGone
from streamer.session.messages import Audio, ClientMessage, Config, Done, Result
from streamer.transcripts.transcript import Transcript, segments_of

if TYPE_CHECKING:
    from streamer.config import SessionSection
    from streamer.host import Stream

ENCODING = "pcm_f32le"

T = TypeVar("T")


class NoSuchChannel(InvalidRequest):
    """The file has fewer channels."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What comes before the frames of a file: its format."""

    sample_rate: int
    channels: int


Sound = AsyncGenerator[Opened | Audio, None]


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that was sent; `channel` is the one to decode, None for the average of all."""

    file: BinaryIO
    name: str
    channel: int | None = None

    def decoded(self, limits: UploadLimits, session: SessionSection) -> Generator[Opened | Audio, None, None]:
        """Open and decode the file, and close it: first its format, then frames. For a thread.

        Raises `InvalidRequest` for what is not audio, or is damaged, `NoSuchChannel`, `MessageTooLarge` and
        `StreamTimeout` above the limits.
        """
        with self.file, open_upload(self.file, self.name, limits) as audio:
            if self.channel is not None and self.channel >= audio.channels:
                raise NoSuchChannel(f"expected one of {audio.channels} channels, got {self.channel}")
            yield Opened(audio.sample_rate, audio.channels)
            if self.channel is None:
                blocks = audio.blocks()
            else:
                blocks = (block[self.channel] for block in audio.channel_blocks())
            for block in blocks:
                yield from pcm_frames(block.astype("<f4").tobytes(), ENCODING, audio.sample_rate, session)


class Recognition(Conversation):
    """A file on its way through a stream of the host; its messages are iterated over once. Close it in any case."""

    def __init__(self, stream: Stream, config: Config, sound: Sound, write_timeout_s: float) -> None:
        super().__init__(stream, _incoming(config, sound), write_timeout_s)
        self._sound = sound

    async def close(self) -> None:
        """Free the slot, whether the stream has ended or not, and the file."""
        await super().close()
        await self._sound.aclose()


async def opened(sound: Sound) -> Opened:
    """Return the format of the file, which the thread that decodes says first; raises what is wrong with it."""
    return cast("Opened", await anext(sound))


async def transcript_of(recognition: Recognition, name: str, model: str, rate: int) -> Transcript:
    """Wait for the last word, and return all that was said in the file `name` at `rate` samples per second."""
    messages = [message async for message in recognition]
    results = [message for message in messages if isinstance(message, Result)]
    samples = next(message.audio_samples for message in messages if isinstance(message, Done))
    return Transcript(name, samples / rate, model, segments_of(results, rate))


async def unless_gone(request: Request, work: Coroutine[None, None, T]) -> T:
    """Return what `work` returns; raises `ClientGone`, and stops it, as soon as the client goes."""
    working, leaving = asyncio.create_task(work), asyncio.create_task(_until_gone(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _incoming(config: Config, sound: Sound) -> AsyncGenerator[ClientMessage, None]:
    yield config
    async for frame in sound:
        yield cast("Audio", frame)
