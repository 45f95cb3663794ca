"""Files without a header, written as the request says."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from streamer.audio.files import UploadLimits
from streamer.audio.pcm import count_samples
from streamer.errors import InvalidRequest, MessageTooLarge
from streamer.gateway.frames import pcm_frames
from streamer.gateway.head import AudioHead, Format
from streamer.gateway.recognition import Opened
from streamer.session.messages import Audio

if TYPE_CHECKING:
    from streamer.config import SessionSection

_BLOCK_BYTES = 65536


@dataclass(frozen=True, slots=True)
class RawUpload:
    """Mono PCM that was sent as a file; the header of a wav file is stripped if it says the same."""

    file: BinaryIO
    format: Format

    def frames(self, limits: UploadLimits, session: SessionSection) -> Generator[Opened | Audio, None, None]:
        """Read the file, and close it: first its format, then frames. For a thread.

        Raises `InvalidRequest` for a file that is empty, ends within a sample or contradicts its format, and
        `MessageTooLarge` for one that is too long.
        """
        encoding, rate = self.format.encoding, self.format.sample_rate
        n_samples = 0
        with self.file:
            yield Opened(rate, channels=1)
            for data in self._pieces():
                n_samples += count_samples(len(data), encoding)
                if n_samples > limits.max_duration_s * rate:
                    raise MessageTooLarge(f"audio is longer than the limit of {limits.max_duration_s:g} s")
                yield from pcm_frames(data, encoding, rate, session)
        if not n_samples:
            raise InvalidRequest("expected audio, got nothing")

    def _pieces(self) -> Iterator[bytes]:
        head = AudioHead(self.format.encoding, self.format.sample_rate)
        while data := self.file.read(_BLOCK_BYTES):
            yield head.feed(data)
        yield head.finish()
