"""Streaming beam search of Whisper, step by step, against a plain one, and its promise that finals stay."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from streamer.tasks.whisper_beam import advance
from streamer.tasks.whisper_rules import Check, Mode, Rules, Stop
from streamer.tasks.whisper_state import Hypothesis, State
from tests.tasks import whisper_oracle
from tests.tasks.whisper_scripts import (
    BLANK,
    EOT,
    PROMPT,
    SIZE,
    Logits,
    Noisy,
    ScriptedDecoder,
    compat,
    finals_stay,
    rules,
    run,
    run_chunk,
    seed,
    told,
)

FRAMES = range(15, 180, 15)
A, B, C, D, E = 2, 3, 4, 5, 6


def states(logits: Logits, limits: Rules, count: int, state: State | None = None) -> list[State]:
    return list(run(advance, limits, logits, range(1, count + 1), state))


def rows(state: State) -> set[tuple[int, ...]]:
    """The texts, those at their end with an end of text."""
    return {(*text.ids, *[EOT] * text.is_ended) for text in state.hypotheses}


def log_softmax(said: dict[int, float]) -> dict[int, float]:
    logits = np.full(SIZE, -9.0)
    logits[list(said)] = list(said.values())
    logits = logits + np.arange(SIZE) / 8192
    logits[[21, 22]] = -1e9
    return dict(enumerate((logits - np.log(np.exp(logits).sum())).tolist()))


FORK = {(): {A: 3.0, B: 2.5}, (A,): {EOT: 3.0, C: 2.0}, (B,): {D: 2.0, C: 1.0}}


def test_two_texts_grow_side_by_side() -> None:
    """The best of all continuations are kept, scored by their whole texts, and the chunk ends with the first end."""
    (state,) = states(told(FORK), rules(width=2), 1)
    first, second = (log_softmax(FORK[()])[token] for token in (A, B))
    scores = {(A, EOT): first + log_softmax(FORK[A,])[EOT], (B, D): second + log_softmax(FORK[B,])[D]}
    assert rows(state) == scores.keys()
    assert state.stop is Stop.EOT
    for text in state.hypotheses:
        assert text.score == pytest.approx(scores[(*text.ids, *[EOT] * text.is_ended)], abs=1e-5)


def test_the_best_text_is_the_likeliest_by_length() -> None:
    """A longer text of the same score has more per token; with an exponent below one it is worth less."""
    (state,) = states(told(FORK), rules(width=2), 1)
    short, long = log_softmax(FORK[()])[A] + log_softmax(FORK[A,])[EOT], sum(
        log_softmax(FORK[path])[token] for path, token in (((), B), ((B,), D))
    )  # fmt: skip
    assert short > long
    assert state.best.ids == ((A,) if short > long / 2 else (B, D))
    (state,) = states(told(FORK), rules(width=2, length_penalty=0.0), 1)
    assert [text.ids for text in state.hypotheses] == [(A,), (B, D)]


def test_a_score_leaves_out_the_last_token_where_the_reference_does() -> None:
    """Of the paper's search; a continuation is then as good as its own step."""
    (state,) = states(told(FORK), rules(width=2, counts_last=False), 1)
    found = {(*text.ids, *[EOT] * text.is_ended): text.score for text in state.hypotheses}
    assert found[A, EOT] == pytest.approx(log_softmax(FORK[A,])[EOT], abs=1e-5)


def test_tokens_know_when_and_where_they_were_said() -> None:
    """Every text has its own log-probabilities, logits and frames."""
    (state,) = states(told(FORK), rules(width=2), 1)
    text = next(text for text in state.hypotheses if text.ids == (B, D))
    assert [token.emitted for token in text.tokens] == [1, 1]
    assert [token.attended for token in text.tokens] == [103, 104]
    assert [token.evidence for token in text.tokens] == pytest.approx([2.5 + B / 8192, 2 + D / 8192], abs=1e-5)
    assert [token.logp for token in text.tokens] == pytest.approx(
        [log_softmax(FORK[()])[B], log_softmax(FORK[B,])[D]], abs=1e-5
    )


