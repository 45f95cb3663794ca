"""Which bundles there are: names and versions over a search path."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from streamer.bundle.loader import Bundle, load_bundle, verify_files
from streamer.bundle.manifest import MANIFEST_NAME, read_manifest
from streamer.errors import BundleError, UnknownBundle

SHIPPED_BUNDLES = Path(__file__).resolve().parent.parent / "bundles"


@dataclass(frozen=True, slots=True)
class Entry:
    """One bundle on the search path. If it is damaged, `error` says how, and `version` may be unknown (empty)."""

    folder: Path
    name: str
    version: str
    error: BundleError | None = None

    @property
    def key(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    @property
    def order(self) -> tuple[int, ...]:
        """Versions compare as numbers: 1.10.0 is newer than 1.9.0."""
        return tuple(int(part) for part in self.version.split(".") if part)


class Registry:
    """The bundles in `folders`, then those that ship with the package; the first of equal name and version counts.

    A folder may hold bundles or be one. Raises `BundleError` if a folder is not there.
    """

    def __init__(self, folders: Iterable[Path] = (), shipped: Path = SHIPPED_BUNDLES) -> None:
        found: dict[str, Entry] = {}
        for entry in _scan(tuple(folders), shipped):
            found.setdefault(entry.key, entry)
        self.entries = tuple(sorted(found.values(), key=lambda entry: (entry.name, entry.order)))

    def find(self, name: str) -> Entry:
        """Return the newest entry called `name`, or the one of `name@version`; raises `UnknownBundle`."""
        matching = [entry for entry in self.entries if name in (entry.name, entry.key)]
        if not matching:
            known = ", ".join(entry.key for entry in self.entries if entry.error is None)
            raise UnknownBundle(f"unknown bundle {name!r}, expected one of {known or 'none, the search path is empty'}")
        # A damaged newest version is an error to see, not a reason to serve an older one in silence.
        return matching[-1]

    def resolve(self, name: str) -> Bundle:
        """Load the bundle that `find` returns; raises `UnknownBundle` or `BundleError`."""
        entry = self.find(name)
        if entry.error is not None:
            raise entry.error
        return load_bundle(entry.folder)


def _scan(folders: tuple[Path, ...], shipped: Path) -> Iterator[Entry]:
    for folder in folders:
        if not folder.is_dir():
            raise BundleError(f"bundle path: expected a folder, got {str(folder)!r}")
        yield from _entries(folder)
    if shipped.is_dir():
        yield from _entries(shipped)


def _entries(folder: Path) -> Iterator[Entry]:
    if (folder / MANIFEST_NAME).exists():
        yield _entry(folder)
        return
    for inner in sorted(folder.iterdir()):
        # A bundle that is still being written has a hidden name.
        if not inner.name.startswith(".") and (inner / MANIFEST_NAME).exists():
            yield _entry(inner)


def _entry(folder: Path) -> Entry:
    try:
        manifest = read_manifest(folder)
    except BundleError as error:
        return Entry(folder, folder.name, "", error)
    try:
        verify_files(folder, manifest)
    except BundleError as error:
        return Entry(folder, manifest.name, manifest.version, error)
    return Entry(folder, manifest.name, manifest.version)
