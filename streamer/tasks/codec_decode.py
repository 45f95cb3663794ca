"""The host loop of codec streams that decode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamer.audio.snc1 import Header
from streamer.errors import InvalidRequest, ModelFault
from streamer.tasks.base import Decoded, TaskStep
from streamer.tasks.codec import LOST, PROGRAM, SILENT, CodecModel
from streamer.tasks.codec_options import CodecOptions
from streamer.tasks.codec_packets import PacketTaker
from streamer.tasks.codec_stream import CodecStream
from streamer.tasks.codec_work import Arrival, Work, pack_work, unpack_done
from streamer.work import Tensors


class Decode(CodecStream):
    """Implements `streamer.tasks.base.Task`: packets in, audio out, one step a packet, lost ones too.

    The first `preskip` samples of the decoder are dropped, and those after the end of the stream as far as it is known.
    """

    def __init__(self, model: CodecModel, options: CodecOptions) -> None:
        self._model = model
        if options.predict and model.predictor is None:
            raise InvalidRequest(f"codec predict: model {model.name} cannot make up codes")
        self._predicts = options.predict
        self._taker: PacketTaker | None = None
        self._header: Header | None = None
        self._arrival: Arrival | None = None
        # Samples and frames that the decoder has made, those that are dropped included.
        self._made = 0
        self._frames = 0
        self.sample_rate = model.sample_rate
        # Of packets of one frame, until the header says how many there are.
        self.chunk_samples = self.hop_samples = model.frame_samples
        self.delay_samples = model.delay_samples
        self.flush_samples = 0

    def step(self, chunk: Arrival) -> TaskStep:
        """Turn what arrived into a step; raises `InvalidRequest` for packets of another model."""
        self._arrival = chunk
        if chunk.header is None or chunk.is_end:
            return TaskStep(PROGRAM, pack_work(Work()))
        if self._taker is None:
            self._model.check_header(chunk.header)
            self._header, self._taker = chunk.header, PacketTaker(chunk.header, self._model.books)
            self.chunk_samples = self.hop_samples = chunk.header.packet_samples
        is_silent = chunk.packet is not None and chunk.packet.is_silence
        work = Work(
            reading=self._taker.reading(chunk),
            plays=chunk.header.frames_per_packet,
            kind=SILENT if is_silent else LOST,
            predicts_from=self._frames if self._predicts else None,
            is_first=not self._made,
        )
        return TaskStep(PROGRAM, pack_work(work))

    def complete(self, outputs: Tensors, is_padded: bool = False, interims: bool = True) -> Sequence[Decoded]:
        """Take the audio of a step; returns it, but for what the stream does not count."""
        arrival, header = self._arrival, self._header
        if arrival is None or arrival.is_end or header is None or self._taker is None:
            return []
        done = unpack_done(outputs)
        if done.pcm is None or len(done.pcm) != header.packet_samples:
            got = 0 if done.pcm is None else len(done.pcm)
            raise ModelFault(f"expected {header.packet_samples} decoded samples, got {got}")
        self._taker.read(arrival, done.codes)
        first = self._made - header.preskip
        self._made += len(done.pcm)
        self._frames += header.frames_per_packet
        end = self._made - header.preskip
        if arrival.total_samples is not None:
            end = min(end, arrival.total_samples)
        start = max(first, 0)
        return [Decoded(done.pcm[start - first : end - first], start)] if start < end else []

    def end_at(self, sample: int) -> None:
        """What arrives last says how long the stream is."""

    def finish_segment(self) -> Sequence[Decoded]:
        """Say that no more audio follows."""
        return [Decoded(np.zeros(0, np.float32), max(0, self._made), is_last=True)]
