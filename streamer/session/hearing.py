"""From the audio messages of a stream to its samples, within the limits of what a message may hold."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from streamer.audio.encodings import COMPRESSED, SNC1, TEXT, StreamDecoder, open_decoder
from streamer.audio.pcm import bytes_per_sample, decode
from streamer.errors import InvalidRequest, MessageTooLarge
from streamer.session.limits import MOST_WAITING_CHARS, SessionSettings, check_bytes, check_frame, check_pace
from streamer.session.messages import Audio, Config, Text, Warning
from streamer.work import Array


class Hearing:
    """Decodes the audio of one stream, whose format has been checked.

    A message of a compressed stream does not tell how much audio it holds: a few bytes may be hours of silence. So it
    is counted while it decodes, and no more than `max_ahead_ms` of one message is ever decoded.
    """

    def __init__(self, config: Config, settings: SessionSettings) -> None:
        self._config = config
        self._settings = settings
        self._decoder: StreamDecoder | None = None
        if config.encoding in COMPRESSED:
            self._decoder = open_decoder(config.encoding, config.sample_rate, config.channels)
        self._received_bytes = 0

    def take(self, message: Audio, received: int, elapsed_s: float) -> Array:
        """Return the samples that a message adds to `received` ones at the age `elapsed_s`, float32 `[n]`.

        Raises `InvalidRequest`, `MessageTooLarge` or `TooFast`.
        """
        config = self._config
        if self._decoder is None:
            samples = check_frame(message, config, received, self._settings)
            check_pace(received + samples, config, elapsed_s, self._settings)
            return decode(message.data, config.encoding, received)
        check_bytes(message, self._settings)
        if message.first_sample is not None:
            raise InvalidRequest(
                f"expected no first_sample with encoding {config.encoding}, got {message.first_sample}"
            )
        self._received_bytes += len(message.data)
        return self._gathered(self._decoder.feed(message.data), received, elapsed_s)

    def settle(self, received: int, elapsed_s: float) -> Array:
        """Return the samples that were only waiting for a sign that they are complete, float32 `[n]`."""
        blocks: Iterable[Array] = self._decoder.settle() if self._decoder else ()
        return self._gathered(blocks, received, elapsed_s)

    def truncation(self) -> Warning | None:
        """Say what the stream lacks at its end: what was heard until then stands.

        Raises `InvalidRequest` when there was something, and not as much as headers.
        """
        missing = self._decoder.missing if self._decoder and self._received_bytes else None
        if missing is None:
            return None
        if missing == "its headers":
            raise InvalidRequest(f"{self._config.encoding} stream is truncated, it lacks {missing}")
        return Warning("truncated_audio", f"{self._config.encoding} stream is truncated, it lacks {missing}")

    def _gathered(self, blocks: Iterable[Array], received: int, elapsed_s: float) -> Array:
        limit_ms = self._settings.max_ahead_ms
        most = limit_ms * self._config.sample_rate // 1000
        gathered = [np.zeros(0, np.float32)]
        n_samples = 0
        for block in blocks:
            gathered.append(block)
            n_samples += len(block)
            if n_samples > most:
                raise MessageTooLarge(
                    f"audio frame decodes to more than the limit of {limit_ms} ms, send smaller parts"
                )
            check_pace(received + n_samples, self._config, elapsed_s, self._settings)
        return np.concatenate(gathered)


def longest_ms(message: Audio | Text, config: Config, settings: SessionSettings) -> float:
    """Return how much audio a message may hold, before it is decoded: what must be reckoned with while it waits."""
    if isinstance(message, Text):
        return settings.max_ahead_ms * len(message.text) / MOST_WAITING_CHARS
    if config.encoding == TEXT:
        return 0.0
    if config.encoding in COMPRESSED or config.encoding == SNC1:
        return settings.max_ahead_ms
    return 1000 * len(message.data) / (bytes_per_sample(config.encoding) * config.sample_rate * config.channels)
