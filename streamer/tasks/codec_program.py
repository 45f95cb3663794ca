"""The program `codec`: one call of the encoder and one of the decoder for all streams of a batch."""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass, field

import numpy as np

from streamer.tasks.code_tables import ABSENT
from streamer.tasks.codec import LOST, ORDINARY, CodecModel
from streamer.tasks.codec_entropy import Calls, CodeReader, CodeWriter, Read, Written
from streamer.tasks.codec_networks import Predictor
from streamer.tasks.codec_work import Done, Work, Writing, pack_done, unpack_work
from streamer.work import Array, Call, Row, Tensors

_NOTHING: frozenset[str] = frozenset()
# Of the numbers by which codes that were not sent are drawn.
_SEED = 0x534E4331


@dataclass(slots=True)
class _Stream:
    """One row while the program runs. `sent` are the codes int64 `[frames, books]` to be decoded."""

    row: Row
    work: Work
    done: Done = field(default_factory=Done)
    sent: Array | None = None


class CodecProgram:
    """A `streamer.work.Program` for `CodecModel`s. A row's input is a `Work`, its output a `Done`."""

    def __init__(self, model: CodecModel) -> None:
        self._model = model
        self._reader = CodeReader(model)
        self._writer = CodeWriter(model)

    def __call__(self, rows: Sequence[Row]) -> Generator[Call, Sequence[Tensors], Sequence[Tensors]]:
        """Do the work of every row: packets to codes, audio to codes, codes to audio, codes to packets."""
        streams = [_Stream(row, unpack_work(row.inputs)) for row in rows]
        yield from self._read([stream for stream in streams if stream.work.reading is not None])
        yield from self._encode([stream for stream in streams if stream.work.pcm is not None])
        yield from self._decode([stream for stream in streams if stream.work.plays])
        yield from self._write([stream for stream in streams if stream.work.plan is not None])
        return [pack_done(stream.done) for stream in streams]

    def _read(self, streams: Sequence[_Stream]) -> Calls:
        jobs = [Read(stream.row.leases, stream.work.reading) for stream in streams if stream.work.reading is not None]
        yield from self._reader.read(jobs)
        for stream, job in zip(streams, jobs, strict=True):
            stream.done.codes = job.codes

    def _encode(self, streams: Sequence[_Stream]) -> Calls:
        if not streams:
            return
        graph, pcm = self._model.encode, self._model.pcm
        rows = [_row(stream, graph.groups, {pcm: _given(stream.work.pcm)}) for stream in streams]
        answers = yield Call(graph.name, rows)
        found = [answer[self._model.codes] for answer in answers]
        # Codes out of range would come out as others; the host loop faults a stream that has none.
        are_good = not (np.concatenate(found) >> self._model.bits).any()
        for stream, codes in zip(streams, found, strict=True):
            if len(codes) and (are_good or not (codes >> self._model.bits).any()):
                stream.done.codes = codes

    def _decode(self, streams: Sequence[_Stream]) -> Calls:
        if not streams:
            return
        for stream in streams:
            stream.sent = self._sent(stream)
        predictor = self._model.predictor
        if predictor is not None:
            yield from _fill(predictor, [stream for stream in streams if stream.work.predicts_from is not None])
        graph = self._model.decode
        rows = [_row(stream, graph.groups, self._decoder_inputs(stream)) for stream in streams]
        answers = yield Call(graph.name, rows)
        for stream, answer in zip(streams, answers, strict=True):
            stream.done.pcm = answer[self._model.decoded].reshape(-1)

    def _sent(self, stream: _Stream) -> Array:
        sent = np.full((stream.work.plays, self._model.books), ABSENT, np.int64)
        codes = stream.done.codes
        if codes is not None:
            sent[:, : codes.shape[1]] = codes
        return sent

    def _decoder_inputs(self, stream: _Stream) -> Tensors:
        work = stream.work
        read = LOST if stream.done.codes is None else ORDINARY
        kind = work.kind if work.reading is None else read
        return {self._model.received: _given(stream.sent), self._model.kind: np.full(work.plays, kind, np.int64)}

    def _write(self, streams: Sequence[_Stream]) -> Calls:
        jobs = [Written(stream.row.leases, _planned(stream)) for stream in streams]
        yield from self._writer.write(jobs)
        for stream, job in zip(streams, jobs, strict=True):
            stream.done.written, stream.done.payloads = job.writings, job.payloads


def _planned(stream: _Stream) -> Sequence[Writing]:
    work, codes = stream.work, stream.done.codes
    if work.plan is None or (work.pcm is not None and codes is None):
        return ()
    return work.plan(codes)


def _fill(predictor: Predictor, streams: Sequence[_Stream]) -> Calls:
    """Make up the codes that were not sent, frame by frame."""
    for frame in range(max((stream.work.plays for stream in streams), default=0)):
        active = [stream for stream in streams if frame < stream.work.plays]
        rows = [_prediction(predictor, stream, frame) for stream in active]
        answers = yield Call(predictor.graph.name, rows)
        for stream, answer in zip(active, answers, strict=True):
            _given(stream.sent)[frame] = answer[predictor.filled]


def _prediction(predictor: Predictor, stream: _Stream, frame: int) -> Row:
    sent = _given(stream.sent)
    assert stream.work.predicts_from is not None
    # Counted by frames, so that a stream sounds the same whenever it is decoded.
    numbers = np.random.Generator(np.random.Philox(key=_SEED, counter=stream.work.predicts_from + frame))
    uniform = numbers.random(sent.shape[1], np.float32)
    inputs = {predictor.codes: sent[frame], predictor.uniform: uniform}
    return Row(stream.row.leases, inputs, _starts(stream, predictor.graph.groups) if not frame else _NOTHING)


def _row(stream: _Stream, groups: Collection[str], inputs: Tensors) -> Row:
    return Row(stream.row.leases, inputs, _starts(stream, groups))


def _starts(stream: _Stream, groups: Collection[str]) -> frozenset[str]:
    return frozenset(groups) if stream.work.is_first else _NOTHING


def _given(array: Array | None) -> Array:
    assert array is not None
    return array
