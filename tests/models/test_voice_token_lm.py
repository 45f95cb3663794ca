"""The language model of the token path: layouts of text and speech, decoding with a cache, and sampling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.flow_tts.cosyvoice.ids import Ids  # noqa: E402
from models.flow_tts.cosyvoice.settings import Sampling  # noqa: E402
from models.flow_tts.symbols import SYMBOLS  # noqa: E402
from models.flow_tts.tokens.config import LEVELS  # noqa: E402
from models.flow_tts.tokens.decoding import Limits, Speech  # noqa: E402
from models.flow_tts.tokens.digits import keep_digits, share_digits  # noqa: E402
from models.flow_tts.tokens.layouts import Blocks, interleaved, offline  # noqa: E402
from models.flow_tts.tokens.lm import (  # noqa: E402
    Past,
    SpeechLm,
    TaughtLm,
    begin_from,
    corrupted,
    loss_of,
    next_logits,
    phone_loss_of,
)
from models.flow_tts.tokens.lm_train import collate  # noqa: E402
from models.flow_tts.tokens.speak import words_of  # noqa: E402
from tests.models.token_toys import DIMS, LM, TOKENS, toy_lm  # noqa: E402

# Text has ids 0 to 9, speech 10 to 19, then end, one in reserve and fill, then start and task.
SMALL = Ids(speech=10, tokens=10, start=23, task=24, end=20, fill=22)
START, TASK, END, FILL, NO = 23, 24, 10, 12, -100
TEXT = [3, 9, 4, 1, 7, 2, 8, 5, 6, 3, 3, 1, 2, 4]
BLOCKS = Blocks(text=4, speech=5)


def test_ids_of_the_model_follow_the_symbols() -> None:
    found, texts = toy_lm().ids, len(SYMBOLS)
    assert found == Ids(texts, TOKENS, texts + TOKENS + 3, texts + TOKENS + 4, texts + TOKENS, texts + TOKENS + 2)


def test_text_before_speech_spelled_out() -> None:
    made = offline(SMALL, [3, 1, 4], [5, 0, 9])
    assert made.ids == [START, 3, 1, 4, TASK, 15, 10, 19]
    assert made.targets == [NO, NO, NO, NO, 5, 0, 9, END]


def test_text_between_speech_spelled_out() -> None:
    """Two blocks of 2 : 3 and a rest: `fill` is foretold after a block and not given, the last token before the end."""
    made = interleaved(SMALL, [1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5, 6, 7], Blocks(2, 3))
    assert made.ids == [START, 1, 2, 10, 11, 12, 3, 4, 13, 14, 15, 5, TASK, 16, 17]
    assert made.targets == [NO, NO, 0, 1, 2, FILL, NO, 3, 4, 5, FILL, NO, 6, 7, END]


def test_text_that_fills_its_blocks_has_no_rest() -> None:
    made = interleaved(SMALL, [1, 2], [0, 1, 2, 3], Blocks(2, 3))
    assert made.ids == [START, 1, 2, 10, 11, 12, TASK, 13]
    assert made.targets == [NO, NO, 0, 1, 2, FILL, 3, END]


def test_text_shorter_than_a_block_is_as_if_all_were_known() -> None:
    assert interleaved(SMALL, [1], [0, 1], Blocks(2, 1)) == offline(SMALL, [1], [0, 1])


def test_too_little_speech_for_the_text_is_refused() -> None:
    assert not Blocks(2, 3).fit(4, 6)
    assert Blocks(2, 3).fit(4, 7)
    with pytest.raises(ValueError, match=r"^expected fewer than 4 symbols for 6 tokens, got 4$"):
        interleaved(SMALL, [1, 2, 3, 4], [0] * 6, Blocks(2, 3))


def test_sequences_side_by_side_learn_nothing_after_their_ends() -> None:
    ids, targets = collate([offline(SMALL, [1], [2]), offline(SMALL, [1, 2], [3, 4])])
    assert ids.shape == targets.shape == (2, 6)
    assert targets[0].tolist() == [NO, NO, 2, END, NO, NO]
    lm = toy_lm()
    one = offline(lm.ids, [1], [2, 5, 5])
    padded = torch.tensor([[*one.ids, 0, 0]]), torch.tensor([[*one.targets, NO, NO]])
    alone = torch.tensor([one.ids]), torch.tensor([one.targets])
    torch.testing.assert_close(loss_of(lm, *padded), loss_of(lm, *alone))


def test_only_speech_is_corrupted() -> None:
    ids = torch.arange(25).repeat(400, 1)
    found = corrupted(ids, SMALL, 0.3, torch.Generator().manual_seed(0))
    changed = found != ids
    assert not changed[:, :10].any()
    assert not changed[:, 20:].any()
    # A tenth of what is drawn is what it was.
    assert float(changed[:, 10:20].float().mean()) == pytest.approx(0.27, abs=0.02)
    assert int(found[:, 10:20].min()) >= 10
    assert int(found[:, 10:20].max()) < 20


def test_dropout_regularises_training_alone() -> None:
    torch.manual_seed(0)
    lm, ids = SpeechLm(LM, dropout=0.5), torch.arange(6)[None]
    assert not torch.equal(lm(ids), lm(ids))
    lm.eval()
    assert torch.equal(lm(ids), lm(ids))


def test_decoding_with_a_cache_is_the_whole_model() -> None:
    """Ids in blocks of any size give the logits that the whole sequence gives."""
    lm = toy_lm()
    ids = torch.randint(LM.texts + LM.speech + 2, (1, 17), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = lm(ids)[0]
    past, at = Past(), 0
    for size in (6, 1, 1, 5, 4):
        logits = next_logits(lm, ids[0, at : at + size].tolist(), past)
        at += size
        torch.testing.assert_close(logits, whole[at - 1], rtol=1e-5, atol=1e-5)
    assert past.length == 17


def test_speech_is_the_same_for_the_same_seed() -> None:
    said = [list(Speech(toy_lm(), seed).speak(TEXT)) for seed in (0, 0, 1)]
    assert said[0] == said[1] != said[2]
    assert set(said[0]) <= set(range(TOKENS))


def test_what_is_drawn_is_drawn_of_the_model_in_the_layout_of_training() -> None:
    """Every token of a greedy stream is the likeliest that the whole model says for the layout, and may end there."""
    greedy = Sampling(top_p=1e-9, top_k=1, tau_r=2.0)
    for streamed in (False, True):
        speech = Speech(toy_lm(), blocks=BLOCKS, sampling=greedy, limits=Limits(1.5, 1.6))
        said = [*speech.push(TEXT), *speech.finish()] if streamed else [*speech.speak(TEXT)]
        assert len(said) == 23
        lm = toy_lm()
        made = interleaved(lm.ids, TEXT, said, BLOCKS) if streamed else offline(lm.ids, TEXT, said)
        with torch.no_grad():
            logits = lm(torch.tensor([made.ids]))[0, :, :TOKENS]
        told = [(int(logits[at].argmax()), target) for at, target in enumerate(made.targets) if 0 <= target < TOKENS]
        assert len(told) == len(said)
        assert [a for a, _ in told] == [b for _, b in told]


def test_a_token_of_the_last_ten_is_not_drawn_again_by_the_nucleus() -> None:
    """Repetition aware sampling: where one token has nearly all the weight, it comes once in eleven at most."""
    lm = toy_lm()
    with torch.no_grad():
        lm.llm_decoder.bias.zero_()
        lm.llm_decoder.weight.zero_()
        lm.llm_decoder.bias[7] = 9.0
    said = list(Speech(lm, limits=Limits(3.0, 4.0)).speak(TEXT))
    places = np.flatnonzero(np.array(said) == 7)
    assert len(places) >= 3
    # Banned within the window; right after it, it is drawn again.
    assert np.diff(places).min() == np.diff(places).max() == 11
    never = list(Speech(lm, sampling=Sampling(tau_r=2.0), limits=Limits(3.0, 4.0)).speak(TEXT))
    assert never == [7] * len(never)


def test_speech_is_neither_too_short_nor_too_long() -> None:
    """A model that wants to end at once says the least, one that never ends the most."""
    lm = toy_lm()
    with torch.no_grad():
        lm.llm_decoder.bias[TOKENS] = 1e4
        assert len(list(Speech(lm, limits=Limits(1.5, 3.0)).speak(TEXT))) == 21
        lm.llm_decoder.bias[TOKENS] = -1e4
        assert len(list(Speech(lm, limits=Limits(1.5, 3.0)).speak(TEXT))) == 42


def test_text_is_read_in_blocks_while_speech_goes_out() -> None:
    """Nothing is said before a block of text is there, then a block of speech; the rest is said at the end."""
    speech = Speech(toy_lm(), blocks=BLOCKS, limits=Limits(2.0, 3.0))
    counts = [len(list(speech.push([symbol]))) for symbol in TEXT]
    assert counts == [0, 0, 0, 5] * 3 + [0, 0]
    rest = list(speech.finish())
    assert 28 <= len(speech.said) <= 42
    assert len(speech.said) == 15 + len(rest)


@pytest.mark.parametrize("cuts", [[14], [1] * 14, [3, 7, 4]])
def test_speech_does_not_depend_on_how_text_arrives(cuts: list[int]) -> None:
    whole = Speech(toy_lm(), blocks=BLOCKS)
    expected = [*whole.push(TEXT), *whole.finish()]
    speech, said, at = Speech(toy_lm(), blocks=BLOCKS), [], 0
    for count in cuts:
        said += speech.push(TEXT[at : at + count])
        at += count
    assert [*said, *speech.finish()] == expected


def test_words_come_with_the_boundary_before_them() -> None:
    assert words_of(["^", "M", "AA1", "_", "S", "IY1", ",", "SH", "IY1", "."]) == [
        ["^", "M", "AA1"],
        ["_", "S", "IY1"],
        [",", "SH", "IY1", "."],
    ]
    assert words_of(["^", "M"]) == [["^", "M"]]


def test_tokens_share_what_their_digits_say() -> None:
    """A step on one token moves those that share digits with it, and no other id; afterwards each row is its own."""
    lm = SpeechLm(LM)
    tokens = lm.ids.tokens
    share_digits(lm, tokens)
    before = lm.speech_embedding.weight.detach().clone()
    lm.speech_embedding.weight[0].sum().backward()
    with torch.no_grad():
        for parameter in lm.parameters():
            if parameter.grad is not None:
                parameter -= parameter.grad
    moved = (lm.speech_embedding.weight != before).any(1).tolist()
    # All digits of the first token are zeros.
    shares = [any(token // LEVELS**place % LEVELS == 0 for place in range(DIMS)) for token in range(tokens)]
    assert moved == [*shares, False, False, False]
    assert not all(shares)
    ids = torch.arange(lm.ids.speech, lm.ids.speech + 5)[None]
    shared, names = lm(ids), set(SpeechLm(LM).state_dict())
    keep_digits(lm)
    assert torch.equal(lm(ids), shared)
    assert set(lm.state_dict()) == names
    with pytest.raises(ValueError, match=r"^expected a power of 3 tokens, got 28$"):
        share_digits(lm, 28)


def test_phones_are_asked_for_where_tokens_are_foretold() -> None:
    """In their order, two for each token, in either layout; ends, fills and text are passed over."""
    lm = TaughtLm(LM).eval()
    with pytest.raises(RuntimeError, match=r"^expected a call of the model before, got none$"):
        lm.told()
    texts, tokens = [[3, 1, 4], [1, 5, 9]], [[0, 7, 3], [5, 8, 1, 6, 2, 4, 9]]
    phones = [torch.arange(6) + 1, torch.arange(14) + 11]
    rows = [offline(lm.ids, texts[0], tokens[0]), interleaved(lm.ids, texts[1], tokens[1], Blocks(2, 3))]
    ids, targets = collate(rows)
    with torch.no_grad():
        loss_of(lm, ids, targets)
        assert lm.told().shape == (*ids.shape, 2, len(SYMBOLS))
        loss, share = phone_loss_of(lm, targets, phones)
    assert 2 < float(loss) < 8
    assert float(share) < 0.5
    # A head that knows what is right, of rows that say how many tokens came before.
    right = torch.full((*ids.shape, 2, len(SYMBOLS)), -50.0)
    for row, wanted in enumerate(phones):
        places = ((targets[row] >= 0) & (targets[row] < lm.ids.tokens)).nonzero().flatten()
        for place, (first, second) in zip(places, wanted.view(-1, 2).tolist(), strict=True):
            right[row, place, 0, first] = right[row, place, 1, second] = 0.0
    lm.told = lambda: right
    loss, share = phone_loss_of(lm, targets, phones)
    assert float(loss) < 1e-6
    assert float(share) == 1.0


def test_a_model_begins_from_another(tmp_path: Path) -> None:
    """With all of its weights; one of another kind is refused."""
    other, lm = TaughtLm(LM), TaughtLm(LM)
    torch.save({"average": other.state_dict()}, tmp_path / "checkpoint.pt")
    begin_from(lm, tmp_path / "checkpoint.pt")
    ids = torch.arange(6)[None]
    assert torch.equal(lm.eval()(ids), other.eval()(ids))
    torch.save({"average": SpeechLm(LM).state_dict()}, tmp_path / "checkpoint.pt")
    with pytest.raises(RuntimeError, match=r"phones\.1\.weight"):
        begin_from(lm, tmp_path / "checkpoint.pt")
