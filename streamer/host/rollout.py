"""Models that come and go while streams are served."""

from __future__ import annotations

import asyncio

import structlog

from streamer.bundle.loader import Bundle
from streamer.bundle.registry import Registry
from streamer.config import Settings
from streamer.engine.engine import Engine
from streamer.errors import InvalidRequest
from streamer.host.catalogue import Catalogue, Model
from streamer.tasks.registry import program_of
from streamer.work import Program

log = structlog.get_logger()


class Rollout:
    """Loads and unloads models of a running host. Streams stay with the version they began with, to their end.

    Until the last of them has ended, two versions are in memory. Made and used on one event loop.
    """

    def __init__(self, engine: Engine, catalogue: Catalogue, settings: Settings) -> None:
        self._engine = engine
        self._catalogue = catalogue
        self._settings = settings
        # One model is loaded or taken out at a time.
        self._changing = asyncio.Lock()
        # Versions that wait for the end of their last stream, by `name@version`.
        self._retired: dict[str, Bundle] = {}

    async def load(self, name: str) -> str:
        """Serve the newest version of `name`, or `name@version`, from the bundle path; returns `name@version`.

        It takes the place of the version that is served under its name. One that was replaced and still has streams
        is there at once. Raises `UnknownBundle`, `BundleError` or `InvalidRequest`, and then nothing has changed.
        """
        async with self._changing:
            bundle, model, program = await asyncio.to_thread(self._read, name)
            if bundle.key in self._retired:
                self._engine.restore(self._retired.pop(bundle.key))
            else:
                await asyncio.to_thread(self._engine.add, bundle, program)
            old = self._catalogue.put(model)
            if old is not None:
                self._retire(old)
            log.info("model loaded", model=bundle.key, instead_of=old.key if old else None)
            return bundle.key

    async def unload(self, name: str) -> str:
        """Take no new streams for a model; returns its `name@version`. Raises `UnknownBundle`."""
        async with self._changing:
            bundle = self._catalogue.take_out(name)
            self._retire(bundle)
            log.info("model unloaded", model=bundle.key)
            return bundle.key

    async def reload(self) -> list[str]:
        """Load what has become newer on the bundle path of the models that the settings name without a version."""
        names = [name for name in self._settings.models if "@" not in name]
        return [await self.load(name) for name in names if await asyncio.to_thread(self._is_new, name)]

    def remove_retired(self) -> None:
        """Free what retired models hold once their last stream has ended; to be called now and then."""
        for key in [key for key in self._retired if not self._engine.used_slots(key)]:
            self._engine.remove(key)
            del self._retired[key]
            log.info("model removed", model=key)

    def _read(self, name: str) -> tuple[Bundle, Model, Program | None]:
        bundle = Registry(self._settings.bundle_path).resolve(name)
        self._catalogue.check_new(bundle)
        retired = self._retired.get(bundle.key)
        if retired is not None and retired.digest != bundle.digest:
            raise InvalidRequest(f"another {bundle.key} still has streams, load this one after their end")
        return bundle, Model.of(bundle, self._engine.settings.runtime), program_of(bundle.manifest, bundle.folder)

    def _is_new(self, name: str) -> bool:
        return self._catalogue.lacks(Registry(self._settings.bundle_path).find(name).key)

    def _retire(self, bundle: Bundle) -> None:
        self._engine.retire(bundle.key)
        self._retired[bundle.key] = bundle
