"""From settings to a host that takes streams."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from streamer.config import Settings
from streamer.errors import BundleError, InvalidRequest, UnknownBundle
from streamer.host.assemble import engine_settings, load_bundles, running_host
from tests.toys import write_counter_asr


def settings(folder: Path, *models: str) -> Settings:
    return Settings(bundle_path=(folder,), models=models, engine={"workers": 1, "max_streams": 2})


def test_host_is_ready_and_stops(toys: Path) -> None:
    """Inside the context the models are warm; outside nothing runs."""

    async def run() -> None:
        async with running_host(settings(toys, "counter-asr")) as host:
            assert host.ready
            assert [model.name for model in host.models()] == ["counter-asr"]
        assert not host.ready

    asyncio.run(run())


def test_bundles_are_loaded_once_in_order(tmp_path: Path) -> None:
    """The first model named is the default; naming one twice serves it once; the newest version counts."""
    write_counter_asr(tmp_path, "b-asr")
    write_counter_asr(tmp_path / "old", "a-asr", "1.9.0")
    write_counter_asr(tmp_path / "new", "a-asr", "1.10.0")
    folders = (tmp_path, tmp_path / "old", tmp_path / "new")
    found = load_bundles(Settings(bundle_path=folders, models=("b-asr", "a-asr", "b-asr@1.0.0")))
    assert [bundle.key for bundle in found] == ["b-asr@1.0.0", "a-asr@1.10.0"]


def test_what_cannot_be_served_is_refused(toys: Path, tmp_path: Path) -> None:
    """No models, unknown models and missing folders are different errors."""
    with pytest.raises(InvalidRequest, match="^setting models: expected at least one model, got none$"):
        load_bundles(settings(toys))
    with pytest.raises(UnknownBundle):
        load_bundles(settings(toys, "none"))
    with pytest.raises(BundleError):
        load_bundles(settings(tmp_path / "gone", "counter-asr"))


def test_every_engine_setting_arrives(toys: Path) -> None:
    """The section of the settings and the engine's own settings mean the same."""
    section = Settings(engine={"workers": 3, "max_batch": 4, "max_streams": 5, "memory_budget_mb": 6}).engine
    found = engine_settings(section)
    assert (found.workers, found.provider, found.max_batch, found.max_streams) == (3, "cpu", 4, 5)
    assert found.memory_budget_bytes == 6 * 1024 * 1024
