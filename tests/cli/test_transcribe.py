"""Files go through the path of live streams; one that fails stops no other."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import soundfile

from streamer.audio.pcm import decode, encode
from streamer.cli.inputs import Input
from streamer.cli.jobs import for_files
from streamer.cli.outputs import FolderOutput
from streamer.cli.source import RawFormat, open_source
from streamer.config import Settings
from streamer.errors import InvalidRequest, StreamerError
from streamer.transcripts.formats import Format
from streamer.transcripts.transcript import Transcript
from tests.audio.compressed import container
from tests.cli.conftest import speech, streamer, write_audio
from tests.toys import counter_expected, damage, write_counter_asr
from tests.toys.counter import CHUNK, PIECES

COMMAND = [sys.executable, "-m", "streamer.cli.main", "transcribe"]


def expected_text(pcm: np.ndarray) -> str:
    """What the counter says of audio whose endpoints are off or far away, without its search starting anew."""
    padded = np.concatenate([pcm, np.zeros(-len(pcm) % CHUNK + CHUNK, np.float32)])
    ids = counter_expected(padded).ravel()
    return "".join(PIECES[index] for index in ids[ids > 0]).replace("▁", " ").strip()


def run_json(*arguments: object) -> Any:
    result = streamer("transcribe", *arguments, "--format", "json", "--quiet")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_text_of_a_file(tmp_path: Path, serving: list[str]) -> None:
    """A single file prints its text, and one closing line on standard error."""
    path = write_audio(tmp_path / "a.wav")
    result = streamer("transcribe", path, *serving)
    assert result.exit_code == 0
    assert result.stdout == expected_text(speech(1.0)) + "\n"
    assert result.stderr.startswith("1 file: 1.0 s of audio in ")
    assert "x real time)" in result.stderr


def test_json_of_a_file(tmp_path: Path, serving: list[str]) -> None:
    """JSON names file, model and length, and places every word."""
    path = write_audio(tmp_path / "a.flac", seconds=2.0, rate=8000)
    found = run_json(path, *serving)
    assert list(found) == ["file", "text", "duration_s", "model", "words", "segments"]
    assert (found["file"], found["duration_s"], found["model"]) == (str(path), 2.0, "counter-asr@1.0.0")
    assert " ".join(word["word"] for word in found["words"]) == found["text"]
    assert all(0 <= word["start_s"] <= word["end_s"] <= 2.0 and 0 < word["confidence"] <= 1 for word in found["words"])
    assert [segment["text"] for segment in found["segments"]] == [found["text"]]


def test_several_files_keep_their_order(tmp_path: Path, serving: list[str]) -> None:
    """Results are printed in the order of the inputs, whichever is done first; JSON of several is one array."""
    long, short = write_audio(tmp_path / "a.wav", 8.0), write_audio(tmp_path / "b.wav", 0.5, seed=1)
    found = run_json(long, short, *serving)
    assert [each["file"] for each in found] == [str(long), str(short)]
    text = streamer("transcribe", long, short, *serving, "--quiet").stdout.splitlines()
    assert text[0] == f"==> {long} <=="
    assert text[-2:] == [f"==> {short} <==", expected_text(speech(0.5, seed=1))]
    lines = streamer("transcribe", long, short, *serving, "--quiet", "-f", "jsonl").stdout.splitlines()
    assert [json.loads(line) for line in lines] == found


def test_jobs_do_not_change_text(tmp_path: Path, serving: list[str]) -> None:
    """Eight files at once, batched, say what each says alone."""
    for index in range(8):
        write_audio(tmp_path / f"{index}.wav", 1.0 + index / 7, seed=index)
    assert run_json(tmp_path, *serving, "--jobs", 8) == run_json(tmp_path, *serving, "--jobs", 1)


def test_output_folder_mirrors_inputs(tmp_path: Path, serving: list[str]) -> None:
    """One file per input, in the same places."""
    write_audio(tmp_path / "in" / "a.wav")
    write_audio(tmp_path / "in" / "deep" / "b.ogg.flac")
    out = tmp_path / "out"
    result = streamer("transcribe", tmp_path / "in", *serving, "-o", out, "-f", "vtt")
    assert (result.exit_code, result.stdout) == (0, "")
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.*")) == ["a.vtt", "deep/b.ogg.vtt"]
    assert (out / "a.vtt").read_text().startswith("WEBVTT\n\n00:00:00.000 --> ")
    again = streamer("transcribe", tmp_path / "in", *serving, "-o", out, "-f", "vtt")
    assert again.exit_code == 1
    assert again.stderr == f"streamer: {out}/a.vtt exists, --overwrite replaces it\n"
    assert streamer("transcribe", tmp_path / "in", *serving, "-o", out, "-f", "vtt", "--overwrite").exit_code == 0


def test_bad_files_fail_alone(tmp_path: Path, serving: list[str]) -> None:
    """Truncated, foreign and missing files cost one line each and status 1; the good one is transcribed."""
    good = write_audio(tmp_path / "good.wav", 1.0)
    whole = write_audio(tmp_path / "whole.wav", 9.0).read_bytes()
    (tmp_path / "whole.wav").unlink()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    write_audio(tmp_path / "cut.flac", 9.0)
    (tmp_path / "cut.flac").write_bytes((tmp_path / "cut.flac").read_bytes()[:50000])
    (tmp_path / "text.mp3").write_text("this is no music")
    (tmp_path / "empty.ogg").touch()
    result = streamer("transcribe", tmp_path, tmp_path / "gone.wav", *serving, "-f", "jsonl")
    assert result.exit_code == 1
    assert [json.loads(line)["file"] for line in result.stdout.splitlines()] == [str(good)]
    *failures, summary = result.stderr.splitlines()
    assert summary.startswith("6 files, 5 failed: ")
    names = ["cut.flac", "cut.wav", "empty.ogg", "gone.wav", "text.mp3"]
    assert sorted(line.split(": ")[1] for line in failures) == [str(tmp_path / name) for name in names]
    assert f"streamer: {tmp_path}/gone.wav: cannot open gone.wav: no such file or directory" in failures


def test_unwritable_output_fails_alone(tmp_path: Path, serving: list[str]) -> None:
    """A result that cannot be written counts as failed."""
    write_audio(tmp_path / "in" / "a.wav")
    write_audio(tmp_path / "in" / "deep" / "b.wav")
    out = tmp_path / "out"
    out.mkdir()
    (out / "deep").write_text("in the way")
    result = streamer("transcribe", tmp_path / "in", *serving, "-o", out, "-q")
    assert result.exit_code == 1
    assert result.stderr == f"streamer: {tmp_path}/in/deep/b.wav: cannot write {out}/deep/b.txt: file exists\n"
    assert (out / "a.txt").read_text() == expected_text(speech(1.0)) + "\n"


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """What was written before the failure is not left in the folder under another name."""
    item = Input(tmp_path / "a.wav", Path("a.wav"))
    (tmp_path / "out" / "a.txt").mkdir(parents=True)
    output = FolderOutput({item: tmp_path / "out" / "a.txt"}, Format.TEXT)
    with pytest.raises(StreamerError, match=r"^cannot write .*/out/a\.txt: is a directory$"):
        output.done(item, Transcript("a.wav", 1.0, "m", ()))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.txt"]


def test_nothing_found(tmp_path: Path, serving: list[str]) -> None:
    """A folder without audio is an error."""
    result = streamer("transcribe", tmp_path, *serving)
    assert result.exit_code == 1
    assert result.stderr == f"streamer: no audio in {tmp_path}, expected flac m4a mka mkv mp3 mp4 ogg opus wav webm\n"


def test_unknown_model(tmp_path: Path, toys: Path) -> None:
    """A model that is not there is refused before any file is read."""
    result = streamer("transcribe", write_audio(tmp_path / "a.wav"), "--bundle-path", toys, "--model", "none")
    assert result.exit_code == 1
    assert result.stderr.startswith("streamer: unknown bundle 'none', expected one of ")


def test_no_other_model_is_loaded(tmp_path: Path, toys: Path) -> None:
    """Unless one is named it is the first of the settings that transcribes; others need not be there."""
    settings = tmp_path / "streamer.toml"
    settings.write_text('models = ["nothing", "vad", "counter-asr", "asr-en"]\n')
    found = run_json(write_audio(tmp_path / "a.wav"), "--config", settings, "--bundle-path", toys)
    assert found["model"] == "counter-asr@1.0.0"


STEP = "bundle counter-asr: graph step: "


@pytest.mark.parametrize("command", ["transcribe", "serve"])
@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (damage.wrong_hash, "bundle counter-asr: asset: sha256 of tokens.txt: expected "),
        (damage.missing_output, STEP + "expected output tokens, got only total_out, last_out, ids, logp\n"),
        (damage.wrong_shape, STEP + "input pcm: expected shape [free, 160], got [free, 320]\n"),
    ],
)
def test_a_damaged_model_serves_nobody(
    tmp_path: Path, command: str, harm: Callable[[Path], None], message: str
) -> None:
    """It is refused before any file is read or any port is open, with what is wrong where."""
    harm(write_counter_asr(tmp_path))
    paths = [write_audio(tmp_path / "a.wav")] if command == "transcribe" else ["--grpc-port", 0, "--http-port", 0]
    result = streamer(command, *paths, "--bundle-path", tmp_path, "--model", "counter-asr")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("streamer: " + message)


def test_language_that_the_model_lacks(tmp_path: Path, serving: list[str]) -> None:
    """What the stream refuses fails the file."""
    path = write_audio(tmp_path / "a.wav")
    result = streamer("transcribe", path, *serving, "--language", "de", "-q")
    assert result.exit_code == 1
    assert result.stderr == f"streamer: {path}: model counter-asr speaks en, got language 'de'\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-"], "standard input needs --encoding and --rate"),
        (["-", "--encoding", "pcm_s16le"], "standard input needs --encoding and --rate"),
        (["a.wav", "--rate", "8000"], "--encoding and --rate describe standard input"),
        (["-", "--encoding", "pcm_alaw", "--rate", "8000", "--per-channel"], "standard input has one channel"),
        (["a.wav", "b.wav", "-f", "srt"], "srt of 2 files needs --output-dir"),
        (["a.wav", "--n-best", "2"], "--n-best needs --format json or jsonl, text has no place for alternatives"),
    ],
)
def test_usage(arguments: list[str], message: str) -> None:
    """Contradictions are usage errors, status 2."""
    result = streamer("transcribe", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize("encoding", ["pcm_s16le", "pcm_f32le"])
def test_standard_input(serving: list[str], encoding: str) -> None:
    """PCM from a pipe gives the text of the same audio in a file."""
    pcm = speech(1.5)
    data = (pcm * 32768).astype("<i2").tobytes() if encoding == "pcm_s16le" else pcm.astype("<f4").tobytes()
    command = [*COMMAND, "-", "--encoding", encoding, "--rate", "16000", "-q", *serving]
    found = subprocess.run(command, input=data, capture_output=True, check=True)
    assert found.stdout.decode() == expected_text(pcm) + "\n"


@pytest.mark.parametrize("encoding", ["pcm_mulaw", "pcm_alaw"])
def test_telephone_audio_on_standard_input(serving: list[str], encoding: str) -> None:
    """G.711 from a pipe gives the text of the samples that it stands for."""
    data = encode(speech(1.0), encoding)
    command = [*COMMAND, "-", "--encoding", encoding, "--rate", "16000", "-q", *serving]
    found = subprocess.run(command, input=data, capture_output=True, check=True)
    assert found.stdout.decode() == expected_text(decode(data, encoding)) + "\n"


def test_webm_and_m4a(tmp_path: Path, serving: list[str]) -> None:
    """What a browser records and what a telephone records; both have text."""
    for name, form, codec in (("a.webm", "webm", "libopus"), ("b.m4a", "mp4", "aac")):
        (tmp_path / name).write_bytes(container(form, codec, np.tile(speech(1.0), 2), 48000))
    found = run_json(tmp_path, *serving)
    assert [each["file"] for each in found] == [str(tmp_path / "a.webm"), str(tmp_path / "b.m4a")]
    assert all(each["text"] for each in found)


def test_channels_one_by_one(tmp_path: Path, serving: list[str]) -> None:
    """Each channel gives the text that it gives alone, with its number; without the option they are averaged."""
    left, right = speech(1.0), speech(1.0, seed=1)
    path = tmp_path / "call.wav"
    soundfile.write(path, np.stack([left, right], axis=1), 16000, subtype="FLOAT")
    words = run_json(path, "--per-channel", *serving)["words"]
    spoken = [" ".join(word["word"] for word in words if word["channel"] == number) for number in (1, 2)]
    assert spoken == [expected_text(left), expected_text(right)]
    lines = streamer("transcribe", path, "--per-channel", "-q", *serving).stdout.splitlines()
    assert sorted(lines) == [f"[1] {expected_text(left)}", f"[2] {expected_text(right)}"]
    assert run_json(path, *serving)["text"] == expected_text((left + right) / 2)


def test_standard_input_that_cannot_be_read(serving: list[str]) -> None:
    """A read that fails, here of a terminal that nobody holds, fails the input at once with its reason."""
    command = [*COMMAND, "-", "--encoding", "pcm_s16le", "--rate", "16000", "-q", *serving]
    ours, theirs = pty.openpty()
    os.close(theirs)
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        found = subprocess.run(command, stdin=terminal, capture_output=True, check=False, timeout=30)
    assert (found.returncode, found.stderr.decode()) == (1, "streamer: -: cannot read: input/output error\n")


def test_standard_input_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command started without standard input says so."""
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InvalidRequest, match="^standard input is closed$"):
        open_source(Input(None, Path("stdin")), RawFormat("pcm_s16le", 16000))


