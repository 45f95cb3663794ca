"""`streamer codec` with a codec that can be worked out by hand: files, pipes, seeking, damage, playing."""

from __future__ import annotations

import io
import json
import stat
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from streamer.audio.pcm import encode as pcm
from streamer.audio.snc1_description import describe
from streamer.cli import codec_sources, source
from streamer.cli.chosen_model import codec_manifest
from streamer.cli.main import app
from streamer.cli.whole_file import whole_file
from streamer.config import Settings
from streamer.errors import BundleError, UnknownBundle
from tests.cli.conftest import speech, streamer
from tests.toys import write_counter_asr
from tests.toys.codec import RATE, codec_expected, write_codec

STEP = 1 / 32768


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options of every command that runs a model."""
    folder = tmp_path_factory.mktemp("codec")
    write_codec(folder)
    return ["--bundle-path", str(folder), "--model", "codec@1.0.0"]


def sound(seconds: float = 2.0) -> np.ndarray:
    """Loud enough for the toy's sixteen levels, on the grid of 16 bit."""
    slow = np.sin(np.arange(int(seconds * RATE)) / 400) * 0.8
    return (np.round((slow + speech(seconds) * 0.2) * 32768) / 32768).astype(np.float32)


def written(path: Path, seconds: float = 2.0) -> Path:
    soundfile.write(path, sound(seconds), RATE, "PCM_16")
    return path


def coded(tmp_path: Path, codec: list[str], *options: str, seconds: float = 2.0) -> Path:
    path = tmp_path / "talk.snc"
    result = streamer("codec", "encode", written(tmp_path / "talk.wav", seconds), "-o", path, "-q", *options, *codec)
    assert (result.exit_code, result.stderr) == (0, "")
    return path


def decoded(path: Path, codec: list[str], *options: object) -> np.ndarray:
    out = path.with_suffix(".out.wav")
    result = streamer("codec", "decode", path, "-o", out, "--overwrite", "-q", *options, *codec)
    assert (result.exit_code, result.stderr) == (0, "")
    return soundfile.read(out, dtype="float32")[0]


def test_there_and_back(tmp_path: Path, codec: list[str]) -> None:
    """A file knows its length and has an index; what comes back has as many samples and is what the toy makes."""
    path = coded(tmp_path, codec)
    found = describe(path)
    assert (found.header.total_samples, found.header.has_index, found.missing) == (2 * RATE, True, None)
    assert found.header.frames_per_packet == 5
    assert found.payload_bits_per_second == 3200
    np.testing.assert_allclose(decoded(path, codec), codec_expected(sound()), atol=STEP)


def test_options_reach_the_packets(tmp_path: Path, codec: list[str]) -> None:
    """Rate, frames, entropy coding, redundancy and silence are those of the header and the packets."""
    options = ["--bitrate", "1600", "--frames-per-packet", "8", "--entropy", "network", "--fec", "--dtx"]
    found = describe(coded(tmp_path, codec, *options))
    header = found.header
    assert (header.frames_per_packet, header.entropy_mode, header.fec, header.dtx) == (8, 2, True, True)
    assert set(found.books) == {2}
    assert found.n_redundant > 0


@pytest.mark.parametrize("start_s", [0.5, 1.37])
@pytest.mark.parametrize("entropy", ["raw", "tables", "float"])
def test_seeking(tmp_path: Path, codec: list[str], start_s: float, entropy: str) -> None:
    """From any second on, sound is that of the whole file, though the decoder began in the middle."""
    path = coded(tmp_path, codec, "--entropy", entropy)
    whole, part = decoded(path, codec), decoded(path, codec, "--start", start_s)
    np.testing.assert_array_equal(part, whole[round(start_s * RATE) :])


def test_seeking_beyond_the_end(tmp_path: Path, codec: list[str]) -> None:
    """An error, and no file."""
    result = streamer("codec", "decode", coded(tmp_path, codec), "-o", tmp_path / "a.wav", "--start", 9, "-q", *codec)
    assert result.exit_code == 1
    assert result.stderr.endswith("expected a sample below 32000 to seek, got 144000\n")
    assert not (tmp_path / "a.wav").exists()


def test_other_formats_of_audio(tmp_path: Path, codec: list[str]) -> None:
    """Another rate and encoding, as the options say."""
    path = coded(tmp_path, codec)
    assert len(decoded(path, codec, "--rate", 48000)) == 3 * 2 * RATE
    telephone = decoded(path, codec, "--rate", 8000, "--encoding", "pcm_mulaw")
    assert soundfile.info(path.with_suffix(".out.wav")).subtype == "ULAW"
    assert len(telephone) == RATE


