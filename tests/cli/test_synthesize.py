"""`streamer synthesize` with a voice that can be worked out by hand: texts, files, pipes, playing, a server."""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from streamer.cli import source
from streamer.cli.chosen_model import manifest_of
from streamer.cli.inputs import Input
from streamer.cli.spoken_words import SpokenWords
from streamer.cli.text_sources import TextInput, find_texts
from streamer.config import Settings
from streamer.errors import BundleError, InvalidRequest, UnknownBundle
from streamer.session.messages import SpokenWord
from streamer.transcripts.formats import Format
from tests.cli.conftest import streamer
from tests.cli.test_codec import Card
from tests.e2e.serving import serving
from tests.gateway.keyring import ADA, access_settings
from tests.gateway.serving import with_loop
from tests.toys import write_counter_asr
from tests.toys.voice import DELAY, RATE, prior_of, voice_expected, write_voice

TEXT = "Hello, world. Two zorks cost $3.50, good morning!"


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options of every command that runs a model."""
    folder = tmp_path_factory.mktemp("voice")
    write_voice(folder)
    return ["--bundle-path", str(folder), "--model", "voice@1.0.0", "--workers", "1", "-q"]


def spoken(path: Path, voice: list[str], text: object, *options: object) -> np.ndarray:
    """The samples of a file that the command writes, `int16 [n]`."""
    result = streamer("synthesize", text, "-o", path, *options, *voice)
    assert (result.exit_code, result.stderr) == (0, "")
    return soundfile.read(path, dtype="int16")[0]


def shown(text: str) -> str:
    """What a box of an error says, in one line."""
    return " ".join(text.replace("│", " ").split())


def test_a_text(tmp_path: Path, voice: list[str]) -> None:
    """As the toy's arithmetic says, at the rate of the model."""
    found = spoken(tmp_path / "a.wav", voice, "Hello, world.")
    expected = voice_expected([prior_of(["^", "HH", "AH0", "L", "OW1", ",", "W", "ER1", "L", "D", "."])])
    assert soundfile.info(tmp_path / "a.wav").samplerate == RATE
    assert len(found) == len(expected)
    np.testing.assert_allclose(found[:-DELAY] / 32767, expected[:-DELAY], atol=1 / 16384)


def test_a_line_tells_how_fast_it_was(tmp_path: Path, voice: list[str]) -> None:
    """On standard error, unless it is to be quiet."""
    result = streamer("synthesize", TEXT, "-o", tmp_path / "a.wav", *voice[:-1])
    assert result.exit_code == 0
    seconds = soundfile.info(tmp_path / "a.wav").duration
    assert result.stderr.startswith(f"1 text: {seconds:.1f} s of audio in ")
    assert "real-time factor" in result.stderr


@pytest.mark.parametrize("suffix", ["flac", "ogg", "opus", "mp3", "aac"])
def test_every_kind_of_file(tmp_path: Path, voice: list[str], suffix: str) -> None:
    """As the suffix says; all know how long they are."""
    expected = spoken(tmp_path / "a.wav", voice, TEXT)
    path = tmp_path / f"a.{suffix}"
    if suffix == "aac":
        pytest.importorskip("av")
        assert streamer("synthesize", TEXT, "-o", path, *voice).exit_code == 0
        assert path.read_bytes()[:2] == b"\xff\xf1"
        return
    found = spoken(path, voice, TEXT)
    kinds = {"flac": "PCM_16", "ogg": "VORBIS", "opus": "OPUS", "mp3": "MPEG_LAYER_III"}
    assert soundfile.info(path).subtype == kinds[suffix]
    # libsndfile decodes Opus at the rate that it was encoded at. MP3 ends with a whole frame.
    assert 0 <= len(found) - len(expected) < (1152 if suffix == "mp3" else 1)
    if suffix == "flac":
        np.testing.assert_array_equal(found, expected)


def test_a_named_pipe(tmp_path: Path, voice: list[str]) -> None:
    """Cannot be sought in: what is written stays as it is."""
    expected = spoken(tmp_path / "a.wav", voice, TEXT)
    pipe = tmp_path / "b.wav"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        result = streamer("synthesize", "Hello.", "-o", pipe, *voice)
        data = os.read(reader, 1 << 20)
    finally:
        os.close(reader)
    assert (result.exit_code, data[:8]) == (0, b"RIFF\xff\xff\xff\xff")
    assert 0 < len(data) - 44 < 2 * len(expected)


