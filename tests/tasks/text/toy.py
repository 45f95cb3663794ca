"""A lexicon of few words, as the CMU dictionary has them."""

from __future__ import annotations

_LINES = """
a AH0
and AH0 N D
apple AE1 P AH0 L
cat K AE1 T
eat IY1 T
give G IH1 V
go G OW1
google G UW1 G AH0 L
have HH AE1 V
hello HH AH0 L OW1
house HH AW1 S
i AY1
it IH1 T
nasa N AE1 S AH0
smart S M AA1 R T
stream S T R IY1 M
the DH AH0
to T UW1
us AH1 S
vitamin V AY1 T AH0 M AH0 N
we W IY1
world W ER1 L D
you Y UW1
"""
LEXICON = {word: tuple(phones) for word, *phones in (line.split() for line in _LINES.strip().splitlines())}
