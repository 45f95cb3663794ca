"""The program of codecs: which calls it makes, and what becomes of rows that fault."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from streamer.engine.programs import run_program
from streamer.errors import ModelFault
from streamer.session.messages import CodecOptions, Done, End
from streamer.tasks.options import TaskOptions
from streamer.work import Result, Row
from tests.session.codec_driver import CodecBench, decoding, encoding, speech, transcoding
from tests.toys.codec import BOOKS, FRAME, codec_expected


class Spied:
    """A runner that notes its calls, and may spoil what one graph returns for one slot."""

    def __init__(self, bench: CodecBench) -> None:
        self.bundle = bench.bundle
        self.calls: list[tuple[str, int]] = []
        self.spoiled: tuple[str, int, Result] | None = None
        self._runner = bench.runner

    def run(self, graph: str, rows: Sequence[Row]) -> list[Result]:
        self.calls.append((graph, len(rows)))
        results = self._runner.run(graph, rows)
        if self.spoiled is not None and self.spoiled[0] == graph:
            slots = [row.leases[0].slot for row in rows]
            if self.spoiled[1] in slots:
                results[slots.index(self.spoiled[1])] = self.spoiled[2]
        return results


@pytest.fixture
def bench(tmp_path: Path) -> CodecBench:
    return CodecBench(tmp_path)


def test_one_call_of_each_graph(bench: CodecBench) -> None:
    """A batch of all kinds is one call of the encoder and one of the decoder; only the network is asked by frame."""
    audio = speech(10 * FRAME)
    data = bench.encoded(audio, encoding(frames_per_packet=1))
    spied = bench.runner = Spied(bench)  # type: ignore[assignment]
    streams = [
        *(bench.open(encoding(frames_per_packet=1), slot) for slot in (0, 1)),
        *(bench.open(decoding(), slot) for slot in (2, 3)),
        bench.open(transcoding(bitrate=800), 4),
        bench.open(encoding(frames_per_packet=1, entropy="network"), 5),
    ]
    for stream, part in zip(streams, (*[audio.tobytes()] * 2, *[data] * 3, audio.tobytes()), strict=True):
        stream.send(part)
    assert bench.step(*streams)
    assert spied.calls == [("encode", 3), ("decode", 2), ("entropy", 1), ("entropy_next", 2)]


@pytest.mark.parametrize(("entropy", "graph"), [("network", "entropy"), ("float", "float_entropy")])
def test_network_calls_of_a_packet(bench: CodecBench, entropy: str, graph: str) -> None:
    """Writing asks for the contexts frame by frame and for all logits at once; reading for each code in turn."""
    audio = speech(3 * FRAME)
    data = bench.encoded(audio, encoding(frames_per_packet=3, entropy=entropy))
    spied = bench.runner = Spied(bench)  # type: ignore[assignment]
    writer = bench.open(encoding(frames_per_packet=3, entropy=entropy))
    writer.send(audio.tobytes())
    bench.step(writer)
    assert spied.calls == [("encode", 1), *[(graph, 1)] * 3, (f"{graph}_next", 6)]
    spied.calls.clear()
    reader = bench.open(decoding())
    reader.send(data)
    bench.step(reader)
    assert spied.calls == [*[(graph, 1), (f"{graph}_next", 1), (f"{graph}_next", 1)] * 3, ("decode", 1)]


FAULT = Result(error=ModelFault("bundle codec@1.0.0: graph: inference failed"))
SPOILED = {
    "encoder": ("encode", 0, FAULT),
    "decoder": ("decode", 2, FAULT),
    "codes out of range": ("encode", 0, Result({"codes": np.full((1, BOOKS), 16)})),
    "negative codes": ("encode", 0, Result({"codes": np.full((1, BOOKS), -1)})),
    "no audio": ("decode", 2, Result({"pcm": np.zeros((0, FRAME), np.float32)})),
    "context": ("entropy", 1, FAULT),
    "logits": ("entropy_next", 1, FAULT),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_fault_is_its_own_streams(bench: CodecBench, name: str) -> None:
    """Whatever a graph does to one row, only its stream ends, and the others say what they would have said."""
    audio = speech(10 * FRAME)
    data = bench.encoded(audio, encoding(frames_per_packet=1))
    coded = bench.encoded(audio, encoding(frames_per_packet=1, entropy="network"))
    spied = bench.runner = Spied(bench)  # type: ignore[assignment]
    configs = [encoding(frames_per_packet=1), encoding(frames_per_packet=1, entropy="network"), decoding(), decoding()]
    streams = [bench.open(config, slot) for slot, config in enumerate(configs)]
    for stream, part in zip(streams, (audio.tobytes(), audio.tobytes(), data, coded), strict=True):
        stream.send(part)
        stream.send(End())
    for _ in range(3):
        bench.step(*streams)
    spied.spoiled = SPOILED[name]
    victim = SPOILED[name][1]
    bench.step(*streams)
    spied.spoiled = None
    bench.run(*streams)
    assert isinstance(streams[victim].session.error, ModelFault)
    for index, stream in enumerate(streams):
        if index != victim:
            assert isinstance(stream.said[-1], Done)
    for index in {2, 3} - {victim}:
        np.testing.assert_allclose(streams[index].samples, codec_expected(audio), atol=1e-6)
    if victim != 0:
        assert streams[0].packets == data


@pytest.mark.parametrize("entropy", ["network", "float"])
def test_states_start_anew(bench: CodecBench, entropy: str) -> None:
    """A stream in a slot that had another one begins with nothing of it, with every graph."""
    audio = [speech(1000, seed) for seed in range(2)]
    config = encoding(entropy=entropy, bitrate=1600)
    first = [bench.encoded(each, config, slot=2) for each in audio]
    assert [bench.encoded(each, config, slot=4) for each in audio] == first
    heard = [bench.decoded(each, decoding(predict=True), slot=1) for each in first]
    again = [bench.decoded(each, decoding(predict=True), slot=1) for each in first]
    for one, other in zip(heard, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_step_may_be_asked_for_again(bench: CodecBench) -> None:
    """A host loop says the same step until its outputs come."""
    task = bench.make_task(TaskOptions(codec=CodecOptions(dtx=True)))
    chunk = speech(task.chunk_samples)
    rows = []
    for _ in range(2):
        step = task.step(chunk)
        rows.append(Row((bench.open(encoding()).lease,), step.inputs, step.start))
    assert bench.program is not None
    outcomes = [run_program("codec", bench.program, bench.runner, [row])[0].outputs for row in rows]
    assert len({outcome["done"].item().payloads[0] for outcome in outcomes}) == 1