def test_transcoding(tmp_path: Path, codec: list[str]) -> None:
    """Fewer books, other packets, the same length: what is left sounds as if it had been made so."""
    path, low = coded(tmp_path, codec), tmp_path / "low.snc"
    options = ["--bitrate", "800", "--frames-per-packet", "10", "--entropy", "tables"]
    result = streamer("codec", "transcode", path, "-o", low, "-q", *options, *codec)
    assert (result.exit_code, result.stderr) == (0, "")
    found = describe(low)
    assert (found.books, found.header.total_samples, found.header.has_index) == ({1: found.n_packets}, 2 * RATE, True)
    assert found.n_bytes < describe(path).n_bytes / 2
    np.testing.assert_allclose(decoded(low, codec), codec_expected(sound(), books=1), atol=STEP)


def test_damage_is_concealed(tmp_path: Path, codec: list[str]) -> None:
    """Flipped bytes cost their packets and no more: the length stays, and all that came before them."""
    path = coded(tmp_path, codec)
    data = bytearray(path.read_bytes())
    data[700:740] = bytes(40)
    path.write_bytes(bytes(data))
    found = describe(path)
    assert 0 < found.n_lost <= 4
    whole = decoded(path, codec)
    assert len(whole) == 2 * RATE
    intact = (700 - 48) // 15 * 5 * 80 - 400
    np.testing.assert_allclose(whole[:intact], codec_expected(sound())[:intact], atol=STEP)
    table = streamer("codec", "info", path).stdout
    assert f"{found.n_lost} of {found.n_packets} packets lost" in table


def test_a_file_that_was_cut_off(tmp_path: Path, codec: list[str]) -> None:
    """What is there is decoded; a line says what is missing."""
    path = coded(tmp_path, codec)
    path.write_bytes(path.read_bytes()[:500])
    result = streamer("codec", "decode", path, "-o", tmp_path / "a.wav", "-q", *codec)
    assert result.exit_code == 0
    assert result.stderr.startswith(f"streamer: {path}: snc1 stream is truncated, it lacks")
    assert 0 < soundfile.info(tmp_path / "a.wav").frames < 2 * RATE


def test_pipes(tmp_path: Path, codec: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """PCM in, packets out, and back, without a file; the packets are a live stream whose end tells its length."""
    sample = tmp_path / "talk.raw"
    sample.write_bytes(pcm(sound(), "pcm_s16le"))
    described = ["--encoding", "pcm_s16le", "--rate", "16000"]
    with io.FileIO(sample) as pipe:
        monkeypatch.setattr(source, "open_stdin", lambda: pipe)
        packets = streamer("codec", "encode", "-", *described, "-o", "-", "-q", *codec).stdout_bytes
    found = describe(packets)
    assert (found.header.total_samples, found.total_samples, found.header.has_index) == (None, 2 * RATE, False)
    sample.write_bytes(packets)
    monkeypatch.setattr(codec_sources, "open_stdin", lambda: io.FileIO(sample))
    result = streamer("codec", "decode", "-", "-o", "-", "-q", *codec)
    expected = pcm(codec_expected(sound()), "pcm_s16le")
    ours, theirs = (np.frombuffer(data, "<i2").astype(int) for data in (result.stdout_bytes, expected))
    assert np.abs(ours - theirs).max() <= 1


def test_several_files(tmp_path: Path, codec: list[str]) -> None:
    """A file each in a folder; one that fails leaves nothing and stops no other; status 1, one line each."""
    folder, bad = tmp_path / "out", tmp_path / "bad.wav"
    bad.write_text("no audio")
    paths = [written(tmp_path / "a.wav"), bad, written(tmp_path / "b.wav", 0.5)]
    result = streamer("codec", "encode", *paths, "--output-dir", folder, *codec)
    assert result.exit_code == 1
    assert f"streamer: {bad}: bad.wav is not audio" in result.stderr
    assert "3 files, 1 failed: 2.5 s of audio in " in result.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["a.snc", "b.snc"]
    result = streamer("codec", "decode", folder, "--output-dir", folder, "-q", *codec)
    assert (result.exit_code, result.stderr) == (0, "")
    assert soundfile.info(folder / "b.wav").frames == RATE // 2


def test_what_is_no_packets(tmp_path: Path, codec: list[str]) -> None:
    """Refused by name, without a file; nothing half-written is left beside it either."""
    path = written(tmp_path / "talk.wav")
    result = streamer("codec", "decode", path, "-o", tmp_path / "a.wav", "-q", *codec)
    assert (result.exit_code, result.stderr) == (1, f"streamer: {path}: {path} is no SNC1 stream\n")
    missing = streamer("codec", "decode", tmp_path / "b.snc", "-o", tmp_path / "a.wav", "-q", *codec)
    assert missing.stderr == f"streamer: {tmp_path / 'b.snc'}: cannot open b.snc: no such file or directory\n"
    assert [each.name for each in tmp_path.iterdir()] == ["talk.wav"]


def test_a_rate_that_there_is_not(tmp_path: Path, codec: list[str]) -> None:
    """The server's own refusal names the rates; no file is left."""
    path = written(tmp_path / "talk.wav")
    result = streamer("codec", "encode", path, "-o", tmp_path / "a.snc", "-q", "--bitrate", "1234", *codec)
    assert result.exit_code == 1
    assert "800" in result.stderr
    assert "1234" in result.stderr
    assert not (tmp_path / "a.snc").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "expected one of --output and --output-dir"),
        (["-o", "a", "--output-dir", "b"], "expected one of --output and --output-dir"),
        (["--encoding", "pcm_s16le", "-o", "a"], "expected - among the paths"),
        (["--frames-per-packet", "17", "-o", "a"], "Input should be less than or equal to 16"),
    ],
)
def test_usage(tmp_path: Path, options: list[str], message: str) -> None:
    """What a command line lacks is said before anything is loaded."""
    result = streamer("codec", "encode", written(tmp_path / "a.wav", 0.1), *options)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_one_output_for_two_files(tmp_path: Path) -> None:
    """Has no meaning."""
    paths = [written(tmp_path / name, 0.1) for name in ("a.wav", "b.wav")]
    result = streamer("codec", "encode", *paths, "-o", "c.snc")
    assert result.exit_code == 2
    assert "--output is for one input, 2 need --output-dir" in " ".join(result.stderr.replace("│", " ").split())


