"""Bytes that went wrong."""

from __future__ import annotations

import random


def mutated(dice: random.Random, data: bytes) -> bytes:
    """Change, insert, delete and cut off bytes, most of them where headers are."""
    changed = bytearray(data)
    for _ in range(dice.randint(0, 6)):
        place = dice.randrange(min(len(changed), dice.choice((60, 1200, len(changed)))))
        kind = dice.randrange(4)
        if kind == 0:
            changed[place] = dice.randrange(256)
        elif kind == 1:
            changed[place : place + 4] = dice.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"))
        elif kind == 2:
            del changed[place : place + dice.randrange(20)]
        else:
            changed[place:place] = bytes(dice.randrange(20))
    return bytes(changed[: dice.randrange(1, len(changed))] if dice.random() < 0.1 else changed)
