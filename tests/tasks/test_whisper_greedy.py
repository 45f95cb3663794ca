"""Greedy streaming search of Whisper, step by step, against a plain one, and its promise that finals stay."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamer.tasks.whisper_greedy import advance
from streamer.tasks.whisper_rules import Check, Mode, Rules, Stop
from streamer.tasks.whisper_state import State
from tests.tasks import whisper_oracle
from tests.tasks.whisper_scripts import (
    BLANK,
    CELLS,
    EOT,
    PROMPT,
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


def texts(logits: Logits, limits: Rules, count: int, state: State | None = None) -> list[tuple[int, ...]]:
    return [found.best.ids for found in run(advance, limits, logits, range(1, count + 1), state)]


def said(*ids: int) -> dict[tuple[int, ...], dict[int, float]]:
    """Surely this text and then the end."""
    return {ids[:place]: {token: 5.0} for place, token in enumerate(ids)}


def test_a_chunk_says_what_comes_until_the_end_is_next() -> None:
    """Best tokens follow each other; each has its frame, log-probability and logit, and where it was heard."""
    (state,) = run(advance, rules(), told(said(A, B, C)), [1])
    assert state.best.ids == (A, B, C)
    assert state.stop is Stop.EOT
    assert state.best.is_ended
    assert [token.emitted for token in state.tokens] == [1, 1, 1]
    assert [token.attended for token in state.tokens] == [103, 104, 105], "of the token before each"
    assert [token.evidence for token in state.tokens] == pytest.approx([5 + t / 8192 for t in (A, B, C)])
    assert [token.logp for token in state.tokens] == pytest.approx([0] * 3, abs=1e-4)
    assert state.best.score == pytest.approx(sum(token.logp for token in state.tokens))


def test_silence_at_the_start_says_nothing() -> None:
    """Without the blank rule a window may begin with chunks of no text."""
    assert texts(told({}, {}, said(A)), rules(), 3) == [(), (), (A,)]


def test_the_blank_rule_forces_a_token() -> None:
    """With it the first token is the best that is neither the end nor a space."""
    script = told({(): {EOT: 5.0, BLANK: 4.0, A: 3.0}})
    assert texts(script, rules(blank_rule=True), 1) == [(A,)]
    assert texts(script, rules(), 1) == [()]


def test_a_cut_first_token_is_replaced_by_the_blank_rule() -> None:
    """The text is empty again in the same chunk: the rule holds again."""
    script = told(
        {(): {A: 5.0}, (A,): {B: 5.0}, (A, B): {EOT: 5.0}},
        {(): {EOT: 5.0, C: 3.0}, (A, B): {D: 5.0}, (C,): {EOT: 5.0}},
    )
    assert texts(script, compat(), 2) == [(A, B), (C,)]
    assert texts(script, rules(), 2) == [(A, B), ()]


def test_a_token_stays_while_its_logit_has_not_fallen() -> None:
    """Another token is likelier now, but this one is as likely as it was."""
    second = {(): {A: 5.0}, (A,): {B: 5.0, C: 6.0}, (A, B): {D: 5.0}}
    assert texts(told(said(A, B), second), rules(), 2) == [(A, B), (A, B, D)]


def test_a_token_stays_while_it_is_the_first_choice() -> None:
    """Its logit fell, but no other is better."""
    second = {(): {A: 5.0}, (A,): {B: 2.0, C: 1.0}, (A, B): {D: 5.0}}
    assert texts(told(said(A, B), second), rules(), 2) == [(A, B), (A, B, D)]


def test_a_token_that_is_neither_is_cut_and_replaced() -> None:
    """The text goes on from the cut in the same chunk; the new token has the place's old frame, the next a new one."""
    second = {(): {A: 5.0}, (A,): {B: 2.0, C: 3.0}, (A, B): {E: 1.0}, (A, C): {D: 5.0}}
    *_, state = run(advance, rules(), told(said(A, B), second), [1, 2])
    assert state.best.ids == (A, C, D)
    assert [token.emitted for token in state.tokens] == [1, 1, 2]
    assert [token.attended for token in state.tokens] == [203, 204, 205], "as of the last look"


def test_a_cut_in_a_chunk_that_expects_the_end_is_replaced_by_the_next_chunk() -> None:
    """The end of text that follows the cut token ends the chunk, as the paper's decoder has it."""
    second = {(): {A: 5.0}, (A,): {B: 2.0, C: 3.0}}
    third = {(): {A: 5.0}, (A,): {C: 3.0}}
    *_, state = found = list(run(advance, rules(), told(said(A, B), second, third), [1, 2, 3]))
    assert [each.best.ids for each in found] == [(A, B), (A,), (A, C)]
    assert [token.emitted for token in state.tokens] == [1, 1], "the place was filled in the first chunk"