def test_a_token_outside_the_best_is_cut() -> None:
    """In both versions; the text goes on from there in the same chunk, and the place keeps its frame."""
    second = {(): {A: 4.0}, (A,): {B: 6.0, C: 9.0, D: 8.0}, (A, C): {E: 5.0}, (A, B): {E: 5.0}}
    first = {(): {A: 4.0}, (A,): {B: 5.0}}
    for check in Check:
        state = State.start(PROMPT, seed(A, B))
        *_, state = states(told(second), rules(width=2, check=check, max_tokens_per_chunk=1), 1, state)
        assert state.best.ids == (A, C)
    *_, state = states(told(first, second, {}), rules(width=1), 2)
    assert state.best.ids[:2] == (A, C)
    assert [token.emitted for token in state.tokens][:2] == [1, 1]


def test_a_token_whose_logit_fell_is_cut_by_the_second_version_only() -> None:
    """It is still among the best, but less likely than with less audio."""
    second = {(): {A: 5.0}, (A,): {C: 3.0, B: 2.0}, (A, B): {D: 5.0, EOT: 1.0}}
    for check, evidence, expected in (
        (Check.V1, 5.0, {(A, B)}),
        (Check.V2, 5.0, {(A, B), (A, C)}),
        (Check.V2, 1.0, {(A, B, D), (A, B, EOT)}),
    ):
        tokens = [token._replace(evidence=evidence if token.id == B else 0.0) for token in seed(A, B)]
        state = State(PROMPT, (Hypothesis(tuple(tokens), (0, 0)),))
        (state,) = states(told(second), rules(width=2, check=check, max_tokens_per_chunk=1), 1, state)
        assert rows(state) == expected


def test_equal_texts_are_one() -> None:
    """Two texts that are cut at the same place go on as one."""
    first = {(): {A: 5.0}, (A,): {B: 5.0, C: 4.9}, (A, B): {D: 2.0}, (A, C): {D: 2.0}}
    second = {(): {A: 6.0}, (A,): {D: 9.0, E: 8.0}}
    limits = rules(width=2, max_tokens_per_chunk=2)
    *_, state = states(told(first, second), limits, 2)
    assert len(set(rows(state))) == len(state.hypotheses)
    assert {text.ids[:2] for text in state.hypotheses} == {(A, D), (A, E)}


def test_a_shared_beginning_is_run_once() -> None:
    """A chunk's first call holds one token per distinct beginning, later ones one per text that grew."""
    decoder, state = ScriptedDecoder(Noisy(4, 1.0)), State.start(PROMPT)
    for frame in FRAMES:
        decoder.asks.clear()
        beginnings = {text.ids[:count] for text in state.hypotheses for count in range(1, len(text.ids) + 1)}
        state = run_chunk(advance, state, rules(width=4), decoder, frame)
        assert len(decoder.asks[0].tokens) == len(PROMPT) + len(beginnings)
        assert all(len(ask.tokens) <= 4 for ask in decoder.asks[1:])
        for ask in decoder.asks:
            asked = Counter(zip(ask.ask.tolist(), ask.check.tolist(), strict=True))
            assert set(asked.values()) == {1}
    assert len(beginnings) < sum(len(text.ids) for text in state.hypotheses)


def test_final_tokens_are_not_asked_about() -> None:
    """Their log-probabilities stay as they were; what may change is scored again."""
    decoder, state = ScriptedDecoder(Noisy(4, 1.0)), State.start(PROMPT)
    for frame in FRAMES:
        decoder.asks.clear()
        final = state.committed
        state = run_chunk(advance, state, rules(width=3), decoder, frame)
        assert decoder.asks[0].ask.min() == len(PROMPT) - 1 + final
    assert final > 5


def test_waiting_for_all_goes_on() -> None:
    """The chunk ends once as many texts could end as are kept, not with the first."""
    script = {**FORK, (A, C): {EOT: 4.0}, (B, D): {EOT: 4.0}}
    (early,) = states(told(script), rules(width=2), 1)
    (late,) = states(told(script), rules(width=2, wait_for_all=True), 1)
    assert sum(text.is_ended for text in early.hypotheses) == 1
    assert sum(text.is_ended for text in late.hypotheses) == 2
    assert late.stop is Stop.EOT


