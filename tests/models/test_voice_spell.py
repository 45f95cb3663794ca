"""The network that spells words: letters, decoding, held-out words, a few updates, and its graph in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

pytestmark = pytest.mark.train

torch = pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.common.training import Schedule, Settings, Trainer  # noqa: E402
from models.flow_tts import spell_train  # noqa: E402
from models.flow_tts.spell import (  # noqa: E402
    FRAMES_PER_LETTER,
    MOST_LETTERS,
    Config,
    Speller,
    Spelling,
    letter_ids,
    load_checkpoint,
    plain,
)
from models.flow_tts.spell_export import write_spell  # noqa: E402
from models.flow_tts.symbols import IDS, PHONES, SYMBOLS  # noqa: E402
from streamer.tasks.text.compounds import LONGEST_WORD  # noqa: E402
from streamer.tasks.text.symbols import SymbolTable  # noqa: E402

TINY = Config(width=32, heads=2, blocks=1, inner=48, kernel=3)
WORDS = {
    "bat": ("B", "AE1", "T"), "bad": ("B", "AE1", "D"), "tab": ("T", "AE1", "B"), "dab": ("D", "AE1", "B"),
    "bed": ("B", "EH1", "D"), "bet": ("B", "EH1", "T"), "ted": ("T", "EH1", "D"), "debt": ("D", "EH1", "T"),
}  # fmt: skip


@pytest.fixture
def model() -> Spelling:
    torch.manual_seed(3)
    return Spelling(TINY).eval()


def test_padding_changes_nothing(model: Spelling) -> None:
    """A word is decoded alike alone, beside longer ones and at the graph's full length, and padding says nothing."""
    alone = model.sounds(letter_ids(["bat"]))[0]
    beside = model.sounds(letter_ids(["bat", "debts"]))[0]
    full = model.sounds(letter_ids(["bat"], MOST_LETTERS))[0]
    width = FRAMES_PER_LETTER * 3
    assert torch.equal(alone, beside[:width])
    assert torch.equal(alone, full[:width])
    assert not full[width:].any()


def test_repeats_collapse_and_blanks_are_zero(model: Spelling) -> None:
    """Greedy decoding of CTC: equal neighbours are one sound, a blank between them makes two."""
    classes = torch.tensor([[1, 1, 0, 1, 2, 2, 0, 0]])
    scores = torch.nn.functional.one_hot(classes, len(PHONES) + 1).float()
    model.forward = lambda letters: scores
    first, second = IDS[PHONES[0]], IDS[PHONES[1]]
    assert model.sounds(letter_ids(["abcd"])).tolist() == [[first, 0, 0, first, second, 0, 0, 0]]


def test_the_network_has_room_for_every_word_of_the_front_end() -> None:
    """The server asks for words of at most as many letters as the graph takes."""
    assert LONGEST_WORD <= MOST_LETTERS
    assert Speller(Spelling(TINY))(["x" * (MOST_LETTERS + 1), "", "caf\u00e9"]) == {}


def test_forms_of_a_word_are_held_out_together() -> None:
    """Held-out words are strangers: no form of them is trained on."""
    assert {spell_train.stem(word) for word in ("walk", "walks", "walked", "walking", "walker", "walk's")} == {"walk"}
    words = [f"word{letter}{other}" for letter in "abcdefghijklmnop" for other in "abcdefghijklmnop"]
    held_out = sum(spell_train.is_held_out(word) for word in words)
    assert 0 < held_out < len(words) / 10


def test_only_what_teaches_spelling_is_learned() -> None:
    """No possessives, no initials, nothing that the frames have no room for."""
    words = {**WORDS, "bat's": ("B",) * 3, "bbc": ("B", "IY1", "B"), "xa": ("EH1", "K", "S", "EY1", "K"), "a": ("AH0",)}
    assert spell_train.teachable(words) == WORDS


def test_edit_distance() -> None:
    """Substitutions, insertions and deletions count one each."""
    assert spell_train.edit_distance("kitten", "sitting") == 3
    assert spell_train.edit_distance("", "ab") == 2
    assert spell_train.edit_distance("ab", "ab") == 0


def test_training_learns_a_tiny_lexicon_and_resumes(tmp_path: Path) -> None:
    """Some updates teach eight words; the checkpoint spells them."""
    torch.manual_seed(0)
    now = iter(range(10_000))
    settings = Settings(Schedule(120, 1e-2, warmup_updates=10), tmp_path, ema_every=1, ema_decay=0.5, log_every=1000)
    trainer = Trainer(Spelling(TINY), settings, plain(TINY), clock=lambda: float(next(now)))
    reports: list[str] = []

    def evaluate(weights: dict) -> str:
        reports.append(spell_train.evaluate(Spelling(TINY), WORDS, weights))
        return reports[-1]

    trainer.run(spell_train.draw_batches(WORDS, 8, 0), lambda batch: spell_train.loss(trainer.model, batch), evaluate)
    assert reports[-1].startswith("8 held-out words: phone errors 0.00 %, right words 100.00 %")
    assert Speller(load_checkpoint(trainer.path))(["bat", "debt"]) == {"bat": WORDS["bat"], "debt": WORDS["debt"]}


def test_the_graph_spells_as_torch_does(model: Spelling, tmp_path: Path) -> None:
    """Torch with rounded weights and ONNX Runtime agree on every word, in batches of any size."""
    entry = write_spell(tmp_path, model)
    assert [(each["name"], each["dims"]) for each in (*entry["inputs"], *entry["outputs"])] == [
        ("letters", [MOST_LETTERS]),
        ("sounds", [FRAMES_PER_LETTER * MOST_LETTERS]),
    ]
    session = onnxruntime.InferenceSession(tmp_path / "spell.onnx", providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    letters = list("abcdefghijklmnopqrstuvwxyz'")
    words = ["".join(rng.choice(letters, rng.integers(1, MOST_LETTERS + 1))) for _ in range(64)]
    rows = letter_ids(words, MOST_LETTERS)
    expected = model.sounds(rows).numpy()
    assert expected.any()
    np.testing.assert_array_equal(session.run(["sounds"], {"letters": rows.numpy()})[0], expected)
    np.testing.assert_array_equal(session.run(["sounds"], {"letters": rows[5:6].numpy()})[0], expected[5:6])


def test_the_server_reads_what_the_graph_says(model: Spelling) -> None:
    """Letters and sounds go through the server's table of symbols."""
    table = SymbolTable(SYMBOLS)
    row = table.letters("bat", MOST_LETTERS)
    np.testing.assert_array_equal(row, letter_ids(["bat"], MOST_LETTERS)[0])
    sounds = model.sounds(torch.from_numpy(row)[None])[0].numpy()
    assert table.sounds(sounds) == Speller(model)(["bat"]).get("bat", ())
