"""When a stream that Whisper hears gets a new window, and what has to be encoded: plain data, no model.

Whisper's encoder knows 30 s, and what it has cached cannot be moved. So a stream is heard in windows that overlap: each
utterance has its own, a long one goes on in a new one at a pause, and where there is none a second window is encoded
beside the first for some seconds, until the text can go on in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any, Self

from streamer.errors import BundleError
from streamer.tasks.roles import Roles

# How far a new window reaches back at most, so that a word that has just begun is whole in it: 1 s.
REACH_FRAMES = 50
# Of a window of 30 s: 15, 20 and 28 s.
_ROLL, _SHADOW, _CUT = 1 / 2, 2 / 3, 14 / 15
_PAUSE_FRAMES = 30
_MOST_TOKENS = 400


@dataclass(frozen=True, slots=True)
class WindowRules:
    """When windows end; lengths in encoder frames. The first call of a window encodes `first`, each later one `gran`.

    A window of `roll` frames ends once `pause` frames brought no token; at `shadow` frames its successor begins beside
    it, which takes over at `cut`. None is longer than `longest`, none holds more than `most_tokens`.
    """

    gran: int
    first: int
    longest: int
    roll: int
    pause: int
    shadow: int
    cut: int
    most_tokens: int

    @classmethod
    def of(cls, roles: Roles, first: int, most_tokens: int) -> WindowRules:
        """Read the parameters `gran` and `max_frames`, and those that have defaults; raises `BundleError`.

        These are `roll_frames`, `pause_frames`, `shadow_frames`, `cut_frames` and `most_tokens`.
        """
        gran, longest = roles.integer("gran", 1), roles.integer("max_frames", first)
        cut = roles.integer("cut_frames", 1, round(_CUT * longest))
        # A successor that had not heard its first block yet could not take over.
        shadow = roles.integer("shadow_frames", 1, max(1, min(round(_SHADOW * longest), cut - first)))
        roll = roles.integer("roll_frames", 1, round(_ROLL * longest))
        pause = roles.integer("pause_frames", 1, min(_PAUSE_FRAMES, longest))
        most = roles.integer("most_tokens", 1, max(1, min(_MOST_TOKENS, most_tokens)))
        # A model whose first block fills its window, as one that is no streaming one, has no room for a successor.
        if longest >= first + gran and not shadow < cut <= longest:
            got = f"{shadow}, {cut} and {longest}"
            expected = "shadow_frames < cut_frames <= max_frames"
            raise BundleError(f"bundle {roles.manifest.name}: expected {expected}, got {got}")
        return cls(gran, first, longest, roll, pause, shadow, cut, most)


@dataclass(frozen=True, slots=True)
class Window:
    """A window that begins with frame `origin` of the stream and has `count` frames in half `bank` of the caches."""

    origin: int = 0
    bank: int = 0
    count: int = 0

    @property
    def end(self) -> int:
        """The frame of the stream after the last one that is encoded."""
        return self.origin + self.count

    def due(self, rules: WindowRules, heard: int) -> int:
        """How many frames the next call is to encode, of `heard` frames of the stream; 0: none yet."""
        size = rules.gran if self.count else rules.first
        return size if self.end + size <= heard and self.count + size <= rules.longest else 0

    def grown(self, size: int) -> Window:
        """The window after a call that encoded `size` frames."""
        return replace(self, count=self.count + size)

    def is_full(self, rules: WindowRules) -> bool:
        """Whether no other call fits into it."""
        return self.count > 0 and self.count + rules.gran > rules.longest


class Turn(Enum):
    """What becomes of the live window: it goes on, is followed by the shadow, or ends where there is a pause."""

    NONE = "none"
    CUT = "cut"
    ROLL = "roll"


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of a stream: the `live` one that is decoded, and perhaps its successor.

    `heard` counts the frames of the stream since its model started, `emitted` is where the last token was emitted.
    """

    live: Window = Window()
    shadow: Window | None = None
    heard: int = 0
    emitted: int = 0

    @property
    def age(self) -> int:
        """Frames since the live window began."""
        return self.heard - self.live.origin

    def at(self, heard: int, rules: WindowRules) -> Windows:
        """The windows when `heard` frames have been heard: perhaps a shadow begins."""
        later = replace(self, heard=heard)
        if self.shadow is None and rules.shadow <= later.age and later.age + rules.first <= rules.longest:
            return replace(later, shadow=Window(heard, 1 - self.live.bank))
        return later

    def turn(self, rules: WindowRules, tokens: int) -> Turn:
        """What is to happen after the chunk was decoded, with so many tokens in the window."""
        is_full = self.live.is_full(rules)
        is_ready = self.shadow is not None and self.shadow.count > 0
        if is_ready and (self.age >= rules.cut or tokens >= rules.most_tokens or is_full):
            return Turn.CUT
        is_paused = self.age >= rules.roll and self.heard - max(self.emitted, self.live.origin) >= rules.pause
        return Turn.ROLL if is_paused or is_full or tokens >= rules.most_tokens else Turn.NONE

    def cut(self) -> Windows:
        """The shadow takes over."""
        assert self.shadow is not None
        return replace(self, live=self.shadow, shadow=None)

    def rolled(self, rules: WindowRules) -> Windows:
        """A new window after the last token, at most a second back, on the grid of chunks."""
        if self.heard == 0:
            return self
        back = -(-(self.heard - REACH_FRAMES) // rules.gran) * rules.gran
        origin = min(max(self.emitted, back, 0), self.heard)
        return replace(self, live=Window(origin, 1 - self.live.bank), shadow=None)

    def plain(self) -> dict[str, Any]:
        """Everything as JSON-compatible data."""
        return asdict(self)

    @classmethod
    def of_plain(cls, data: Mapping[str, Any]) -> Self:
        """Read what `plain` wrote."""
        shadow = None if data["shadow"] is None else Window(**data["shadow"])
        return cls(**{**data, "live": Window(**data["live"]), "shadow": shadow})