def test_a_place_that_stays_empty_forgets_its_frame() -> None:
    """Speech that comes later is not dated back to what was cut, but where the paper's decoder is replayed."""
    second, rest = {(): {A: 5.0}, (A,): {B: 2.0, EOT: 3.0}}, {(): {A: 5.0}}
    script = told(said(A, B), second, rest, rest, said(A, C))
    for limits, frame in ((rules(), 5), (compat(), 1)):
        *_, state = run(advance, limits, script, range(1, 6))
        assert state.best.ids == (A, C)
        assert state.tokens[1].emitted == frame


def test_only_the_last_tokens_are_judged() -> None:
    """The third last token may be wrong as it likes."""
    second = {(): {D: 9.0}, (A,): {B: 5.0}, (A, B): {C: 5.0}, (A, B, C): {D: 5.0}}
    assert texts(told(said(A, B, C), second), rules(), 2) == [(A, B, C), (A, B, C, D)]
    assert texts(told(said(A, B, C), second), rules(look_back=3), 2)[1] == (D,)


def test_what_is_final_is_not_judged() -> None:
    """A shorter text brings older tokens among the last ones; without finals they fall as well."""
    second = {(): {A: 5.0}, (A,): {B: 5.0}, (A, B): {C: 1.0, EOT: 2.0}}
    third = {(): {A: 1.0, EOT: 2.0}, (A,): {B: 5.0}}
    script = told(said(A, B, C), second, third)
    assert texts(script, rules(), 3) == [(A, B, C), (A, B), (A, B)]
    *_, state = run(advance, rules(), script, [1, 2, 3])
    assert state.committed == 1
    assert texts(script, compat(), 3) == [(A, B, C), (A, B), ()]


def test_the_prompt_is_never_judged() -> None:
    """A text shorter than what is judged leaves the prompt alone, in both kinds of rules."""
    for limits in (rules(look_back=5, window=5), compat()):
        decoder, state = ScriptedDecoder(told(said(A), said(A, B))), State.start(PROMPT)
        for frame in (1, 2):
            state = run_chunk(advance, state, limits, decoder, frame)
        assert state.best.ids == (A, B)
        asked = [int(ask.tokens[node]) for ask in decoder.asks for node in ask.ask]
        assert set(asked) <= {PROMPT[-1], A, B}


def test_a_chunk_adds_no_more_than_its_cap() -> None:
    """The rest follows in later chunks; a cut counts as one. The first version of the paper drops the last one."""
    script = told(*[said(A, B, C, D, E)] * 3)
    assert texts(script, rules(max_tokens_per_chunk=2), 3) == [(A, B), (A, B, C, D), (A, B, C, D, E)]
    assert texts(script, rules(max_tokens_per_chunk=2, check=Check.V1), 3) == [(A,), (A, B), (A, B, C)]
    (state,) = run(advance, rules(max_tokens_per_chunk=2), script, [1])
    assert (state.stop, state.is_full) == (Stop.CAP, False)
    second = {(): {A: 5.0}, (A,): {C: 3.0}, (A, B): {E: 1.0}, (A, C): {D: 5.0}}
    assert texts(told(said(A, B), second), rules(max_tokens_per_chunk=2), 2)[1] == (A, C)
    assert texts(told(said(A, B), said(A, B), second), rules(max_tokens_per_chunk=1), 3)[2] == (A,)


def test_a_full_text_calls_for_a_new_window() -> None:
    """Prompt and text stay below what the decoder has positions for."""
    ids = [A, B, C, D, E]
    script = told(said(*ids), said(*ids))
    found = list(run(advance, replace(rules(), max_text=len(PROMPT) + 4), script, [1, 2]))
    assert [state.best.ids for state in found] == [(A, B, C)] * 2
    assert [state.is_full for state in found] == [True, True]


def test_an_endless_loop_ends_the_chunk() -> None:
    """A phrase that follows itself again and again is stopped, and the window is called full."""
    endless = {ids: {A if len(ids) % 2 == 0 else B: 5.0} for ids in [(A, B) * n for n in range(20)]}
    endless |= {(*ids, A): {B: 5.0} for ids in list(endless)}
    (state,) = run(advance, rules(max_tokens_per_chunk=28), told(endless), [1])
    assert state.best.ids == (A, B) * 6
    assert (state.stop, state.is_full) == (Stop.LOOP, True)
    assert len(texts(told(endless), compat(), 1)[0]) == 28


def test_a_seed_stays_while_it_is_the_first_choice() -> None:
    """A token of the old window that is not final has no evidence in the new one: only the best token stays."""
    likelier = {(): {A: 5.0}, (A,): {B: 5.0, C: 6.0}, (A, B): {E: 5.0}, (A, C): {D: 5.0}}
    assert texts(told(said(A, B, D)), rules(), 1, State.start(PROMPT, seed(A, B))) == [(A, B, D)]
    assert texts(told(likelier), rules(), 1, State.start(PROMPT, seed(A, B))) == [(A, C, D)]
    assert texts(told(likelier), rules(), 1, State.start(PROMPT, seed(A, B), 2)) == [(A, B, E)], "final"
    (state,) = run(advance, rules(), told(said(A, B, D)), [1], State.start(PROMPT, seed(A, B)))
    assert [token.emitted for token in state.tokens] == [-5, -2, 1]
    assert None not in [token.evidence for token in state.tokens]


