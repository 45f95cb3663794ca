"""The codec's parts: transform, layers, quantiser and the closing of gaps."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.codec.config import LOST, SILENT, Config, stream_codec  # noqa: E402
from models.codec.model import Codec, Concealer, keep_books  # noqa: E402
from models.codec.quantiser import Quantiser, ScalarBook, VectorBook  # noqa: E402
from models.codec.transform import Transform  # noqa: E402
from models.common.frame_layers import Block, Caches, FrameConv, ResponseNorm  # noqa: E402
from tests.models.codec_toys import TOYS, toy_codec  # noqa: E402


@pytest.mark.parametrize("kind", ["mdct", "stft"])
@pytest.mark.parametrize("hop", [40, 160])
def test_transform_gives_back_what_it_was_given(kind: str, hop: int) -> None:
    """One hop late, up to the softened root of the smallest coefficients."""
    torch.manual_seed(0)
    transform, blank = Transform(hop, kind), torch.zeros(2, hop)
    audio = torch.randn(2, 20 * hop)
    rows, _ = transform.rows(audio, blank)
    back, _ = transform.samples(rows, blank)
    assert rows.shape == (2, 20, Config(hop=hop, transform=kind, bands=0).coefficients)
    torch.testing.assert_close(back[:, hop:], audio[:, :-hop], atol=0.02, rtol=0)


def test_transform_keeps_energy() -> None:
    """The MDCT is orthonormal: rows of a stationary signal have its energy."""
    torch.manual_seed(0)
    audio = torch.randn(1, 160 * 500)
    rows, _ = Transform(160, "mdct").rows(audio, torch.zeros(1, 160))
    assert float((rows.abs() ** 4).mean()) == pytest.approx(float(audio.square().mean()), rel=0.02)


def test_layers_cut_anywhere_equal_layers_over_the_whole() -> None:
    """Caches that lie side by side in one row hold what each layer needs."""
    torch.manual_seed(0)
    layers = [FrameConv(6, 8, 3, True), Block(8, 12, 7, "silu", True, True), FrameConv(8, 4, 1, True)]
    caches = Caches(layers, [2])
    x, row = torch.randn(3, 20, 6), torch.zeros(3, caches.size)
    whole = x
    for layer in layers:
        whole = layer(whole)
    parts, at = [], 0
    for length in (1, 7, 2, 10):
        (extra,), chain = caches.split(row)
        y = x[:, at : at + length]
        for layer in layers:
            y = chain.step(layer, y)
        row, at = chain.join([extra + 1]), at + length
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-5)
    assert caches.size == 2 + 2 * 6 + 6 * 8
    assert (row[:, :2] == 4).all()


def test_only_a_teacher_looks_ahead() -> None:
    """Samples that come later change nothing in a causal codec, and something in a teacher."""
    for causal in (True, False):
        torch.manual_seed(1)
        codec = Codec(replace(TOYS["stream_codec"], causal=causal)).eval()
        audio = torch.randn(1, 20 * 320) * 0.1
        later = torch.cat([audio[:, : 10 * 320], torch.randn(1, 10 * 320)], 1)
        with torch.no_grad():
            same = torch.allclose(codec.encoder(audio)[:, :10], codec.encoder(later)[:, :10], atol=1e-6)
        assert same == causal


def test_response_norm_does_not_look_at_other_frames() -> None:
    """The norm of ConvNeXt V2 is taken within a frame."""
    norm = ResponseNorm(4)
    torch.nn.init.normal_(norm.gain)
    x = torch.randn(1, 5, 4)
    torch.testing.assert_close(norm(x)[:, :2], norm(x[:, :2]))


def test_every_scalar_code_is_reached_and_means_its_levels() -> None:
    """FSQ: codes are a mixed radix number of levels, and decoding gives the word that encoding chose."""
    torch.manual_seed(0)
    book = ScalarBook(8, (4, 4, 3))
    book.begin(torch.randn(5000, 8))
    vectors = torch.randn(5000, 8) * 3
    words, codes = book(vectors)
    assert sorted(codes.unique().tolist()) == list(range(48))
    torch.testing.assert_close(book.words(codes), words)


def test_scalar_book_passes_gradients_through() -> None:
    """Rounding has the gradient of the bounded value, not none."""
    torch.manual_seed(0)
    book, vectors = ScalarBook(4, (4, 4)), torch.randn(10, 4, requires_grad=True)
    book(vectors)[0].sum().backward()
    assert vectors.grad is not None
    assert vectors.grad.abs().sum() > 0


@pytest.mark.parametrize("width", [0, 3])
@pytest.mark.parametrize("cosine", [True, False])
def test_vector_book_decodes_the_word_it_chose(width: int, cosine: bool) -> None:
    """Codes give back the very words; by cosine, loudness does not change them."""
    torch.manual_seed(0)
    book = VectorBook(6, 16, width, cosine)
    vectors = torch.randn(500, 6)
    book.begin(vectors)
    words, codes, commitment = book(vectors)
    torch.testing.assert_close(book.words(codes), words)
    assert len(codes.unique()) > 8
    assert commitment > 0
    if cosine and not width:
        assert torch.equal(book.nearest(3 * vectors), codes)


def test_nearest_is_nearest() -> None:
    """The short cut of the search agrees with distances."""
    torch.manual_seed(0)
    book, vectors = VectorBook(6, 16, 0, False), torch.randn(100, 6)
    assert torch.equal(book.nearest(vectors), torch.cdist(vectors, book.codebook).argmin(1))


def test_words_follow_the_vectors_and_dead_ones_come_back() -> None:
    """Online clustering: after vectors have moved away, all words are where they went."""
    torch.manual_seed(0)
    book = VectorBook(2, 8, 0, False)
    book.begin(torch.randn(1000, 2))
    for _ in range(2000):
        vectors = torch.randn(64, 2) + 20
        book.learn(vectors, book.nearest(vectors))
    assert (book.codebook.mean(1) > 15).all()
    assert len(book.nearest(torch.randn(2000, 2) + 20).unique()) == 8


def test_each_book_leaves_less_over() -> None:
    """Residual quantisation: more books, less error; with all of them, the sum of words is the latent decoded."""
    torch.manual_seed(0)
    quantiser = Quantiser(TOYS["default"])
    latents = torch.randn(4, 200, 8)
    quantiser.begin(latents.flatten(0, 1))
    errors = [
        float((quantiser(latents, torch.full((4,), count)).latent - latents).square().mean().detach())
        for count in range(1, TOYS["default"].books + 1)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.3 * errors[0]
    found = quantiser(latents)
    torch.testing.assert_close(quantiser.decode(found.codes), found.latent)


def test_rows_of_a_batch_may_have_fewer_books() -> None:
    """Absent codes decode as training with fewer books quantises."""
    codec = toy_codec("default")
    audio = torch.randn(2, 10 * 320) * 0.1
    with torch.no_grad():
        latents = codec.encoder(audio)
        mixed = codec.quantiser(latents, torch.tensor([2, 6]))
        codes = torch.stack([keep_books(mixed.codes, 2)[0], mixed.codes[1]])
        torch.testing.assert_close(codec.quantiser.decode(codes), mixed.latent)


def test_gradients_go_straight_through_all_books() -> None:
    """Books without projections pass the decoder's gradient to the encoder as it is."""
    quantiser = Quantiser(replace(TOYS["default"], levels=()))
    latents = torch.randn(1, 3, 8, requires_grad=True)
    quantiser(latents).latent.sum().backward()
    torch.testing.assert_close(latents.grad, torch.ones(1, 3, 8))


