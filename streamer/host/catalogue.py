"""Which bundles are served, under which names, and what makes the tasks of their streams."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from streamer.bundle.loader import Bundle
from streamer.bundle.runtime import REPEATABLE, Runtime
from streamer.errors import InvalidRequest, UnknownBundle
from streamer.session.messages import Config
from streamer.session.messages import ModelInfo as ModelInfo
from streamer.tasks.options import TaskOptions
from streamer.tasks.registry import TaskMaker, task_maker
from streamer.tasks.voice_names import tells_words, voices_of


def task_options(config: Config) -> TaskOptions:
    """Return what `config` asks of the host loop of its stream."""
    return TaskOptions(
        endpointing=config.endpointing,
        decoding=config.decoding,
        vad=config.vad,
        language=config.language,
        codec=config.codec,
        synthesis=config.synthesis,
        encoding=config.encoding,
        is_live=config.mode == "live",
    )


@dataclass(frozen=True, slots=True)
class Model:
    """A served bundle, and what makes the host loop of a stream of it."""

    bundle: Bundle
    make_task: TaskMaker

    @classmethod
    def of(cls, bundle: Bundle, runtime: Runtime = REPEATABLE) -> Model:
        """Read what the host loops of `bundle` need; raises `InvalidRequest` or `BundleError`."""
        return cls(bundle, task_maker(bundle.manifest, bundle.folder, runtime))

    @property
    def kind(self) -> str:
        """The task that it is for."""
        return self.bundle.manifest.task.kind


class Catalogue:
    """The models that new streams may ask for; the first one of each task is that task's default.

    Raises `InvalidRequest` or `BundleError` for a bundle whose task cannot be served.
    """

    def __init__(self, bundles: Iterable[Bundle], runtime: Runtime = REPEATABLE) -> None:
        self._models = tuple(Model.of(bundle, runtime) for bundle in bundles)

    def resolve(self, task: str, name: str = "") -> Model:
        """Return the model called `name` or `name@version` for `task`, or its default; raises `UnknownBundle`."""
        served = [model for model in self._models if model.kind == task]
        if not served:
            raise UnknownBundle(f"no model for task {task!r} is served here")
        if not name:
            return served[0]
        for model in served:
            if name in (model.bundle.manifest.name, model.bundle.key):
                return model
        known = ", ".join(model.bundle.key for model in served)
        raise UnknownBundle(f"unknown model {name!r}, expected one of {known}")

    def detection(self) -> Model:
        """Return what tells speech from silence beside another task; raises `UnknownBundle`."""
        if not any(model.kind == "vad" for model in self._models):
            raise UnknownBundle("vad.events and vad.gate need a model for task 'vad', and none is served here")
        return self.resolve("vad")

    def infos(self) -> tuple[ModelInfo, ...]:
        """What is served, defaults first within each task."""
        return tuple(_info(model.bundle, model is self.resolve(model.kind)) for model in self._models)

    def lacks(self, key: str) -> bool:
        """Whether `name@version` is not served."""
        return all(model.bundle.key != key for model in self._models)

    def check_new(self, bundle: Bundle) -> None:
        """Raise `InvalidRequest` if this very version is served already."""
        if not self.lacks(bundle.key):
            raise InvalidRequest(f"expected another version of model {bundle.manifest.name}, {bundle.key} is served")

    def put(self, new: Model) -> Bundle | None:
        """Serve `new` in the place of the version with its name, which is returned, or last if there is none."""
        name = new.bundle.manifest.name
        old = next((model for model in self._models if model.bundle.manifest.name == name), None)
        if old is None:
            self._models = (*self._models, new)
            return None
        self._models = tuple(new if model is old else model for model in self._models)
        return old.bundle

    def take_out(self, name: str) -> Bundle:
        """Serve the model called `name` or `name@version` no more; raises `UnknownBundle`."""
        for model in self._models:
            if name in (model.bundle.manifest.name, model.bundle.key):
                self._models = tuple(each for each in self._models if each is not model)
                return model.bundle
        known = ", ".join(model.bundle.key for model in self._models)
        raise UnknownBundle(f"unknown model {name!r}, expected one of {known or 'none, nothing is served'}")


def _info(bundle: Bundle, is_default: bool) -> ModelInfo:
    manifest = bundle.manifest
    rate = manifest.sample_rate or 0
    audio = next((graph.audio for graph in manifest.graphs if graph.audio), None)
    to_ms = 1000 / rate if rate else 0.0
    return ModelInfo(
        name=manifest.name,
        version=manifest.version,
        task=manifest.task.kind,
        description=manifest.description,
        languages=manifest.languages,
        sample_rate=rate,
        chunk_ms=audio.hop_samples * to_ms if audio else 0.0,
        delay_ms=audio.delay_samples * to_ms if audio else 0.0,
        is_default=is_default,
        voices=voices_of(manifest),
        word_times=tells_words(manifest),
    )
