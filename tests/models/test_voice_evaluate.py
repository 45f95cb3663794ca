"""The evaluation of voices: sentences are chosen alike, all are judged at one rate and level, figures compared."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

pytestmark = pytest.mark.train

pytest.importorskip("torch", reason="the workshop's tests need the training environment")

from models.common.evaluation_cache import Cache  # noqa: E402
from models.common.packs import SAMPLE_RATE  # noqa: E402
from models.common.speech_level import active_level  # noqa: E402
from models.flow_tts import evaluate, speakers, voice_report  # noqa: E402
from models.flow_tts.judging import LEVEL_DBOV, Judge, Measured, prepare  # noqa: E402
from models.flow_tts.speakers import Sentence  # noqa: E402

SAMPLES = Path(__file__).parents[1] / "samples"


def clip(name: str, seconds: float = 2) -> tuple[np.ndarray, int]:
    samples, rate = soundfile.read(SAMPLES / f"{name}.flac", dtype="float32")
    return samples[: round(seconds * rate)], rate


def write_pack(path: Path, clips: list[tuple[str, str, np.ndarray]], rate: int) -> Path:
    """A pack of (text, split, samples)."""
    lines, members = [], []
    for index, (text, split, samples) in enumerate(clips):
        name, data = f"clip-{index:05d}.flac", io.BytesIO()
        soundfile.write(data, samples, rate, "PCM_16", format="FLAC")
        lines.append({"audio": name, "text": text, "speaker": "she", "split": split})
        members.append((name, data.getvalue()))
    with tarfile.open(path, "w") as tar:
        for name, content in [("manifest.jsonl", "\n".join(map(json.dumps, lines)).encode()), *members]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def measured(name: str, errors: list[int], ovrl: list[float], sentences: str = "abcd") -> Measured:
    count = len(errors)
    scores = {"ovrl": ovrl, "p808": ovrl, "log_f0": [np.log(200.0)] * count, "log_f0_std": [np.log(2) / 6] * count}
    return Measured(name, list(sentences), [1.5] * count, errors, [10] * count, ["x"] * count, scores)


def test_distinct_prompts_are_taken_in_order_with_their_first_recording(tmp_path: Path) -> None:
    """Of the dev split alone; the same words in other capitals are the same prompt."""
    said = [("One two.", "dev"), ("Never.", "train"), ("one, two", "dev"), ("Three.", "dev"), ("In 1890.", "dev")]
    tones = [np.full(2400, 0.1 * (index + 1), np.float32) for index in range(len(said))]
    path = write_pack(
        tmp_path / "kathleen.tar", [(*each, tone) for each, tone in zip(said, tones, strict=True)], 24_000
    )
    found = speakers.held_out_sentences(path, 2)
    assert [(each.name, each.text, each.words) for each in found] == [
        ("clip-00000", "One two.", "one two"),
        ("clip-00003", "Three.", "three"),
    ]
    samples, rate = found[0].recording
    assert rate == 24_000
    assert samples == pytest.approx(tones[0], abs=1e-3)
    assert speakers.recorded(found)("Three.")[0] == pytest.approx(tones[3], abs=1e-3)
    with pytest.raises(ValueError, match="expected 3 distinct prompts in the dev split, got 2"):
        speakers.held_out_sentences(path, 3)


def test_speech_is_read_from_a_folder_by_the_name_of_the_clip(tmp_path: Path) -> None:
    """Any rate, two channels too; what is missing is named before anything is judged."""
    sentence = Sentence("clip-7", "Seven.", "seven", (np.zeros(10), 16_000))
    with pytest.raises(FileNotFoundError, match=r"expected speech in .*clip-7\.wav, found no such file"):
        speakers.from_folder([sentence], tmp_path)
    soundfile.write(tmp_path / "clip-7.wav", np.tile([[0.5, 0.25]], (100, 1)), 22_050, "FLOAT")
    samples, rate = speakers.from_folder([sentence], tmp_path)("Seven.")
    assert (samples.shape, rate, samples[0]) == ((100,), 22_050, 0.375)


@pytest.mark.parametrize("program", ["flite", "espeak-ng"])
def test_peers_speak(program: str) -> None:
    """A second or two for a short sentence; their version is told."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    samples, rate = (speakers.flite() if program == "flite" else speakers.espeak_ng())("The ferry leaves at nine.")
    assert 1 < len(samples) / rate < 4
    assert np.abs(samples).max() > 0.05
    assert speakers.version(program)
    assert not speakers.version("no-such-program")


