"""The whole check of a bundle, as people read it."""

from __future__ import annotations

from pathlib import Path

from streamer.engine.check import check_bundle
from tests.toys import damage, edit_manifest, write_counter_asr, write_speaker, write_wrong_order


def test_a_sound_bundle_passes(tmp_path: Path) -> None:
    """Files, resets, in-place state and the memory of a stream are reported."""
    report = check_bundle(write_counter_asr(tmp_path))
    assert report.ok
    assert str(report).splitlines() == [
        "bundle counter-asr@1.0.0",
        "ok   files and signatures: 1 graphs match the manifest",
        "ok   task: roles, parameters and assets are those of transcribe",
        "ok   starts forget the slot's past: outputs and arenas agree on random input",
        "ok   state is updated in place: outputs and arenas agree on random input",
        "ok   state memory: 16 bytes per stream",
    ]


def test_a_task_that_cannot_be_served_fails(tmp_path: Path) -> None:
    """What would stop a server from starting is found before."""
    folder = write_counter_asr(tmp_path)
    edit_manifest(folder, lambda manifest: manifest["task"]["parameters"].pop("blank_id"))
    assert [(check.name, check.detail) for check in check_bundle(folder).checks if not check.ok] == [
        ("task", "bundle counter-asr: task transcribe needs the parameter blank_id")
    ]


def test_a_mistake_of_the_exporter_fails(tmp_path: Path) -> None:
    """The check names the graph and the output."""
    report = check_bundle(write_wrong_order(tmp_path))
    assert [(check.ok, check.detail) for check in report.checks if "in place" in check.name] == [
        (False, "graph step: output y differs in place")
    ]
    assert not report.ok


def test_a_bundle_without_state_has_less_to_check(tmp_path: Path) -> None:
    """No state, no self-test."""
    assert [check.name for check in check_bundle(write_speaker(tmp_path)).checks] == [
        "files and signatures",
        "state memory",
    ]


def test_damage_ends_the_check(tmp_path: Path) -> None:
    """What cannot be loaded cannot be run."""
    folder = write_counter_asr(tmp_path)
    damage.wrong_hash(folder)
    report = check_bundle(folder)
    assert [check.ok for check in report.checks] == [False]