def test_options_reach_the_voice(tmp_path: Path, voice: list[str]) -> None:
    """Rate, speed, seed and temperature change what is heard, each in its way."""
    usual = spoken(tmp_path / "a.wav", voice, TEXT)
    assert len(spoken(tmp_path / "b.wav", voice, TEXT, "--rate", 16_000)) == 2 * len(usual)
    assert len(spoken(tmp_path / "c.wav", voice, TEXT, "--speed", 2)) < 0.7 * len(usual)
    calm = spoken(tmp_path / "d.wav", voice, TEXT, "--temperature", 0)
    other = spoken(tmp_path / "e.wav", voice, TEXT, "--seed", 7)
    assert len(calm) == len(other) == len(usual)
    assert (calm != usual).any()
    assert (other != usual).any()
    np.testing.assert_array_equal(spoken(tmp_path / "f.wav", voice, TEXT, "--seed", 0), usual)


def test_files_are_spoken_as_their_text(tmp_path: Path, voice: list[str]) -> None:
    """A folder is spoken file by file, without byte order marks; one that fails leaves nothing and stops no other."""
    expected = spoken(tmp_path / "a.wav", voice, TEXT)
    texts, out = tmp_path / "texts", tmp_path / "out"
    texts.mkdir()
    (texts / "a.txt").write_text("\ufeff" + TEXT, encoding="utf-8")
    (texts / "b.txt").write_text("Hello.", encoding="utf-8")
    (texts / "c.txt").write_bytes(b"Hell\xf6.")
    (texts / "d.txt").write_text("a\0b", encoding="utf-8")
    (texts / "e.md").write_text("no text of ours", encoding="utf-8")
    result = streamer("synthesize", texts, "--output-dir", out, "-f", "flac", *voice[:-1])
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    path = texts / "c.txt"
    assert f"streamer: {path}: {path}: expected text in UTF-8, got other bytes" in lines
    path = texts / "d.txt"
    assert f"streamer: {path}: text: expected no control characters, got U+0000 at character 1" in lines
    assert any(line.startswith("4 texts, 2 failed: ") for line in lines)
    assert sorted(path.name for path in out.iterdir()) == ["a.flac", "b.flac"]
    np.testing.assert_array_equal(soundfile.read(out / "a.flac", dtype="int16")[0], expected)


