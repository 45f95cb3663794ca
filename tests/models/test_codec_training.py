"""The codec's training: pool, mixes, objective, phases, adversary, teacher, and resuming."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

import io  # noqa: E402
import json  # noqa: E402
import tarfile  # noqa: E402
from itertools import count, repeat  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import soundfile  # noqa: E402

from models.codec.checkpoint import config_of, load, plain  # noqa: E402
from models.codec.config import LOST, SILENT, Config, Side, stream_codec  # noqa: E402
from models.codec.data import Batch, Mixer, Mixing, draw_batches  # noqa: E402
from models.codec.distil import Imitation  # noqa: E402
from models.codec.losses import RESOLUTIONS, EnvelopeLoss, SpectralLoss  # noqa: E402
from models.codec.model import Codec  # noqa: E402
from models.codec.objective import LATENTS_KEPT, Objective, Weights  # noqa: E402
from models.codec.pool import Pool, write_pool  # noqa: E402
from models.codec.train import begin_from, freeze  # noqa: E402
from models.common.adversarial import Adversary  # noqa: E402
from models.common.training import Progress, Schedule, Settings, Trainer  # noqa: E402
from tests.models.codec_toys import TOYS  # noqa: E402

TOY = Config(
    encoder=Side(width=24, inner=32, blocks=1, low_blocks=1, resample=2),
    decoder=Side(width=24, inner=32, blocks=1, low_blocks=1),
    latent=16, books=3, bits=4,
)  # fmt: skip


def voice(seconds: float, pitch: float = 150.0) -> np.ndarray:
    time = np.arange(int(seconds * 16_000)) / 16_000
    tones = [np.sin(2 * np.pi * pitch * n * time) / n for n in range(1, 12)]
    return (0.1 * np.sum(tones, 0) * (1.2 + np.sin(2 * np.pi * 3 * time))).astype(np.float32)


def batch(rows: int = 2, frames: int = 25, books: int = 3) -> Batch:
    audio = np.stack([voice(frames / 50, 120 + 40 * row) for row in range(rows)])
    return Batch(torch.from_numpy(audio), torch.zeros(rows, frames, dtype=torch.long), torch.full((rows,), books))


def write_tar(path: Path, clips: list[tuple[str, np.ndarray]]) -> None:
    with tarfile.open(path, "w") as tar:
        lines = [
            {"audio": f"{i}.flac", "text": "", "speaker": split, "split": split} for i, (split, _) in enumerate(clips)
        ]
        members = [("manifest.jsonl", "\n".join(json.dumps(line) for line in lines).encode())]
        for i, (_, samples) in enumerate(clips):
            file = io.BytesIO()
            soundfile.write(file, samples, 16_000, format="FLAC")
            members.append((f"{i}.flac", file.getvalue()))
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of 81 short training clips and two dev clips of full scale, and one of noise."""
    folder = tmp_path_factory.mktemp("codec-pool")
    clips = [("train", voice(0.3, 100 + i)) for i in range(81)]
    write_tar(folder / "clean_speech.tar", [*clips, ("dev", np.ones(16_000, np.float32)), ("dev", voice(1.0))])
    noise = np.random.default_rng(0).standard_normal(8000).astype(np.float32) * 0.1
    write_tar(folder / "noise.tar", [("train", noise)])
    write_pool(folder, folder / "pool", ("clean_speech", "noise"))
    return folder / "pool"


def test_no_dev_clip_enters_the_pool(pool: Path) -> None:
    """The judged speakers are in no split, and tuning clips are not trained on."""
    train, tune = Pool(pool, "train"), Pool(pool, "tune")
    assert (len(train.speech), len(tune.speech), len(train.noise)) == (79, 2, 1)
    stored = np.fromfile(pool / "samples.i16", np.int16)
    assert np.abs(stored).max() < 32_000
    assert {clip.start for clip in train.speech}.isdisjoint(clip.start for clip in tune.speech)


def test_mixes_have_the_shape_and_levels_asked(pool: Path) -> None:
    """Items never clip, some have lost frames, silent frames are quiet, and numbers of books are mixed."""
    mixing = Mixing(frames=25, gap=0.5)
    mixer = Mixer(Pool(pool, "train"), Config(), np.random.default_rng(0), mixing)
    items = [mixer.draw() for _ in range(200)]
    kinds = np.stack([kinds for _, kinds, _ in items])
    assert all(samples.shape == (25 * 320,) and np.abs(samples).max() <= 1 for samples, _, _ in items)
    assert 0.01 < (kinds == LOST).mean() < 0.15
    silent = [samples.reshape(25, 320)[kinds == SILENT] for samples, kinds, _ in items]
    assert sum(map(len, silent)) > 50
    assert np.abs(np.concatenate(silent)).max() < 0.01
    assert {3, 6, 12} < {count for _, _, count in items} <= set(range(1, 13))


