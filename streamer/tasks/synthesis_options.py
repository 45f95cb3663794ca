"""What a client asks of a voice: who speaks, how fast, in what encoding, and by what text is cut."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NoReturn

from streamer.audio.formats import PCM
from streamer.errors import InvalidRequest

PIECES = ("", "clauses", "words")
PHONEMES = ("", "espeak")
SLOWEST, FASTEST = 0.5, 2.0
MOST_TEMPERATURE = 2.0
SHORTEST_LEAD_S, LONGEST_LEAD_S = 0.5, 60.0
DEFAULT_LEAD_S = 3.0
# Seeds travel as JSON numbers and as int64.
_MOST_SEED = 2**63 - 1
# Controls but for tab and line breaks, and halves of characters.
_UNSPEAKABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class SynthesisOptions:
    """Options of one stream of the task `synthesize`, from its config.

    `voice` is one of the model's, "" its first. `speed` is how many times faster than usual it speaks. Audio comes in
    the PCM encoding `output_encoding`, "" for `pcm_s16le`, at the `sample_rate` of the config. The same text with the
    same `seed` gives the same audio, however the text was cut into messages. `temperature` scales the noise that the
    sound is made of; None is the model's. Text is spoken in `pieces`: `clauses` ("" too), for the best melody, or
    `words`, for the least delay. `phonemes` says what words are pronounced by: "" is the model's own lexicon and
    rules, `espeak` the optional package. `word_times` asks for a `Spoken` with the place of every word.

    In live streams audio is made at most `lead_s` seconds ahead of playback, None for 3.
    """

    voice: str = ""
    speed: float = 1.0
    output_encoding: str = ""
    seed: int = 0
    temperature: float | None = None
    pieces: str = ""
    phonemes: str = ""
    word_times: bool = False
    lead_s: float | None = None


def check_synthesis(options: SynthesisOptions) -> None:
    """Raise `InvalidRequest` unless every option is in its range; which voices there are is the model's to say."""
    if options.output_encoding not in ("", *PCM):
        _refuse("output_encoding", f"one of {', '.join(PCM)} or nothing", options.output_encoding)
    if options.pieces not in PIECES:
        _refuse("pieces", f"one of {', '.join(PIECES[1:])} or nothing", options.pieces)
    if options.phonemes not in PHONEMES:
        _refuse("phonemes", f"{PHONEMES[1]} or nothing", options.phonemes)
    _check_number("speed", options.speed, SLOWEST, FASTEST)
    if options.temperature is not None:
        _check_number("temperature", options.temperature, 0.0, MOST_TEMPERATURE)
    if options.lead_s is not None:
        _check_number("lead_s", options.lead_s, SHORTEST_LEAD_S, LONGEST_LEAD_S)
    seed = options.seed
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= _MOST_SEED:
        _refuse("seed", f"an integer from 0 to {_MOST_SEED}", seed)


def check_text(text: str) -> None:
    """Raise `InvalidRequest` for characters that no text to be spoken holds."""
    found = _UNSPEAKABLE.search(text)
    if found is not None:
        kind = "lone surrogates" if found[0] >= "\ud800" else "control characters"
        raise InvalidRequest(f"text: expected no {kind}, got U+{ord(found[0]):04X} at character {found.start()}")


def _check_number(name: str, value: float, least: float, most: float) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not (is_number and least <= value <= most):
        _refuse(name, f"a number from {least:g} to {most:g}", value)


def _refuse(name: str, expected: str, got: object) -> NoReturn:
    raise InvalidRequest(f"synthesis {name}: expected {expected}, got {got!r}")
