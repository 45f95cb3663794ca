"""The whole check of one bundle, with the parts that need a runner."""

from __future__ import annotations

from pathlib import Path

from streamer.bundle.check import Check, Report, check_files, check_references
from streamer.bundle.loader import Bundle
from streamer.engine.execution import Sessions
from streamer.engine.runner import open_sessions
from streamer.engine.selftest import Finding, find_aliasing, find_leak
from streamer.engine.settings import EngineSettings, bytes_per_stream
from streamer.errors import BundleError
from streamer.tasks.registry import KINDS, task_maker


def check_bundle(folder: Path, settings: EngineSettings | None = None) -> Report:
    """Check files, signatures, task, recorded references, resets and in-place state of the bundle in `folder`.

    Never raises for what is wrong with the bundle; raises `InvalidRequest` if the provider is not there.
    """
    bundle, report = check_files(folder)
    if bundle is None:
        return report
    settings = settings or EngineSettings()
    sessions = open_sessions(bundle, settings)
    checks = (
        *_task(bundle),
        *check_references(bundle),
        *_self_tests(bundle, sessions, settings),
        _memory(bundle),
    )
    return Report(report.bundle, report.checks + checks)


def _task(bundle: Bundle) -> tuple[Check, ...]:
    """What the server would refuse at its start; nothing for a task that this version does not serve."""
    kind = bundle.manifest.task.kind
    if kind not in KINDS:
        return ()
    try:
        task_maker(bundle.manifest, bundle.folder)
    except BundleError as error:
        return (Check("task", False, str(error)),)
    return (Check("task", True, f"roles, parameters and assets are those of {kind}"),)


def _self_tests(bundle: Bundle, sessions: Sessions, settings: EngineSettings) -> tuple[Check, ...]:
    if not bundle.manifest.states:
        return ()
    return (
        _outcome("starts forget the slot's past", find_leak(bundle, sessions, settings)),
        _outcome("state is updated in place", find_aliasing(bundle, sessions, settings)),
    )


def _outcome(name: str, finding: Finding | None) -> Check:
    if finding is None:
        return Check(name, True, "outputs and arenas agree on random input")
    return Check(name, False, f"graph {finding.graph}: {finding.detail}")


def _memory(bundle: Bundle) -> Check:
    return Check("state memory", True, f"{bytes_per_stream(bundle.manifest)} bytes per stream")
