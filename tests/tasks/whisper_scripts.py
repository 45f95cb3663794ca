"""A decoder by script in place of Whisper's: logits are a function of the tokens that a node sees and of the audio."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from streamer.tasks.whisper_rules import Rules
from streamer.tasks.whisper_state import Spoken, State
from streamer.tasks.whisper_tree import NOTHING, Answer, Ask

EOT, BLANK, PROMPT, SIZE = 0, 1, (21, 22, 23), 24
SUPPRESSED = (21, 22)
MAX_TEXT, CELLS, TOP = 64, 128, 17
# Logits lie on a grid that is coarser than the margin of the rules, each token's a little beside the others'.
_GRID = 1 / 256

Search = Callable[[State, Rules, int], Generator[Ask, Answer, State]]
Logits = Callable[..., np.ndarray]


def on_grid(logits: np.ndarray) -> np.ndarray:
    """Round logits so that those of a token are equal or clearly apart, and those of two tokens never equal."""
    return (np.round(logits / _GRID) * _GRID + np.arange(len(logits)) * _GRID / 32).astype(np.float32)


def suppressed(logits: np.ndarray, blank: bool) -> np.ndarray:
    forbidden = logits.copy()
    forbidden[[*SUPPRESSED, *((EOT, BLANK) if blank else ())]] = -1e9
    return forbidden


_NOISE = np.random.default_rng(0).standard_normal((4096, SIZE))


@lru_cache(maxsize=8)
def _spoken(seed: int) -> list[tuple[int, int]]:
    """Tokens, and the frames from which on they have been said."""
    rng = np.random.default_rng(seed)
    return [(int(rng.integers(2, 21)), 8 * place + int(rng.integers(0, 16))) for place in range(MAX_TEXT)]


@dataclass(frozen=True)
class Noisy:
    """Tokens said at random frames, heard through noise that is new for every text and every chunk.

    The noise is `loud`; the right token has 3 more than the others, or the end of text while no more is said. `heard`
    is the audio that each visible cell has heard, if that is to count.
    """

    seed: int
    loud: float = 1.5

    def __call__(self, prefix: tuple[int, ...], frame: int, heard: tuple[int, ...] = ()) -> np.ndarray:
        place = len(prefix) - len(PROMPT)
        logits = _NOISE[hash((self.seed, prefix, frame, heard)) % len(_NOISE)] * self.loud
        token, since = _spoken(self.seed)[max(place, 0)]
        logits[token if place >= 0 and since <= frame else EOT] += 3
        return on_grid(logits)


def told(*chunks: dict[tuple[int, ...], dict[int, float]]) -> Logits:
    """What comes after a text in each chunk (frames 1, 2, ...), logits by token; the end of text if it says nothing."""

    def logits(prefix: tuple[int, ...], frame: int, heard: tuple[int, ...] = ()) -> np.ndarray:
        said = chunks[frame - 1].get(prefix[len(PROMPT) :], {EOT: 5.0})
        return on_grid(np.array([said.get(token, -9.0) for token in range(SIZE)]))

    return logits


class ScriptedDecoder:
    """Answers as the graph does: from the cells that a node sees, which must be one path from the first place on.

    `ages` has the logits depend on the audio that each visible cell has heard, as a real decoder's do.
    """

    def __init__(self, logits: Logits, ages: bool = False, capacity: int = CELLS) -> None:
        self._logits = logits
        self._ages = ages
        self._capacity = capacity
        self._cells: list[tuple[int, int, int]] = []
        self.asks: list[Ask] = []

    def answer(self, ask: Ask, frame: int) -> Answer:
        self._check(ask)
        self.asks.append(ask)
        self._cells = self._cells[: ask.keep]
        self._cells += [(int(token), int(place), frame) for token, place in zip(ask.tokens, ask.places, strict=True)]
        assert len(self._cells) <= self._capacity
        rows = [self._row(ask, int(node), int(check), frame) for node, check in zip(ask.ask, ask.check, strict=True)]
        return Answer(*(np.array(column) for column in zip(*rows, strict=True)))

    def _check(self, ask: Ask) -> None:
        count = len(ask.tokens)
        assert count
        assert ask.keep <= len(self._cells)
        assert ask.is_new == (ask.keep == 0)
        assert ask.past.shape == (count, ask.keep)
        assert ask.fresh.shape == (count, count)
        assert ask.past.dtype == ask.fresh.dtype == bool
        assert len(ask.ask) == len(ask.check) > 0
        assert all(0 <= node < count for node in ask.ask)

    def _row(self, ask: Ask, node: int, check: int, frame: int) -> tuple:
        seen = [cell for cell, sees in zip(self._cells, [*ask.past[node], *ask.fresh[node]], strict=True) if sees]
        assert ask.fresh[node, node]
        assert sorted(place for _, place, _ in seen) == list(range(int(ask.places[node]) + 1))
        seen.sort(key=lambda cell: cell[1])
        prefix = tuple(token for token, _, _ in seen)
        heard = tuple(at for _, _, at in seen) if self._ages else ()
        raw = self._logits(prefix, frame, heard)
        return reductions(raw, check, ask.blank, attended=len(prefix) + 100 * frame)


def reductions(raw: np.ndarray, check: int, blank: bool, attended: int) -> tuple:
    """What the graph returns of the logits of one node."""
    logits = suppressed(raw, blank)
    best = int(logits.argmax())
    log_sum = np.float32(np.log(np.exp(logits.astype(np.float64)).sum()))
    checked = np.float32(0) if check == NOTHING else raw[check]
    top = np.argsort(-logits, kind="stable")[:TOP]
    rank = int((logits > checked).sum())
    return best, logits[best], checked, rank, log_sum, top, logits[top] - log_sum, attended


def run_chunk(search: Search, state: State, rules: Rules, decoder: ScriptedDecoder, frame: int) -> State:
    """Let a search hear one chunk."""
    steps = search(state, rules, frame)
    try:
        ask = next(steps)
        while True:
            ask = steps.send(decoder.answer(ask, frame))
    except StopIteration as end:
        return end.value


def run(
    search: Search, rules: Rules, logits: Logits, frames: Sequence[int], state: State | None = None, ages: bool = False
) -> Iterator[State]:
    """The states after each chunk; each is written down and read back on the way."""
    decoder = ScriptedDecoder(logits, ages, rules.cells)
    state = State.start(PROMPT) if state is None else state
    for frame in frames:
        state = run_chunk(search, State.of_plain(state.plain()), rules, decoder, frame)
        yield state


def rules(**changes: object) -> Rules:
    return Rules(EOT, MAX_TEXT, CELLS, **changes)


def compat(**changes: object) -> Rules:
    return Rules.compat(EOT, MAX_TEXT, CELLS, **changes)


def seed(*ids: int) -> list[Spoken]:
    return [Spoken(token, 3 * place - 5, 3 * place - 6, -0.5, 1.0) for place, token in enumerate(ids)]


def finals_stay(search: Search, number: int, **changes: object) -> int:
    """Check one noisy run of random length, loudness and rules; returns how many tokens it took back."""
    rng = np.random.default_rng((1, number))
    options = {
        "window": int(rng.integers(2, 9)),
        "max_tokens_per_chunk": int(rng.integers(1, 13)),
        "width": int(rng.integers(1, 5)),
        "look_back": int(rng.integers(0, 3)),
        "blank_rule": bool(rng.integers(2)),
        "wait_for_all": bool(rng.integers(4) == 0),
        **changes,
    }
    frames = np.cumsum(rng.integers(5, 30, size=int(rng.integers(3, 10)))).tolist()
    begin = seed(*rng.integers(2, 21, size=int(rng.integers(0, 4))).tolist())
    state = State.start(PROMPT, begin, int(rng.integers(0, len(begin) + 1)))
    script, taken_back = Noisy(number, float(rng.uniform(0.5, 4))), 0
    for after in run(search, rules(**options), script, frames, state, ages=bool(rng.integers(2))):
        final = state.best.ids[: state.committed]
        assert after.committed >= state.committed
        assert all(text.ids[: len(final)] == final for text in after.hypotheses)
        assert all(len(text.tokens) >= after.committed for text in after.hypotheses)
        assert after.tokens[: state.committed] == state.tokens[: state.committed], "not even its frames and scores"
        taken_back += after.best.ids[: len(state.tokens)] != state.best.ids
        state = after
    return taken_back
