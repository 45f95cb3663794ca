"""Search options on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile

from streamer.cli.decoding import decoding_of
from streamer.errors import InvalidRequest
from streamer.session.messages import Decoding, Hotword
from tests.cli.conftest import streamer, write_audio
from tests.toys import vowels_pcm, write_vowels


def test_nothing_asked_for_is_the_default() -> None:
    """Without options the server's own defaults hold."""
    assert decoding_of(None, None, None, (), None) == Decoding()


def test_a_width_asks_for_a_beam() -> None:
    """--beam is the method as much as the width; the other options leave the method open."""
    assert decoding_of(8, 0.0, None, (), 3) == Decoding("beam", 8, 0.0, n_best=3)
    assert decoding_of(None, 0.5, None, (), None) == Decoding(lm_scale=0.5)


def test_hotwords_come_from_a_file_and_from_options(tmp_path: Path) -> None:
    """A line is a phrase, with its boost after a colon that follows a space; empty lines say nothing."""
    path = tmp_path / "words.txt"
    path.write_text("\ufeffada lovelace :3\n\n  turing  \nmr. x: the return\nratio 4:3\n", encoding="utf-8")
    decoding = decoding_of(None, None, path, ("grace hopper :0.5", "zuse"), None)
    assert decoding.hotwords == (
        Hotword("ada lovelace", 3.0),
        Hotword("turing"),
        Hotword("mr. x: the return"),
        Hotword("ratio 4:3"),
        Hotword("grace hopper", 0.5),
        Hotword("zuse"),
    )


def test_bad_lines_are_named(tmp_path: Path) -> None:
    """What follows the colon is a number; the line of the file is told, or the place among the options."""
    path = tmp_path / "words.txt"
    path.write_text("ada\n\nturing :much\n", encoding="utf-8")
    with pytest.raises(InvalidRequest, match=rf"^{path} line 3: expected a number after ':', got 'much'$"):
        decoding_of(None, None, path, (), None)
    with pytest.raises(InvalidRequest, match=r"^--hotword 2: expected a number after ':', got ''$"):
        decoding_of(None, None, None, ("ada", "turing :"), None)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A file that is not there or holds no text is refused with the reason."""
    with pytest.raises(InvalidRequest, match=rf"^cannot read {tmp_path}/gone: no such file or directory$"):
        decoding_of(None, None, tmp_path / "gone", (), None)
    (tmp_path / "latin").write_bytes(b"\xe9t\xe9\n")
    with pytest.raises(InvalidRequest, match=rf"^cannot read {tmp_path}/latin: expected UTF-8$"):
        decoding_of(None, None, tmp_path / "latin", (), None)


def test_options_out_of_range_are_refused_before_any_file_is_read(tmp_path: Path) -> None:
    """The message is that of the server."""
    result = streamer("transcribe", tmp_path / "gone.wav", "--beam", 17)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "streamer: decoding beam: expected an integer from 1 to 16, got 17\n"


@pytest.mark.parametrize(
    ("options", "asked_for"),
    [(["--beam", 2], "method beam"), (["--hotword", "ada"], "hotwords"), (["--n-best", 2], "n_best")],
)
def test_options_reach_the_stream(tmp_path: Path, serving: list[str], options: list[object], asked_for: str) -> None:
    """A model without the search fails the file, and says which option asked for it."""
    path = write_audio(tmp_path / "a.wav")
    result = streamer("transcribe", path, *serving, *options, "-q", "-f", "jsonl")
    assert result.exit_code == 1
    assert result.stderr == f"streamer: {path}: model counter-asr has no beam search, got decoding {asked_for}\n"


def test_a_beam_and_hotwords_change_the_text(tmp_path: Path) -> None:
    """The beam hears the likelier pair, a phrase that was told wins over it, and JSON lists what else there was."""
    write_vowels(tmp_path)
    (tmp_path / "words.txt").write_text("e u\n")
    soundfile.write(tmp_path / "a.wav", vowels_pcm("a o"), 16000, "FLOAT")
    command = ["transcribe", tmp_path / "a.wav", "--bundle-path", tmp_path, "--model", "vowels", "-q"]
    assert streamer(*command).stdout == "a o\n"
    assert streamer(*command, "--beam", 4).stdout == "a u\n"
    assert streamer(*command, "--hotwords", tmp_path / "words.txt").stdout == "e u\n"
    found = json.loads(streamer(*command, "--n-best", 3, "-f", "jsonl").stdout)
    assert found["text"] == "a u"
    assert [best["text"] for best in found["segments"][0]["alternatives"]] == ["a u", "e o", "e u"]
