"""How the words of a stream are searched for: greedily, or with a beam that may be helped by a language model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from streamer.errors import InvalidRequest

METHODS = ("", "greedy", "beam")
# Time and memory of a step grow with each of these, so a client may not choose them freely.
MOST_HYPOTHESES = 16
MOST_HOTWORDS = 500
LONGEST_HOTWORD = 64
# Beyond these the sound has no say any more.
LARGEST_LM_SCALE = 5.0
LARGEST_BOOST = 20.0


@dataclass(frozen=True, slots=True)
class Hotword:
    """A phrase that is likely to be said. `boost` is added to its log-probability per token; None: as for all."""

    phrase: str
    boost: float | None = None


@dataclass(frozen=True, slots=True)
class Decoding:
    """Search options of one stream, from its config.

    `method` "beam" keeps the `beam` best hypotheses, "greedy" follows the best token of each frame; "" is greedy unless
    hotwords, alternatives or a language model are asked for, which need a beam. `lm_scale` weighs the bundle's language
    model in a beam: None is the bundle's default, 0 does without. Finals carry the `n_best` best texts as alternatives
    if that is more than one.
    """

    method: str = ""
    beam: int = 4
    lm_scale: float | None = None
    hotwords: tuple[Hotword, ...] = ()
    hotword_boost: float = 1.5
    n_best: int = 1

    @property
    def is_beam(self) -> bool:
        """Whether several hypotheses are kept."""
        return self.method == "beam" or (self.method == "" and self.needs_beam is not None)

    @property
    def needs_beam(self) -> str | None:
        """Name of the first option that greedy search cannot serve, None if it serves them all."""
        needs = {"hotwords": bool(self.hotwords), "n_best": self.n_best > 1, "lm_scale": bool(self.lm_scale)}
        return next((name for name, is_needed in needs.items() if is_needed), None)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Decoding:
        """Rebuild from what `dataclasses.asdict` returned, after a way through JSON or not."""
        return cls(**{**values, "hotwords": tuple(Hotword(**hotword) for hotword in values["hotwords"])})


@dataclass(frozen=True, slots=True)
class Alternative:
    """A text that a segment may have had, with a confidence from 0 to 1."""

    text: str
    confidence: float


def check_decoding(decoding: Decoding) -> None:
    """Raise `InvalidRequest` unless every option is in its range and the method can serve them all."""
    if decoding.method not in METHODS:
        _refuse("method", "greedy, beam or nothing", decoding.method)
    _check_integer("beam", decoding.beam, MOST_HYPOTHESES)
    if decoding.lm_scale is not None:
        _check_number("lm_scale", decoding.lm_scale, LARGEST_LM_SCALE)
    _check_number("hotword_boost", decoding.hotword_boost, LARGEST_BOOST)
    _check_integer("n_best", decoding.n_best, decoding.beam, f"beam, {decoding.beam}")
    _check_hotwords(decoding.hotwords)
    if decoding.method == "greedy" and decoding.needs_beam is not None:
        raise InvalidRequest(f"decoding {decoding.needs_beam}: expected method beam, got greedy")


def _check_hotwords(hotwords: tuple[Hotword, ...]) -> None:
    if len(hotwords) > MOST_HOTWORDS:
        raise InvalidRequest(f"decoding hotwords: expected at most {MOST_HOTWORDS} phrases, got {len(hotwords)}")
    seen = set()
    for index, hotword in enumerate(hotwords):
        where = f"hotwords[{index}]"
        _check_phrase(where, hotword.phrase)
        if hotword.boost is not None:
            _check_number(f"{where} boost", hotword.boost, LARGEST_BOOST)
        if hotword.phrase in seen:
            _refuse(where, "each phrase once", hotword.phrase)
        seen.add(hotword.phrase)


def _check_phrase(where: str, phrase: str) -> None:
    if len(phrase) > LONGEST_HOTWORD:
        raise InvalidRequest(f"decoding {where}: expected at most {LONGEST_HOTWORD} characters, got {len(phrase)}")
    if not phrase.strip():
        _refuse(where, "a phrase", phrase)


def _check_integer(name: str, value: Any, most: int, named: str | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        _refuse(name, f"an integer from 1 to {named or most}", value)


def _check_number(name: str, value: Any, most: float) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not 0 <= value <= most:
        _refuse(name, f"a number from 0 to {most:g}", value)


def _refuse(name: str, expected: str, got: Any) -> None:
    raise InvalidRequest(f"decoding {name}: expected {expected}, got {got!r}")
