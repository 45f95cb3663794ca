"""The registry: names, versions, search order and damaged neighbours."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.bundle.registry import Registry
from streamer.errors import BundleError, UnknownBundle
from tests.toys import damage, write_counter_asr, write_speaker


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    return tmp_path / "nowhere"


def _write_version(folder: Path, version: str) -> Path:
    """Bundles of one name need folders of different parents."""
    return write_counter_asr(folder / version, "counter-asr", version).parent


def test_a_name_means_its_newest_version(tmp_path: Path, nowhere: Path) -> None:
    """Versions compare as numbers, and an exact version can be asked for."""
    registry = Registry([_write_version(tmp_path, version) for version in ("1.9.0", "1.10.0", "1.2.0")], nowhere)
    assert registry.resolve("counter-asr").key == "counter-asr@1.10.0"
    assert registry.resolve("counter-asr@1.2.0").manifest.version == "1.2.0"


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path, nowhere: Path) -> None:
    """The error says what could have been asked for."""
    write_counter_asr(tmp_path)
    write_speaker(tmp_path)
    with pytest.raises(UnknownBundle) as caught:
        Registry([tmp_path], nowhere).resolve("asr-xx")
    assert str(caught.value) == "unknown bundle 'asr-xx', expected one of counter-asr@1.0.0, speaker@1.0.0"


def test_an_empty_path_says_so(tmp_path: Path, nowhere: Path) -> None:
    """Without any bundle the error does not end in an empty list."""
    with pytest.raises(
        UnknownBundle, match=r"^unknown bundle 'asr-en', expected one of none, the search path is empty$"
    ):
        Registry([tmp_path], nowhere).find("asr-en")


def test_a_damaged_bundle_does_not_hide_the_others(tmp_path: Path, nowhere: Path) -> None:
    """Damage is listed with its error, raised when asked for, and no one else's problem."""
    damage.wrong_hash(write_counter_asr(tmp_path))
    write_speaker(tmp_path)
    registry = Registry([tmp_path], nowhere)
    assert [(entry.key, entry.error is None) for entry in registry.entries] == [
        ("counter-asr@1.0.0", False),
        ("speaker@1.0.0", True),
    ]
    with pytest.raises(BundleError, match=r"^bundle counter-asr: asset: sha256 of tokens\.txt: expected"):
        registry.resolve("counter-asr")
    assert registry.resolve("speaker").key == "speaker@1.0.0"


def test_an_unreadable_manifest_is_listed_by_folder(tmp_path: Path, nowhere: Path) -> None:
    """A bundle whose manifest cannot be parsed goes by the name of its folder."""
    folder = write_counter_asr(tmp_path)
    (folder / "manifest.json").write_text("{")
    (entry,) = Registry([tmp_path], nowhere).entries
    assert (entry.name, entry.version) == ("counter-asr", "")
    assert str(entry.error).startswith("bundle counter-asr: manifest: Invalid JSON: ")


def test_a_bundle_that_is_being_written_is_not_listed(tmp_path: Path, nowhere: Path) -> None:
    """An import works in a hidden folder beside its target."""
    write_speaker(tmp_path).rename(tmp_path / ".speaker.partial")
    assert Registry([tmp_path], nowhere).entries == ()


def test_a_folder_may_be_a_bundle_itself(tmp_path: Path, nowhere: Path) -> None:
    """A search path can name one bundle."""
    assert Registry([write_speaker(tmp_path)], nowhere).resolve("speaker").key == "speaker@1.0.0"


def test_configured_folders_come_before_shipped_ones(tmp_path: Path) -> None:
    """The first bundle of a name and version on the path counts."""
    mine, shipped = tmp_path / "mine", tmp_path / "shipped"
    write_counter_asr(mine)
    write_counter_asr(shipped)
    assert Registry([mine], shipped).find("counter-asr").folder.parent == mine


def test_a_missing_folder_is_an_error(nowhere: Path) -> None:
    """A configured folder that is not there is a mistake, not an empty folder."""
    with pytest.raises(BundleError) as caught:
        Registry([nowhere])
    assert str(caught.value) == f"bundle path: expected a folder, got {str(nowhere)!r}"


def test_what_ships_is_not_damaged() -> None:
    """Every bundle in the package has its files and hashes."""
    assert [entry.error for entry in Registry().entries if entry.error is not None] == []
