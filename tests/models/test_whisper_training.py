"""The training recipe of CarelessWhisper: targets, alignment, losses, and all steps on toy sizes."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

import gzip  # noqa: E402
import io  # noqa: E402
import json  # noqa: E402
import signal  # noqa: E402
import tarfile  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from itertools import pairwise  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import soundfile  # noqa: E402

from models.careless_whisper import adapt, prepare, publish, train  # noqa: E402
from models.careless_whisper import objective as goals  # noqa: E402
from models.careless_whisper.align import word_spans  # noqa: E402
from models.careless_whisper.config import Chunking  # noqa: E402
from models.careless_whisper.data import Batch, Batches, Curriculum, collate  # noqa: E402
from models.careless_whisper.model import block_mask  # noqa: E402
from models.careless_whisper.objective import Learner, Lesson, Weights  # noqa: E402
from models.careless_whisper.scratch import Sizes, untrained  # noqa: E402
from models.careless_whisper.targets import IGNORED, labels_at, stops, timed_labels, token_ends  # noqa: E402
from models.careless_whisper.teacher import Stages, Teacher  # noqa: E402
from models.careless_whisper.texts import Texts, of_file  # noqa: E402
from models.common import packs  # noqa: E402
from models.common.safe_files import CheckpointError  # noqa: E402
from models.common.shards import Entry, ShardWriter  # noqa: E402
from models.common.text import LETTERS, spell  # noqa: E402
from streamer.bundle.loader import load_bundle  # noqa: E402
from tests.models.toy_text import SENTENCES, toy_pieces  # noqa: E402

EOT = 99
MELS = 20
TINY = Sizes(width=64, layers=1, text_layers=2, mels=MELS)


def test_a_word_shares_its_span_among_its_tokens() -> None:
    """Ends are evenly spaced, and the last is the word's own."""
    assert token_ends([[1], [2, 3, 4]], [(0, 10), (20, 50)]) == [10, 30, 40, 50]


def test_labels_follow_the_tokens_by_one_and_end_half_a_second_late() -> None:
    """Those inside of the prompt are due from the start, `eot` 25 frames after the last word."""
    labels, ends = timed_labels([90, 91, 92, 93], [[1], [2, 3]], [(0, 10), (20, 40)], EOT)
    assert labels == [91, 92, 93, 1, 2, 3, EOT]
    assert ends == [0, 0, 0, 10, 30, 40, 65]


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        (5, [91, EOT, IGNORED, IGNORED]),  # nothing said yet: the end comes first
        (10, [91, 1, EOT, IGNORED]),  # a token that ends now is due
        (40, [91, 1, 2, EOT]),  # all words are due, and what comes next is the end in any case
        (100, [91, 1, 2, EOT]),  # all is due: no label of the prompt turns into an end
    ],
)
def test_what_is_not_due_is_an_end_and_then_nothing(heard: int, expected: list[int]) -> None:
    """The first label that is not due becomes `eot`; those after it are not learned."""
    labels, ends = np.array([91, 1, 2, EOT]), np.array([0, 10, 30, 55])
    assert labels_at(labels, ends, heard, EOT).tolist() == expected


def test_padding_never_becomes_an_end() -> None:
    """Labels that are ignored stay so, however early a stop is."""
    labels, ends = np.array([91, 1, EOT, IGNORED]), np.array([0, 10, 30, 1000])
    assert labels_at(labels, ends, 40, EOT).tolist() == [91, 1, EOT, IGNORED]


def test_stops_are_ends_of_chunks_up_to_a_second_after_the_text() -> None:
    """The last of them is always drawn; a clip that is over sooner is heard to its end."""
    limits = np.minimum(np.repeat(np.arange(30, 330, 15), 15), 300)
    for seed in range(20):
        found = stops(limits, 150.0, 4, np.random.default_rng(seed))
        assert len(found) == 4
        assert found[-1] == 195
        assert set(found) <= set(range(30, 210, 15))
    assert stops(limits, 290.0, 1, np.random.default_rng(0)) == [300]
    assert stops([30, 45], 0.0, 3, np.random.default_rng(0)) == [30, 45]


def letter_scores(path: str, frames_each: int = 2) -> torch.Tensor:
    """Log-probabilities that say `path`, a letter every two frames; `_` is blank."""
    ids = torch.tensor([LETTERS.index(letter) for letter in path]).repeat_interleave(frames_each)
    return (torch.nn.functional.one_hot(ids, len(LETTERS)) * 10.0).log_softmax(-1)


def test_words_are_found_where_their_letters_are() -> None:
    """A span goes from the first frame of the first letter to the end of the last one's."""
    scores = letter_scores("__the_ _do_g__")
    assert word_spans(scores, torch.tensor(spell("the dog"))) == [(4, 10), (16, 24)]