def test_the_same_seed_draws_the_same_batches(pool: Path) -> None:
    """A recipe can be run again."""
    one, other = (next(draw_batches(Pool(pool, "train"), TOY, 3, 5, Mixing(frames=10))) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_spectral_loss_is_zero_for_the_same_and_grows_with_noise() -> None:
    """All resolutions count; phase alone does not, but for the edges."""
    torch.manual_seed(0)
    loss, audio = SpectralLoss(), torch.from_numpy(voice(1.0))[None]
    values = [
        sum(float(part) for part in loss(audio + level * torch.randn_like(audio), audio, tuple(RESOLUTIONS)).values())
        for level in (0.0, 0.003, 0.03)
    ]
    assert values[0] == 0
    assert values[0] < values[1] < values[2]
    assert float(loss(-audio, audio, (512,))["mel"]) < 1e-6


def test_envelope_loss_follows_stoi() -> None:
    """It orders degradations as the measure does."""
    from pystoi import stoi

    torch.manual_seed(0)
    audio = 0.1 * torch.randn(1, 32_000) * torch.sin(torch.arange(32_000) * (torch.pi / 2000)) ** 2
    loss, losses, measured = EnvelopeLoss(), [], []
    for level in (0.0, 0.01, 0.03, 0.1):
        noisy = audio + level * torch.randn_like(audio)
        losses.append(float(loss(noisy, audio)))
        measured.append(1 - stoi(audio[0].numpy(), noisy[0].numpy(), 16_000))
    assert losses[0] < 1e-4
    assert losses == sorted(losses)
    assert np.allclose(losses, measured, atol=0.1)


def objective(model: Codec, warmup: int = 0, **more: object) -> Objective:
    return Objective(model, Progress(), Weights(), warmup, **more)


def train(model: Codec, some: Objective, updates: int, rate: float = 3e-3) -> list[float]:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser, totals = torch.optim.AdamW(parameters, rate), []
    for _ in range(updates):
        total, parts, _ = some(batch())
        total.backward()
        optimiser.step()
        optimiser.zero_grad()
        some.progress.updates += 1
        totals.append(parts["mel"] + parts["root"])
    return totals


def test_a_small_codec_learns_one_batch_through_its_quantiser() -> None:
    """First without books, then with all of them: the loss falls by half, and the latents stay of size 1."""
    torch.manual_seed(0)
    model = Codec(TOY)
    totals = train(model, objective(model, warmup=60), 200)
    assert totals[-1] < 0.5 * totals[0]
    latents = model.encoder(batch().samples).detach()
    assert 0.5 < float(latents.square().mean().sqrt()) < 2
    assert len(model.quantiser(latents).codes.unique()) > 8


def test_books_are_placed_when_the_warmup_is_over() -> None:
    """Before, the decoder hears the latents themselves; at that update the words lie where latents are."""
    torch.manual_seed(0)
    model = Codec(TOY)
    some = objective(model, warmup=3)
    before = [book.codebook.clone() for book in model.quantiser.books]
    train(model, some, 3)
    assert all(torch.equal(book.codebook, old) for book, old in zip(model.quantiser.books, before, strict=True))
    # The encoder stands still, so that its latents are those that the words were placed by.
    train(model, some, 1, rate=0.0)
    assert not any(torch.equal(book.codebook, old) for book, old in zip(model.quantiser.books, before, strict=True))
    latents = model.encoder(batch().samples).detach()
    assert (model.quantiser(latents).latent - latents).square().mean() < 0.3 * latents.square().mean()


def test_frozen_codes_stay_while_the_decoder_learns() -> None:
    """What language models were trained on stays valid."""
    torch.manual_seed(0)
    model = Codec(TOY)
    train(model, objective(model, warmup=10), 12)
    freeze(model)
    codes = model.encode(batch().samples)
    old = model.decoder.leave.linear.weight.clone()
    train(model, objective(model, frozen=True), 5)
    assert torch.equal(model.encode(batch().samples), codes)
    assert not torch.equal(model.decoder.leave.linear.weight, old)


def test_an_adversary_learns_to_tell_and_is_felt() -> None:
    """Its hinge falls on fixed pairs; the decoder gets a gradient from it, and it none from the decoder's loss."""
    torch.manual_seed(0)
    adversary = Adversary(channels=4, rate=3e-3)
    original, decoded = torch.from_numpy(voice(1.0))[None], (torch.randn(1, 16_000) * 0.1).requires_grad_()
    hinges = [float(adversary(decoded, original)["hinge"]) for _ in range(60)]
    assert np.mean(hinges[-9:]) < 0.8 * np.mean(hinges[:3])
    parts = adversary(decoded, original)
    (parts["adversarial"] + parts["features"]).backward()
    assert decoded.grad is not None
    assert decoded.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in adversary.discriminators.parameters())


