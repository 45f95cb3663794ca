"""When silence, or length, ends a segment."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import Enum

from streamer.errors import InvalidRequest

# No segment grows longer, whatever the client asks for: work and messages per chunk grow with the segment.
LONGEST_SEGMENT_S = 120.0


@dataclass(frozen=True, slots=True)
class Endpointing:
    """When a segment ends by itself, in seconds. `enabled=False` leaves `Finalize` and `LONGEST_SEGMENT_S`."""

    enabled: bool = True
    silence_without_speech_s: float = 2.4
    silence_after_speech_s: float = 1.2
    max_segment_s: float = 20.0

    @property
    def longest_s(self) -> float:
        """After how much speech a segment is cut between two words."""
        return self.max_segment_s if self.enabled else LONGEST_SEGMENT_S


class Endpoint(Enum):
    """Why a segment ends: silence before any word, silence after one, or its length."""

    SILENCE_WITHOUT_SPEECH = "silence_without_speech"
    SILENCE_AFTER_SPEECH = "silence_after_speech"
    MAX_SEGMENT = "max_segment"


def check_endpointing(rules: Endpointing) -> None:
    """Raise `InvalidRequest` unless every duration is a finite number above zero and the longest segment allowed."""
    for field in fields(rules):
        value = getattr(rules, field.name)
        if field.name == "enabled":
            good = isinstance(value, bool)
        else:
            good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
        if not good:
            expected = "true or false" if field.name == "enabled" else "a finite number of seconds above 0"
            raise InvalidRequest(f"endpointing {field.name}: expected {expected}, got {value!r}")
    if rules.max_segment_s > LONGEST_SEGMENT_S:
        limit = f"at most {LONGEST_SEGMENT_S:g} seconds"
        raise InvalidRequest(f"endpointing max_segment_s: expected {limit}, got {rules.max_segment_s!r}")


def find_endpoint(rules: Endpointing, has_speech: bool, silence_s: float, speech_s: float) -> Endpoint | None:
    """Return the rule that ends the segment now, if any.

    Speech means that a token was emitted in this segment; the k2 rules infer it from lengths and misfire when chunks
    and frames do not match. `silence_s` is the time since the last token, or since the segment began; `speech_s` the
    time since its first token, so that silence before a word never counts towards its length.
    """
    if rules.enabled and not has_speech and silence_s >= rules.silence_without_speech_s:
        return Endpoint.SILENCE_WITHOUT_SPEECH
    if rules.enabled and has_speech and silence_s >= rules.silence_after_speech_s:
        return Endpoint.SILENCE_AFTER_SPEECH
    return Endpoint.MAX_SEGMENT if has_speech and speech_s >= rules.longest_s else None
