"""When the audio of a voice is made, and how much at a time: by what its listener has still to hear.

Nobody tells the server what was played. It reckons with a listener who begins with the first audio and never pauses;
who pauses has more left than that.
"""

from __future__ import annotations

import math

# Frames of a step: little where somebody waits for sound, more where there is time, for that costs less: 43, 30 and
# 26 ms a second of sound. But whoever begins to speak waits for the step that runs.
FIRST, MIDDLE, LARGE = 10, 25, 50
# Whoever only wants to have the audio soon has the second part of it soon too.
_MIDDLE_UNTIL_S = 1.0


class Pacing:
    """The playback of one stream. Times are seconds of the caller's clock.

    `frame_s` is how long a frame sounds. No audio is made that would be more than `lead_s` ahead of playback; infinite
    for streams that nobody listens to while they are made.
    """

    def __init__(self, frame_s: float, lead_s: float = math.inf) -> None:
        self._frame_s = frame_s
        self._lead_s = lead_s
        # When the listener has heard all that was made; long ago before there was any.
        self._heard_at = -math.inf

    def ahead_s(self, now: float) -> float:
        """Return how much audio the listener has still to hear."""
        return max(0.0, self._heard_at - now)

    def frames(self, now: float) -> int:
        """Return how many frames to make next, 0 if it is too early for any."""
        ahead_s = self.ahead_s(now)
        if not ahead_s:
            return FIRST
        if math.isinf(self._lead_s):
            return MIDDLE if ahead_s <= _MIDDLE_UNTIL_S else LARGE
        # A billionth is rounding.
        fits = (size for size in (MIDDLE, FIRST) if ahead_s + size * self._frame_s <= self._lead_s + 1e-9)
        return next(fits, 0)

    def deadline(self, since: float) -> float:
        """Return when audio that could be made `since` then should be there: when the listener has heard the rest.

        A listener who has nothing to hear waits since the audio could be made.
        """
        return max(self._heard_at, since)

    def made(self, seconds: float, now: float) -> None:
        """So much audio more was sent."""
        if seconds:
            self._heard_at = max(self._heard_at, now) + seconds

    def restart(self) -> None:
        """The listener has thrown away what was not heard yet."""
        self._heard_at = -math.inf
