"""Whisper in torch, beside openai-whisper with the same random weights."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")
peer = pytest.importorskip("whisper", reason="openai-whisper is not installed")

from models.careless_whisper.config import Chunking, Dims  # noqa: E402
from models.careless_whisper.model import Whisper, block_mask  # noqa: E402

torch.set_num_threads(1)
TINY = Dims(80, 1500, 384, 6, 4, 51865, 448, 384, 6, 4)
BASE = Dims(80, 1500, 512, 8, 6, 51865, 448, 512, 8, 6)
SMALL = Dims(80, 1500, 768, 12, 12, 51865, 448, 768, 12, 12)
LARGE_V2 = Dims(80, 1500, 1280, 20, 32, 51865, 448, 1280, 20, 32)
LARGE_V3 = Dims(128, 1500, 1280, 20, 32, 51866, 448, 1280, 20, 32)
TURBO = replace(LARGE_V3, n_text_layer=4)


def shallow(dims: Dims, frames: int = 1500) -> Dims:
    """A layer of each half and `frames` of audio: what differs between layers is nothing, and time is short."""
    return replace(dims, n_audio_layer=1, n_text_layer=1, n_audio_ctx=frames)


def randomise(model: torch.nn.Module) -> torch.nn.Module:
    """Weights of a spread that lets every layer matter; norms and biases too."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        scale = 0.3 if parameter.dim() == 1 else parameter[0].numel() ** -0.5
        noise = torch.randn(parameter.shape, generator=generator) * scale
        parameter.data = noise + (1.0 if name.endswith(("ln.weight", "ln_post.weight")) else 0.0)
    return model.eval()


def pair(dims: Dims) -> tuple[Whisper, torch.nn.Module]:
    """Our model and openai-whisper's, each loaded strictly with the state of the other."""
    theirs = randomise(peer.model.Whisper(peer.ModelDimensions(**asdict(dims))))
    ours = Whisper(dims).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    return ours, theirs


def inputs(dims: Dims, tokens: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    mel = torch.randn(2, dims.n_mels, 2 * dims.n_audio_ctx, generator=generator) * 0.5
    return mel, torch.randint(dims.n_vocab, (2, tokens), generator=generator)


@pytest.mark.parametrize(
    "dims",
    [replace(TINY, n_audio_ctx=300), shallow(BASE), replace(shallow(LARGE_V3, 100), n_text_layer=2)],
    ids=["tiny, all layers", "base, 30 s", "large-v3, 2 s"],
)
def test_logits_are_those_of_openai_whisper(dims: Dims) -> None:
    """Without mask and adapters it is the offline model: encoder and logits are equal to 1e-4."""
    ours, theirs = pair(dims)
    mel, tokens = inputs(dims)
    with torch.no_grad():
        encoded, expected = ours.encoder(mel), theirs.encoder(mel)
        torch.testing.assert_close(encoded, expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(ours(mel, tokens), theirs(mel, tokens), atol=1e-4, rtol=0)


@pytest.mark.parametrize("dims", [TINY, BASE, SMALL, LARGE_V2, LARGE_V3, TURBO])
def test_keys_and_shapes_are_those_of_openai_whisper(dims: Dims) -> None:
    """All layers of every size have the same parameters, in name and shape."""
    with torch.device("meta"):
        ours, theirs = Whisper(dims).state_dict(), peer.model.Whisper.__new__(peer.model.Whisper)
        torch.nn.Module.__init__(theirs)
        theirs.encoder = peer.model.AudioEncoder(*list(asdict(dims).values())[:5])
        theirs.decoder = peer.model.TextDecoder(*list(asdict(dims).values())[5:])
    assert {key: value.shape for key, value in ours.items()} == {
        key: value.shape for key, value in theirs.state_dict().items()
    }


def test_an_adapter_changes_nothing_until_it_is_trained_and_merges_exactly() -> None:
    """B begins as zero; with other values the merged model is the unmerged one to 1e-5."""
    dims = Dims(80, 60, 64, 2, 2, 300, 32, 64, 2, 2)
    model = randomise(Whisper(dims))
    mel, tokens = inputs(dims)
    with torch.no_grad():
        plain = model(mel, tokens)
        model.adapt(8)
        torch.testing.assert_close(model(mel, tokens), plain)
        for name, parameter in model.named_parameters():
            if name.endswith("lora_b"):
                parameter.normal_(0, 0.02, generator=torch.Generator().manual_seed(2))
        adapted = model(mel, tokens, block_mask(60, Chunking(5, 2)))
        model.merge()
        merged = model(mel, tokens, block_mask(60, Chunking(5, 2)))
    torch.testing.assert_close(merged, adapted, atol=1e-5, rtol=0)
    assert not torch.allclose(merged, plain, atol=1e-3)
    assert not [name for name, _ in model.named_parameters() if "lora" in name]


@pytest.mark.parametrize(
    ("gran", "extra", "limits"),
    [(2, 2, [6] * 6 + [8, 8, 10, 10]), (5, 0, [5] * 5 + [10] * 5), (3, 1, [6] * 6 + [9, 9, 9, 12])],
)
def test_a_frame_sees_up_to_the_end_of_its_block(gran: int, extra: int, limits: list[int]) -> None:
    """The first blocks are one; later ones see all the past and themselves (spec: lim(i))."""
    seen = (block_mask(10, Chunking(gran, extra)) == 0).sum(1)
    assert seen.tolist() == [min(limit, 10) for limit in limits]


def test_mel_rows_beyond_a_block_change_nothing_but_its_last_frame() -> None:
    """Frames of the first block see mel rows up to one beyond their own, and nothing later."""
    dims = Dims(80, 40, 64, 2, 2, 300, 32, 64, 2, 2)
    model, chunking = randomise(Whisper(dims)), Chunking(5, 1)
    mel, _ = inputs(dims)
    changed = mel.clone()
    changed[:, :, 2 * chunking.first + 1 :] += 1
    mask = block_mask(40, chunking)
    with torch.no_grad():
        before, after = model.encoder(mel, mask), model.encoder(changed, mask)
    torch.testing.assert_close(before[:, : chunking.first], after[:, : chunking.first], atol=1e-6, rtol=0)
    assert not torch.allclose(before[:, chunking.first], after[:, chunking.first], atol=1e-3)
