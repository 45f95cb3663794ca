"""Makes glibc keep the memory it has: training frees and asks for the same large tensors in every update."""

import ctypes
import platform

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_NEVER, _PAD_BYTES = 2**31 - 1, 1 << 28


def keep_freed_memory() -> bool:
    """Never give freed memory back to the system; returns whether that is possible here (Linux with glibc).

    Without it large tensors are mapped anew each time, and clearing their pages took a third of an update on a CPU.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, _NEVER), mallopt(_TOP_PAD, _PAD_BYTES)])
