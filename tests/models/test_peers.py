"""Another recogniser beside ours: what of its output counts as words, and how it is run."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

pytestmark = pytest.mark.train

pytest.importorskip("torch", reason="the workshop's tests need the training environment")
pytest.importorskip("pocketsphinx", reason="the peer is not installed")

from models.common.peers import listen_with_pocketsphinx, respell  # noqa: E402
from models.common.pocketsphinx_words import spoken  # noqa: E402
from models.common.served_words import Spoken, run_module  # noqa: E402
from models.transducer.evaluate import ROWS, recognisers_of  # noqa: E402

SAMPLES = Path(__file__).parents[1] / "samples"


def test_fillers_and_pronunciations_are_no_words() -> None:
    """Silence, marks and noises go, the number of a pronunciation too; frames of 10 ms become seconds."""
    segments = [("<s>", 0), ("read(2)", 31), ("<sil>", 50), ("[NOISE]", 55), ("++UH++", 57), ("it's", 60), ("</s>", 99)]
    assert spoken(segments) == [("read", 0.31), ("it's", 0.6)]


def test_words_are_spelled_as_the_references_are() -> None:
    """Capitals, points and abbreviations of its dictionary become those of the texts; digits are no words."""
    assert respell("Mr. o'neil said 3d a.") == "mister o'neil said a"
    assert respell("") == ""


def test_the_peer_hears_words_in_a_process_of_its_own() -> None:
    """A clear synthetic voice is understood; the processor time of the child is counted."""
    sound, rate = soundfile.read(SAMPLES / "ferry.flac", dtype="float32")
    heard, cpu_s = listen_with_pocketsphinx([Spoken("", sound[: 2 * rate])])
    assert heard[0].text.startswith("the ferry leaves")
    assert heard[0].start_s == pytest.approx(0.15, abs=0.1)
    assert cpu_s > 0


def test_a_module_that_fails_says_why() -> None:
    """The complaint of the child is the message."""
    with pytest.raises(RuntimeError, match=r"^models\.common\.nothing ended with status 1: .*No module named"):
        run_module(["models.common.nothing"], [])


def test_the_peer_is_heard_first(tmp_path: Path) -> None:
    """The others are compared with it; without it they are still heard."""
    names = list(recognisers_of(tmp_path / "asr", ROWS, {"wide": tmp_path / "wide"}))
    assert names == ["PocketSphinx 5", "asr, greedy", "asr, beam 8", "asr, beam 8, language model", "wide"]
    assert list(recognisers_of(tmp_path / "asr", ["greedy"], {})) == ["asr, greedy"]
