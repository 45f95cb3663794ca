"""Words that are written alike and said differently, told apart by the words beside them."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.tasks.text.word_sets import word_set

Sounds = tuple[str, ...]

_SUBJECTS = word_set("i you we they who he she it people")
_AUXILIARIES = word_set(
    "to will would can could should must may might shall not do does did don't doesn't didn't won't wouldn't can't ",
    "couldn't shouldn't i'll you'll we'll they'll he'll she'll it'll let's please",
)
_VERBAL = _AUXILIARIES | _SUBJECTS
_PERFECT = word_set("have has had having was were been be being is are i've you've we've they've haven't hasn't hadn't")
_DETERMINERS = word_set("the a an this that these those my your his her its our their no any some every of")


@dataclass(frozen=True, slots=True)
class _Rule:
    """The pronunciation `sounds` after one of `after` or before one of `before`."""

    sounds: Sounds
    after: frozenset[str] = frozenset()
    before: frozenset[str] = frozenset()

    def fits(self, previous: str, following: str) -> bool:
        return previous in self.after or following in self.before


def _said(phones: str) -> Sounds:
    return tuple(phones.split())


def _noun_and_verb(noun: str, verb: str, verbal: frozenset[str] = _VERBAL) -> tuple[Sounds, tuple[_Rule, ...]]:
    return _said(noun), (_Rule(_said(verb), after=verbal),)


_SHOWS = word_set("music show shows stream streams streaming audio video broadcast concert album wire wires")
_DEGREES = word_set("very so too how is are was were as get gets got getting stay stays")
_TABLE: dict[str, tuple[Sounds, tuple[_Rule, ...]]] = {
    "read": (_said("R IY1 D"), (_Rule(_said("R EH1 D"), after=_PERFECT),)),
    "live": (
        _said("L IH1 V"),
        (
            _Rule(_said("L AY1 V"), before=_SHOWS),
            _Rule(_said("L AY1 V"), after=word_set("the a is are was were go goes going went be")),
        ),
    ),
    "lead": (_said("L IY1 D"), (_Rule(_said("L EH1 D"), before=word_set("pipe pipes paint poisoning acid")),)),
    "wind": (_said("W IH1 N D"), (_Rule(_said("W AY1 N D"), after=_AUXILIARIES),)),
    "close": (
        _said("K L OW1 Z"),
        (_Rule(_said("K L OW1 S"), after=_DEGREES, before=word_set("to enough friend friends")),),
    ),
    "use": (
        _said("Y UW1 Z"),
        (_Rule(_said("Y UW1 S"), after=_DETERMINERS | word_set("in into by for"), before=word_set("of")),),
    ),
    "used": (_said("Y UW1 Z D"), (_Rule(_said("Y UW1 S T"), before=word_set("to")),)),
    "excuse": _noun_and_verb("IH0 K S K Y UW1 S", "IH0 K S K Y UW1 Z"),
    "house": _noun_and_verb("HH AW1 S", "HH AW1 Z", _AUXILIARIES),
    "tear": (_said("T EH1 R"), (_Rule(_said("T IH1 R"), after=word_set("single"), before=word_set("gas")),)),
    "object": _noun_and_verb("AA1 B JH EH0 K T", "AH0 B JH EH1 K T"),
    "record": _noun_and_verb("R EH1 K ER0 D", "R IH0 K AO1 R D"),
    "present": _noun_and_verb("P R EH1 Z AH0 N T", "P R IY0 Z EH1 N T"),
    "project": _noun_and_verb("P R AA1 JH EH0 K T", "P R AH0 JH EH1 K T"),
    "produce": (
        _said("P R AH0 D UW1 S"),
        (_Rule(_said("P R OW1 D UW2 S"), after=word_set("the fresh local of")),),
    ),
    "permit": _noun_and_verb("P ER1 M IH2 T", "P ER0 M IH1 T"),
    "conduct": _noun_and_verb("K AA1 N D AH0 K T", "K AH0 N D AH1 K T"),
    "contract": _noun_and_verb("K AA1 N T R AE2 K T", "K AH0 N T R AE1 K T"),
    "contrast": _noun_and_verb("K AA1 N T R AE2 S T", "K AH0 N T R AE1 S T"),
    "conflict": _noun_and_verb("K AA1 N F L IH0 K T", "K AH0 N F L IH1 K T"),
    "convict": _noun_and_verb("K AA1 N V IH0 K T", "K AH0 N V IH1 K T"),
    "desert": _noun_and_verb("D EH1 Z ER0 T", "D IH0 Z ER1 T"),
    "export": _noun_and_verb("EH1 K S P AO0 R T", "IH0 K S P AO1 R T"),
    "import": _noun_and_verb("IH1 M P AO2 R T", "IH2 M P AO1 R T"),
    "increase": _noun_and_verb("IH1 N K R IY2 S", "IH0 N K R IY1 S"),
    "insult": _noun_and_verb("IH1 N S AH2 L T", "IH2 N S AH1 L T"),
    "perfect": _noun_and_verb("P ER1 F IH2 K T", "P ER0 F EH1 K T", _AUXILIARIES),
    "protest": _noun_and_verb("P R OW1 T EH2 S T", "P R AH0 T EH1 S T"),
    "rebel": _noun_and_verb("R EH1 B AH0 L", "R IH0 B EH1 L"),
    "refund": _noun_and_verb("R IY1 F AH2 N D", "R IH0 F AH1 N D"),
    "reject": _noun_and_verb("R IY1 JH EH0 K T", "R IH0 JH EH1 K T"),
    "subject": _noun_and_verb("S AH1 B JH IH0 K T", "S AH0 B JH EH1 K T", _AUXILIARIES),
    "suspect": _noun_and_verb("S AH1 S P EH2 K T", "S AH0 S P EH1 K T"),
    "transfer": _noun_and_verb("T R AE1 N S F ER0", "T R AE0 N S F ER1"),
    "estimate": _noun_and_verb("EH1 S T AH0 M AH0 T", "EH1 S T AH0 M EY2 T"),
    "separate": _noun_and_verb("S EH1 P ER0 IH0 T", "S EH1 P ER0 EY2 T"),
    "duplicate": _noun_and_verb("D UW1 P L AH0 K AH0 T", "D UW1 P L AH0 K EY2 T"),
    "graduate": _noun_and_verb("G R AE1 JH AH0 W AH0 T", "G R AE1 JH AH0 W EY2 T"),
    "moderate": _noun_and_verb("M AA1 D ER0 AH0 T", "M AA1 D ER0 EY2 T"),
    "alternate": _noun_and_verb("AO1 L T ER0 N AH0 T", "AO1 L T ER0 N EY2 T"),
}


def is_heteronym(word: str) -> bool:
    """Tell whether `word`, in lower case, is said in more than one way here."""
    return word in _TABLE


def choose(word: str, previous: str, following: str) -> Sounds:
    """Pronounce a heteronym between its neighbours, all in lower case; a neighbour beyond a pause is ""."""
    usual, rules = _TABLE[word]
    return next((rule.sounds for rule in rules if rule.fits(previous, following)), usual)
