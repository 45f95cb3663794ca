"""How far a stream is that Whisper hears: its windows and its text, as plain data that travels with every step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from streamer.tasks.whisper_rules import Stop
from streamer.tasks.whisper_state import Spoken, State
from streamer.tasks.whisper_window import Turn, WindowRules, Windows
from streamer.work import Array

# The prompt of a window whose language is yet to be told from its sound.
_UNKNOWN: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """Windows, the text of the live one, and the id of the language's token, -1 for one that is not known.

    `decoded` counts the frames of the live window that the text has heard. `has_begun` says that the encoder's states
    are the stream's own.
    """

    windows: Windows
    state: State
    language: int = -1
    decoded: int = 0
    has_begun: bool = False

    @classmethod
    def start(cls, prompt: tuple[int, ...], language: int) -> Self:
        """Nothing has been heard; `prompt` is empty where the language is to be told from the sound."""
        return cls(Windows(), State.start(prompt), language)

    @property
    def knows_language(self) -> bool:
        """Whether the prompt of the live window stands."""
        return self.state.prompt != _UNKNOWN

    def told(self, state: State) -> Progress:
        """The progress once the live window was decoded into `state`."""
        live = self.windows.live
        emitted = max((live.origin + token.emitted for token in state.tokens), default=0)
        windows = replace(self.windows, emitted=max(self.windows.emitted, emitted))
        return replace(self, windows=windows, state=state, decoded=live.count)

    def turned(self, rules: WindowRules, prompt: tuple[int, ...], look_back: int) -> tuple[Progress, int] | None:
        """The progress in the next window if the live one is to end, and how many of its tokens stay; else None.

        `prompt` is for a new text, `look_back` how many tokens at the end of a text may be judged again.
        """
        live = self.windows.live
        if live.count == 0 or live.count > self.decoded:
            return None
        turn = self.windows.turn(rules, rules.most_tokens if self.state.is_full else len(self.state.tokens))
        if turn is Turn.CUT and self.state.stop is not Stop.LOOP:
            return self._cut(look_back)
        return None if turn is Turn.NONE else (self.rolled(rules, prompt), len(self.state.tokens))

    def rolled(self, rules: WindowRules, prompt: tuple[int, ...]) -> Progress:
        """The progress in a new window that knows nothing of the text before."""
        return replace(self, windows=self.windows.rolled(rules), state=State.start(prompt), decoded=0)

    def _cut(self, look_back: int) -> tuple[Progress, int]:
        """Go on in the shadow: what was said since it began is where its text begins.

        What may still be judged again it says anew, but for tokens whose sound it has not heard, or if nothing else
        would tell it that a text goes on.
        """
        windows, tokens = self.windows.cut(), self.state.tokens
        later = windows.live.origin - self.windows.live.origin
        unheard = max((place for place, token in enumerate(tokens, 1) if token.attended < later), default=0)
        kept = max(unheard, self.state.committed, len(tokens) - look_back)
        if kept and tokens[kept - 1].emitted <= later:
            kept = len(tokens)
        seed = [_moved(token, later) for token in tokens[:kept] if token.emitted > later]
        state = State.start(self.state.prompt, seed, len(seed))
        return replace(self, windows=windows, state=state, decoded=0), kept

    def plain(self) -> dict[str, Any]:
        """Everything as JSON-compatible data."""
        return {
            "windows": self.windows.plain(),
            "state": self.state.plain(),
            "language": self.language,
            "decoded": self.decoded,
            "has_begun": self.has_begun,
        }

    @classmethod
    def of_plain(cls, data: Mapping[str, Any]) -> Self:
        """Read what `plain` wrote."""
        return cls(
            Windows.of_plain(data["windows"]),
            State.of_plain(data["state"]),
            data["language"],
            data["decoded"],
            data["has_begun"],
        )

    def array(self) -> Array:
        """The progress as u8[n], for a row of a program."""
        return np.frombuffer(json.dumps(self.plain(), separators=(",", ":")).encode(), np.uint8)

    @classmethod
    def of_array(cls, array: Array) -> Self:
        """Read what `array` wrote."""
        return cls.of_plain(json.loads(array.tobytes()))


def _moved(token: Spoken, later: int) -> Spoken:
    """`token` in frames of a window that begins so many frames later."""
    return token._replace(emitted=token.emitted - later, attended=token.attended - later)