def test_silence_at_the_start_says_nothing() -> None:
    """No text but the empty one at its end; others are kept beside it."""
    found = states(told({}, {(): {A: 5.0}}), rules(width=2), 2)
    assert [state.best.ids for state in found] == [(), (A,)]


def test_the_blank_rule_forces_a_token() -> None:
    """The first token is neither the end nor a space; its log-probability is that without the rule."""
    said = {(): {EOT: 5.0, BLANK: 4.0, A: 3.0}}
    (state,) = states(told(said), rules(width=2, blank_rule=True), 1)
    assert state.best.ids == (A,)
    assert state.tokens[0].logp == pytest.approx(log_softmax(said[()])[A], abs=1e-5)


def test_a_chunk_adds_no_more_than_its_cap() -> None:
    """The rest follows later; the first version of the paper drops what it has not read back."""
    said = {(A, B, C)[:place]: {token: 5.0} for place, token in enumerate((A, B, C, D))} | {(A, B, C): {D: 5.0}}
    for check, expected in ((Check.V2, [(A, B), (A, B, C, D)]), (Check.V1, [(A,), (A, B)])):
        found = states(told(said, said), rules(width=1, max_tokens_per_chunk=2, check=check), 2)
        assert [state.best.ids for state in found] == expected
    assert found[0].stop is Stop.CAP


def test_a_full_text_calls_for_a_new_window() -> None:
    """Prompt and text stay below what the decoder has positions for, and nothing more is asked."""
    limits = replace(rules(width=3), max_text=len(PROMPT) + 8)
    decoder, state = ScriptedDecoder(Noisy(2, 0.5)), State.start(PROMPT)
    for frame in (60, 120):
        state = run_chunk(advance, state, limits, decoder, frame)
    assert (state.stop, state.is_full) == (Stop.FULL, True)
    assert max(len(text.tokens) for text in state.hypotheses) == 7
    decoder.asks.clear()
    assert run_chunk(advance, state, limits, decoder, 180) == state
    assert not decoder.asks


def test_a_loop_is_not_gone_on_with() -> None:
    """A beam takes the next best instead."""

    def forever(prefix: tuple[int, ...], frame: int, heard: tuple[int, ...]) -> np.ndarray:
        return np.array([-9.0, -9.0, 5.0, 3.0] + [-9.0] * (SIZE - 4), np.float32)

    *_, state = run(advance, rules(width=1, max_tokens_per_chunk=16), forever, [1])
    assert state.best.ids == (A,) * 12 + (B,) + (A,) * 3


def test_a_seed_stays_while_it_is_among_the_best() -> None:
    """A token of the old window that is not final has no evidence in the new one, so its logit cannot have fallen."""
    script = {(): {A: 1.0}, (A,): {C: 5.0, B: 4.0}, (A, B): {D: 5.0}, (A, C): {E: 5.0}}
    ((stays,), (goes,)) = (
        states(told(script), rules(width=width, max_tokens_per_chunk=1), 1, State.start(PROMPT, seed(A, B)))
        for width in (2, 1)
    )
    assert stays.best.ids == (A, B, D)
    assert goes.best.ids == (A, C)
    (final,) = states(told(script), rules(width=1, max_tokens_per_chunk=1), 1, State.start(PROMPT, seed(A, B), 2))
    assert final.best.ids == (A, B, D)


@pytest.mark.parametrize("wait_for_all", [False, True])
@pytest.mark.parametrize("check", list(Check))
@pytest.mark.parametrize("width", [1, 3, 5])
def test_compat_is_the_plain_search(width: int, check: Check, wait_for_all: bool) -> None:
    """The best text and all others of every chunk equal those of the paper's search without any cache."""
    limits = replace(compat(width=width, check=check), wait_for_all=wait_for_all)
    for number in range(6):
        expected = whisper_oracle.beam(Noisy(number), FRAMES, width, check, wait_for_all)
        found = [
            (list(state.best.ids), sorted([*PROMPT, *text.ids, *[EOT] * text.is_ended] for text in state.hypotheses))
            for state in run(advance, limits, Noisy(number), FRAMES)
        ]
        assert found == [(text, sorted(rows)) for text, rows in expected]


