"""How speech is told from silence in a stream: what a client asks of the voice activity detector."""

from __future__ import annotations

import math
from dataclasses import dataclass

from streamer.errors import InvalidRequest

LONGEST_S = 10.0


@dataclass(frozen=True, slots=True)
class Vad:
    """Voice activity detection beside the task of the stream; off unless `events` or `gate` asks for it.

    `events` sends a `SpeechEvent` where speech begins and ends. `gate` spares the model what holds no speech. Speech
    begins where the probability of speech stays at least `threshold` for `min_speech_s`, and ends where it falls below
    for `min_silence_s`.
    """

    events: bool = False
    gate: bool = False
    threshold: float = 0.5
    min_speech_s: float = 0.1
    min_silence_s: float = 0.5

    @property
    def wanted(self) -> bool:
        """Whether the stream needs a detector."""
        return self.events or self.gate


NO_VAD = Vad()


def check_vad(vad: Vad) -> None:
    """Raise `InvalidRequest` for a value that no detector can be set to."""
    if not 0.05 <= vad.threshold <= 0.95:
        raise InvalidRequest(f"expected vad.threshold from 0.05 to 0.95, got {vad.threshold:g}")
    for name, value in (("min_speech_s", vad.min_speech_s), ("min_silence_s", vad.min_silence_s)):
        if not (math.isfinite(value) and 0 <= value <= LONGEST_S):
            raise InvalidRequest(f"expected vad.{name} from 0 to {LONGEST_S:g}, got {value:g}")
