"""What a runtime says of itself, and that another one says something else."""

from __future__ import annotations

import re

import onnxruntime as ort
import pytest

from streamer.bundle.runtime import REPEATABLE, Runtime, extensions_in

X86 = """processor\t: 0
model name\t: Some CPU
flags\t\t: fpu sse2 avx2 avx512_vnni fma erms
processor\t: 1
flags\t\t: fpu amx_tile
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd i8mm asimddp\nCPU part\t: 0xd49\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [(X86, ("avx2", "avx512_vnni", "fma")), (ARM, ("asimd", "asimddp", "i8mm")), ("", ()), ("flags\n", ())],
)
def test_extensions_are_those_of_the_first_processor(text: str, expected: tuple[str, ...]) -> None:
    """And of these, those by which kernels are chosen."""
    assert extensions_in(text) == expected


def test_a_runtime_tells_all_that_sums_depend_on() -> None:
    """Version, provider, machine, extensions, optimisation, threads, rows."""
    expected = r"onnxruntime [\w.+]+ CPUExecutionProvider \w+ [\w ]* ?ORT_ENABLE_ALL 1 threads 1 row"
    assert re.fullmatch(expected, REPEATABLE.text)
    assert ort.__version__ in REPEATABLE.text


def test_other_runtimes_have_other_digests() -> None:
    """Equal ones have equal ones."""
    runtimes = [Runtime(), Runtime("cuda"), Runtime(intra_op_threads=2)]
    assert len({runtime.digest for runtime in runtimes}) == 3
    assert Runtime("cpu", 1).digest == REPEATABLE.digest
    assert REPEATABLE.number == int.from_bytes(REPEATABLE.digest[:4], "little")
