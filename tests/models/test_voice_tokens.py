"""The token path in parts: the quantiser, the tokeniser, and tokens to sound under the masks of streaming."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.flow_tts.config import FEATURES, FRAME, HALVES, MELS, TEMPERATURE  # noqa: E402
from models.flow_tts.tokens import fsq  # noqa: E402
from models.flow_tts.tokens.data import NOTHING  # noqa: E402
from models.flow_tts.tokens.flow import TokenFlow, masks  # noqa: E402
from models.flow_tts.tokens.flow_train import chunks  # noqa: E402
from models.flow_tts.tokens.streaming import Sound  # noqa: E402
from models.flow_tts.vocoder import DELAY, Vocoder  # noqa: E402
from streamer.tasks.voice_noise import Noise, normals  # noqa: E402
from tests.models.token_toys import CHUNK, DIMS, TOKENS, ids, toy_token_flow, toy_tokeniser  # noqa: E402
from tests.models.voice_toys import mels, pitches, toy_vocoder  # noqa: E402


def test_an_id_is_the_sum_of_digits_times_powers_of_three() -> None:
    """`id = sum_k (round(0.999 tanh h_k) + 1) 3^k`, spelled out."""
    hidden = torch.tensor([[-9.0, -9.0, -9.0], [9.0, -9.0, -9.0], [0.0, 9.0, -9.0], [9.0, 9.0, 9.0], [0.5, 0.6, -0.6]])
    values = fsq.quantised(hidden)
    torch.testing.assert_close(
        values, torch.tensor([[-1.0, -1, -1], [1, -1, -1], [0, 1, -1], [1, 1, 1], [0, 1, -1]]), rtol=0, atol=1e-6
    )
    assert fsq.ids_of(values).tolist() == [0, 2, 1 + 2 * 3, 26, 1 + 2 * 3]


@pytest.mark.parametrize("dims", [1, 4, 8])
def test_every_id_has_values_of_its_own(dims: int) -> None:
    every = torch.arange(3**dims)
    values = fsq.values_of(every, dims)
    assert torch.equal(fsq.ids_of(values), every)
    assert set(values.unique().tolist()) == {-1.0, 0.0, 1.0}


def test_rounding_lets_the_gradient_of_the_bound_pass() -> None:
    hidden = torch.tensor([0.3, -1.2, 2.0], requires_grad=True)
    fsq.quantised(hidden).sum().backward()
    torch.testing.assert_close(hidden.grad, 0.999 * (1 - torch.tanh(hidden.detach()) ** 2))


def test_usage_of_a_codebook() -> None:
    """Two of eight tokens, one three times as frequent: exp(entropy) of 3/4 and 1/4."""
    used, perplexity = fsq.usage(torch.tensor([3, 3, 3, 7]), 8)
    assert used == 0.25
    assert perplexity == pytest.approx(np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25))))
    assert fsq.usage(torch.arange(8), 8) == (1.0, pytest.approx(8.0))


def test_a_tokeniser_makes_a_token_of_two_frames_and_tells_both() -> None:
    model, mel, pitch = toy_tokeniser(), mels(20), pitches(20)
    tokens = model(mel, pitch)
    assert tokens.shape == (1, 10)
    assert 0 <= int(tokens.min()) <= int(tokens.max()) < TOKENS
    told = model.decoded(fsq.values_of(tokens, DIMS))
    assert told.mel.shape == (1, 20, MELS)
    assert told.melody.shape == (1, 20, 2 * HALVES)
    assert told.phones.shape[:2] == (1, 20)


def test_padding_does_not_change_tokens() -> None:
    """A row beside a longer one has the values that it has alone."""
    model, mel, pitch = toy_tokeniser(), mels(30, 2), pitches(30, 2)
    mask = torch.arange(30) < torch.tensor([[18], [30]])
    both = model.values(mel * mask.unsqueeze(2), pitch * mask.unsqueeze(2), mask)
    alone = model.values(mel[:1, :18], pitch[:1, :18])
    torch.testing.assert_close(both[:1, :9], alone)
    told, single = model.decoded(both, mask), model.decoded(alone)
    torch.testing.assert_close(told.mel[:1, :18], single.mel)
    torch.testing.assert_close(told.phones[:1, :18], single.phones)


def test_masks_are_those_of_the_paper() -> None:
    """Everything; the past alone; chunks; chunks twice as long. What is seen, spelled out for the tokens."""
    present = torch.ones(1, 6, dtype=torch.bool)
    seen = {chunk: (masks(present, chunk)[0][0, 0] == 0).int().expand(6, 6).tolist() for chunk in chunks(2)}
    assert list(seen) == [None, 1, 2, 4]
    assert seen[None] == [[1] * 6] * 6
    assert seen[1] == [[1] * (row + 1) + [0] * (5 - row) for row in range(6)]
    assert seen[2] == [[1] * width + [0] * (6 - width) for width in (2, 2, 4, 4, 6, 6)]
    assert seen[4] == [[1] * width + [0] * (6 - width) for width in (4, 4, 4, 4, 6, 6)]
    frames = masks(present, 1)[1][0, 0] == 0
    assert frames[0].tolist() == frames[1].tolist() == [True] * 2 + [False] * 10


def test_nothing_is_seen_where_there_is_no_token() -> None:
    present = torch.tensor([[True, True, False]])
    for chunk in (None, 2):
        assert torch.equal((masks(present, chunk)[0] == 0)[0, 0].expand(3, 3)[:2], torch.tensor([[1, 1, 0]] * 2).bool())


@pytest.mark.parametrize("chunk", [1, 3, CHUNK])
def test_a_frame_depends_on_its_chunk_and_three_tokens_more(chunk: int) -> None:
    """Another token changes frames of its chunk, and earlier ones only through the look-ahead."""
    model, tokens = toy_token_flow(), ids(12)
    other = tokens.clone()
    changed = 8
    other[0, changed] = (tokens[0, changed] + 1) % TOKENS
    apart = (model.encoded(tokens, chunk) - model.encoded(other, chunk)).abs().amax(2)[0] > 1e-6
    # The first token that looks so far ahead, and so the first of those that see it.
    first = (changed - model.ahead) // chunk * chunk
    assert not apart[: 2 * first].any()
    assert apart[2 * first :].all()


def test_an_encoder_without_chunks_sees_everything() -> None:
    model, tokens = toy_token_flow(), ids(12)
    other = tokens.clone()
    other[0, -1] = (tokens[0, -1] + 1) % TOKENS
    assert ((model.encoded(tokens, None) - model.encoded(other, None)).abs().amax(2) > 1e-6).all()


def test_tokens_after_the_end_change_nothing() -> None:
    model, tokens = toy_token_flow(), ids(7)
    padded = torch.cat([tokens, torch.full((1, 5), NOTHING)], 1)
    for chunk in (None, CHUNK):
        torch.testing.assert_close(model.encoded(padded, chunk)[:, :14], model.encoded(tokens, chunk))


@pytest.mark.parametrize(("chunk", "hops"), [(1, [5, 2, 9]), (3, [1]), (CHUNK, [23]), (10, [5, 2, 9])])
def test_a_stream_in_chunks_is_the_whole_under_their_mask(chunk: int, hops: list[int]) -> None:
    """Priors, mels and samples of a stream are those of the whole to 1e-5, however tokens arrive."""
    model, vocoder, tokens = toy_token_flow(), toy_vocoder(), ids(23)
    sound = _Listened(model, vocoder, seed=5, chunk=chunk, pages=24)
    heard, at = [], 0
    for hop in [*hops, *[hops[-1]] * 23]:
        heard.append(sound.push(tokens[0, at : at + hop].tolist()))
        at += hop
    heard.append(sound.finish())
    prior = model.encoder_proj(model.encoded(tokens, chunk))[0].numpy()
    streamed = np.concatenate(sound.priors)[: len(prior)]
    np.testing.assert_allclose(streamed[:, :MELS], prior[:, :MELS], atol=1e-5)
    assert np.abs(streamed[:, MELS:] - prior[:, MELS:]).max() <= 1
    assert prior.shape == (46, FEATURES)
    wave = _whole(model, vocoder, np.concatenate(sound.priors))
    samples = np.concatenate(heard)
    assert len(samples) == 23 * 2 * FRAME
    np.testing.assert_allclose(samples, wave, atol=1e-5)


def test_speech_goes_out_before_all_tokens_are_there() -> None:
    """A chunk and the tokens ahead of it make sound, one token less does not."""
    sound = Sound(toy_token_flow(), toy_vocoder(), chunk=CHUNK)
    assert len(sound.push(ids(CHUNK + 2)[0].tolist())) == 0
    assert len(sound.push([3])) == CHUNK * 2 * FRAME - DELAY
    assert len(sound.finish()) == 3 * 2 * FRAME + DELAY


def test_a_stream_of_no_tokens_is_silent() -> None:
    assert len(Sound(toy_token_flow(), toy_vocoder()).finish()) == 0


def test_an_encoder_forgets_only_what_is_older_than_its_pages() -> None:
    """With fewer pages than chunks the first chunks are as they were with enough, the later ones are not."""
    model, tokens = toy_token_flow(), ids(20)[0].tolist()
    found = []
    for pages in (8, 3):
        sound = _Listened(model, toy_vocoder(), chunk=2, pages=pages)
        sound.push(tokens)
        sound.finish()
        found.append(np.concatenate(sound.priors)[:, :MELS])
    np.testing.assert_allclose(found[0][: 3 * 4], found[1][: 3 * 4], atol=1e-5)
    assert np.abs(found[0] - found[1])[8 * 4 :].max() > 1e-4


class _Listened(Sound):
    """Notes the priors that it made, those of the tail too."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.priors: list[np.ndarray] = []

    def _sound(self, prior: np.ndarray) -> np.ndarray:
        self.priors.append(prior)
        return super()._sound(prior)


def _whole(model: TokenFlow, vocoder: Vocoder, prior: np.ndarray) -> np.ndarray:
    """Samples of all frames at once."""
    rows = torch.from_numpy(prior)[None]
    noise = torch.from_numpy(normals(5, Noise.FLOW, 0, len(prior), MELS) * np.float32(TEMPERATURE))[None]
    hiss = torch.from_numpy(normals(5, Noise.WAVE, 0, len(prior), FRAME))[None]
    pitch = rows[:, :, MELS:].to(torch.int64)
    samples = vocoder(model.flow(rows[:, :, :MELS], pitch, noise), pitch, hiss).clamp(-1, 1)
    return samples.detach().flatten()[DELAY : DELAY + (len(prior) - 2) * FRAME].numpy()