def test_files_are_not_replaced_by_accident(tmp_path: Path, codec: list[str]) -> None:
    """Only with --overwrite."""
    path = coded(tmp_path, codec, seconds=0.2)
    result = streamer("codec", "encode", tmp_path / "talk.wav", "-o", path, *codec)
    assert (result.exit_code, result.stderr) == (1, f"streamer: {path} exists, --overwrite replaces it\n")


def test_standard_input_cannot_be_sought_in(tmp_path: Path, codec: list[str]) -> None:
    """It says so."""
    result = streamer("codec", "decode", "-", "-o", "-", "--start", "1", "-q", *codec)
    assert result.stderr == "streamer: -: --start needs a file, standard input cannot be sought in\n"


def test_info_as_json(tmp_path: Path, codec: list[str]) -> None:
    """An object for one file, an array for several; one that is none is named and fails the command."""
    path = coded(tmp_path, codec, seconds=1.0)
    found = json.loads(streamer("codec", "info", path, "--json").stdout)
    assert (found["file"], found["duration_s"], found["packets"], found["lost_packets"]) == (str(path), 1.0, 41, 0)
    assert found["bits_per_second"] == 4800
    assert found["payload_bits_per_second"] == 3200
    assert found["header"]["entropy_mode"] == "raw"
    other = tmp_path / "talk.wav"
    result = streamer("codec", "info", path, other, tmp_path / "none.snc", "--json")
    assert result.exit_code == 1
    assert [each["file"] for each in json.loads(result.stdout)] == [str(path)]
    assert [line.split(": ")[1] for line in result.stderr.splitlines()] == [str(other), str(tmp_path / "none.snc")]


