"""Freed memory stays with the process while it trains."""

import platform
import resource

import pytest

torch = pytest.importorskip("torch")

from models.common.allocator import keep_freed_memory  # noqa: E402

pytestmark = pytest.mark.train


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_large_tensors_are_not_mapped_anew() -> None:
    assert keep_freed_memory()
    torch.ones(1 << 18)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(1 << 18)
    # 1 MiB is 256 pages, and each would be cleared again 20 times.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 256
