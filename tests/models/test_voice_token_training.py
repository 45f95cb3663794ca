"""From recordings to tokens to speech: every recipe trains, resumes and speaks, on a made-up voice."""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import re
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.common.training import Progress  # noqa: E402
from models.flow_tts.config import FRAME, FlowConfig  # noqa: E402
from models.flow_tts.symbols import GAP, IDS, PAUSES  # noqa: E402
from models.flow_tts.tokens import flow_train, lm_train, speak, tokeniser_train  # noqa: E402
from models.flow_tts.tokens.config import TokenFlowConfig, TokeniserConfig, lm_sizes  # noqa: E402
from models.flow_tts.tokens.data import Utterance, collate, drawn, joined, shifted, tokenised, utterances, words_of  # noqa: E402
from models.flow_tts.tokens.decoding import Speech  # noqa: E402
from models.flow_tts.tokens.flow import TokenFlow, load_flow  # noqa: E402
from models.flow_tts.tokens.layouts import Blocks  # noqa: E402
from models.flow_tts.tokens.lm import load_lm  # noqa: E402
from models.flow_tts.tokens.tokeniser import load_tokeniser  # noqa: E402
from tests.models.token_toys import (  # noqa: E402
    TOKEN_FLOW,
    TOKENISER,
    TOKENS,
    toy_lm,
    toy_token_flow,
    toy_tokeniser,
    write_aligned_pool,
)
from tests.models.voice_recordings import to_symbols  # noqa: E402
from tests.models.voice_toys import FLOW, toy_vocoder, toy_voice  # noqa: E402

CLIPS = 36
BLOCKS = Blocks(4, 5)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    write_aligned_pool(folder, CLIPS)
    return folder


