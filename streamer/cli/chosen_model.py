"""Which codec, voice or recogniser the command line loads: one, not all that a server has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.errors import BundleError, UnknownBundle

if TYPE_CHECKING:
    from streamer.bundle.manifest import Manifest
    from streamer.config import Settings

_NOUNS = {"codec": "codec", "synthesize": "voice", "transcribe": "recogniser"}


def codec_manifest(settings: Settings, name: str) -> Manifest:
    """Return the manifest of the bundle `name`; empty: the first codec of the settings, else of the search path.

    Raises `UnknownBundle`, and `BundleError` for a bundle that is damaged or no codec.
    """
    return manifest_of(settings, name, "codec")


def manifest_of(settings: Settings, name: str, kind: str) -> Manifest:
    """Return the manifest of the bundle `name`, of the task `kind`; empty: as `codec_manifest`. Raises as that does."""
    from streamer.bundle.manifest import read_manifest
    from streamer.bundle.registry import Registry

    registry = Registry(settings.bundle_path)
    if name:
        entry = registry.find(name)
        if entry.error is not None:
            raise entry.error
        manifest = read_manifest(entry.folder)
        if manifest.task.kind != kind:
            raise BundleError(f"bundle {entry.key}: expected a {_NOUNS[kind]}, got a model for {manifest.task.kind}")
        return manifest
    # The newest of a name is last among the entries.
    entries = registry.entries[::-1]
    served = [entry for model in settings.models for entry in entries if model in (entry.name, entry.key)]
    for entry in (*served, *entries):
        if entry.error is None and (manifest := read_manifest(entry.folder)).task.kind == kind:
            return manifest
    raise UnknownBundle(
        f"no {_NOUNS[kind]} on the search path, expected a bundle of the task {kind}: --bundle-path adds a folder"
    )


def key_of(manifest: Manifest) -> str:
    """Return what nothing else on the search path is called."""
    return f"{manifest.name}@{manifest.version}"


def only(settings: Settings, key: str) -> Settings:
    """Return the settings of a host that loads no other model."""
    return settings.model_copy(update={"models": (key,)})


def preroll_frames(manifest: Manifest) -> int:
    """Return how many frames the decoder has to hear before what it says is right; 0 for a codec that does not tell."""
    parameters = manifest.task.parameters
    if "receptive_frames" in parameters:
        return int(parameters["receptive_frames"])
    return -(-(manifest.receptive_field_samples or 0) // int(parameters["frame_samples"]))