def test_standard_input_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that another program has set not to wait would look empty while nothing has come yet."""
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    with os.fdopen(ours, "rb") as pipe, os.fdopen(theirs, "wb"):
        monkeypatch.setattr(sys, "stdin", pipe)
        open_source(Input(None, Path("stdin")), RawFormat("pcm_s16le", 16000))
        assert os.get_blocking(ours)


def test_a_pipe_among_files_fails_alone(tmp_path: Path, serving: list[str]) -> None:
    """A path that cannot be sought in, such as that of a pipe, is refused; the good file is transcribed."""
    good, pipe = write_audio(tmp_path / "good.wav"), tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    # With a writer there, opening it to read does not wait for one.
    writer = os.open(pipe, os.O_RDWR)
    try:
        result = streamer("transcribe", good, pipe, *serving, "-f", "jsonl", "-q")
    finally:
        os.close(writer)
    assert result.exit_code == 1
    assert [json.loads(line)["file"] for line in result.stdout.splitlines()] == [str(good)]
    assert result.stderr == f"streamer: {pipe}: cannot open pipe.wav: expected a file, got a pipe\n"


def test_output_may_be_read_slowly() -> None:
    """Text that waits in a pipe, as for a pager, ends no stream: nobody is kept waiting by it but the reader."""
    session = for_files(Settings(), 1).session
    assert min(session.idle_timeout_ms, session.unread_limit_ms) == 24 * 3600 * 1000


def test_progress_on_a_terminal(tmp_path: Path, serving: list[str]) -> None:
    """On a terminal the bar and the failures go to standard error; what is piped away stays as it is."""
    good, bad = write_audio(tmp_path / "a.wav"), tmp_path / "b.wav"
    bad.write_text("no audio")
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        command = [*COMMAND, str(good), str(bad), "-f", "jsonl", *serving]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs) as process:
            os.close(theirs)
            # Read while it runs: a terminal holds 4 KiB, which a bar fills in some seconds.
            shown = b"".join(iter(lambda: _read(terminal), b"")).decode()
            assert process.stdout is not None
            printed = process.stdout.read()
    assert process.returncode == 1
    assert [json.loads(line)["text"] for line in printed.splitlines()] == [expected_text(speech(1.0))]
    assert "2/2 files real-time factor" in shown
    assert f"streamer: {bad}: b.wav is not audio" in shown.replace("\r\n", "")


def _read(terminal: IO[bytes]) -> bytes:
    try:
        return terminal.read(65536)
    except OSError:
        # How Linux says that nobody holds the other end any more.
        return b""


def test_interrupted(serving: list[str]) -> None:
    """Ctrl-C while a pipe is silent ends at once: what was final is printed, one line says why it ended, status 130."""
    command = [*COMMAND, "-", "--encoding", "pcm_f32le", "--rate", "16000", *serving]
    with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(np.concatenate([speech(0.2), np.zeros(32000, np.float32)]).tobytes())
        process.stdin.flush()
        first = process.stdout.readline().decode()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert first == expected_text(speech(0.2)) + "\n"
        assert process.stderr.read().decode() == "streamer: interrupted\n"


def test_transcript_joins_segments() -> None:
    """A transcript without segments has no text."""
    assert Transcript("a", 1.0, "m", ()).text == ""
