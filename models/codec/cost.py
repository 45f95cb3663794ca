"""What codecs cost: time of a step in the server's runner and in bare ONNX Runtime, streams per core, MACs, memory.

Both run the same graphs with one thread on the same rows in turns. Time is processor time, the least of many rounds:
other work on the machine only adds. Any bundle of the task `codec` can be measured, an imported one too.
"""

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from streamer.bundle.loader import Bundle, load_bundle
from streamer.bundle.manifest import Graph, Manifest
from streamer.engine.runner import Runner, open_sessions
from streamer.engine.settings import EngineSettings, bytes_per_stream
from streamer.work import Array, Lease, Row

SHAPES = ((1, 1), (16, 1), (1, 5), (16, 5))
"""Rows of a batch and frames of a step."""
SIDES = ("encode", "decode")
# A round takes about so long: less than the system gives to other work in between, so that some rounds are undisturbed.
_ROUND_S = 0.003
_SHAPED, _HEAVY = ("input", "output"), ("MatMul", "Gemm", "Conv", "ConvTranspose")


@dataclass(frozen=True)
class Step:
    """Milliseconds of processor time of one call for `rows` streams of `frames` frames, the least of all rounds.

    `ratio` is what the server adds, as a factor: the median over rounds, whose two halves follow each other at once.
    """

    graph: str
    rows: int
    frames: int
    served_ms: float
    bare_ms: float
    ratio: float


@dataclass(frozen=True)
class Cost:
    """What is measured of one bundle; sizes are of encoder and decoder."""

    name: str
    frame_s: float
    delay_ms: float
    weights: tuple[int, int]
    macs_per_s: tuple[float, float]
    state_bytes: int
    steps: tuple[Step, ...]

    def frame_ms(self, rows: int, frames: int) -> float:
        """Processor time of encoding and decoding one frame of one stream, as served."""
        return sum(s.served_ms for s in self.steps if (s.rows, s.frames) == (rows, frames)) / (rows * frames)

    def streams_per_core(self, rows: int, frames: int) -> float:
        """Streams, each encoded and decoded, that keep one core busy."""
        return 1000 * self.frame_s / self.frame_ms(rows, frames)


class Bare:
    """One graph called by hand: arenas bound once and updated in place, inputs bound at each call, outputs copied."""

    def __init__(self, manifest: Manifest, session: ort.InferenceSession, graph: Graph, rows: Sequence[Row]) -> None:
        self._session, self._binding = session, session.io_binding()
        self._feeds = {name: np.stack([row.inputs[name] for row in rows]) for name in rows[0].inputs}
        self._feeds |= {f"slots_{pool}": np.arange(len(rows)) for pool in graph.pools}
        self._feeds |= {f"start_{group}": np.zeros(len(rows), bool) for group in graph.groups}
        self._outputs = [tensor.name for tensor in graph.outputs]
        # Outputs come back in the order in which their names were first bound: the arenas last.
        self._bind_outputs()
        self._arenas = []
        for state in map(manifest.state, graph.reads):
            arena = ort.OrtValue.ortvalue_from_numpy(np.zeros((len(rows) + 1, *state.dims), state.dtype), "cpu", 0)
            self._binding.bind_ortvalue_input(state.name, arena)
            self._binding.bind_ortvalue_output(f"{state.name}_out", arena)
            self._arenas.append(arena)

    def __call__(self) -> list[Array]:
        """Run a step."""
        for name, array in self._feeds.items():
            self._binding.bind_cpu_input(name, array)
        self._bind_outputs()
        self._session.run_with_iobinding(self._binding)
        found = self._binding.get_outputs()
        return [np.array(found[index].numpy()) for index in range(len(self._outputs))]

    def _bind_outputs(self) -> None:
        for name in self._outputs:
            self._binding.bind_output(name, "cpu")


def measure(folder: Path, shapes: Sequence[tuple[int, int]] = SHAPES, rounds: int = 150) -> Cost:
    """Measure the bundle in `folder`."""
    bundle = load_bundle(folder)
    manifest = bundle.manifest
    settings = EngineSettings(max_batch=max(rows for rows, _ in shapes))
    sessions = open_sessions(bundle, settings)
    runner = Runner(bundle, sessions, {pool.name: settings.max_batch for pool in manifest.pools}, settings)
    frame_s = float(manifest.task.parameters["frame_samples"]) / float(manifest.sample_rate or 1)
    audio = manifest.graph("encode").audio
    assert audio is not None
    return Cost(
        name=bundle.key,
        frame_s=frame_s,
        delay_ms=1000 * audio.delay_samples / float(manifest.sample_rate or 1),
        weights=(weights(bundle, "encode"), weights(bundle, "decode")),
        macs_per_s=(macs(bundle, "encode") / frame_s, macs(bundle, "decode") / frame_s),
        state_bytes=bytes_per_stream(manifest),
        steps=tuple(_step(runner, sessions[graph], graph, *shape, rounds) for graph in SIDES for shape in shapes),
    )


def _step(runner: Runner, session: ort.InferenceSession, name: str, rows: int, frames: int, rounds: int) -> Step:
    manifest = runner.bundle.manifest
    batch = random_rows(runner.bundle, manifest.graph(name), rows, frames)
    # Of one session, so that both find the same weights in the same caches.
    bare_call = Bare(manifest, session, manifest.graph(name), batch)
    served, bare = rounds_ms([lambda: runner.run(name, batch), bare_call], rounds)
    ratio = statistics.median(one / other for one, other in zip(served, bare, strict=True))
    return Step(name, rows, frames, min(served), min(bare), ratio)


