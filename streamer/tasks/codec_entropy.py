"""Codes to payloads and back, for many streams at once: what needs a network asks for its calls."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from streamer.audio.snc1 import RAW, TABLES
from streamer.errors import InvalidRequest
from streamer.tasks import code_network
from streamer.tasks.bit_packing import pack_many, unpack_many
from streamer.tasks.code_tables import ABSENT
from streamer.tasks.codec import CodecModel
from streamer.tasks.codec_networks import EntropyNetwork
from streamer.tasks.codec_work import Reading, Writing
from streamer.tasks.range_coder import RangeDecoder, encode_intervals
from streamer.work import Array, Call, Lease, Row, Tensors

Calls = Generator[Call, Sequence[Tensors], None]
Leases = tuple[Lease, ...]


@dataclass(slots=True)
class Read:
    """A payload on its way to codes int64 `[frames, n_books]`, None if it is damaged."""

    leases: Leases
    reading: Reading
    codes: Array | None = None


@dataclass(slots=True)
class Written:
    """Payloads of one stream, in their order."""

    leases: Leases
    writings: Sequence[Writing]
    payloads: list[bytes] = field(default_factory=list)


class CodeReader:
    """Reads payloads of all entropy modes."""

    def __init__(self, model: CodecModel) -> None:
        self._bits = model.bits
        self._tables = model.tables
        self._networks = model.networks

    def read(self, jobs: Sequence[Read]) -> Calls:
        """Set the codes of `jobs`, each of another stream."""
        raw = [job for job in jobs if job.reading.mode == RAW]
        payloads = [(job.reading.payload, job.reading.frames, job.reading.n_books) for job in raw]
        for job, codes in zip(raw, unpack_many(payloads, self._bits), strict=True):
            job.codes = codes
        for job in jobs:
            if job.reading.mode == TABLES:
                job.codes = self._read_by_tables(job.reading)
        for mode, network in self._networks.items():
            by_network = [job for job in jobs if job.reading.mode == mode]
            if by_network:
                yield from _NetworkReading(network, by_network).run()

    def _read_by_tables(self, reading: Reading) -> Array | None:
        assert self._tables is not None  # no stream of this mode is taken otherwise
        try:
            return self._tables.decode(reading.payload, reading.frames, reading.n_books, reading.previous)
        except InvalidRequest:
            return None


class CodeWriter:
    """Writes payloads of all entropy modes."""

    def __init__(self, model: CodecModel) -> None:
        self._bits = model.bits
        self._tables = model.tables
        self._networks = model.networks

    def write(self, jobs: Sequence[Written]) -> Calls:
        """Set the payloads of `jobs`, each of another stream. All packets of a stream are in one mode."""
        raw = [job for job in jobs if job.writings and job.writings[0].mode == RAW]
        packed = iter(pack_many([writing.codes for job in raw for writing in job.writings], self._bits))
        for job in raw:
            job.payloads = [next(packed) for _ in job.writings]
        for job in jobs:
            if job.writings and job.writings[0].mode == TABLES:
                assert self._tables is not None  # no stream of this mode is taken otherwise
                job.payloads = [self._tables.encode(each.codes, each.previous) for each in job.writings]
        for mode, network in self._networks.items():
            by_network = [job for job in jobs if job.writings and job.writings[0].mode == mode]
            if by_network:
                yield from _NetworkWriting(network, by_network).run()


@dataclass(slots=True)
class _Frame:
    """A frame that the network is told of: the codes before it, and whether it forgets what was before them."""

    before: Array
    starts: bool


class _NetworkReading:
    """Reads frame by frame and book by book, as each code is needed to read the next one."""

    def __init__(self, network: EntropyNetwork, jobs: Sequence[Read]) -> None:
        self._network = network
        self._tables = network.tables
        self._jobs = jobs
        self._decoders = [RangeDecoder(job.reading.payload) for job in jobs]
        self._found = [np.full((job.reading.frames, self._tables.books), ABSENT, np.int64) for job in jobs]

    def run(self) -> Calls:
        for frame in range(max(job.reading.frames for job in self._jobs)):
            yield from self._read_frame(frame, [i for i, job in enumerate(self._jobs) if frame < job.reading.frames])
        for job, decoder, found in zip(self._jobs, self._decoders, self._found, strict=True):
            try:
                decoder.finish()
            except InvalidRequest:
                continue
            job.codes = found[:, : job.reading.n_books]

    def _read_frame(self, frame: int, active: Sequence[int]) -> Calls:
        frames = [
            _Frame(self._before(index, frame), not frame and self._reading(index).is_keyframe) for index in active
        ]
        leases = [self._jobs[index].leases for index in active]
        contexts = yield from _contexts(self._network, leases, frames)
        most = max(self._reading(index).n_books for index in active)
        for book in range(min(most, self._network.books)):
            asked = [(i, c) for i, c in zip(active, contexts, strict=True) if book < self._reading(i).n_books]
            rows = [
                _next_row(self._network, self._jobs[index].leases, context, self._found[index][frame], book)
                for index, context in asked
            ]
            answers = yield Call(self._network.next_graph.name, rows)
            for (index, _), answer in zip(asked, answers, strict=True):
                found = code_network.frequencies(answer[self._network.logits], self._network.weights)
                self._found[index][frame, book] = self._decoders[index].symbol(code_network.bounds(found))
        for index in active:
            self._read_fine(index, frame)

    def _read_fine(self, index: int, frame: int) -> None:
        """The books that the network does not know are written by tables."""
        codes, before = self._found[index][frame], self._before(index, frame)
        for book in range(self._network.books, self._reading(index).n_books):
            bounds = self._tables.bounds(book, int(before[book]), int(codes[book - 1]))
            codes[book] = self._decoders[index].symbol(bounds)

    def _before(self, index: int, frame: int) -> Array:
        before: Array = self._found[index][frame - 1] if frame else self._reading(index).previous
        return before

    def _reading(self, index: int) -> Reading:
        return self._jobs[index].reading


class _NetworkWriting:
    """Asks for all contexts frame by frame, then for the odds of all codes at once: they are known already."""

    def __init__(self, network: EntropyNetwork, jobs: Sequence[Written]) -> None:
        self._network = network
        self._tables = network.tables
        self._jobs = jobs

    def run(self) -> Calls:
        frames = [[*_frames_of(job.writings, self._tables.books)] for job in self._jobs]
        contexts: list[list[Array]] = [[] for _ in self._jobs]
        for place in range(max(map(len, frames))):
            active = [index for index, each in enumerate(frames) if place < len(each)]
            leases = [self._jobs[index].leases for index in active]
            found = yield from _contexts(self._network, leases, [frames[index][place] for index in active])
            for index, context in zip(active, found, strict=True):
                contexts[index].append(context)
        answers = yield Call(self._network.next_graph.name, [*self._rows(contexts)])
        logits = iter(answer[self._network.logits] for answer in answers)
        for job in self._jobs:
            job.payloads = [self._payload(writing, logits) for writing in job.writings]

    def _rows(self, contexts: Sequence[Sequence[Array]]) -> Iterator[Row]:
        """A row for every code of the network's books, in the order of writing."""
        for job, known in zip(self._jobs, contexts, strict=True):
            codes = (frame for writing in job.writings for frame in writing.codes)
            for frame, context in zip(codes, known, strict=True):
                row = _padded(frame, self._network.books)
                for book in range(min(len(frame), self._network.books)):
                    yield _next_row(self._network, job.leases, context, row, book)

    def _payload(self, writing: Writing, logits: Iterator[Array]) -> bytes:
        begins, sizes = self._tables.intervals(writing.codes, writing.previous)
        coarse = writing.codes[:, : self._network.books]
        odds = np.stack([next(logits) for _ in range(coarse.size)])
        found = code_network.intervals(code_network.frequencies(odds, self._network.weights), coarse.ravel())
        for intervals, by_network in zip((begins, sizes), found, strict=True):
            intervals[:, : self._network.books] = by_network.reshape(coarse.shape)
        return encode_intervals(begins, sizes)


