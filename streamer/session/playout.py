"""Decoded audio on its way to the client: from the model's samples to bytes of the output encoding."""

from __future__ import annotations

from collections.abc import Iterator

from streamer.audio.pcm import encode
from streamer.audio.resample import Resampler
from streamer.session.messages import AudioOut
from streamer.tasks.base import Decoded


class Playout:
    """Resamples the audio of one stream from `model_rate` to `output_rate` and writes it in the PCM `encoding`."""

    def __init__(self, encoding: str, model_rate: int, output_rate: int) -> None:
        self._encoding = encoding
        self._rates = model_rate, output_rate
        self._resampler = Resampler(model_rate, output_rate)
        # Output samples before the first model sample, and all of them.
        self._origin = 0
        self._said = 0

    @property
    def said(self) -> int:
        """Samples at the output rate so far. May be read from any thread."""
        return self._said

    @property
    def hold_back_samples(self) -> int:
        """Model samples that resampling waits for."""
        return self._resampler.hold_back_samples

    def place(self, sample: int) -> int:
        """Return which output sample a model sample is, rounded down."""
        model_rate, output_rate = self._rates
        return self._origin + sample * output_rate // model_rate

    def restart(self) -> None:
        """Begin with the first model sample again, after what was said; what resampling held back is dropped."""
        self._resampler = Resampler(*self._rates)
        self._origin = self._said

    def take(self, decoded: Decoded) -> Iterator[AudioOut]:
        """Return what of the audio is complete; `decoded` follows on what came before, and ends it if `is_last`."""
        samples = [self._resampler.push(decoded.samples)]
        if decoded.is_last:
            samples.append(self._resampler.flush())
        for part in samples:
            if len(part):
                yield AudioOut(encode(part, self._encoding), self._said)
                self._said += len(part)
