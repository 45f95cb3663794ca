"""The program `flow_voice`: text to the frames of a voice, and frames to sound, for all streams of a batch."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import structlog

from streamer.tasks.voice_graphs import Call as GraphCall
from streamer.tasks.voice_model import VoiceModel
from streamer.tasks.voice_noise import Noise, normals
from streamer.tasks.voice_work import Done, NewPiece, Utterance, Work, pack_done, unpack_work
from streamer.work import Array, Call, Row, Tensors

Calls = Generator[Call, Sequence[Tensors], None]

# Two seconds of one symbol at 50 frames a second: longer is a fault of the model.
MOST_FRAMES_PER_SYMBOL = 100
# Symbols that would last less than this, in frames, are not sounded.
_LEAST_DURATION = 0.5
_NOTHING: frozenset[str] = frozenset()

log = structlog.get_logger()


@dataclass(slots=True)
class _Stream:
    """One row while the program runs."""

    row: Row
    work: Work
    done: Done
    sounds: list[Array]
    # Of a new piece, from its encoding on.
    encoded: Array | None = None
    # What is sounded in this step.
    chunk: Array | None = None
    mel: Array | None = None


class VoiceProgram:
    """A `streamer.work.Program` for `VoiceModel`s. A row's input is a `Work`, its output a `Done`."""

    def __init__(self, model: VoiceModel) -> None:
        self._model = model
        self._silence = np.zeros((0, model.frame_samples), np.float32)

    def __call__(self, rows: Sequence[Row]) -> Generator[Call, Sequence[Tensors], Sequence[Tensors]]:
        """Do the work of every row: spell, encode and expand what is new, then sound the next frames of all."""
        streams = [_stream(row, self._silence) for row in rows]
        new = [(stream, stream.work.piece) for stream in streams if stream.work.piece is not None]
        yield from self._spell(new)
        yield from self._encode(new)
        yield from self._expand([stream for stream, _ in new if stream.done.durations is not None])
        for stream in streams:
            stream.done.last = stream.done.prior[-1:]
            stream.chunk, stream.done.prior = np.split(stream.done.prior, [stream.work.frames])
        sounding = [stream for stream in streams if stream.chunk is not None and len(stream.chunk)]
        yield from self._flow(sounding)
        yield from self._vocode(sounding)
        return [pack_done(stream.done) for stream in streams]

    def _spell(self, new: Sequence[tuple[_Stream, NewPiece]]) -> Calls:
        call = self._model.spell
        owners = [(stream, letters) for stream, piece in new for letters in piece.words]
        if call is None or not owners:
            return
        rows = [Row(stream.row.leases, {call.names["letters"]: letters}) for stream, letters in owners]
        answers = yield Call(call.graph.name, rows)
        n_symbols = len(self._model.symbols)
        for (stream, _), answer in zip(owners, answers, strict=True):
            sounds = answer[call.names["sounds"]]
            stream.sounds.append(sounds[(sounds > 0) & (sounds < n_symbols)])

    def _encode(self, new: Sequence[tuple[_Stream, NewPiece]]) -> Calls:
        planned = [(stream, utterance) for stream, piece in new if (utterance := _planned(stream, piece)) is not None]
        if not planned:
            return
        call = self._model.encode
        rows = [Row(stream.row.leases, self._encoder_inputs(stream, utterance)) for stream, utterance in planned]
        answers = yield Call(call.graph.name, rows)
        for (stream, utterance), answer in zip(planned, answers, strict=True):
            own = slice(utterance.begin, utterance.end)
            stream.encoded = answer[call.names["encoded"]][own]
            stream.done.durations = durations(answer[call.names["log_durations"]][own], stream.work.voicing.speed)

    def _encoder_inputs(self, stream: _Stream, utterance: Utterance) -> Tensors:
        names = self._model.encode.names
        inputs = {names["symbols"]: utterance.symbols}
        if "voice" in names:
            inputs[names["voice"]] = np.array(stream.work.voicing.voice, np.int64)
        return inputs

    def _expand(self, streams: Sequence[_Stream]) -> Calls:
        call = self._model.expand
        streams = [stream for stream in streams if _given(stream.done.durations).any()]
        if not streams:
            return
        rows = [Row(stream.row.leases, _expansion(call, stream)) for stream in streams]
        answers = yield Call(call.graph.name, rows)
        for stream, answer in zip(streams, answers, strict=True):
            stream.done.prior = np.concatenate((stream.done.prior, answer[call.names["prior"]]))

    def _flow(self, streams: Sequence[_Stream]) -> Calls:
        call = self._model.flow
        if not streams:
            return
        rows = [self._sounding(call, stream, _given(stream.chunk), "prior", Noise.FLOW) for stream in streams]
        answers = yield Call(call.graph.name, rows)
        for stream, answer in zip(streams, answers, strict=True):
            stream.mel = answer[call.names["mel"]]

    def _vocode(self, streams: Sequence[_Stream]) -> Calls:
        call = self._model.vocode
        if not streams:
            return
        rows = [self._sounding(call, stream, _given(stream.mel), "mel", Noise.WAVE) for stream in streams]
        answers = yield Call(call.graph.name, rows)
        for stream, answer in zip(streams, answers, strict=True):
            stream.done.pcm = answer[call.names["pcm"]]

    def _sounding(self, call: GraphCall, stream: _Stream, chunk: Array, name: str, kind: Noise) -> Row:
        work = stream.work
        width = self._model.flow_noise if kind is Noise.FLOW else self._model.wave_noise
        noise = normals(work.voicing.seed, kind, work.first_frame, len(chunk), width)
        if kind is Noise.FLOW:
            noise = noise * np.float32(work.voicing.temperature)
        start = frozenset(call.graph.groups) if work.is_first else _NOTHING
        return Row(stream.row.leases, {call.names[name]: chunk, call.names["noise"]: noise}, start)


def durations(log_durations: Array, speed: float) -> Array:
    """Return how many frames each symbol lasts, int64 `[n]`, from the logarithms of frames at speed 1, float32 `[n]`.

    What sounds at all lasts a frame at least, whatever the speed.
    """
    # Beyond the bound in any case, and no overflow.
    frames = np.exp(np.minimum(log_durations.astype(np.float64), 10.0))
    rounded = np.clip(np.floor(frames / speed + 0.5), 1, MOST_FRAMES_PER_SYMBOL)
    return np.where(frames < _LEAST_DURATION, 0, rounded).astype(np.int64)


def _planned(stream: _Stream, piece: NewPiece) -> Utterance | None:
    """Return what is spoken of a piece, None for nothing; what goes wrong there is the fault of its stream alone."""
    try:
        utterance = piece.plan(stream.sounds)
    except Exception as error:
        log.exception("text could not be pronounced")
        stream.done.fault = type(error).__name__
        return None
    return utterance if utterance.begin < utterance.end else None


def _expansion(call: GraphCall, stream: _Stream) -> Tensors:
    lengths = _given(stream.done.durations)
    source = np.repeat(np.arange(len(lengths)), lengths)
    within = np.arange(len(source)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    length = lengths[source].astype(np.float64)
    place = np.stack(((within + 0.5) / length, np.log(length)), axis=1).astype(np.float32)
    names = call.names
    return {names["encoded"]: _given(stream.encoded), names["source"]: source, names["place"]: place}


def _stream(row: Row, silence: Array) -> _Stream:
    work = unpack_work(row.inputs)
    return _Stream(row, work, Done(silence, work.prior, work.prior), [])


def _given(array: Array | None) -> Array:
    assert array is not None
    return array
