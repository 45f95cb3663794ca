"""What one more chunk of a stream costs against the stream's age, beside openai-whisper run on the growing buffer.

Both have the same random weights and one thread, and run in turns on the same machine, so that what counts are ratios.
Random weights say nonsense, so both are told what was said: our decoder's predictions are replaced, after it has
made them, by a text of a constant number of tokens a second; openai-whisper decodes as many tokens.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import whisper
from whisper.model import ModelDimensions

from models.careless_whisper.config import Chunking, Dims
from models.careless_whisper.export import export_bundle
from models.careless_whisper.features import SAMPLE_RATE
from models.careless_whisper.model import Whisper
from models.careless_whisper.tokenizer import of_ranks
from streamer.bundle.loader import Bundle, load_bundle
from streamer.engine.programs import run_program
from streamer.engine.runner import Runner, open_sessions
from streamer.engine.settings import EngineSettings
from streamer.tasks.base import Task
from streamer.tasks.endpoint import Endpointing
from streamer.tasks.options import TaskOptions
from streamer.tasks.registry import program_of, task_maker
from streamer.work import Array, Lease, Result, Row

SIZES = {
    "tiny": Dims(80, 1500, 384, 6, 4, 51865, 448, 384, 6, 4),
    "base": Dims(80, 1500, 512, 8, 6, 51865, 448, 512, 8, 6),
}
TOKENS_PER_S = 3.5
"""English text of ordinary speed."""
AGES_S = (1.0, 10.0, 29.0, 120.0)
# Steps within so many seconds around an age are averaged.
_AROUND_S = 0.9
_WINDOW_S = 30.0
# Where the first window is left, and how long after each other the later ones are.
_CUT_S, _CYCLE_S = 28.0, 20.0
_FIRST_TEXT_ID = 1000


@dataclass(frozen=True)
class Cost:
    """Milliseconds of processor time of the step that ends at `age_s`."""

    age_s: float
    ms: float


class ScriptedRunner:
    """Runs every graph, then says that tokens were spoken at a constant rate since the window began."""

    def __init__(self, runner: Runner) -> None:
        self.bundle = runner.bundle
        self._runner = runner
        parameters = runner.bundle.manifest.task.parameters
        self._eot = int(parameters["eot"])
        self._prompt = 4 if int(parameters["first_language"]) >= 0 else 2
        # Frames of each of the two windows.
        self._frames = [0, 0]

    def run(self, graph: str, rows: Sequence[Row]) -> list[Result]:
        """As `Runner.run`, for one row."""
        results = self._runner.run(graph, rows)
        if results[0].error is not None:
            raise results[0].error
        if graph == "encode":
            self._frames[int(rows[0].inputs["bank"])] = int(results[0].outputs["frames"])
        if graph == "decode":
            return [Result({**results[0].outputs, **self._said(rows[0])})]
        return results

    def _said(self, row: Row) -> dict[str, Array]:
        index = row.inputs["places"][row.inputs["ask"]] - self._prompt + 1
        spoken = self._frames[int(row.inputs["bank"])] / 50 * TOKENS_PER_S
        best = np.where(index < spoken, _FIRST_TEXT_ID + index * 37 % 5000, self._eot)
        sure = np.zeros(len(index), np.float32)
        return {"best": best, "best_logit": sure, "check_logit": sure, "log_sum": sure}


class StreamedCost:
    """One stream of random sound through the program of a bundle, and what each of its steps cost."""

    def __init__(self, bundle: Bundle, runner: Runner) -> None:
        make_task = task_maker(bundle.manifest, bundle.folder)
        self._task: Task = make_task(TaskOptions(Endpointing(enabled=False), language="en"))
        program = program_of(bundle.manifest, bundle.folder)
        assert program is not None
        self._program, self._name = program, str(bundle.manifest.task.program)
        self._runner = ScriptedRunner(runner)
        self._lease = Lease(bundle.key, "stream", 0, 1)
        self._rng = np.random.default_rng(0)
        self._steps = 0

    def step(self) -> Cost:
        """Hear one more chunk."""
        task = self._task
        chunk = (self._rng.standard_normal(task.chunk_samples) * 0.1).astype(np.float32)
        began = time.process_time()
        step = task.step(chunk)
        rows = [Row((self._lease,), step.inputs, step.start)]
        result = run_program(self._name, self._program, self._runner, rows)[0]  # type: ignore[arg-type]
        if result.error is not None:
            raise result.error
        task.complete(result.outputs)
        ms = 1000 * (time.process_time() - began)
        self._steps += 1
        return Cost(self._steps * task.hop_samples / SAMPLE_RATE, ms)


def peer_cost(model: whisper.Whisper, age_s: float) -> Cost:
    """openai-whisper on all audio of a stream of this age, at most its last 30 s, padded to 30 s as it requires."""
    heard_s = min(age_s, _WINDOW_S)
    samples = (np.random.default_rng(0).standard_normal(int(heard_s * SAMPLE_RATE)) * 0.1).astype(np.float32)
    began = time.process_time()
    mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(torch.from_numpy(samples)))
    whisper.decode(model, mel, _options(model, max(1, round(heard_s * TOKENS_PER_S))))
    return Cost(age_s, 1000 * (time.process_time() - began))


def _options(model: whisper.Whisper, tokens: int) -> whisper.DecodingOptions:
    # The end is suppressed, so that a text has the length that was asked for.
    eot = whisper.tokenizer.get_tokenizer(model.is_multilingual).eot
    return whisper.DecodingOptions(
        language="en", without_timestamps=True, fp16=False, sample_len=tokens, suppress_tokens=f"-1,{eot}"
    )


def random_models(dims: Dims) -> tuple[Whisper, whisper.Whisper]:
    """Our model and openai-whisper's with the same random weights."""
    torch.manual_seed(0)
    ours, peer = Whisper(dims).eval(), whisper.Whisper(ModelDimensions(**vars(dims))).eval()
    peer.load_state_dict(ours.state_dict())
    return ours, peer