def test_a_gap_fades_from_the_last_latent_to_silence() -> None:
    """Lost frames: 0.8 to the power of their number of what was, from the seventh on more and more silence."""
    concealer = Concealer(1)
    with torch.no_grad():
        concealer.lost.fill_(0.5)
        concealer.silent.fill_(-3.0)
    latents = torch.tensor([[[2.0], *[[9.0]] * 20, [4.0]]])
    kind = torch.tensor([[0, *[LOST] * 20, SILENT]])
    found = concealer(latents, kind, torch.zeros(1, 1), torch.zeros(1, 1))
    heard = found.latents[0, :, 0]
    expected = [0.5 + 2 * 0.8**k for k in range(1, 7)]
    torch.testing.assert_close(heard[:7], torch.tensor([2.0, *expected]))
    assert (heard[7:13].diff() < 0).all()
    torch.testing.assert_close(heard[12:21], torch.full((9,), -3.0))
    assert heard[21] == -3.0
    assert found.last.item() == -3.0
    assert found.missing.item() == 0


def test_a_gap_from_the_start_and_one_over_chunks_is_the_same_gap() -> None:
    """What was last received, and how long ago, goes from chunk to chunk."""
    torch.manual_seed(0)
    concealer = Concealer(3)
    torch.nn.init.normal_(concealer.lost)
    torch.nn.init.normal_(concealer.silent)
    latents, kind = torch.randn(2, 30, 3), torch.randint(0, 3, (2, 30))
    kind[0, :5] = LOST
    start = torch.zeros(2, 3), torch.zeros(2, 1)
    whole = concealer(latents, kind, *start)
    carried, parts = start, []
    for piece in (slice(0, 3), slice(3, 4), slice(4, 30)):
        found = concealer(latents[:, piece], kind[:, piece], *carried)
        carried = found.last, found.missing
        parts.append(found.latents)
    torch.testing.assert_close(torch.cat(parts, 1), whole.latents)


def test_scaled_latents_decode_to_the_same() -> None:
    """The size of latents is the codec's own affair."""
    codec = toy_codec("default")
    latents, kind = torch.randn(1, 12, 8), torch.randint(0, 3, (1, 12))
    with torch.no_grad():
        before = codec.decoder(latents, kind)[0]
        codec.scale_latents(3.0)
        torch.testing.assert_close(codec.decoder(3 * latents, kind)[0], before, atol=1e-4, rtol=1e-3)


def test_levels_must_make_the_codes_of_a_book() -> None:
    """A book of 10 bits has 1024 codes, whatever they are made of."""
    with pytest.raises(ValueError, match=r"^expected levels whose product is 1024, got \(4, 4\)$"):
        Config(levels=(4, 4))
    assert stream_codec().words == 1024
    with pytest.raises(ValueError, match=r"^expected bands that divide 160 coefficients, got 7$"):
        Config(bands=7)