def test_everyone_is_judged_at_one_rate_and_level() -> None:
    """A quiet recording at 24 kHz becomes the same as the loud one at 16 kHz."""
    samples, rate = clip("ferry")
    there = soxr.resample(0.1 * samples, rate, 24_000)
    first, second = prepare(samples, rate), prepare(there, 24_000)
    assert active_level(second, SAMPLE_RATE) == pytest.approx(LEVEL_DBOV, abs=0.1)
    assert len(first) == len(second)
    assert np.sqrt(np.mean((first - second) ** 2)) < 0.05 * first.std()


def test_figures_are_compared_on_the_sentences_that_both_spoke() -> None:
    """Pairs by name, whatever their order; intervals tell what no chance explains."""
    ours, theirs = (
        measured("ours", [1, 0, 1, 2], [3.0, 3.1, 3.2, 3.3]),
        measured("b", [4, 2, 1], [2.5, 2.6, 2.7], "cba"),
    )
    assert ours.less(theirs, "wer")[0] == pytest.approx((1 + 0 + 1 - 4 - 2 - 1) / 30)
    assert ours.less(theirs, "ovrl") == pytest.approx((0.5, 0.3, 0.7), abs=0.11)
    assert ours.estimate("wer")[0] == 0.1
    assert np.isnan(ours.less(theirs, "mcd")).all()


def test_tables_and_pictures_show_everyone(tmp_path: Path) -> None:
    """A dash for what was not measured; hertz and semitones rather than logarithms."""
    found = [measured("recordings", [0, 0, 0, 0], [3.5] * 4), measured("ours", [1, 0, 1, 2], [3.0] * 4)]
    rows = voice_report.table(found).splitlines()
    assert rows[3].startswith("| ours | 6 | 10.0 % [2.5, 17.5] | 3.00 [3.00, 3.00] | - | - | 3.00 [3.00, 3.00] | - |")
    assert rows[3].endswith("| 200 | 2.0 |")
    difference = voice_report.differences(found[1:], found[:1]).splitlines()[2]
    assert difference.startswith("| ours | recordings | +10.0 [+2.5, +17.5] | -0.50 [-0.50, -0.50] | - |")
    voice_report.draw(found, tmp_path / "bars.png", ["ours"])
    voice_report.draw_spectrograms([("a", clip("ferry")), ("b", clip("honey"))], tmp_path / "spectrograms.png")
    for picture in ("bars.png", "spectrograms.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")


def test_a_voice_is_measured_once(tmp_path: Path) -> None:
    """Words and naturalness by sentence, the speech kept; a second run computes nothing anew."""
    for module in ("speechmos", "pocketsphinx"):
        if find_spec(module) is None:
            pytest.skip(f"{module} not installed: make evaluate-voice installs it")
    sentences = [Sentence("ferry", "The ferry leaves", "the ferry leaves", clip("ferry"))]
    with Judge(sentences, Cache(tmp_path / "cache"), processes=1) as judge:
        found = evaluate.evaluate(judge, "the speaker", speakers.recorded(sentences), tmp_path / "speech")
        kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
        again = judge.measure("the speaker", speakers.recorded(sentences))
    assert found.words == [3]
    assert found.heard[0].startswith("the ferry leaves")
    assert found.scores["mcd"] == [pytest.approx(0, abs=1e-3)]
    assert 1 < found.scores["ovrl"][0] < 5
    assert (tmp_path / "speech" / "the-speaker" / "ferry.wav").exists()
    assert json.dumps(again.as_json()) == json.dumps(found.as_json())
    assert kept == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    evaluate.write([found], tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())[0]["name"] == "the speaker"