def test_repeated_letters_are_two() -> None:
    """Between equal letters stands a blank."""
    assert word_spans(letter_scores("al_l_ _al_l"), torch.tensor(spell("all all"))) == [(0, 8), (14, 22)]


def test_too_few_frames_cannot_be_aligned() -> None:
    """None is said instead of an error; repeated letters count twice."""
    assert word_spans(letter_scores("all")[:3], torch.tensor(spell("all"))) is None


def test_chunks_drawn_end_at_multiples_of_five() -> None:
    """The first block is 30 frames long; later ones are at most a second, and nobody sees beyond the clip."""
    for seed in range(30):
        limits = goals.draw_limits(203, np.random.default_rng(seed))
        ends = sorted(set(limits.tolist()))
        assert ends[0] == 30
        assert ends[-1] == 203
        assert all(end % 5 == 0 and end - start <= 50 for start, end in pairwise(ends[:-1]))
        assert (limits > np.arange(203)).all()


def learner(size: int, seed: int = 0) -> Learner:
    torch.manual_seed(seed)
    return Learner(untrained(TINY.dims(size)))


def test_an_untrained_encoder_looks_nearby() -> None:
    """By positions alone, heads of the lower layers look back, at their own frame and ahead, farther with depth."""
    encoder = untrained(Sizes(layers=4).dims(20)).encoder
    positions = encoder.positional_embedding[:100]
    for block, reach in zip(encoder.blocks, (2, 3, 5), strict=False):
        attention = block.attn
        query, key = (attention.split(part(positions[None])) for part in (attention.query, attention.key))
        looked_at = (query @ key.transpose(-1, -2))[0, :, 50].argmax(-1)
        assert (looked_at - 50 - torch.tensor([-reach, 0, reach])).abs().max() <= 1


def test_one_pass_of_the_encoder_serves_all_stops() -> None:
    """Frames before a stop are those of a stream that has heard so much and one mel row more."""
    encoder = learner(20).whisper.encoder.eval()
    mel = torch.randn(2, MELS, 181, generator=torch.Generator().manual_seed(0))
    whole = encoder(mel, block_mask(90, Chunking(15, 1)))
    for heard in (30, 45, 75):
        part = encoder(mel[:, :, : 2 * heard + 1], block_mask(heard, Chunking(15, 1)))
        torch.testing.assert_close(part, whole[:, :heard], atol=1e-5, rtol=1e-4)