@pytest.mark.parametrize("width", [1, 4, 16])
def test_frozen_search_is_exact_where_the_decoder_forgets_nothing(width: int) -> None:
    """The same texts for every noise, if what a cell heard makes no difference; any wrong cell would."""
    for number in range(10):
        found = [
            [
                replace(state, cells=0)
                for state in run(advance, rules(width=width, mode=mode, window=4), Noisy(number), FRAMES)
            ]
            for mode in Mode
        ]
        assert found[0] == found[1]


def test_frozen_search_keeps_what_all_texts_share() -> None:
    """What is final stays in the cache: the work of a chunk does not grow with the text."""
    limits, state = rules(mode=Mode.FROZEN, window=4, width=3), State.start(PROMPT)
    decoder, asks = ScriptedDecoder(Noisy(1, 0.3)), []
    for frame in FRAMES:
        decoder.asks.clear()
        state = run_chunk(advance, state, limits, decoder, frame)
        asks.append(decoder.asks[0])
    assert asks[-1].keep > 12
    assert max(len(ask.tokens) for ask in asks) <= 16


@pytest.mark.parametrize("clamp", [False, True])
@pytest.mark.parametrize("mode", list(Mode))
def test_few_cells_change_nothing_but_work(mode: Mode, clamp: bool) -> None:
    """Where cells run out the texts that are left are put into new ones."""
    roomy = rules(width=4, mode=mode, clamp=clamp, window=4)
    tight, renewed = replace(roomy, cells=48), 0
    for number in range(30):
        wide = ScriptedDecoder(Noisy(number, 1.0)), State.start(PROMPT)
        narrow = ScriptedDecoder(Noisy(number, 1.0), capacity=tight.cells), State.start(PROMPT)
        for frame in range(15, 105, 15):
            wide = wide[0], run_chunk(advance, wide[1], roomy, wide[0], frame)
            narrow[0].asks.clear()
            narrow = narrow[0], run_chunk(advance, narrow[1], tight, narrow[0], frame)
            renewed += sum(len(ask.tokens) > tight.width for ask in narrow[0].asks[1:])
            assert replace(narrow[1], cells=0) == replace(wide[1], cells=0)
    assert renewed


def test_a_text_that_finds_no_cells_is_dropped() -> None:
    """The best one always has room, and the cache is never written beyond its end."""

    def twofold(prefix: tuple[int, ...], frame: int, heard: tuple[int, ...]) -> np.ndarray:
        place, logits = len(prefix) - len(PROMPT), np.full(SIZE, -9.0, np.float32)
        logits[EOT] = -20
        for token in (A, B) if place < 4 else (C + place % 9,):
            logits[token if place < 5 * frame else EOT] = 5 - token / 10
        return logits

    beginnings = {}
    for cells in (38, 400):
        limits = replace(rules(width=12), max_text=26, cells=cells)
        decoder, state = ScriptedDecoder(twofold, capacity=cells), State.start(PROMPT)
        for frame in (1, 2, 3, 4):
            state = run_chunk(advance, state, limits, decoder, frame)
            assert state.best.ids == (*[A] * 4, *[C + place % 9 for place in range(4, 5 * frame)])
        beginnings[cells] = len({text.ids[:4] for text in state.hypotheses})
    assert beginnings[38] < beginnings[400]


@pytest.mark.parametrize("check", list(Check))
@pytest.mark.parametrize("mode", list(Mode))
def test_finals_never_change(mode: Mode, check: Check) -> None:
    """What is committed begins every later text of every hypothesis, however noisy the decoder."""
    assert sum(finals_stay(advance, number, mode=mode, check=check) for number in range(100)) > 20


@pytest.mark.soak
@pytest.mark.parametrize("check", list(Check))
@pytest.mark.parametrize("mode", list(Mode))
def test_finals_never_change_in_ten_thousand_runs(mode: Mode, check: Check) -> None:
    """The full count."""
    assert sum(finals_stay(advance, number, mode=mode, check=check) for number in range(10_000)) > 2_000
