"""CosyVoice 2 and 3 in torch: streams in hops are the whole models, and parts are what papers say they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.common.frame_layers import Whole  # noqa: E402
from models.common.pages import WholeMemory  # noqa: E402
from models.flow_tts.cosyvoice import spectra  # noqa: E402
from models.flow_tts.cosyvoice.config import Options  # noqa: E402
from models.flow_tts.cosyvoice.dit import Attention, Rotary, turned  # noqa: E402
from models.flow_tts.cosyvoice.encoder import RelativeAttention, sinusoids  # noqa: E402
from models.flow_tts.cosyvoice.export import parameters_of  # noqa: E402
from models.flow_tts.cosyvoice.graphs import parts_of  # noqa: E402
from models.flow_tts.cosyvoice.hift_windows import window_reach  # noqa: E402
from models.flow_tts.cosyvoice.reference import TokenFlow, TorchCalls  # noqa: E402
from models.flow_tts.cosyvoice.vocoding import vocoder_of  # noqa: E402
from tests.models.cosyvoice_toys import (  # noqa: E402
    CHUNK,
    DIT,
    ENCODER,
    OPTIONS,
    TOKENS,
    Utterance,
    in_hops,
    stream_of,
    toy_checkpoint,
    toy_flow,
    toy_hift,
    whole,
)

torch.set_num_threads(1)
VERSIONS = (2, 3)
HOPS = ([100], [1], [CHUNK + 3], [3, 11, 1, 2], [7, 4])


@pytest.mark.parametrize("version", VERSIONS)
def test_any_hops_make_the_mel_of_the_whole_flow(version: int) -> None:
    """Cached chunks and prefixes run again both make the full pass under streaming masks, however tokens arrive."""
    utterance, checkpoint = Utterance.drawn(1, version), toy_checkpoint(version)
    mel, _ = whole(checkpoint, utterance)
    for options in (OPTIONS, replace(OPTIONS, cached=False)):
        for hops in HOPS if options.cached else ([4],):
            calls, parameters = TorchCalls(parts_of(checkpoint, options)), parameters_of(checkpoint, options)
            flow = TokenFlow(calls, parameters, utterance.prompt, utterance.noise, slide=False)
            cuts = np.cumsum([*hops, *[hops[-1]] * len(utterance.tokens)])
            parts = [part for part in np.split(utterance.tokens, cuts) if len(part)]
            found = np.concatenate([*(flow.push(part) for part in parts), flow.finish()])
            np.testing.assert_allclose(found, mel, atol=1e-5)


@pytest.mark.parametrize("version", VERSIONS)
def test_any_steps_of_the_vocoder_make_the_whole_signal(version: int) -> None:
    """Frames come in any number at a time; the end is that of the whole signal to the last sample."""
    rng, checkpoint = np.random.default_rng(0), toy_checkpoint(version)
    mel, noise = rng.standard_normal((40, 80)).astype(np.float32), Utterance.drawn(0, version).noise
    source = torch.from_numpy(noise.source(0, 40))[None]
    expected = checkpoint.hift(torch.from_numpy(mel)[None], source)[0].numpy()
    assert np.abs(expected).max() > 0.05
    for steps in ([40], [1] * 40, [7, 2, 20, 1, 10], [39, 1], [3] * 13 + [1]):
        vocoder = vocoder_of(TorchCalls(parts_of(checkpoint, OPTIONS)), parameters_of(checkpoint, OPTIONS), noise)
        said = [vocoder.push(part) for part in np.split(mel, np.cumsum(steps)[:-1])]
        np.testing.assert_allclose(np.concatenate([*said, vocoder.finish()]), expected, atol=1e-5)


@pytest.mark.parametrize("version", VERSIONS)
def test_tokens_become_the_samples_of_the_whole_models(version: int) -> None:
    """Flow and vocoder together: what rounding does to the mel, the phase of the toys makes some ten times larger."""
    utterance = Utterance.drawn(2, version)
    mel, pcm = whole(toy_checkpoint(version), utterance)
    assert pcm.shape == (len(mel) * 480,)
    for hops in ([100], [3, 11, 1, 2]):
        said = in_hops(stream_of(version, utterance), utterance.tokens, hops)
        np.testing.assert_allclose(np.concatenate(said), pcm, atol=2e-4)


@pytest.mark.parametrize("version", VERSIONS)
def test_sound_comes_as_soon_as_it_is_certain(version: int) -> None:
    """A hop that completes a chunk and its look-ahead is heard but for what the vocoder looks ahead."""
    utterance = Utterance.drawn(3, version, prompt=7, tokens=60)
    stream = stream_of(version, utterance, Options(chunk=15, pages=8, cells=256))
    assert len(stream.push(utterance.tokens[:10])) == 0
    # Tokens 7 to 14 are the first chunk's, the next three are ahead.
    heard = stream.push(utterance.tokens[10:11])
    reach = 6 + window_reach(toy_hift(2))
    assert len(heard) == {2: (16 - reach) * 480, 3: (16 - 4) * 480 - 8}[version]
    heard = np.concatenate([heard, stream.push(utterance.tokens[11:26])])
    assert len(heard) == {2: (46 - reach) * 480, 3: (46 - 4) * 480 - 8}[version]


@pytest.mark.parametrize("version", VERSIONS)
def test_mel_has_two_frames_a_token(version: int) -> None:
    """Seven tokens are 14 frames at the end of an utterance, and 8 where three more are looked ahead to."""
    flow = toy_flow(version)
    tokens = torch.randint(TOKENS, (1, 7))
    given = torch.randn(1, 4, 80), torch.randn(1, 192), torch.randn(1, 14, 80)
    assert flow(tokens, *given, True, CHUNK).shape == (1, 14, 80)
    assert flow(tokens, *given, False, CHUNK).shape == (1, 8, 80)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_said_does_not_depend_on_what_comes(version: int) -> None:
    """Frames of a chunk are those of a longer utterance; later tokens change later chunks alone."""
    flow = toy_flow(version)
    tokens = torch.randint(TOKENS, (1, 23))
    given = torch.randn(1, 6, 80), torch.randn(1, 192), torch.randn(1, 46, 80)
    longer = flow(tokens, *given, True, CHUNK)
    # Thirteen tokens are two whole chunks and the three ahead of them.
    torch.testing.assert_close(flow(tokens[:, :13], *given, False, CHUNK), longer[:, :20], atol=1e-5, rtol=0)
    changed = tokens.clone()
    changed[:, 13:] = (changed[:, 13:] + 1) % TOKENS
    differs = (flow(changed, *given, True, CHUNK) - longer).abs().amax((0, 2))
    assert differs[:20].max() < 1e-6
    assert differs[20:].min() > 1e-4
    assert (flow(tokens, *given, True, None) - longer).abs().max() > 1e-3


def test_each_version_needs_its_conditions() -> None:
    """Prompt, speaker and tokens all change the mel of either version."""
    for version in VERSIONS:
        flow, tokens = toy_flow(version), torch.randint(TOKENS, (1, 10))
        prompt, speaker, noise = torch.randn(1, 6, 80), torch.randn(1, 192), torch.randn(1, 20, 80)
        mel = flow(tokens, prompt, speaker, noise, True, CHUNK)
        for other in (
            ((tokens + 1) % TOKENS, prompt, speaker),
            (tokens, prompt + 1, speaker),
            (tokens, prompt, -speaker),
        ):
            assert (flow(*other, noise, True, CHUNK) - mel).abs().max() > 1e-3


def test_causal_vocoder_has_480_samples_a_frame_and_looks_four_frames_ahead() -> None:
    """Twelve frames are 5760 samples; a prefix says the same but for its last four frames and 8 samples."""
    hift = toy_hift(3)
    mel, noise = torch.randn(1, 40, 80), torch.rand(1, 40, 480, 9)
    pcm = hift(mel, noise)
    assert hift(mel[:, :12], noise[:, :12]).shape == (1, 5760)
    for frames in (12, 30):
        certain = (frames - 4) * 480 - 8
        prefix = hift(mel[:, :frames], noise[:, :frames])
        torch.testing.assert_close(prefix[:, :certain], pcm[:, :certain], atol=1e-5, rtol=0)
        assert (prefix[:, certain:] - pcm[:, certain : frames * 480]).abs().max() > 1e-4
        # Upstream holds back eight frames, so that all it says is said here too.
        assert certain >= (frames - 8) * 480


def test_windows_reach_as_far_as_the_symmetric_vocoder() -> None:
    """A frame changes samples up to the reach that is computed from kernels and strides, and none beyond."""
    hift, at = toy_hift(2), 25
    reach = window_reach(hift)
    mel, source = torch.randn(1, 50, 80), torch.rand(1, 50, 480) * 0.2 - 0.1
    pcm = hift.shaped(mel, source).view(50, 480)
    changed = mel.clone(), source.clone()
    changed[0][:, at] += 10
    changed[1][:, at] *= -1
    touched = (hift.shaped(*changed).view(50, 480) - pcm).abs().amax(1).nonzero().flatten()
    assert reach - 3 <= at - int(touched.min()) <= reach
    assert reach - 3 <= int(touched.max()) - at <= reach
    pitch = hift.f0_predictor(mel)
    heard = (hift.f0_predictor(changed[0]) - pitch)[0].nonzero().flatten()
    assert (int(heard.min()), int(heard.max())) == (at - 5, at + 5)


def test_released_vocoder_of_version_2_reaches_fifteen_frames() -> None:
    """So its sound is 21 frames, 420 ms, behind the mel."""
    from models.flow_tts.cosyvoice.config import HiftSizes
    from models.flow_tts.cosyvoice.hift import Hift

    with torch.device("meta"):
        assert window_reach(Hift(HiftSizes())) == 15


def test_the_short_transform_is_torch_s() -> None:
    """Spectra and samples of the matrices are those of `torch.stft` and `torch.istft`."""
    samples, hann = torch.randn(2, 400), torch.hann_window(16)
    expected = torch.stft(samples, 16, 4, window=hann, return_complex=True)
    padded = torch.nn.functional.pad(samples[:, None], (8, 8), "reflect").squeeze(1)
    found = spectra.columns(padded, 16, 4)
    torch.testing.assert_close(found, torch.cat([expected.real, expected.imag], 1).transpose(1, 2), atol=1e-5, rtol=0)
    log, angle = torch.randn(2, 101, 9), torch.randn(2, 101, 9)
    back = torch.istft(torch.polar(log.exp(), angle).transpose(1, 2), 16, 4, window=hann)
    mine = toy_hift(2)._closed(spectra.pieces(log, angle, 16))
    torch.testing.assert_close(mine, back, atol=1e-5, rtol=0)


def test_relative_positions_are_those_of_transformer_xl() -> None:
    """Scores of the shifted table equal q (k + p) written out, for each pair of places."""
    torch.manual_seed(0)
    layer, frames = RelativeAttention(ENCODER), 6
    x = torch.randn(1, frames, ENCODER.width)
    table = layer.linear_pos(sinusoids(torch.arange(frames - 1, -frames, -1), ENCODER.width))
    found = layer(x, table, WholeMemory())
    width = ENCODER.width // ENCODER.heads
    query, key, value = (
        part(x).view(frames, ENCODER.heads, width) for part in (layer.linear_q, layer.linear_k, layer.linear_v)
    )
    scores = torch.zeros(ENCODER.heads, frames, frames)
    for i in range(frames):
        for j in range(frames):
            place = layer.linear_pos(sinusoids(torch.tensor([i - j]), ENCODER.width)).view(ENCODER.heads, width)
            by_key = ((query[i] + layer.pos_bias_u) * key[j]).sum(1)
            scores[:, i, j] = (by_key + ((query[i] + layer.pos_bias_v) * place).sum(1)) / width**0.5
    mixed = torch.einsum("hij,jhe->ihe", scores.softmax(2), value).flatten(1)
    torch.testing.assert_close(found[0], layer.linear_out(mixed), atol=1e-5, rtol=0)


def test_only_the_first_head_of_version_3_turns() -> None:
    """Queries and keys turn before they are split: moving the frames changes what the first head makes alone."""
    torch.manual_seed(0)
    attention, rotary = Attention(DIT), Rotary(DIT)
    attention.to_out[0] = torch.nn.Identity()
    x = torch.randn(1, 9, DIT.width)
    places = torch.arange(9)[None], torch.arange(9)[None] * 5
    one, other = (attention(x, rotary(place), WholeMemory()) for place in places)
    differs = (one - other).abs().amax((0, 1)).view(DIT.heads, -1).amax(1)
    assert differs[0] > 1e-3
    assert (differs[1:] == 0).all()
    # Neighbouring channels are a pair.
    pair = turned(torch.tensor([[[1.0, 0.0]]]), (torch.tensor([[[0.6]]]), torch.tensor([[[0.8]]])))
    torch.testing.assert_close(pair, torch.tensor([[[0.6, 0.8]]]))


def test_guidance_is_away_from_what_is_said_without_conditions() -> None:
    """v = 1.7 with conditions - 0.7 without, both of the same estimator."""
    flow = toy_flow(2)
    x, mu, speaker, prompt = torch.randn(4, 1, 8, 80).unbind(0)
    made, frame = flow.schedule()[0][3:4], torch.arange(8)[None]
    found = flow.velocity(x, (mu, speaker, prompt), made, frame, (Whole(), WholeMemory()))
    nothing = torch.zeros_like(x)
    alone = [
        flow.estimator.run(flow.estimator.joined(x, *given), made, Whole(), WholeMemory(), frame)
        for given in ((mu, speaker, prompt), (nothing, nothing, nothing))
    ]
    torch.testing.assert_close(found, 1.7 * alone[0] - 0.7 * alone[1], atol=1e-5, rtol=0)
    lengths = flow.schedule()[1]
    assert lengths.sum() == pytest.approx(1)
    assert lengths[0] == pytest.approx(1 - np.cos(np.pi / 20), abs=1e-6)
