"""What the sums of a float graph depend on beside the graph and its inputs: who runs it, and on what."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import onnxruntime as ort

from streamer.bundle.loader import GRAPH_OPTIMIZATION, PROVIDERS

# Extensions by which ONNX Runtime chooses kernels for floats and bytes: x86-64 first, then Arm.
_EXTENSIONS = (
    "avx avx2 fma f16c avx512f avx512bw avx512dq avx512vl avx512_vnni avx_vnni avx512_bf16 avx512_fp16 "
    "amx_tile amx_int8 amx_bf16 asimd asimdhp asimddp asimdfhm i8mm bf16 sve sve2 svei8mm svebf16 sme sme2"
)
_CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Runtime:
    """How graphs are run here. `text` is all that a float may depend on, rows of a batch aside.

    Equal texts promise equal bits to graphs that run one row at a time.
    """

    provider: str = "cpu"
    intra_op_threads: int = 1

    @cached_property
    def text(self) -> str:
        """Runtime and its version, provider, machine and extensions of its processor, optimisation level, threads."""
        kernels = f"{PROVIDERS[self.provider][0]} {platform.machine()} {' '.join(_extensions())}"
        level = f"{GRAPH_OPTIMIZATION.name} {self.intra_op_threads} threads 1 row"
        return f"onnxruntime {ort.__version__} {kernels} {level}"

    @property
    def digest(self) -> bytes:
        """SHA-256 of `text`."""
        return hashlib.sha256(self.text.encode()).digest()

    @property
    def number(self) -> int:
        """What a header of 32 bits can say of it: the first four bytes of `digest`."""
        return int.from_bytes(self.digest[:4], "little")


# Elsewhere sums may come out otherwise from one call to the next.
REPEATABLE = Runtime()


@cache
def _extensions() -> tuple[str, ...]:
    """Those that the processor has, as Linux calls them; elsewhere as numpy does."""
    if _CPU_INFO.exists():
        return extensions_in(_CPU_INFO.read_text())
    found = np.show_config(mode="dicts")["SIMD Extensions"]
    return tuple(sorted({*found.get("baseline", ()), *found.get("found", ())}))


def extensions_in(cpu_info: str) -> tuple[str, ...]:
    """Read those of the first processor in the text of /proc/cpuinfo that matter here."""
    for line in cpu_info.splitlines():
        key, _, values = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return tuple(sorted(set(_EXTENSIONS.split()).intersection(values.split())))
    return ()
