"""Freed memory stays with the process while it trains."""

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.train

# A process of its own: how much is free in the one that tests depends on the tests before.
_PROGRAM = """
import resource, sys
from models.common.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
size = 48 << 20
b"x" * size
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    b"x" * size
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_large_blocks_are_not_mapped_anew() -> None:
    # 48 MiB are 12,288 pages, which would be cleared again each time.
    assert _faults("keep") < 12_288 < 3 * 12_288 <= _faults("give back")


def _faults(what: str) -> int:
    ran = subprocess.run([sys.executable, "-c", _PROGRAM, what], capture_output=True, text=True, check=True)
    return int(ran.stdout)
