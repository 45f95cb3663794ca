"""How much a stream of a bundle keeps, and whether this machine can check a bundle of such streams."""

import math
import os

from models.common.safe_files import CheckpointError
from models.flow_tts.cosyvoice.checkpoint import Checkpoint
from models.flow_tts.cosyvoice.config import Options
from models.flow_tts.cosyvoice.graphs import steps_of

# Rows of state that the check of a bundle has at once: two sets of five slots, twice.
_ROWS_CHECKED = 20
_GB = 1e9


def bytes_kept(checkpoint: Checkpoint, options: Options) -> dict[str, int]:
    """Bytes of the states of each graph."""
    return {
        name: sum(math.prod(state.dims) * state.dtype.itemsize for state in step.states)
        for name, step in steps_of(checkpoint.lm, checkpoint.flow, checkpoint.hift, options).items()
    }


def require_memory(checkpoint: Checkpoint, options: Options) -> None:
    """Raise `CheckpointError` if this machine has not the memory to check a bundle of such streams."""
    needed, there = _ROWS_CHECKED * sum(bytes_kept(checkpoint, options).values()), physical_memory()
    if needed > there:
        raise CheckpointError(
            f"state of {options.pages} pages: expected {needed / _GB:.1f} GB of memory to check the bundle,"
            f" got {there / _GB:.1f}\n  fewer --pages, --half-state and --flow prefix need less"
        )


def physical_memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
