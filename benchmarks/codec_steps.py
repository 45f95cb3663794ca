"""What a step of a codec stream costs beside its graphs: host loop, packing, and the program.

    python benchmarks/codec_steps.py bundles/codec-16k --streams 1 16 --bitrate 3000

Steps of one frame, all streams in one batch, in CPU time of this process. Sessions, the scheduler and transports come
on top.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from streamer.bundle.loader import load_bundle
from streamer.engine.runner import Runner, open_sessions
from streamer.engine.settings import EngineSettings
from streamer.host.catalogue import task_options
from streamer.session.limits import SessionSettings
from streamer.session.messages import Audio, CodecOptions, Config
from streamer.session.packet_intake import PacketHearing
from streamer.tasks.base import Encoded, Task
from streamer.tasks.registry import program_of, task_maker
from streamer.work import Lease, Row, Tensors

_HEAD = "| stream | in a batch | graphs us | host us | host, of the graphs |"
_WARM_UP_STEPS = 20


@dataclass
class Cost:
    """Seconds of CPU for so many steps of all streams."""

    graphs_s: float = 0.0
    host_s: float = 0.0
    steps: int = 0


class Bench:
    """One bundle, and as many slots as streams run at once."""

    def __init__(self, folder: Path, streams: int, bitrate: int) -> None:
        bundle = load_bundle(folder)
        assert bundle.manifest.sample_rate is not None
        settings = EngineSettings(max_batch=streams)
        slots = {pool.name: streams for pool in bundle.manifest.pools}
        self._runner = Runner(bundle, open_sessions(bundle, settings), slots, settings)
        self._runner.warm_up()
        self._make_task = task_maker(bundle.manifest, folder)
        program = program_of(bundle.manifest, folder)
        assert program is not None
        self._program = program
        self._leases = [Lease(bundle.key, "stream", slot, 1) for slot in range(streams)]
        self._encoding = Config("pcm_f32le", bundle.manifest.sample_rate, 1, task="codec")
        self._bitrate = bitrate

    def encode(self, seconds: float) -> tuple[Cost, bytes]:
        """Encode noise in all streams alike; returns what it cost, and the packets of one."""
        config = self._encoding
        codec = CodecOptions(bitrate=self._bitrate, frames_per_packet=1)
        tasks = [self._task(config, codec) for _ in self._leases]
        hop = tasks[0].hop_samples
        noise = np.random.default_rng(0).normal(0, 0.1, round(seconds * config.sample_rate)).astype(np.float32)
        cost, packets = Cost(), b""
        for place in range(0, len(noise) - hop + 1, hop):
            found = self._step(tasks, noise[place : place + hop], cost)
            packets += b"".join(each.data for each in found if isinstance(each, Encoded))
        return cost, packets

    def decode(self, packets: bytes) -> Cost:
        """Decode the same packets in all streams."""
        config = Config("snc1", self._encoding.sample_rate, 1, task="codec", mode="file")
        tasks = [self._task(config, CodecOptions()) for _ in self._leases]
        hearing = PacketHearing(config, SessionSettings(max_frame_bytes=len(packets)))
        cost = Cost()
        for arrival in hearing.take(Audio(packets), 0, 0.0):
            self._step(tasks, arrival, cost)
        return cost

    def _task(self, config: Config, codec: CodecOptions) -> Task:
        return self._make_task(task_options(replace(config, codec=codec)))

    def _step(self, tasks: Sequence[Task], chunk: Any, cost: Cost) -> Sequence[Any]:
        """Run one step of all streams; the first ones only warm up."""
        began, graphs_s = time.process_time(), 0.0
        steps = [task.step(chunk) for task in tasks]
        program = self._program([Row((each,), s.inputs, s.start) for each, s in zip(self._leases, steps, strict=True)])
        answers: Sequence[Tensors] | None = None
        try:
            while True:
                call = next(program) if answers is None else program.send(answers)
                asked = time.process_time()
                answers = [result.outputs for result in self._runner.run(call.graph, call.rows)]
                graphs_s += time.process_time() - asked
        except StopIteration as end:
            found = [task.complete(outputs) for task, outputs in zip(tasks, end.value, strict=True)]
        cost.steps += 1
        if cost.steps > _WARM_UP_STEPS:
            cost.graphs_s += graphs_s
            cost.host_s += time.process_time() - began - graphs_s
        return found[0]


def rows(folder: Path, streams: int, bitrate: int, seconds: float) -> Iterator[str]:
    """Lines of the table."""
    bench = Bench(folder, streams, bitrate)
    encoding, packets = bench.encode(seconds)
    for kind, cost in (("encode", encoding), ("decode", bench.decode(packets))):
        to_us = 1e6 / (streams * (cost.steps - _WARM_UP_STEPS))
        cells = f"{cost.graphs_s * to_us:.0f} | {cost.host_s * to_us:.1f} | {cost.host_s / cost.graphs_s:.0%}"
        yield f"| {kind} | {streams} | {cells} |"


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--bitrate", type=int, default=0, help="bits per second; 0 for the model's default")
    parser.add_argument("--seconds", type=float, default=6.0, help="of audio")
    arguments = parser.parse_args()
    print(_HEAD, "|---" * 5 + "|", sep="\n", flush=True)
    for streams in arguments.streams:
        for line in rows(arguments.bundle, streams, arguments.bitrate, arguments.seconds):
            print(line, flush=True)


if __name__ == "__main__":
    main()