def export_random(model: Whisper, chunking: Chunking, folder: Path, mode: str) -> Bundle:
    """The bundle of a model, with the vocabulary that comes with openai-whisper; `mode` is that of the search."""
    tokens = Path(whisper.__file__).parent / "assets" / "multilingual.tiktoken"
    about = {"name": folder.name, "version": "0.0.1", "description": "random weights", "licence": "Apache-2.0"}
    folder.mkdir()
    card = folder / "README.md"
    card.write_text("Random weights, to measure time with.\n", encoding="utf-8")
    vocabulary = of_ranks(tokens, model.dims.n_vocab)
    export_bundle(
        model, chunking, vocabulary, folder, {**about, "languages": ["en"]}, options={"mode": mode}, card=card
    )
    return load_bundle(folder)


def measure(bundle: Bundle, peer: whisper.Whisper, until_s: float, rounds: int) -> tuple[list[Cost], list[Cost]]:
    """Costs of our steps, the least of `rounds` streams at each age, and of the peer at some ages, in turns."""
    settings = EngineSettings(max_batch=1)
    runner = Runner(bundle, open_sessions(bundle, settings), {"stream": 1}, settings)
    ours: dict[float, list[float]] = {}
    theirs: dict[float, list[float]] = {}
    for _ in range(rounds):
        for cost in _until(StreamedCost(bundle, runner).step, until_s):
            ours.setdefault(cost.age_s, []).append(cost.ms)
        for age_s in (1.0, 5.0, 10.0, 20.0, 29.0):
            theirs.setdefault(age_s, []).append(peer_cost(peer, age_s).ms)
    return _least(ours), _least(theirs)


def mean_around(costs: Sequence[Cost], age_s: float, around_s: float = _AROUND_S) -> float:
    """Mean cost, ms, of the steps near an age."""
    return statistics.mean(cost.ms for cost in costs if abs(cost.age_s - age_s) <= around_s)


def _between(costs: Sequence[Cost], begin_s: float, end_s: float) -> list[float]:
    return [cost.ms for cost in costs if begin_s < cost.age_s <= end_s]


def _until(step: Callable[[], Cost], until_s: float) -> Iterator[Cost]:
    while (cost := step()).age_s < until_s:
        yield cost