@pytest.fixture(scope="module")
def trained(pool: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Checkpoints of all recipes in the order of the commands, each resumed once, and what they printed."""
    out = tmp_path_factory.mktemp("checkpoints")
    tokeniser = ["--tokeniser", str(out / "tokeniser" / "checkpoint.pt")]
    blocks = ["--text-block", str(BLOCKS.text), "--speech-block", str(BLOCKS.speech)]
    said = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokeniser_train, "TokeniserConfig", lambda dims: TokeniserConfig(dims, 24, 32, 3, 1))
        patch.setattr(flow_train, "FlowConfig", lambda: FLOW)
        patch.setattr(flow_train, "TokenFlowConfig", _small_flow)
        patch.setattr(lm_train, "lm_sizes", lambda tokens: lm_sizes(tokens, 32, 2, 2, 48))
        said["tokeniser"] = _train(tokeniser_train.main, pool, out / "tokeniser", patch, ["--dims", "3"])
        said["flow"] = _train(flow_train.main, pool, out / "flow", patch, [*tokeniser, "--chunk", "4"])
        said["lm"] = _train(lm_train.main, pool, out / "lm", patch, [*tokeniser, *blocks])
    return out, said


def test_utterances_have_two_frames_for_a_token(pool: Path) -> None:
    found = tokenised(toy_tokeniser(), utterances(pool, "train"))
    for one in found:
        assert len(one.mel) == len(one.pitch) == len(one.phones) == 2 * len(one.tokens)
        assert [IDS["^"], IDS["."]] == [int(one.symbols[0]), int(one.symbols[-1])]
        # Phones in the order of the symbols, each as often as it lasts.
        sounding = one.symbols[one.symbols != IDS["_"]]
        assert torch.equal(torch.unique_consecutive(one.phones), torch.unique_consecutive(sounding))


def test_shifted_utterances_pair_their_frames_the_other_way(pool: Path) -> None:
    found = utterances(pool, "train")
    for one, other in zip(found, shifted(found), strict=True):
        assert torch.equal(other.symbols, one.symbols)
        assert torch.equal(other.mel, one.mel[1:-1])
        assert torch.equal(other.pitch, one.pitch[1:-1])
        assert torch.equal(other.phones, one.phones[1:-1])
        assert int(other.ends[-1]) == len(other.mel)
    assert [len(one.tokens) * 2 for one in tokenised(toy_tokeniser(), shifted(found))] == [
        len(one.mel) - 2 for one in found
    ]


def test_utterances_in_a_row_are_one_text(pool: Path) -> None:
    first, second = tokenised(toy_tokeniser(), utterances(pool, "train")[:2])
    both = joined([first, second])
    assert both.symbols.tolist() == [*first.symbols.tolist(), *second.symbols.tolist()[1:]]
    assert torch.equal(both.tokens, torch.cat([first.tokens, second.tokens]))
    assert len(both.mel) == len(both.phones) == 2 * len(both.tokens)
    assert both.ends.tolist() == [*first.ends.tolist(), *(second.ends[1:] + len(first.mel)).tolist()]
    assert torch.equal(joined([first]).mel, first.mel)


def test_words_are_cut_out_with_what_they_sound_like(pool: Path) -> None:
    """To the nearest whole token; all words are the utterance, and there may be fewer than were asked for."""
    whole = tokenised(toy_tokeniser(), utterances(pool, "train"))[0]
    stops = torch.isin(whole.symbols, torch.tensor([IDS[symbol] for symbol in (GAP, *PAUSES)]))
    count = int(stops.sum())
    assert count > 1
    parts = [words_of(whole, word, 1) for word in range(count)]
    assert torch.equal(torch.cat([part.symbols for part in parts]), whole.symbols)
    assert torch.equal(torch.cat([part.tokens for part in parts]), whole.tokens)
    assert torch.equal(torch.cat([part.mel for part in parts]), whole.mel)
    assert all(len(part.mel) == len(part.phones) == 2 * len(part.tokens) for part in parts)
    rest = words_of(whole, 1, 1000)
    assert torch.equal(rest.symbols, whole.symbols[len(parts[0].symbols) :])
    shift = len(parts[0].mel)
    assert torch.equal(rest.ends, whole.ends[len(parts[0].symbols) :] - shift)


def test_words_of_several_recordings_are_examples_too(pool: Path) -> None:
    """Each symbol ends where it sounds, but for half a token at joins."""
    found = tokenised(toy_tokeniser(), utterances(pool, "train"))
    for one in itertools.chain(*itertools.islice(drawn(found, 4, 0, mixed=1.0), 5)):
        assert len(one.mel) == len(one.phones) == len(one.pitch) == 2 * len(one.tokens)
        assert len(one.symbols) == len(one.ends)
        pairs = itertools.pairwise([0, *one.ends.tolist()])
        sounding = [
            (int(symbol), last) for symbol, (first, last) in zip(one.symbols, pairs, strict=True) if last > first + 2
        ]
        assert one.phones[[last - 2 for _, last in sounding]].tolist() == [symbol for symbol, _ in sounding]


def test_draws_are_repeatable_and_some_are_joined(pool: Path) -> None:
    found = tokenised(toy_tokeniser(), utterances(pool, "train"))
    one, other = drawn(found, 4, 3), drawn(found, 4, 3)
    batches = [next(one) for _ in range(5)]
    for batch in batches:
        assert [len(each.mel) for each in batch] == [len(each.mel) for each in next(other)]
    lengths = [len(each.mel) for batch in batches for each in batch]
    assert max(lengths) > max(len(each.mel) for each in found)
    made = collate(batches[0])
    assert made.mask.sum(1).tolist() == [len(each.mel) for each in batches[0]]
    assert ((made.tokens >= 0).sum(1) * 2).tolist() == made.mask.sum(1).tolist()


def test_a_tokeniser_trains_and_reports_its_codebook(trained: tuple[Path, dict[str, str]]) -> None:
    out, said = trained
    reports = re.findall(r"tune: mel .* train_used ([\d.]+) train_perplexity ([\d.]+)", said["tokeniser"])
    assert len(reports) == 2
    used, perplexity = (float(figure) for figure in reports[1])
    assert 1 < perplexity <= used * TOKENS + 0.01
    assert load_tokeniser(out / "tokeniser" / "checkpoint.pt").config == TOKENISER


def test_a_flow_trains_under_masks_of_its_chunks(trained: tuple[Path, dict[str, str]]) -> None:
    out, said = trained
    assert said["flow"].count("tune: whole_mean ") == said["flow"].count(" chunked_flow ") == 2
    assert load_flow(out / "flow" / "checkpoint.pt").config == TOKEN_FLOW


def test_every_mask_is_drawn(pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of eighty batches about a quarter each sees everything, the past, chunks, and chunks twice as long."""
    batch, progress, seen = collate(_tokenised(pool)[:2]), Progress(), []
    monkeypatch.setattr(flow_train, "losses", lambda model, batch, chunk, rng: seen.append(chunk) or _nothing())
    objective = flow_train.Objective(toy_token_flow(), progress)
    for progress.updates in range(80):
        objective(batch)
    assert {chunk: seen.count(chunk) > 10 for chunk in seen} == {None: True, 1: True, 4: True, 8: True}


def test_a_flow_may_begin_from_that_of_an_acoustic_model(tmp_path: Path) -> None:
    acoustic, model = toy_voice(), toy_token_flow()
    path = tmp_path / "checkpoint.pt"
    torch.save({"config": acoustic.plain_config(), "average": dict(acoustic.named_parameters())}, path)
    before = model.input_embedding.weight.clone()
    flow_train.begin_from(model, path)
    assert torch.equal(model.flow.estimator.leave.weight, acoustic.flow.estimator.leave.weight)
    assert torch.equal(model.input_embedding.weight, before)
    other = TokenFlow(replace(TOKEN_FLOW, flow=replace(FLOW, width=16)))
    with pytest.raises(ValueError, match=r"^expected a flow of \{'width': 16, .*, got \{'width': 32, "):
        flow_train.begin_from(other, path)


def test_a_language_model_trains_in_both_layouts(trained: tuple[Path, dict[str, str]]) -> None:
    out, said = trained
    assert said["lm"].count("tune: offline_loss ") == said["lm"].count(" interleaved_loss ") == 2
    model, blocks = load_lm(out / "lm" / "checkpoint.pt")
    assert blocks == BLOCKS
    assert model.ids.tokens == TOKENS


def test_layouts_are_interleaved_where_they_fit(pool: Path) -> None:
    one, lm = _tokenised(pool)[0], toy_lm()
    count = len(one.symbols)
    fits, does_not = Blocks(count, len(one.tokens) - 1), Blocks(count, len(one.tokens))
    whole = lm_train.sequenced(lm, one, fits, False)
    assert lm_train.sequenced(lm, one, does_not, True) == whole
    assert lm_train.sequenced(lm, one, fits, True).targets.count(lm.ids.fill - lm.ids.speech) == 1
    assert whole.targets.count(lm.ids.fill - lm.ids.speech) == 0


def test_what_was_trained_speaks(trained: tuple[Path, dict[str, str]], pool: Path, tmp_path: Path) -> None:
    """By the command, in all ways: a file for each distinct prompt of the split, as long as its tokens."""
    out, _ = trained
    chosen = speak.prompts(pool, "dev", 2)
    made = {way: _speak(out, ["--pool", str(pool)], tmp_path / way, way) for way in speak.WAYS}
    for way, found in made.items():
        assert sorted(found) == sorted(Path(one.clip.audio).stem for one in chosen), way
    speaker = speak.load(out, tmp_path / "vocoder.pt")
    for one in chosen:
        name = Path(one.clip.audio).stem
        tokens = list(Speech(speaker.lm, 0, BLOCKS).speak([IDS[symbol] for symbol in one.symbols]))
        assert len(made["whole"][name]) == 2 * FRAME * len(tokens)
        assert np.abs(made["whole"][name]).max() > 0
        assert not np.array_equal(made["whole"][name], made["streamed"][name])
        assert len(made["copied"][name]) % (2 * FRAME) == 0


def test_a_text_is_pronounced_and_said(trained: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    """By the command, with the symbols of the lexicon; a way that needs a recording is refused."""
    out, lexicon = trained[0], tmp_path / "lexicon.txt.gz"
    lexicon.write_bytes(gzip.compress(b"ma\tM AA1\nsee\tS IY1\n"))
    given = ["--text", "Ma, see.", "--lexicon", str(lexicon)]
    (found,) = _speak(out, given, tmp_path / "said", "whole").values()
    speaker = speak.load(out, tmp_path / "vocoder.pt")
    expected = speaker.whole(["^", "M", "AA1", ",", "S", "IY1", "."])
    np.testing.assert_allclose(found, np.clip(expected, -1, 1), atol=1e-4)
    with pytest.raises(SystemExit):
        _speak(out, given, tmp_path / "copied", "copied")


def test_a_streamed_text_sounds_as_it_does_at_once() -> None:
    """Word by word, symbol by symbol or all at once: the same samples, the first of them before the text has ended."""
    speaker = speak.Speaker(toy_lm(), BLOCKS, toy_token_flow(), toy_vocoder(), chunk=2)
    symbols = to_symbols("ma see sam, she aim.")
    parts = [[symbols], [[symbol] for symbol in symbols], speak.words_of(symbols)]
    heard = [list(speaker.streamed(each)) for each in parts]
    assert len(heard[2]) == len(parts[2]) + 2
    assert any(len(samples) for samples in heard[2][: len(parts[2]) - 1])
    for other in heard[1:]:
        np.testing.assert_array_equal(np.concatenate(heard[0]), np.concatenate(other))


def _train(main: Callable[[], None], pool: Path, out: Path, patch: pytest.MonkeyPatch, extra: list[str]) -> str:
    """Some updates, a checkpoint, more updates from it; what was printed."""
    said = io.StringIO()
    for minutes in ("0.01", "0.015"):
        command = ["train", "--pool", str(pool), "--out", str(out), "--budget-minutes", minutes, "--batch", "3"]
        patch.setattr(sys, "argv", [*command, *extra])
        with contextlib.redirect_stdout(said):
            main()
    saved = torch.load(out / "checkpoint.pt", weights_only=True)
    assert saved["progress"]["elapsed_s"] >= 0.9
    return said.getvalue()


def _speak(checkpoints: Path, given: list[str], out: Path, way: str) -> dict[str, np.ndarray]:
    vocoder = out.parent / "vocoder.pt"
    made = toy_vocoder()
    torch.save({"config": asdict(made.config), "average": dict(made.named_parameters())}, vocoder)
    command = ["speak", "--checkpoints", str(checkpoints), "--vocoder", str(vocoder), *given]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [*command, "--out", str(out), "--way", way, "--sentences", "2"])
        speak.main()
    return {path.stem: soundfile.read(path)[0] for path in out.iterdir()}


def _small_flow(tokens: int, flow: FlowConfig, chunk: int) -> TokenFlowConfig:
    return replace(TOKEN_FLOW, tokens=tokens, flow=flow, chunk=chunk)


def _tokenised(pool: Path) -> list[Utterance]:
    return tokenised(toy_tokeniser(), utterances(pool, "train"))


def _nothing() -> dict[str, torch.Tensor]:
    return dict.fromkeys(("mean", "flow", "octaves", "voicing"), torch.zeros(()))
