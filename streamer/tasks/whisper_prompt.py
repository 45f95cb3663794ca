"""What comes before a text of Whisper: special tokens, one of which names the language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streamer.bundle.manifest import Manifest
from streamer.errors import BundleError
from streamer.tasks.roles import Roles


@dataclass(frozen=True, slots=True)
class Prompt:
    """The special tokens that come before a text. `languages` are codes in the order of their ids from `first`."""

    sot: int
    transcribe: int
    no_timestamps: int
    languages: tuple[str, ...] = ()
    first: int = -1
    # The language of streams that name none; without one, of a model that knows several, it is told from the sound.
    default: str = ""

    @classmethod
    def of(cls, roles: Roles, folder: Path) -> Prompt:
        """Read the parameters and the asset `languages`; raises `BundleError`."""
        ids = (roles.integer("sot"), roles.integer("transcribe"), roles.integer("no_timestamps"))
        first = roles.integer("first_language", -1, default=-1)
        if first < 0:
            return cls(*ids)
        codes = _read_languages(roles.manifest, folder)
        default = roles.manifest.task.parameters.get("language", "")
        if default and default not in codes:
            expected = f"one of {len(codes)} languages"
            raise BundleError(f"bundle {roles.manifest.name}: parameter language: expected {expected}, got {default!r}")
        return cls(*ids, codes, first, str(default))

    def language(self, code: str) -> int:
        """The id of a language token, -1 for one that is yet to be found or has no token; raises `KeyError`."""
        code = code or self.default
        if not code or not self.languages:
            return -1
        if code not in self.languages:
            raise KeyError(code)
        return self.first + self.languages.index(code)

    def before(self, language: int) -> tuple[int, ...]:
        """The prompt of a text in `language`, an id; empty where the id is -1 and the sound has to tell it.

        A model of one language knows neither its token nor `transcribe`.
        """
        if language >= 0:
            return (self.sot, language, self.transcribe, self.no_timestamps)
        return () if self.languages else (self.sot, self.no_timestamps)

    def language_of(self, prompt: Sequence[int]) -> int:
        """The id of the language in a prompt of `before`, -1 without one."""
        return prompt[1] if self.languages else -1


def _read_languages(manifest: Manifest, folder: Path) -> tuple[str, ...]:
    if "languages" not in manifest.task.assets:
        raise BundleError(f"bundle {manifest.name}: expected the asset languages of a model with first_language")
    path = folder / manifest.task.assets["languages"]
    try:
        codes = tuple(path.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"bundle {manifest.name}: cannot read {path.name}: {error}") from None
    if not codes or len(set(codes)) < len(codes):
        raise BundleError(f"bundle {manifest.name}: {path.name}: expected each language once, got {len(codes)} lines")
    return codes