def _least(found: dict[float, list[float]]) -> list[Cost]:
    """The least cost at each age: other work on the machine only adds."""
    return [Cost(age_s, min(ms)) for age_s, ms in sorted(found.items())]


def draw(curves: dict[str, tuple[list[Cost], list[Cost]]], chunk_ms: int, path: Path) -> None:
    """Draw our costs and the peer's against age."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
    for (name, (ours, theirs)), colour in zip(curves.items(), ("tab:blue", "tab:orange"), strict=False):
        axes.plot([c.age_s for c in ours], [c.ms for c in ours], color=colour, linewidth=1, label=f"{name}, streamed")
        ages, ms = [c.age_s for c in theirs], [c.ms for c in theirs]
        # What comes after 30 s is a buffer trimmed to 30 s.
        axes.plot([*ages, ours[-1].age_s], [*ms, ms[-1]], "--", color=colour, label=f"{name}, openai-whisper re-run")
    axes.axhline(chunk_ms, color="grey", linewidth=0.8)
    axes.annotate(f"real time: {chunk_ms} ms", (0, chunk_ms * 1.06), color="grey", fontsize=8)
    axes.set(xlabel="age of the stream, s", ylabel=f"CPU ms for {chunk_ms} ms more", yscale="log")
    axes.grid(alpha=0.3, which="both")
    axes.legend(frameon=False, ncols=2, fontsize=8)
    figure.savefig(path, dpi=110)


def report(name: str, ours: list[Cost], theirs: list[Cost]) -> str:
    """Rows of the table for one size."""
    lines = []
    for age_s in (age_s for age_s in AGES_S if age_s <= ours[-1].age_s):
        mine = mean_around(ours, age_s)
        peer = mean_around(theirs, min(age_s, AGES_S[2]), 0.1)
        lines.append(f"| {name} | {age_s:g} s | {mine:.1f} | {peer:.0f} | {peer / mine:.1f} |")
    mean = statistics.mean(cost.ms for cost in ours if cost.age_s <= _WINDOW_S)
    lines.append(f"{name}: mean of the first {_WINDOW_S:g} s {mean:.1f} ms")
    if ours[-1].age_s > AGES_S[3]:
        first, last = (_between(ours, end - _CYCLE_S, end) for end in (_CUT_S, _CUT_S + 4 * _CYCLE_S))
        lines.append(
            f"{name}: steps at 120 s against 29 s {mean_around(ours, AGES_S[3]) / mean_around(ours, AGES_S[2]):.2f}; "
            f"from cut to cut, the fifth window against the first: "
            f"mean {statistics.mean(last) / statistics.mean(first):.2f}, largest {max(last) / max(first):.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=tuple(SIZES))
    parser.add_argument("--gran", type=int, default=15, help="encoder frames of 20 ms a chunk")
    parser.add_argument("--extra", type=int, default=1, help="further chunks of the first block")
    parser.add_argument("--mode", choices=("exact", "frozen"), default="exact", help="of the search, see SERVING.md")
    parser.add_argument("--until", type=float, default=125.0, help="age of the oldest step, s")
    parser.add_argument("--rounds", type=int, default=3, help="streams to measure")
    parser.add_argument("--json", type=Path, help="file for the raw figures")
    parser.add_argument("-o", "--plot", type=Path, help="a .png or .svg")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    chunking, curves = Chunking(arguments.gran, arguments.extra), {}
    print("| size | age | ours, ms | openai-whisper, ms | ratio |\n|---|---|---|---|---|", flush=True)
    for name in arguments.sizes:
        ours, peer = random_models(SIZES[name])
        with tempfile.TemporaryDirectory() as folder:
            bundle = export_random(ours, chunking, Path(folder) / name, arguments.mode)
            curves[name] = measure(bundle, peer, arguments.until, arguments.rounds)
        print(report(name, *curves[name]), flush=True)
    if arguments.json:
        raw = {name: [[[c.age_s, c.ms] for c in costs] for costs in pair] for name, pair in curves.items()}
        arguments.json.write_text(json.dumps(raw))
    if arguments.plot:
        draw(curves, 20 * arguments.gran, arguments.plot)


if __name__ == "__main__":
    main()
