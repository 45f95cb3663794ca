"""How many files are worked on at a time, and the settings of a host that serves nothing but files."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamer.config import Settings

_PATIENCE_MS = 24 * 3600 * 1000


def default_jobs(settings: Settings) -> int:
    """As many as fill a batch of every worker."""
    return settings.engine.max_batch * _workers(settings)


def for_files(settings: Settings, jobs: int) -> Settings:
    """A slot for every job and not more workers than jobs; a pipe, or who reads the text, may take its time."""
    engine = settings.engine.model_copy(update={"workers": min(_workers(settings), jobs), "max_streams": jobs})
    patience = {"idle_timeout_ms": _PATIENCE_MS, "unread_limit_ms": _PATIENCE_MS, "max_session_ms": None}
    session = settings.session.model_copy(update=patience)
    return settings.model_copy(update={"engine": engine, "session": session})


def is_progress_shown(quiet: bool) -> bool:
    """Whether somebody looks."""
    return not quiet and sys.stderr.isatty()


def quieten(settings: Settings) -> None:
    """Log warnings and errors only: what is only worth knowing of a server is noise here."""
    from streamer.cli.logs import configure_logging

    configure_logging("warning" if settings.log_level == "info" else settings.log_level)


def _workers(settings: Settings) -> int:
    import os

    if settings.engine.workers is not None:
        return settings.engine.workers
    if settings.engine.provider == "cuda":
        # A worker is a GPU there.
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
