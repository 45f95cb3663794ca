"""How much a stream of a bundle keeps."""

import math

from models.flow_tts.cosyvoice.checkpoint import Checkpoint
from models.flow_tts.cosyvoice.config import Options
from models.flow_tts.cosyvoice.graphs import steps_of


def bytes_kept(checkpoint: Checkpoint, options: Options) -> dict[str, int]:
    """Bytes of the states of each graph."""
    return {
        name: sum(math.prod(state.dims) * state.dtype.itemsize for state in step.states)
        for name, step in steps_of(checkpoint.lm, checkpoint.flow, checkpoint.hift, options).items()
    }