def test_pipes(tmp_path: Path, voice: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Text in, samples out, without a file; characters may be cut anywhere."""
    expected = spoken(tmp_path / "a.wav", voice, TEXT + " “Good.”")
    reader, writer = os.pipe()
    for byte in (TEXT + " “Good.”").encode():
        os.write(writer, bytes([byte]))
    os.close(writer)
    with io.FileIO(reader) as pipe:
        monkeypatch.setattr(source, "open_stdin", lambda: pipe)
        result = streamer("synthesize", "-", "-o", "-", *voice)
    assert result.stdout_bytes == expected.tobytes()


def test_speech_begins_before_the_text_ends(voice: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the text is written only once the beginning was heard: anything else would wait for ever."""
    reader, writer = os.pipe()
    heard = bytearray()

    class Out(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            raw = bytes(data)  # type: ignore[call-overload]
            if not heard:
                os.write(writer, b" Two zorks.\n")
                os.close(writer)
            heard.extend(raw)
            return len(raw)

    os.write(writer, b"Hello, world.\nGood morning.\n")
    with io.FileIO(reader) as pipe:
        monkeypatch.setattr(source, "open_stdin", lambda: pipe)
        monkeypatch.setattr("streamer.cli.speech_sinks.open_output", lambda _: nullcontext(Out()))
        assert streamer("synthesize", "-", "-o", "-", *voice).exit_code == 0
    assert len(heard) > 2 * RATE


def test_what_is_typed_is_spoken_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each line comes an empty one, which ends it; in a file a line may go on in the next."""
    item = TextInput(Input(None, Path("stdin")))
    monkeypatch.setattr(source, "open_stdin", _Terminal)
    monkeypatch.setattr("streamer.cli.text_sources.os.isatty", lambda _: True)
    assert "".join(item.parts()) == "one\n\ntwo"
    monkeypatch.setattr("streamer.cli.text_sources.os.isatty", lambda _: False)
    assert "".join(item.parts()) == "one\ntwo"


class _Terminal:
    """Gives out a line at a time."""

    def __init__(self) -> None:
        self._lines = [b"", b"two", b"one\n"]

    def fileno(self) -> int:
        return 0

    def read(self, size: int) -> bytes:
        return self._lines.pop()


def test_words_as_json(tmp_path: Path, voice: list[str]) -> None:
    """Each with its place in the text and in the sound."""
    spoken(tmp_path / "a.wav", voice, TEXT, "--words", tmp_path / "a.json")
    found = json.loads((tmp_path / "a.json").read_text())
    assert (found["text"], found["model"]) == (TEXT, "voice@1.0.0")
    assert found["duration_s"] == round(soundfile.info(tmp_path / "a.wav").duration, 3)
    assert [word["word"] for word in found["words"]][:4] == ["Hello", "world", "Two", "zorks"]
    assert all(TEXT[word["start_char"] : word["end_char"]] == word["word"] for word in found["words"])
    times = [time for word in found["words"] for time in (word["start_s"], word["end_s"])]
    assert times == sorted(times)
    assert times[-1] <= found["duration_s"]


def test_words_as_subtitles(tmp_path: Path, voice: list[str]) -> None:
    """Sentences, with their marks."""
    text = "Hello, world. Good\nmorning, three!"
    spoken(tmp_path / "a.wav", voice, text, "--words", tmp_path / "a.srt")
    lines = (tmp_path / "a.srt").read_text().split("\n")
    assert [line for line in lines if line.endswith((".", "!"))] == ["Hello, world.", "Good morning, three!"]
    assert sum(" --> " in line for line in lines) == 2


def test_subtitles_end_with_sentences() -> None:
    """Marks that close them belong to them; an abbreviation's dot within a word ends nothing."""
    text = 'He said "stop." Then\n\nnothing e.g. now'
    places = [(0, 2), (3, 7), (9, 13), (16, 20), (22, 29), (30, 34), (35, 38)]
    words = SpokenWords(1000, "v@1", [text])
    for number, (start, end) in enumerate(places):
        words.words.append(SpokenWord(text[start:end], start, end, 500 * number, 500 * number + 400))
    words.n_samples = 3500
    assert [line for line in words.render(Format.VTT).split("\n") if line and "-->" not in line][1:] == [
        'He said "stop."',
        "Then",
        "nothing e.g. now",
    ]


@pytest.fixture
def sounddevice(monkeypatch: pytest.MonkeyPatch) -> type[Card]:
    """The package, with one sound card."""
    package = SimpleNamespace(RawOutputStream=Card, PortAudioError=RuntimeError)
    monkeypatch.setitem(sys.modules, "sounddevice", package)  # type: ignore[arg-type]
    Card.made.clear()
    return Card


def test_playing(tmp_path: Path, voice: list[str], sounddevice: type[Card]) -> None:
    """All of it, at the rate of the model or another, and the device is given back."""
    expected = spoken(tmp_path / "a.wav", voice, TEXT)
    assert streamer("synthesize", TEXT, "--play", "--device", "3", *voice).exit_code == 0
    (card,) = sounddevice.made
    assert card.options == {"samplerate": RATE, "device": 3, "channels": 1, "dtype": "int16"}
    assert card.said == ["start", "stop", "close"]
    assert card.data == expected.tobytes()


def test_playing_without_the_package(voice: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says what is missing."""
    monkeypatch.setitem(sys.modules, "sounddevice", None)  # type: ignore[arg-type]
    result = streamer("synthesize", TEXT, "--play", *voice)
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "streamer: text: loudspeaker: sounddevice is not installed, expected the extra microphone"
    )


@pytest.mark.parametrize("transport", ["websocket", "grpc"])
def test_a_server_speaks(tmp_path: Path, voice: list[str], transport: str) -> None:
    """The same sound and words over a connection; its refusals are told in one line."""
    expected = spoken(tmp_path / "a.wav", voice, TEXT, "--rate", "16000", "--words", tmp_path / "a.json")
    key = tmp_path / "key"
    key.write_text(ADA + "\n")

    @with_loop
    async def serve() -> None:
        import asyncio

        async with serving(tmp_path / "served", transport, write=write_voice, access=access_settings()) as served:
            url = getattr(served.addresses, transport)
            options = ["--server", url, "--api-key-file", key, "-q"]
            command = ["synthesize", TEXT, "-o", tmp_path / "b.wav", "--rate", "16000", "--words", tmp_path / "b.json"]
            result = await asyncio.to_thread(streamer, *command, *options)
            assert (result.exit_code, result.stderr) == (0, "")
            result = await asyncio.to_thread(
                streamer, "synthesize", TEXT, "-o", tmp_path / "c.wav", "--voice", "other", *options
            )
            assert result.exit_code == 1
            assert result.stderr.startswith("streamer: text: synthesis voice: expected one of ")
            result = await asyncio.to_thread(
                streamer, "synthesize", TEXT, "-o", tmp_path / "c.wav", "--server", url, "-q"
            )
            assert result.stderr == "streamer: text: expected an API key, got none\n"

    (tmp_path / "served").mkdir()
    serve()
    np.testing.assert_array_equal(soundfile.read(tmp_path / "b.wav", dtype="int16")[0], expected)
    words = [json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json")]
    assert words[0]["words"] == words[1]["words"]
    assert not (tmp_path / "c.wav").exists()


def test_errors_leave_no_file(tmp_path: Path, voice: list[str]) -> None:
    """What the model refuses, a rate that a format lacks, a text without sound in the end."""
    for options, message in (
        (["-o", "a.wav", "--voice", "other"], "text: synthesis voice: expected one of "),
        (["-o", "a.opus", "--rate", "22050"], "text: opus: expected a sample rate of "),
        (["-o", "a.txt/b.wav"], "text: cannot write "),
    ):
        (tmp_path / "a.txt").write_text("no folder")
        options[1] = str(tmp_path / options[1])
        result = streamer("synthesize", TEXT, *options, *voice)
        assert result.exit_code == 1
        assert result.stderr.startswith(f"streamer: {message}")
        assert len(result.stderr.splitlines()) == 1
        assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([TEXT], "expected one of --output, --output-dir and --play"),
        ([TEXT, "-o", "a.wav", "--play"], "expected one of --output, --output-dir and --play"),
        ([TEXT, "-o", "a.wav", "--device", "1"], "--device is the loudspeaker of --play"),
        ([TEXT, "-o", "a.doc"], "expected a file that ends in .wav, .flac, .ogg, .opus, .mp3, .aac, got a.doc"),
        ([TEXT, "-o", "a.wav", "--words", "a.txt"], "expected a file that ends in .json, .srt, .vtt, got a.txt"),
        (["Hello", "world", "-o", "a.wav"], "expected files, or one text in quotation marks, got 'Hello'"),
        (["a.txt", "b.txt", "-o", "a.wav"], "--output is for one text, 2 need --output-dir"),
        (["a.txt", "b.txt", "--play"], "--play is for one text, 2 need --output-dir"),
        (["a.txt", "b.txt", "--output-dir", "o", "--words", "a.srt"], "--words is for one text, got 2"),
        ([TEXT, "-o", "a.wav", "--speed", "4"], "Input should be less than or equal to 2"),
    ],
)
def test_usage(options: list[str], message: str) -> None:
    """What a command line lacks is said before anything is loaded."""
    result = streamer("synthesize", *options)
    assert result.exit_code == 2
    assert message in shown(result.stderr)


def test_files_are_not_replaced_by_accident(tmp_path: Path, voice: list[str]) -> None:
    """Only with --overwrite; this holds for words too."""
    for name in ("a.wav", "a.json"):
        (tmp_path / name).write_text("mine")
    for options, name in ((["-o", "a.wav"], "a.wav"), (["-o", "b.wav", "--words", "a.json"], "a.json")):
        paths = [option if option.startswith("-") else tmp_path / option for option in options]
        result = streamer("synthesize", TEXT, *paths, *voice)
        assert (result.exit_code, result.stderr) == (
            1,
            f"streamer: {tmp_path / name} exists, --overwrite replaces it\n",
        )
    assert len(spoken(tmp_path / "a.wav", voice, TEXT, "--words", tmp_path / "a.json", "--overwrite")) > 0


def test_texts_and_files_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what is there, and by the suffix; signs of patterns do not make a question one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes").write_text("Hello.")
    (tmp_path / "a.txt").write_text("Hello.")
    for text in ("How are you?", "[sic] *", "x" * 5000, "a" * 300, "a\0b"):
        (found,) = find_texts([text])
        assert (found.text, found.name) == (text, "text")
    assert [found.name for found in find_texts(["notes"])] == ["notes"]
    assert [found.name for found in find_texts(["*.txt", "notes", "-"])] == ["a.txt", "notes", "-"]
    (missing,) = find_texts(["b.txt"])
    with pytest.raises(InvalidRequest, match=r"^cannot open b.txt: no such file or directory$"):
        list(missing.parts())
    (tmp_path / "c").mkdir()
    with pytest.raises(InvalidRequest, match=r"^no text in c, expected txt$"):
        find_texts(["c"])


def test_the_voice_of_the_settings(tmp_path: Path) -> None:
    """A voice, and no other model; where there is none, one line says so."""
    write_voice(tmp_path)
    write_counter_asr(tmp_path)
    settings = Settings(bundle_path=(tmp_path,), models=("asr-en", "voice@1.0.0"))
    assert manifest_of(settings, "", "synthesize").name == "voice"
    with pytest.raises(BundleError, match=r"^bundle counter-asr@1.0.0: expected a voice, got a model for transcribe$"):
        manifest_of(settings, "counter-asr", "synthesize")
    with pytest.raises(UnknownBundle, match="^unknown bundle 'other'"):
        manifest_of(settings, "other", "synthesize")
