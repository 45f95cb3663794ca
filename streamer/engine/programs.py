"""Runs programs: generators over a batch of rows that ask for graph calls."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import structlog

from streamer.engine.batches import zero_outputs
from streamer.engine.runner import Runner
from streamer.errors import ModelFault
from streamer.work import Call, Lease, Program, Result, Row, Tensors

log = structlog.get_logger()


def run_program(name: str, program: Program, runner: Runner, rows: Sequence[Row]) -> list[Result]:
    """Run `program` over `rows`; results are in their order. Never raises.

    A faulted row of a call is answered with zeros, so that the program can go on for the others; in the end every row
    that holds a lease of a faulted row is a fault too. A fault without leases, or an exception of the program itself,
    faults the whole batch: nothing tells whose it was.
    """
    faults: dict[Lease | None, ModelFault] = {}
    try:
        outputs = _drive(program(rows), runner, faults)
        if len(outputs) != len(rows):
            raise ValueError(f"expected outputs of {len(rows)} rows, got {len(outputs)}")
    except Exception as error:
        log.exception("program raised", bundle=runner.bundle.key, program=name)
        fault = ModelFault(f"bundle {runner.bundle.key}: program {name}: raised {type(error).__name__}")
        return [Result(error=fault)] * len(rows)
    return [_result(row, output, faults) for row, output in zip(rows, outputs, strict=True)]


def _drive(
    generator: Generator[Call, Sequence[Tensors], Sequence[Tensors]],
    runner: Runner,
    faults: dict[Lease | None, ModelFault],
) -> Sequence[Tensors]:
    try:
        call = next(generator)
        while True:
            call = generator.send(_answer(runner, call, faults))
    except StopIteration as end:
        outputs: Sequence[Tensors] = end.value
        return outputs
    finally:
        generator.close()


def _answer(runner: Runner, call: Call, faults: dict[Lease | None, ModelFault]) -> list[Tensors]:
    answers: list[Tensors] = []
    for row, result in zip(call.rows, runner.run(call.graph, call.rows), strict=True):
        if isinstance(result.error, ModelFault):
            faults.update(dict.fromkeys(row.leases or (None,), result.error))
            answers.append(zero_outputs(runner.bundle.manifest.graph(call.graph)))
        else:
            answers.append(result.outputs)
    return answers


def _result(row: Row, outputs: Tensors, faults: dict[Lease | None, ModelFault]) -> Result:
    for owner in (None, *row.leases):
        if owner in faults:
            return Result(error=faults[owner])
    return Result(outputs)