def test_exact_search_runs_the_text_once_and_asks_only_of_its_end() -> None:
    """One call for prompt and text, then one token a call; no prediction but of what may change."""
    decoder, state = ScriptedDecoder(told(said(A, B, C, D), said(A, B, C, D, E))), State.start(PROMPT)
    for frame in (1, 2):
        decoder.asks.clear()
        state = run_chunk(advance, state, rules(), decoder, frame)
    first, second = decoder.asks
    assert (first.tokens.tolist(), first.is_new) == ([*PROMPT, A, B, C, D], True)
    assert (first.ask.tolist(), first.check.tolist()) == ([4, 5, 6], [C, D, -1])
    assert (second.tokens.tolist(), second.places.tolist(), second.keep) == ([E], [7], 7)


def test_frozen_search_runs_the_last_tokens_only() -> None:
    """What is older stays in the cache: the work of a chunk does not grow with the text."""
    limits, state = rules(mode=Mode.FROZEN, window=4), State.start(PROMPT)
    decoder = ScriptedDecoder(Noisy(1, loud=0.3))
    for frame in FRAMES:
        decoder.asks.clear()
        before, state = len(state.tokens), run_chunk(advance, state, limits, decoder, frame)
        if before > 6:
            assert len(decoder.asks[0].tokens) <= limits.window + 2
            assert not decoder.asks[0].is_new
    assert len(state.tokens) > 15


@pytest.mark.parametrize("window", [2, 5, 9])
def test_frozen_search_is_exact_where_the_decoder_forgets_nothing(window: int) -> None:
    """The same texts and frames for every noise, if what a cell heard makes no difference; any wrong cell would."""
    frozen = rules(mode=Mode.FROZEN, window=window)
    for number in range(40):
        pairs = zip(
            run(advance, rules(), Noisy(number), FRAMES), run(advance, frozen, Noisy(number), FRAMES), strict=True
        )
        assert all(replace(found, cells=0) == expected for expected, found in pairs)


def test_frozen_search_is_exact_while_the_decoder_does_not_change_its_mind() -> None:
    """A decoder that hears what its cells heard says the same in both modes if noise is low, else it does not."""
    equal = {}
    for loud in (0.4, 1.5):
        pairs = [
            [
                [state.best.ids for state in run(advance, rules(mode=mode), Noisy(number, loud), FRAMES, ages=True)]
                for mode in Mode
            ]
            for number in range(30)
        ]
        equal[loud] = sum(exact == frozen for exact, frozen in pairs)
    assert equal[0.4] == 30
    assert equal[1.5] < 30


@pytest.mark.parametrize("check", list(Check))
def test_compat_is_the_plain_search(check: Check) -> None:
    """Texts and emission frames of every chunk equal those of the paper's search without any cache."""
    for number in range(40):
        found = [plain(state) for state in run(advance, compat(check=check), Noisy(number), FRAMES)]
        assert found == whisper_oracle.greedy(Noisy(number), FRAMES, check)


@pytest.mark.parametrize("cap", [1, 3, 12])
def test_ours_is_the_plain_search_with_finals(cap: int) -> None:
    """The same with finals and without the blank rule, in both modes."""
    for number in range(20):
        expected = whisper_oracle.greedy(Noisy(number), FRAMES, Check.V2, cap, is_compat=False)
        for mode in Mode:
            limits = rules(mode=mode, max_tokens_per_chunk=cap, repeats=0)
            found = [plain(state)[0] for state in run(advance, limits, Noisy(number), FRAMES)]
            assert found == [text for text, _ in expected]


def plain(state: State) -> tuple[list[int], list[int]]:
    return list(state.best.ids), [token.emitted for token in state.tokens]


@pytest.mark.parametrize("mode", list(Mode))
def test_finals_never_change(mode: Mode) -> None:
    """What is committed begins every later text, however noisy the decoder."""
    assert sum(finals_stay(advance, number, mode=mode) for number in range(300)) > 100


@pytest.mark.soak
@pytest.mark.parametrize("mode", list(Mode))
def test_finals_never_change_in_ten_thousand_runs(mode: Mode) -> None:
    """The full count."""
    assert sum(finals_stay(advance, number, mode=mode) for number in range(10_000)) > 3_000


def test_a_long_window_fits_the_cells() -> None:
    """Text up to the last place, with as many cells as places."""
    limits = replace(rules(repeats=0, max_tokens_per_chunk=28), cells=CELLS // 2)
    *_, state = run(advance, limits, Noisy(5, 0.1), range(100, 600, 100))
    assert state.stop is Stop.FULL
    assert len(state.tokens) == limits.max_text - 1 - len(PROMPT)