def test_info_of_a_pipe(tmp_path: Path, codec: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of standard input."""
    path = coded(tmp_path, codec, seconds=1.0)
    monkeypatch.setattr("streamer.cli.codec_info.open_stdin", lambda: io.FileIO(path))
    table = streamer("codec", "info", "-").stdout
    assert "1.00 s at 16000 Hz" in table
    assert "none, all checksums are right" in table


class Card:
    """A sound card that remembers what it was given."""

    made: list[Card] = []  # noqa: RUF012 - a test reads it

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.said: list[str] = []
        self.data = b""
        self.made.append(self)

    def start(self) -> None:
        self.said.append("start")

    def write(self, data: bytes) -> None:
        self.data += bytes(data)

    def stop(self) -> None:
        self.said.append("stop")

    def close(self) -> None:
        self.said.append("close")


@pytest.fixture
def sounddevice(monkeypatch: pytest.MonkeyPatch) -> type[Card]:
    """The package, with one sound card."""
    package = SimpleNamespace(RawOutputStream=Card, PortAudioError=RuntimeError)
    monkeypatch.setitem(sys.modules, "sounddevice", package)  # type: ignore[arg-type]
    Card.made.clear()
    return Card


def test_playing(tmp_path: Path, codec: list[str], sounddevice: type[Card]) -> None:
    """All of it is played at the rate of the model, and the device given back; from a second on if asked."""
    path = coded(tmp_path, codec)
    assert streamer("codec", "play", path, "--device", "3", *codec).exit_code == 0
    assert streamer("codec", "play", path, "--start", "1", *codec).exit_code == 0
    whole, part = sounddevice.made
    assert whole.options == {"samplerate": RATE, "device": 3, "channels": 1, "dtype": "int16"}
    assert part.options["device"] is None
    assert whole.said == part.said == ["start", "stop", "close"]
    assert len(whole.data) == 2 * 2 * RATE
    assert part.data == whole.data[2 * RATE :]


def test_playing_without_a_device(
    tmp_path: Path, codec: list[str], sounddevice: type[Card], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says what is missing."""

    def fail(card: Card) -> None:
        raise RuntimeError("no such device")

    monkeypatch.setattr(Card, "start", fail)
    path = coded(tmp_path, codec)
    result = streamer("codec", "play", path, "--device", "usb", *codec)
    assert result.exit_code == 1
    message = f"loudspeaker: cannot play on 'usb' at {RATE} Hz: no such device"
    assert result.stderr == f"streamer: {path}: {message}\n"
    monkeypatch.setitem(sys.modules, "sounddevice", None)  # type: ignore[arg-type]
    result = streamer("codec", "play", path, *codec)
    assert "loudspeaker: sounddevice is not installed, expected the extra microphone" in result.stderr


def test_two_files_cannot_be_played(tmp_path: Path) -> None:
    """At a time."""
    for name in ("a.snc", "b.snc"):
        (tmp_path / name).write_bytes(b"SNC1")
    result = streamer("codec", "play", tmp_path)
    assert "expected one file to play, got 2" in " ".join(result.stderr.replace("│", " ").split())


def test_the_codec_of_the_settings(tmp_path: Path) -> None:
    """The first codec among the models counts, else one of the search path; others are refused."""
    write_codec(tmp_path)
    write_counter_asr(tmp_path)
    settings = Settings(bundle_path=(tmp_path,), models=("asr-en", "codec@1.0.0"))
    assert codec_manifest(settings, "").name == "codec"
    assert codec_manifest(settings, "codec@1.0.0").name == "codec"
    both = Settings(bundle_path=(tmp_path,), models=("codec", "codec-16k"))
    assert codec_manifest(both, "").name == "codec"
    with pytest.raises(BundleError, match=r"^bundle counter-asr@1.0.0: expected a codec, got a model for transcribe$"):
        codec_manifest(settings, "counter-asr")
    with pytest.raises(UnknownBundle, match="^unknown bundle 'other'"):
        codec_manifest(settings, "other")


def given_up(path: Path) -> None:
    with whole_file(path) as file:
        file.write(b"three")
        raise ValueError("enough")


def test_a_whole_file_or_none(tmp_path: Path) -> None:
    """An exception leaves what was there; devices are written to and stay what they are."""
    path = tmp_path / "a" / "b.bin"
    for content in (b"one", b"two"):
        with whole_file(path) as file:
            file.write(content)
    with pytest.raises(ValueError, match="^enough$"):
        given_up(path)
    assert [(each.name, each.read_bytes()) for each in path.parent.iterdir()] == [("b.bin", b"two")]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    with whole_file(Path("/dev/null")) as file:
        file.write(b"four")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_an_output_that_cannot_be_written(tmp_path: Path, codec: list[str]) -> None:
    """The line names it."""
    (tmp_path / "file").write_text("")
    path = written(tmp_path / "talk.wav", 0.1)
    result = streamer("codec", "encode", path, "-o", tmp_path / "file" / "a.snc", "-q", *codec)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"streamer: {path}: cannot write {tmp_path / 'file' / 'a.snc'}: ")


def test_help_lists_the_commands() -> None:
    """All five."""
    text = CliRunner().invoke(app, ["codec", "--help"]).stdout
    assert all(f" {name} " in text for name in ("encode", "decode", "transcode", "info", "play"))
