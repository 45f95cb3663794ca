"""From settings to a host that is ready: the one place where bundles, engine and host are put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from streamer.bundle.loader import Bundle
from streamer.bundle.registry import Registry
from streamer.config import EngineSection, Settings
from streamer.engine.engine import Engine
from streamer.engine.settings import MIB, EngineSettings
from streamer.errors import InvalidRequest
from streamer.host.host import Host
from streamer.tasks.registry import program_of
from streamer.work import Program


@asynccontextmanager
async def running_host(settings: Settings) -> AsyncIterator[Host]:
    """Load the models of `settings`, warm them up and yield a host that takes streams; stop it on leaving.

    Raises `UnknownBundle`, `BundleError` or `InvalidRequest` if the models cannot be served as asked.
    """
    metrics = CollectorRegistry()
    bundles = load_bundles(settings)
    engine = Engine(bundles, engine_settings(settings.engine), programs_of(bundles), registry=metrics)
    host = Host(engine, bundles, settings, metrics)
    await host.start()
    try:
        yield host
    finally:
        await host.stop()


def load_bundles(settings: Settings) -> tuple[Bundle, ...]:
    """Find and check the bundles that `settings` name, each once, in their order."""
    if not settings.models:
        raise InvalidRequest("setting models: expected at least one model, got none")
    registry = Registry(settings.bundle_path)
    loaded = {bundle.key: bundle for bundle in map(registry.resolve, settings.models)}
    return tuple(loaded.values())


def programs_of(bundles: Iterable[Bundle]) -> dict[str, Program]:
    """Make the programs that `bundles` name, by `name@version`; raises `BundleError`."""
    made = {bundle.key: program_of(bundle.manifest, bundle.folder) for bundle in bundles}
    return {key: program for key, program in made.items() if program is not None}


def engine_settings(section: EngineSection) -> EngineSettings:
    """Translate the section `engine` of the settings."""
    return EngineSettings(
        workers=section.workers,
        provider=section.provider,
        max_batch=section.max_batch,
        max_streams=section.max_streams,
        memory_budget_bytes=section.memory_budget_mb * MIB,
    )
