"""The searches of CarelessWhisper, slow and plain: whole logits of every position, no cache, no shared work."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamer.tasks.whisper_rules import Check
from tests.tasks.whisper_scripts import BLANK, EOT, PROMPT, SIZE, SUPPRESSED, Logits

PASSES, LOOK_BACK, PAD = 28, 2, 22


def whole_logits(logits: Logits, tokens: Sequence[int], frame: int, blank: bool) -> np.ndarray:
    """Logits [L, V] of every position, what is suppressed at minus infinity."""
    found = np.stack([logits(tuple(tokens[: place + 1]), frame) for place in range(len(tokens))]).astype(np.float64)
    found[:, list(SUPPRESSED)] = -np.inf
    if blank:
        found[:, [BLANK, EOT]] = -np.inf
    return found


def greedy(
    logits: Logits, frames: Sequence[int], check: Check, passes: int = PASSES, is_compat: bool = True
) -> list[tuple[list[int], list[int]]]:
    """The text and the emission frames after each chunk. Ours, not `is_compat`, has finals and no blank rule."""
    tokens, last, stamps, news, begin = list(PROMPT), None, {}, [], len(PROMPT)
    for frame in frames:
        for index in range(passes):
            now = whole_logits(logits, tokens, frame, is_compat and tokens == list(PROMPT))
            length, is_cropped = len(tokens), False
            if index == 0 and last is not None:
                for place in range(max(length - LOOK_BACK, begin) - 1, length - 1):
                    token = tokens[place + 1]
                    if not (last[place, token] <= now[place, token] or now[place].argmax() == token):
                        tokens, is_cropped = tokens[: place + 1], True
                        break
            is_done = now[length - 1].argmax() == EOT
            if not is_cropped and not is_done:
                stamps.setdefault(len(tokens), frame)
                tokens.append(int(now[length - 1].argmax()))
            last = now
            if is_done:
                break
        if check is Check.V1 and len(tokens) > len(now):
            tokens = tokens[:-1]
        if not is_compat:
            begin = max(begin, len(tokens) - LOOK_BACK)
        text = tokens[len(PROMPT) :]
        news.append((text, [stamps[len(PROMPT) + place] for place in range(len(text))]))
    return news


def beam(
    logits: Logits, frames: Sequence[int], width: int, check: Check, wait_for_all: bool
) -> list[tuple[list[int], list[list[int]]]]:
    """The best text, and all rows without padding, after each chunk."""
    rows, last, news = [list(PROMPT)] * width, None, []
    for chunk, frame in enumerate(frames):
        for index in range(PASSES):
            rows = _padded(rows)
            now = [whole_logits(logits, row, frame, len(row) == len(PROMPT)) for row in rows]
            ends = [_valid(row) for row in rows]
            if index == 0 and chunk > 0:
                for number, row in enumerate(rows):
                    ends[number] = _checked(row, ends[number], now[number], last[number], width, check)
            found = _candidates(rows, ends, now, width)
            best = sorted(found, key=lambda row: -found[row][0])[:width]
            scores, last = [found[row][0] for row in best], [now[found[row][1]] for row in best]
            columns, rows = len(rows[0]), [list(row) for row in best]
            if _is_done(rows, found, width, wait_for_all):
                break
        if check is Check.V1 and max(map(len, rows)) > columns:
            rows = [row[:columns] for row in rows]
        texts = [_text(row) for row in rows]
        merits = [score / max(1, len(text)) for score, text in zip(scores, texts, strict=True)]
        news.append((texts[int(np.argmax(merits))], rows))
    return news


def _padded(rows: list[list[int]]) -> list[list[int]]:
    columns = max(map(len, rows))
    return [row + [PAD] * (columns - len(row)) for row in rows]


def _valid(row: list[int]) -> int:
    ends = [place for place in range(len(PROMPT), len(row)) if row[place] in (EOT, PAD)]
    return max(min(ends, default=len(row)) - 1, len(PROMPT) - 1)


def _checked(row: list[int], end: int, now: np.ndarray, last: np.ndarray, width: int, check: Check) -> int:
    for place in range(max(end - LOOK_BACK, len(PROMPT) - 1), end):
        token = row[place + 1]
        is_bad = token not in np.argsort(-now[place], kind="stable")[:width]
        if check is Check.V2:
            is_bad |= last[place, token] > now[place, token]
        if is_bad:
            return place
    return end


def _candidates(
    rows: list[list[int]], ends: list[int], now: list[np.ndarray], width: int
) -> dict[tuple[int, ...], tuple[float, int]]:
    found: dict[tuple[int, ...], tuple[float, int]] = {}
    for number, (row, end) in enumerate(zip(rows, ends, strict=True)):
        logps = now[number] - np.log(np.exp(now[number]).sum(1, keepdims=True))
        # The sum leaves out the last token.
        so_far = sum(logps[place - 1, row[place]] for place in range(len(PROMPT), end))
        for token in np.argsort(-logps[end], kind="stable")[: min(width + 1, SIZE)]:
            found[(*row[: end + 1], int(token))] = (so_far + logps[end, token], number)
    return found


def _is_done(rows: list[list[int]], found: dict, width: int, wait_for_all: bool) -> bool:
    if wait_for_all:
        return sum(row[-1] == EOT for row in found) >= width
    return any(EOT in row for row in rows)


def _text(row: list[int]) -> list[int]:
    return row[len(PROMPT) : _valid(row) + 1]