def test_stops_side_by_side_are_decoded_as_alone() -> None:
    """Each equals the decoder on the frames heard; the attention sums to one over them."""
    decoder = learner(20).whisper.decoder.eval()
    tokens = torch.randint(20, (2, 7), generator=torch.Generator().manual_seed(1))
    audio = torch.randn(2, 60, 64, generator=torch.Generator().manual_seed(2))
    heard = torch.tensor([[30, 45, 60], [15, 20, 50]])
    logits, attended = goals.decode_stops(decoder, tokens, heard, audio)
    for b in range(2):
        for k, count in enumerate(heard[b].tolist()):
            alone = decoder(tokens[b : b + 1], audio[b : b + 1, :count])[0]
            torch.testing.assert_close(logits[b, k], alone, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(attended[b, k, :, :count].sum(-1), torch.ones(7))


def toy_texts(folder: Path) -> Texts:
    toy_pieces(folder).write_tokens(folder / "tokens.txt")
    return of_file(folder / "tokens.txt")


def test_words_have_the_ids_of_the_text(tmp_path: Path) -> None:
    """The marks stand above the pieces, the end first."""
    texts = toy_texts(tmp_path)
    ids = [token for word in texts.words("the lazy dog") for token in word]
    assert len(texts.words("the lazy dog")) == 3
    assert texts.decode(ids) == "the lazy dog"
    assert (texts.eot, texts.prompt) == (32, (33, 34, 36, 40))


def test_corruption_spares_the_prompt(tmp_path: Path) -> None:
    """All other tokens may be replaced, by text alone."""
    texts = toy_texts(tmp_path)
    tokens = torch.tensor([[*texts.prompt, *[texts.eot] * 50]])
    changed = goals.corrupt(tokens, texts, 1.0, np.random.default_rng(0))[0].tolist()
    assert tuple(changed[:4]) == texts.prompt
    assert all(1 < token < texts.eot for token in changed[4:])
    assert goals.corrupt(tokens, texts, 0.0, np.random.default_rng(0)).equal(tokens)


def toy_lesson(heard: int) -> Lesson:
    """One clip whose only word was spoken in frames 20 to 30."""
    starts, ends = torch.tensor([[-1.0, 20.0, -1.0]]), torch.tensor([[-1.0, 30.0, -1.0]])
    return Lesson(torch.zeros(1, 3), torch.tensor([[[1, 2, 3]]]), torch.tensor([[heard]]), starts, ends)


def test_the_guide_wants_attention_at_the_word_alone() -> None:
    """Nothing is lost with all of it there, much with none; labels without a word or not due do not count."""
    attended = torch.zeros(1, 1, 3, 60)
    attended[..., 25] = 1
    assert goals.guide_loss(attended, toy_lesson(60)).item() == pytest.approx(0, abs=1e-2)
    assert goals.guide_loss(attended.roll(30, -1), toy_lesson(60)).item() == pytest.approx(6.9, abs=0.1)
    assert goals.guide_loss(attended.roll(30, -1), toy_lesson(25)).item() == 0


def toy_batch(texts: Texts) -> Batch:
    """Two sounds of two words each: every word is a band that lights up for 0.4 s."""
    rows = [np.full((160, MELS), -4.0, np.float32) for _ in range(2)]
    for row, bands in zip(rows, ((2, 9), (9, 5)), strict=True):
        row[20:60, bands[0] : bands[0] + 3] = 1
        row[80:120, bands[1] : bands[1] + 3] = 1
    return collate(rows, ["dog box", "box lazy"], texts)


def test_a_batch_is_padded_normalised_and_has_one_row_to_look_ahead(tmp_path: Path) -> None:
    """Lengths in frames are of the sound itself; rows beyond it are silence, clamped like any."""
    texts = toy_texts(tmp_path)
    batch = collate([np.zeros((101, MELS), np.float32), np.zeros((30, MELS), np.float32)], ["dog", "box"], texts)
    assert batch.mel.shape == (2, MELS, 151)
    assert batch.frames.tolist() == [51, 15]
    assert batch.mel[0, :, 101:].unique().tolist() == [-1.0]
    assert batch.letters[0].tolist() == spell("dog")


class Run:
    """What a teacher wants to know of a trainer."""

    def __init__(self, model: Learner) -> None:
        self.model, self.fraction, self.progress = model, 1.0, type("Progress", (), {"updates": 0})()


def test_one_batch_can_be_learned_by_heart(tmp_path: Path) -> None:
    """CTC and the decoder at all stops fall to a fraction within a hundred updates."""
    torch.set_num_threads(1)
    texts = toy_texts(tmp_path)
    run = Run(learner(texts.vocabulary.size))
    weights = Weights(ctc=0.5, guide=0.1, smoothing=0.0, corrupted=0.0)
    teacher, batch = Teacher(run, texts, weights, Stages(0.0, 0.0, 3)), toy_batch(texts)
    optimiser = torch.optim.AdamW(run.model.parameters(), lr=3e-3)
    parts = []
    for _ in range(100):
        loss, part, seconds = teacher(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        parts.append(part)
    assert seconds == pytest.approx(3.2)
    assert parts[0]["decoder"] > 3
    assert parts[-1]["decoder"] < 0.7
    assert parts[-1]["ctc"] < 1.0


def tones(text: str) -> np.ndarray:
    """A tone of 80 ms for every letter: f32[n] at 16 kHz."""
    time = np.arange(1280) / 16_000
    pieces = [0.3 * np.sin(2 * np.pi * (200 + 110 * LETTERS.index(letter)) * time) for letter in text]
    return np.concatenate(pieces).astype(np.float32)


def write_pack(path: Path, lines: list[tuple[str, str]]) -> None:
    """A pack of (text, split)."""
    with tarfile.open(path, "w") as tar:
        manifest = [
            {"audio": f"{i}.wav", "text": text, "speaker": "x", "split": split, "duration_s": 1}
            for i, (text, split) in enumerate(lines)
        ]
        _add(tar, "manifest.jsonl", "\n".join(map(json.dumps, manifest)).encode())
        for i, (text, _) in enumerate(lines):
            buffer = io.BytesIO()
            soundfile.write(buffer, tones(text), 16_000, format="WAV")
            _add(tar, f"{i}.wav", buffer.getvalue())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def test_batches_hold_training_clips_alone(tmp_path: Path) -> None:
    """Dev speech and clips without words are never drawn; short clips come alone at first."""
    texts = toy_texts(tmp_path)
    writer = ShardWriter(tmp_path, "toy")
    for i in range(12):
        rows = np.random.default_rng(i).normal(-2, 1, (200 + 500 * (i % 2), MELS))
        writer.add(Entry(("the dog", "my box")[i % 2], "real", "train", "toy", "x"), rows)
        writer.add(Entry("lazy", "real", "dev", "toy", "x"), rows)
        writer.add(Entry("", "noise", "train", "toy", ""), rows)
    writer.flush()
    easy = iter(Batches(tmp_path, texts, lambda: 0.1, 8.0, 0, Curriculum(0.2)))
    assert {batch.audio_s < 20 for batch in (next(easy) for _ in range(5))} == {True}
    assert all(letters.tolist() == spell("the dog") for _ in range(5) for letters in next(easy).letters)
    later = iter(Batches(tmp_path, texts, lambda: 0.9, 8.0, 0, Curriculum(0.2)))
    said = {tuple(letters.tolist()) for _ in range(10) for letters in next(later).letters}
    assert said == {tuple(spell("the dog")), tuple(spell("my box"))}


@pytest.fixture
def terminable() -> Iterator[None]:
    """Training takes over SIGTERM; give it back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def command(monkeypatch: pytest.MonkeyPatch, module: object, *arguments: object) -> None:
    monkeypatch.setattr("sys.argv", ["x", *map(str, arguments)])
    module.main()


@pytest.mark.usefixtures("terminable")
def test_all_steps_from_packs_to_bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prepare, train in both stages, resume, adapt by adapters alone, export; the server's loader takes both."""
    data, features, run = tmp_path / "data", tmp_path / "features", tmp_path / "run"
    data.mkdir()
    for pack in packs.TRANSCRIBED:
        write_pack(data / f"{pack}.tar", [(text, split) for text in SENTENCES for split in ("train", "dev")])
    write_pack(data / "noise.tar", [("noise", "train")])
    with gzip.open(data / "sentences.txt.gz", "wt") as file:
        file.write("\n".join(SENTENCES))
    prepared = ("--data", data, "--out", features, "--mels", MELS, "--vocabulary", 34, "--speeds", 1)
    command(monkeypatch, prepare, *prepared, "--stages", "vocabulary", "real")
    sizes = ("--width", 64, "--layers", 1, "--text-layers", 1, "--mels", MELS, "--easy", 0)
    common = ("--features", features, "--batch", 6)
    command(monkeypatch, train, *common, "--out", run, *sizes, "--budget-minutes", 0.03)
    first = torch.load(run / "checkpoint.pt", weights_only=True)
    command(monkeypatch, train, *common, "--out", run, *sizes, "--budget-minutes", 0.06)
    last = torch.load(run / "checkpoint.pt", weights_only=True)
    assert last["progress"]["updates"] > first["progress"]["updates"] > 0
    init = ("--init", run / "checkpoint.pt", "--tokens", features / "tokens.txt", "--out", run / "adapted")
    command(monkeypatch, adapt, *common, *init, "--rank", 4, "--head-minutes", 0.02, "--budget-minutes", 0.03)
    adapted = torch.load(run / "adapted" / "checkpoint.pt", weights_only=True)
    for name, value in last["average"].items():
        if name.startswith("whisper."):
            assert adapted["model"][name].equal(value), name
    assert any(value.abs().max() > 0 for name, value in adapted["model"].items() if name.endswith("lora_b"))
    card = tmp_path / "README.md"
    card.write_text("A toy.\n")
    options = ("--tokens", features / "tokens.txt", "--card", card, "--options", "mode=frozen", "window=4")
    bundle = tmp_path / "bundles" / "toy"
    command(monkeypatch, publish, "--checkpoint", run / "adapted" / "checkpoint.pt", "--out", bundle, *options)
    manifest = load_bundle(bundle).manifest
    assert (manifest.name, manifest.task.parameters["mode"], manifest.task.parameters["window"]) == ("toy", "frozen", 4)


def test_published_weights_are_averaged_and_merged(tmp_path: Path) -> None:
    """The bundle's model says what the learner with adapters says, from the average."""
    model = learner(20)
    adapt.adapted(model, 4)
    average = {name: value.detach() + 0.01 for name, value in model.named_parameters()}
    config = {**vars(model.whisper.dims), "rank": 4}
    torch.save({"config": config, "model": model.state_dict(), "average": average}, tmp_path / "checkpoint.pt")
    published = publish.load_whisper(tmp_path / "checkpoint.pt")
    model.load_state_dict(average, strict=False)
    mel, tokens = torch.randn(1, MELS, 60), torch.randint(20, (1, 5))
    torch.testing.assert_close(published(mel, tokens), model.whisper.eval()(mel, tokens), atol=1e-4, rtol=1e-4)
    assert not any("lora" in name for name in published.state_dict())


def test_released_checkpoints_can_be_adapted(tmp_path: Path) -> None:
    """OpenAI's format is read as it is; what no format fits is refused by the importer."""
    whisper = learner(20).whisper
    saved = {"dims": vars(whisper.dims), "model_state_dict": whisper.state_dict()}
    torch.save(saved, tmp_path / "tiny.pt")
    base = adapt.load_base(tmp_path / "tiny.pt")
    assert all(value.equal(whisper.state_dict()[name]) for name, value in base.state_dict().items())
    torch.save({"config": {}}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"other\.pt: expected dims"):
        adapt.load_base(tmp_path / "other.pt")
