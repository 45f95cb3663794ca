"""Processor time and memory of another process, as Linux tells it in /proc (proc(5))."""

from __future__ import annotations

import os
from pathlib import Path


def cpu_seconds(pid: int) -> float | None:
    """Return the user and system time of `pid` so far, all threads; None if it cannot be told."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is the command in parentheses, which may hold spaces; utime and stime are fields 14 and 15.
    fields = text[text.rindex(")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> tuple[float, float] | None:
    """Return the resident memory of `pid` and its peak in MiB; None if it cannot be told."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    values = dict(line.split(":", 1) for line in lines)
    if "VmRSS" not in values or "VmHWM" not in values:
        return None
    return _mb(values["VmRSS"]), _mb(values["VmHWM"])


def _mb(text: str) -> float:
    return int(text.split()[0]) / 1024
