"""The host loop of codec streams that make other packets of packets: fewer books, other sizes, other entropy coding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from streamer.audio.snc1 import ENTROPY_MODES, RAW, TABLES, Header
from streamer.errors import InvalidRequest
from streamer.tasks.base import Encoded, TaskStep
from streamer.tasks.codec import LOST, ORDINARY, PROGRAM, SILENT, CodecModel
from streamer.tasks.codec_encode import header_of
from streamer.tasks.codec_options import CodecOptions
from streamer.tasks.codec_packets import PacketMaker, PacketTaker
from streamer.tasks.codec_stream import CodecStream
from streamer.tasks.codec_work import Arrival, Work, Writing, pack_work, unpack_done
from streamer.work import Array, Tensors


@dataclass(frozen=True, slots=True)
class _Frames:
    """Frames that wait for a packet to be full: their kinds `[n]`, and the codes of the ordinary ones."""

    kinds: tuple[int, ...] = ()
    codes: tuple[Array | None, ...] = ()

    def __add__(self, other: _Frames) -> _Frames:
        return _Frames(self.kinds + other.kinds, self.codes + other.codes)

    def split(self, size: int) -> tuple[list[_Frames], _Frames]:
        """Cut off whole packets of `size`; returns them and the rest."""
        whole = len(self.kinds) // size
        parts = [self._part(index * size, (index + 1) * size) for index in range(whole)]
        return parts, self._part(whole * size, len(self.kinds))

    def filled(self, size: int) -> _Frames:
        """Fill a part of a packet up with frames that say nothing new."""
        missing = size - len(self.kinds)
        return self + _Frames((LOST,) * missing, (None,) * missing)

    def merged(self, most_books: int) -> Array | None:
        """Return the codes `[n, n_books]` of a packet of these frames, None if no frame has any.

        A frame without codes has those of the one before it, or else of the first that has some.
        """
        known = [codes for codes in self.codes if codes is not None]
        if not known:
            return None
        n_books = min(most_books, *(len(codes) for codes in known))
        rows, last = [], known[0]
        for codes in self.codes:
            last = last if codes is None else codes
            rows.append(last[:n_books])
        return np.stack(rows)

    def _part(self, begin: int, end: int) -> _Frames:
        return _Frames(self.kinds[begin:end], self.codes[begin:end])


class Transcode(CodecStream):
    """Implements `streamer.tasks.base.Task`: packets in, packets out, one step per packet that comes.

    What is not asked for stays as it comes. A lost packet stays lost if whole packets are made of it.
    """

    def __init__(self, model: CodecModel, options: CodecOptions) -> None:
        self._model = model
        self._options = options
        self._most_books = model.n_books(options.bitrate) if options.bitrate else model.books
        self._mode = model.mode(options.entropy)
        self._taker: PacketTaker | None = None
        self._maker: PacketMaker | None = None
        self._arrival: Arrival | None = None
        self._waiting = _Frames()
        self._packets = 0
        self.sample_rate = model.sample_rate
        self.chunk_samples = self.hop_samples = model.frame_samples
        self.delay_samples = 0
        self.flush_samples = 0

    def step(self, chunk: Arrival) -> TaskStep:
        """Turn what arrived into a step; raises `InvalidRequest` for packets of another model."""
        self._arrival = chunk
        if chunk.header is None:
            return TaskStep(PROGRAM, pack_work(Work()))
        if self._taker is None:
            self._begin(chunk.header)
        assert self._taker is not None
        reading = None if chunk.is_end else self._taker.reading(chunk)
        return TaskStep(PROGRAM, pack_work(Work(reading=reading, plan=self._plan)))

    def complete(self, outputs: Tensors, is_padded: bool = False, interims: bool = True) -> Sequence[Encoded]:
        """Take what was written of a step; returns the packets that are full."""
        arrival, maker = self._arrival, self._maker
        if arrival is None or self._taker is None or maker is None:
            return []
        done = unpack_done(outputs)
        packets, self._waiting = self._packets_of(arrival, done.codes)
        if not arrival.is_end:
            self._taker.read(arrival, done.codes)
        if arrival.total_samples is not None:
            maker.end_at(arrival.total_samples)
        written = iter(zip(done.written, done.payloads, strict=True))
        data = b""
        for packet in packets:
            if any(codes is not None for codes in packet.codes):
                data += maker.packet(*next(written))
            elif SILENT in packet.kinds:
                data += maker.silence()
            else:
                maker.lose()
        start = self._packets * maker.header.packet_samples
        self._packets += len(packets)
        data += maker.rest() if arrival.is_end else b""
        return [Encoded(data, start, self._packets * maker.header.packet_samples)] if packets or data else []

    def end_at(self, sample: int) -> None:
        """What arrives last says how long the stream is."""

    def finish_segment(self) -> Sequence[Encoded]:
        """Everything is said with what arrives last."""
        return []

    def _begin(self, header: Header) -> None:
        model, options = self._model, self._options
        model.check_header(header)
        self.chunk_samples = self.hop_samples = header.packet_samples
        mode = self._mode if options.entropy else header.entropy_mode
        if mode in model.networks and header.entropy_mode in model.networks:
            known = f"{ENTROPY_MODES[RAW]} or {ENTROPY_MODES[TABLES]}"
            raise InvalidRequest(f"codec entropy: expected {known} for packets that are coded by a network already")
        options = replace(options, entropy=ENTROPY_MODES[mode], dtx=header.dtx)
        made = header_of(model, options, options.frames_per_packet or header.frames_per_packet)
        # Whose codes these are stays unknown if it was.
        fingerprint = made.model if any(header.model) else header.model
        made = replace(made, preskip=header.preskip, total_samples=header.total_samples, model=fingerprint)
        self._taker, self._maker = PacketTaker(header, model.books), PacketMaker(made, model.books)

    def _plan(self, codes: Array | None) -> Sequence[Writing]:
        assert self._arrival is not None
        assert self._maker is not None
        packets, _ = self._packets_of(self._arrival, codes)
        return self._maker.plan([packet.merged(self._most_books) for packet in packets])

    def _packets_of(self, arrival: Arrival, codes: Array | None) -> tuple[list[_Frames], _Frames]:
        """Return the packets that are full with what arrived, of which `codes` were read, and what waits then."""
        assert self._maker is not None
        size = self._maker.header.frames_per_packet
        frames = self._waiting + (_Frames() if arrival.is_end else _frames_of(arrival, codes))
        packets, rest = frames.split(size)
        if arrival.is_end and rest.kinds:
            packets, rest = [rest.filled(size)], _Frames()
        if arrival.total_samples is not None:
            # Of larger packets, the last one may be filled up by more than smaller ones need.
            packets = packets[: max(0, self._maker.most_packets(arrival.total_samples) - self._packets)]
        return packets, rest


def _frames_of(arrival: Arrival, codes: Array | None) -> _Frames:
    assert arrival.header is not None
    n = arrival.header.frames_per_packet
    if codes is not None:
        return _Frames((ORDINARY,) * n, tuple(codes))
    is_silent = arrival.packet is not None and arrival.packet.is_silence
    return _Frames((SILENT if is_silent else LOST,) * n, (None,) * n)