def rounds_ms(calls: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """The mean processor time of each call, ms, in each of the rounds in which all of them take turns."""
    for call in calls:
        call()
    turns = [[1000 * _mean_s(call) for call in calls] for _ in range(rounds)]
    return [list(times) for times in zip(*turns, strict=True)]


def _mean_s(call: Callable[[], object]) -> float:
    began, count = time.process_time(), 0
    while (spent := time.process_time() - began) < _ROUND_S or count == 0:
        call()
        count += 1
    return spent / count


def random_rows(bundle: Bundle, graph: Graph, rows: int, frames: int) -> list[Row]:
    """Rows of `frames` frames for slots from 0: noise, or random codes of mixed bitrates."""
    rng, words = np.random.default_rng(0), 1 << int(bundle.manifest.task.parameters["bits_per_book"])
    made = []
    for slot in range(rows):
        inputs = {}
        for tensor in graph.inputs:
            shape = tuple(frames if dim == -1 else dim for dim in tensor.dims)
            if tensor.dtype.kind == "f":
                inputs[tensor.name] = (rng.standard_normal(shape) * 0.1).astype(tensor.dtype)
            elif tensor.name == "codes":
                count = rng.integers(1, shape[1] + 1)
                inputs["codes"] = np.where(np.arange(shape[1]) < count, rng.integers(0, words, shape), -1)
            else:
                inputs[tensor.name] = np.zeros(shape, tensor.dtype)
        made.append(Row(tuple(Lease(bundle.key, pool, slot, 1) for pool in graph.pools), inputs))
    return made


def weights(bundle: Bundle, graph: str) -> int:
    """Numbers in the initializers of a graph."""
    model = onnx.load(bundle.folder / bundle.manifest.graph(graph).file)
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    return sum(math.prod(tensor.dims) for tensor in model.graph.initializer if tensor.data_type in floats)


def macs(bundle: Bundle, name: str) -> float:
    """Multiplications of matrix products and convolutions in one frame of one stream, of the shapes that really ran."""
    graph = bundle.manifest.graph(name)
    return sum(_node_macs(op, shapes) for op, shapes in _executed(bundle, graph))


def _node_macs(op: str, shapes: dict[str, list[list[int]]]) -> int:
    if op not in _HEAVY:
        return 0
    output, left, right = shapes["output"][0], shapes["input"][0], shapes["input"][1]
    if op == "Conv":
        return math.prod(output) * math.prod(right[1:])
    return math.prod(left) * math.prod(right[1:]) if op == "ConvTranspose" else math.prod(output) * left[-1]


def _executed(bundle: Bundle, graph: Graph) -> Iterator[tuple[str, dict[str, list[list[int]]]]]:
    """The nodes of one call for one frame, as ONNX Runtime's profile tells them: operator and shapes."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    # A weight that is packed at load is not among the inputs that the profile tells.
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = ort.InferenceSession(str(bundle.folder / graph.file), options)
        (row,) = random_rows(bundle, graph, 1, 1)
        feeds = {name: array[None] for name, array in row.inputs.items()}
        feeds |= {f"slots_{pool}": np.zeros(1, np.int64) for pool in graph.pools}
        feeds |= {f"start_{group}": np.ones(1, bool) for group in graph.groups}
        feeds |= {
            state.name: np.zeros((2, *state.dims), state.dtype) for state in map(bundle.manifest.state, graph.reads)
        }
        session.run(None, feeds)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    for event in events:
        if event["name"].endswith("_kernel_time"):
            told = event["args"]
            shapes = {side: [s for typed in told[f"{side}_type_shape"] for s in typed.values()] for side in _SHAPED}
            yield told["op_name"], shapes


def report(costs: Sequence[Cost], shapes: Sequence[tuple[int, int]] = SHAPES) -> str:
    """Two tables: what each codec is, and what each of its calls takes."""
    lines = [
        "| bundle | delay, ms | weights, M | MMAC/s | state, KB | "
        + " | ".join(f"streams/core, {rows} x {frames}" for rows, frames in shapes)
        + " |",
        "|" + "---|" * (5 + len(shapes)),
    ]
    for cost in costs:
        speeds = [f"{cost.streams_per_core(*shape):.0f}" for shape in shapes]
        sizes = "+".join(f"{n / 1e6:.2f}" for n in cost.weights)
        work = "+".join(f"{n / 1e6:.0f}" for n in cost.macs_per_s)
        cells = [cost.name, f"{cost.delay_ms:.1f}", sizes, work, f"{cost.state_bytes / 1000:.1f}", *speeds]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| bundle | graph | rows x frames | served, ms | bare ONNX Runtime, ms | ratio |", "|" + "---|" * 6]
    for cost in costs:
        for step in cost.steps:
            lines.append(
                f"| {cost.name} | {step.graph} | {step.rows} x {step.frames} | {step.served_ms:.3f} "
                f"| {step.bare_ms:.3f} | {step.ratio:.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", type=Path, nargs="*", default=[Path("streamer/bundles/codec-16k")])
    parser.add_argument("--rounds", type=int, default=150)
    parser.add_argument("--json", type=Path, help="file for the raw figures")
    arguments = parser.parse_args()
    costs = [measure(folder, rounds=arguments.rounds) for folder in arguments.bundles]
    print(report(costs))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(cost) for cost in costs], indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
