"""API keys: random, shown once when they are made, and kept as digests only."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from streamer.config import KeySection
from streamer.errors import InvalidRequest

# Tells scanners for leaked secrets what they have found.
_PREFIX = "streamer_"
_SCHEME = "sha256"


class _KeysFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keys: tuple[KeySection, ...] = ()


class KeyRing:
    """The keys of a server; raises `InvalidRequest` if two share their name or are the same key."""

    def __init__(self, keys: Iterable[KeySection] = ()) -> None:
        self._by_digest: dict[bytes, KeySection] = {}
        self._by_name: dict[str, KeySection] = {}
        for key in keys:
            if key.name in self._by_name:
                raise InvalidRequest(f"setting access.keys: expected each name once, got a second {key.name!r}")
            if key.hash.encode() in self._by_digest:
                other = self._by_digest[key.hash.encode()].name
                raise InvalidRequest(f"setting access.keys: {key.name!r} and {other!r} are the same key")
            self._by_digest[key.hash.encode()] = self._by_name[key.name] = key

    def __iter__(self) -> Iterator[KeySection]:
        return iter(self._by_name.values())

    def find(self, key: str) -> KeySection | None:
        """Return what is known of `key`, in a time that depends on the number of keys only."""
        shown, found = digest(key).encode(), None
        for known, section in self._by_digest.items():
            if hmac.compare_digest(known, shown):
                found = section
        return found

    def named(self, name: str) -> KeySection | None:
        """Return the key of that name."""
        return self._by_name.get(name)


def new_key() -> str:
    """Return a new key, which nobody can guess: 256 random bits, in characters that any header may hold."""
    return _PREFIX + secrets.token_urlsafe(32)


def digest(key: str) -> str:
    """Return what is kept of `key`: `sha256:` and 64 hexadecimal digits.

    Slow hashes (bcrypt, scrypt) exist because people choose passwords that can be tried out. Of 2^256 random keys none
    can, so one SHA-256 suffices, and it lets no client keep the event loop busy by showing wrong keys.
    """
    return f"{_SCHEME}:{hashlib.sha256(key.encode()).hexdigest()}"


def read_keys(file: Path) -> tuple[KeySection, ...]:
    """Read a file of keys, tables `[[keys]]` in TOML; raises `InvalidRequest`."""
    try:
        return _KeysFile.model_validate(tomllib.loads(file.read_text(encoding="utf-8"))).keys
    except OSError as error:
        raise InvalidRequest(f"cannot read keys file {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"keys file {file} is not TOML: {error}") from None
    except ValidationError as error:
        raise InvalidRequest(f"keys file {file}: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    # Without the value: whoever mistakes the key for its digest must not find it in a log.
    first: Any = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg'].lower()}"