def test_a_student_comes_nearer_to_its_teacher() -> None:
    """Hints at blocks and changes of rate, through maps that the student does not keep."""
    torch.manual_seed(0)
    side = Side(width=48, inner=64, blocks=2, enter=7, leave=7, resample=2)
    values = plain(stream_codec(causal=False)) | {"encoder": vars(side), "decoder": vars(side), "bits": 4}
    teacher = Codec(config_of(values | {"levels": [4, 4], "latent": 8, "code_width": 4}))
    student = Codec(TOYS["stream_codec"])
    names = {name for name, _ in student.named_parameters()}
    some = objective(student, imitation=Imitation(teacher, student, rate=1e-2))
    optimiser, distances = torch.optim.AdamW(student.parameters(), 2e-3), []
    for _ in range(40):
        total, parts, _ = some(batch())
        total.backward()
        optimiser.step()
        optimiser.zero_grad()
        distances.append(parts["hints"])
    assert distances[-1] < 0.7 * distances[0]
    assert {name for name, _ in student.named_parameters()} == names
    assert all(parameter.grad is None for parameter in teacher.parameters())


def trainer(out: Path, budget_s: float) -> tuple[Trainer, Adversary]:
    torch.manual_seed(0)
    adversary = Adversary(channels=2)
    settings = Settings(Schedule(budget_s, peak=1e-3, warmup_updates=1), out, log_every=10)
    clock = map(float, count()).__next__
    return Trainer(Codec(TOY), settings, plain(TOY), clock, {"adversary": adversary}), adversary


def run(some: Trainer, adversary: Adversary) -> None:
    goal = Objective(some.model, some.progress, Weights(), LATENTS_KEPT, adversary=adversary)
    some.run(repeat(batch()), goal, lambda _: "evaluated")


def test_a_run_with_an_adversary_resumes_and_loads(tmp_path: Path) -> None:
    """Books, adversary and its optimiser are in the checkpoint; the codec loads from it with averaged weights."""
    first, adversary = trainer(tmp_path, LATENTS_KEPT + 4)
    run(first, adversary)
    again, restored = trainer(tmp_path, LATENTS_KEPT + 8)
    assert again.progress.updates == first.progress.updates
    for one, other in ((first.model, again.model), (adversary.discriminators, restored.discriminators)):
        for (name, value), same in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
            torch.testing.assert_close(value, same, msg=name)
    assert restored.state_dict()["optimiser"]["state"]
    run(again, restored)
    assert again.progress.updates > first.progress.updates
    loaded = load(tmp_path / "checkpoint.pt")
    assert loaded.config == TOY
    torch.testing.assert_close(loaded.quantiser.books[1].codebook, again.model.quantiser.books[1].codebook)
    torch.testing.assert_close(loaded.decoder.leave.linear.bias, again.average.tensors["decoder.leave.linear.bias"])


def test_a_run_may_begin_with_another_ones_weights(tmp_path: Path) -> None:
    """All of them, or all but the books."""
    first, adversary = trainer(tmp_path, 5)
    run(first, adversary)
    model, other = Codec(TOY), Codec(TOY)
    begin_from(model, first.path)
    begin_from(other, first.path, new_books=True)
    expected = load(first.path)
    assert torch.equal(model.quantiser.books[0].codebook, expected.quantiser.books[0].codebook)
    assert not torch.equal(other.quantiser.books[0].codebook, expected.quantiser.books[0].codebook)
    assert torch.equal(other.encoder.enter.linear.weight, expected.encoder.enter.linear.weight)


def test_config_survives_a_checkpoint() -> None:
    """Nested sides and tuples come back as they were."""
    for config in (Config(), stream_codec(), TOY):
        assert config_of(json.loads(json.dumps(plain(config)))) == config
