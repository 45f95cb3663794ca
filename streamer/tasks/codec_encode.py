"""The host loop of codec streams that encode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamer.audio.snc1 import RAW, Header
from streamer.errors import InvalidRequest, ModelFault
from streamer.tasks.base import Encoded, TaskStep
from streamer.tasks.codec import PROGRAM, CodecModel
from streamer.tasks.codec_options import CodecOptions
from streamer.tasks.codec_packets import PacketMaker
from streamer.tasks.codec_stream import CodecStream
from streamer.tasks.codec_work import Work, Writing, pack_work, unpack_done
from streamer.work import Array, Tensors

# Packets of a file are larger: nobody waits for them, and each costs five bytes beside its codes.
LIVE_FRAMES, FILE_FRAMES = 1, 5
# Silence is not taken for silence before it has lasted: ends of words are quiet.
DTX_HANGOVER_S = 0.2


class Encode(CodecStream):
    """Implements `streamer.tasks.base.Task`: audio in, packets out, one step a packet."""

    def __init__(self, model: CodecModel, options: CodecOptions, is_live: bool) -> None:
        self._model = model
        self._n_books = model.n_books(options.bitrate)
        frames = options.frames_per_packet or (LIVE_FRAMES if is_live else FILE_FRAMES)
        self._frames = frames
        header = header_of(model, options, frames)
        self._maker = PacketMaker(header, model.books)
        self._dtx = options.dtx
        if self._dtx and model.silence_dbfs is None:
            raise InvalidRequest(f"codec dtx: model {model.name} does not say what silence is")
        self._silence_power = 10 ** ((model.silence_dbfs or 0.0) / 10)
        self._hangover = round(DTX_HANGOVER_S * model.sample_rate)
        # Samples since the last one of a packet that was no silence; whether the packet that is out is silence.
        self._quiet_samples = 0
        self._is_quiet = False
        self._packets = 0
        self._end: int | None = None
        self.sample_rate = model.sample_rate
        self.chunk_samples = self.hop_samples = header.packet_samples
        self.delay_samples = model.audio.delay_samples + (frames - 1) * model.frame_samples
        self.flush_samples = model.delay_samples

    def step(self, chunk: Array) -> TaskStep:
        """Turn the next chunk (float32 `[chunk_samples]`) into a step."""
        self._is_quiet = self._dtx and float(np.dot(chunk, chunk)) < self._silence_power * len(chunk)
        pcm = chunk.reshape(self._frames, self._model.frame_samples)
        work = Work(pcm=pcm, plan=self._plan, is_first=not self._packets)
        return TaskStep(PROGRAM, pack_work(work))

    def complete(self, outputs: Tensors, is_padded: bool = False, interims: bool = True) -> Sequence[Encoded]:
        """Take the codes of a step; returns its packet."""
        done = unpack_done(outputs)
        if done.codes is None:
            raise ModelFault(f"expected codes below {1 << self._model.bits}, got others")
        start = self._packets * self.chunk_samples
        # Told where the padding begins, which is before what a decoder is not to play: the same whenever the end came.
        if is_padded:
            self._tell_end()
        is_silence = self._is_silence()
        self._packets += 1
        self._quiet_samples = self._quiet_samples + self.chunk_samples if self._is_quiet else 0
        data = self._maker.silence() if is_silence else self._maker.packet(done.written[0], done.payloads[0])
        return [Encoded(data, start, start + self.chunk_samples)]

    def end_at(self, sample: int) -> None:
        """No audio follows after `sample` but padding."""
        self._end = sample

    def finish_segment(self) -> Sequence[Encoded]:
        """Return what the packets did not say."""
        self._tell_end()
        rest = self._maker.rest()
        position = self._packets * self.chunk_samples
        return [Encoded(rest, position, position)] if rest else []

    def _tell_end(self) -> None:
        if self._end is not None:
            self._maker.end_at(self._end)

    def _plan(self, codes: Array | None) -> Sequence[Writing]:
        """The encoder steps through silence too: what it says after it depends on all that came before."""
        return self._maker.plan([None if codes is None or self._is_silence() else codes[:, : self._n_books]])

    def _is_silence(self) -> bool:
        return self._is_quiet and self._quiet_samples >= self._hangover


def header_of(model: CodecModel, options: CodecOptions, frames: int) -> Header:
    """Return the header of a stream of `model` with `frames` in a packet, as `options` ask for it."""
    mode = model.mode(options.entropy)
    network = model.networks.get(mode)
    second = max(1, round(model.sample_rate / (frames * model.frame_samples)))
    return Header(
        sample_rate=model.sample_rate,
        frame_samples=model.frame_samples,
        books=model.books,
        bits_per_book=model.bits,
        frames_per_packet=frames,
        entropy_mode=mode,
        keyframe_every=1 if mode == RAW else options.keyframe_every or second,
        coarse_books=network.books if network else 0,
        preskip=model.delay_samples,
        model=model.fingerprints[mode],
        runtime=model.runtime_of(mode),
        dtx=options.dtx,
        fec=options.fec,
    )