def _frames_of(writings: Sequence[Writing], books: int) -> Iterator[_Frame]:
    for writing in writings:
        before = writing.previous
        for index, codes in enumerate(writing.codes):
            yield _Frame(before, writing.is_keyframe and not index)
            before = _padded(codes, books)


def _contexts(
    network: EntropyNetwork, leases: Sequence[Leases], frames: Sequence[_Frame]
) -> Generator[Call, Sequence[Tensors], list[Array]]:
    """Tell the network of one frame of each stream; returns what it knows then."""
    groups = frozenset(network.graph.groups)
    rows = [
        Row(held, {network.previous: frame.before[: network.books]}, groups if frame.starts else frozenset())
        for held, frame in zip(leases, frames, strict=True)
    ]
    answers = yield Call(network.graph.name, rows)
    return [answer[network.context] for answer in answers]


def _next_row(network: EntropyNetwork, leases: Leases, context: Array, codes: Array, book: int) -> Row:
    inputs = {
        network.next_context: context,
        network.codes: codes[: network.books],
        network.book: np.array(book, np.int64),
    }
    return Row(leases, inputs)


def _padded(codes: Array, books: int) -> Array:
    """The codes of a frame int64 `[books]`, absent where they are not sent."""
    if len(codes) >= books:
        return codes
    return np.concatenate((codes, np.full(books - len(codes), ABSENT, np.int64)))
