"""Arguments become files, each once, and each with a place of its own for its transcript."""

from __future__ import annotations

from pathlib import Path, PurePath

import pytest

from streamer.cli.inputs import Input, find_inputs, output_paths
from streamer.errors import InvalidRequest


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with audio, and things that are not."""
    for name in ("a.wav", "notes.txt", "in/b.FLAC", "in/deep/c.opus", "in/deep/a.mp3", "in/readme.md", "other/a.wav"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*arguments: str) -> list[tuple[str, str]]:
    return [(item.name, str(item.mirror)) for item in find_inputs(arguments)]


def test_folder_is_searched_by_extension(tree: Path) -> None:
    """Folders are walked in order, whatever the case of extensions; places mirror the folder."""
    assert found("in") == [
        ("in/b.FLAC", "b.FLAC"),
        ("in/deep/a.mp3", "deep/a.mp3"),
        ("in/deep/c.opus", "deep/c.opus"),
    ]


def test_named_file_needs_no_extension(tree: Path) -> None:
    """Who names a file means it."""
    assert found("notes.txt", "a.wav") == [("notes.txt", "notes.txt"), ("a.wav", "a.wav")]


def test_pattern_that_no_shell_expanded(tree: Path) -> None:
    """Patterns are expanded here too; places mirror the part below the first wildcard."""
    assert found("in/**/*.opus") == [("in/deep/c.opus", "deep/c.opus")]
    assert found(f"{tree}/*/*.wav") == [(f"{tree}/other/a.wav", "other/a.wav")]


def test_pattern_of_folders_is_walked(tree: Path) -> None:
    """A pattern may match folders."""
    assert found("i*") == [
        ("in/b.FLAC", "in/b.FLAC"),
        ("in/deep/a.mp3", "in/deep/a.mp3"),
        ("in/deep/c.opus", "in/deep/c.opus"),
    ]


def test_each_file_once(tree: Path) -> None:
    """A file that two arguments mean is transcribed once."""
    assert found("a.wav", "./a.wav", "*.wav") == [("a.wav", "a.wav")]


def test_standard_input(tree: Path) -> None:
    """A dash is standard input, once."""
    assert find_inputs(["-", "-"]) == [Input(None, PurePath("stdin"))]
    assert find_inputs(["-"])[0].name == "-"


def test_missing_file_stays_to_fail_on_its_own(tree: Path) -> None:
    """A typo must not stop the others."""
    assert found("gone.wav", "a.wav") == [("gone.wav", "gone.wav"), ("a.wav", "a.wav")]


def test_nothing_is_an_error(tree: Path) -> None:
    """Folders without audio, or patterns without matches, are an error."""
    (tree / "empty").mkdir()
    with pytest.raises(
        InvalidRequest, match=r"^no audio in empty, \*\.ogg, expected flac m4a mka mkv mp3 mp4 ogg opus wav webm$"
    ):
        find_inputs(["empty", "*.ogg"])


def places(*arguments: str, overwrite: bool = False) -> dict[str, str]:
    paths = output_paths(find_inputs(arguments), Path("out"), ".srt", overwrite)
    return {item.name: str(path) for item, path in paths.items()}


def test_outputs_mirror_inputs(tree: Path) -> None:
    """Names are kept, extensions replaced."""
    assert places("in", "-") == {
        "in/b.FLAC": "out/b.srt",
        "in/deep/a.mp3": "out/deep/a.srt",
        "in/deep/c.opus": "out/deep/c.srt",
        "-": "out/stdin.srt",
    }


def test_same_stem_keeps_extensions(tree: Path) -> None:
    """Files that differ in their extension only keep it."""
    (tree / "a.mp3").touch()
    assert places("a.wav", "a.mp3") == {"a.wav": "out/a.wav.srt", "a.mp3": "out/a.mp3.srt"}


def test_collision_is_refused(tree: Path) -> None:
    """Two inputs never share a file."""
    with pytest.raises(InvalidRequest, match=r"^a\.wav and other/a\.wav would both be written to out/a\.wav\.srt$"):
        places("a.wav", "other/a.wav")


def test_existing_file_is_refused_unless_asked(tree: Path) -> None:
    """Nothing is overwritten in silence."""
    (tree / "out").mkdir()
    (tree / "out" / "a.srt").touch()
    with pytest.raises(InvalidRequest, match=r"^out/a\.srt exists, --overwrite replaces it$"):
        places("a.wav")
    assert places("a.wav", overwrite=True) == {"a.wav": "out/a.srt"}
