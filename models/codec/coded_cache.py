"""What codecs made of recordings, kept beside the figures of an evaluation."""

import numpy as np

from models.codec.peers.coded import Coded, System
from models.common.evaluation_cache import Cache, digest, replacing


class CodedCache(Cache):
    """A cache of results that holds decoded audio too."""

    def coded(self, system: System, samples: np.ndarray) -> Coded:
        """What `system` makes of f32[n], coded at most once for each `System.key`."""
        path = self.folder / f"{digest('coded', system.key, samples)}.npz"
        if path.exists():
            with np.load(path) as kept:
                wire = int(kept["wire_bytes"])
                return Coded(kept["samples"], int(kept["payload_bits"]), None if wire < 0 else wire)
        found = system.code(samples)
        wire = -1 if found.wire_bytes is None else found.wire_bytes
        with replacing(path) as partial:
            np.savez(partial, samples=found.samples, payload_bits=found.payload_bits, wire_bytes=wire)
        return found
