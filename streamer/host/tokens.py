"""Resume tokens: where a stream was, written down for its client and sealed, so that nobody can change it.

`r1.PAYLOAD.SEAL`: JSON, deflated, in base64 (URL alphabet), and its HMAC-SHA256. A token can be read by who holds it,
who is the owner of what is in it, but not made or changed.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import os
import secrets
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from streamer.config import Settings
from streamer.errors import InvalidRequest
from streamer.session.messages import Config
from streamer.session.resume_point import ResumePoint
from streamer.work import Array

_VERSION = "r1"
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose stream it is and what it was opened with; times are seconds since 1970.

    `detector` is the digest of the detector's bundle, if it has one.
    """

    session_id: str
    caller: str
    bundle: str
    digest: str
    config: str
    opened_at: float
    detector: str = ""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a token says: a stream, a point of it, and what the models keep there beside what replay rebuilds."""

    identity: Identity
    point: ResumePoint
    tensors: Mapping[str, Array]
    detector: Mapping[str, Array] = field(default_factory=dict)


class ResumeTokens:
    """Makes and reads tokens with one secret. They are good for `valid_s`, and none is longer than `max_chars`."""

    def __init__(
        self, secret: bytes, valid_s: float, max_chars: int, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._secret = secret
        self._valid_s = valid_s
        self._max_chars = max_chars
        self.now = wall_clock

    def issue(self, ticket: Ticket) -> str | None:
        """Return the token of `ticket`; None if it would be too long."""
        plain = {
            "expires": self.now() + self._valid_s,
            "identity": asdict(ticket.identity),
            "point": ticket.point.to_plain(),
            "tensors": _plain_all(ticket.tensors),
            "detector": _plain_all(ticket.detector),
        }
        text = json.dumps(plain, separators=(",", ":"), allow_nan=False)
        payload = _to_text(zlib.compress(text.encode(), 6))
        token = f"{_VERSION}.{payload}.{self._seal(payload)}"
        return token if len(token) <= self._max_chars else None

    def read(self, token: str) -> Ticket:
        """Return what `token` says; raises `InvalidRequest` for one that was not made here, or too long ago."""
        version, _, sealed = token[: self._max_chars + 1].partition(".")
        payload, _, seal = sealed.partition(".")
        if version != _VERSION or not hmac.compare_digest(seal.encode(), self._seal(payload).encode()):
            raise InvalidRequest("resume.token: expected a token that this server can check, got another one")
        plain = json.loads(zlib.decompress(_of_text(payload)))
        late_s = self.now() - plain["expires"]
        if late_s > 0:
            raise InvalidRequest(f"resume.token: expired {late_s:.0f} s ago")
        identity, point = Identity(**plain["identity"]), ResumePoint.of_plain(plain["point"])
        return Ticket(identity, point, _of_plain_all(plain["tensors"]), _of_plain_all(plain["detector"]))

    def _seal(self, payload: str) -> str:
        return _to_text(hmac.digest(self._secret, f"{_VERSION}.{payload}".encode(), "sha256"))


def check_owner(identity: Identity, caller: str, config: Config) -> None:
    """Raise `InvalidRequest` unless `caller` and `config` are those of the stream."""
    if identity.caller != caller:
        raise InvalidRequest("resume.token: expected a token of the same key, got another one's")
    if identity.config != config_digest(config):
        raise InvalidRequest("resume: expected the config that the stream began with, got another one")


def config_digest(config: Config) -> str:
    """Return a digest of all that is asked for but `resume`; fields that later versions add do not change it."""
    asked = json.dumps(_asked(replace(config, resume=None)), sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()[:32]


def resume_secret(settings: Settings) -> bytes:
    """Return the secret of the settings, else the one in the state folder, which is made if missing, else a random one.

    Raises `InvalidRequest` if the state folder cannot be used.
    """
    if settings.resume.secret is not None:
        return settings.resume.secret.get_secret_value().encode()
    if settings.state_dir is None:
        return secrets.token_bytes(_SECRET_BYTES)
    path = settings.state_dir / "secret"
    try:
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_secret(path)
        secret = path.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"setting state_dir: cannot use {path}: {error.strerror}") from None
    if len(secret) < _SECRET_BYTES:
        raise InvalidRequest(f"setting state_dir: expected {_SECRET_BYTES} bytes in {path}, got {len(secret)}")
    return secret


def _make_secret(path: Path) -> None:
    """Write a new secret unless there is one; another process may do the same at the same time."""
    if path.exists():
        return
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secrets.token_bytes(_SECRET_BYTES))
    try:
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()


def _asked(value: Any) -> Any:
    """What differs from the defaults, as JSON-compatible data."""
    if isinstance(value, tuple):
        return [_asked(item) for item in value]
    if not is_dataclass(value):
        return value
    found = {}
    for option in fields(value):
        default = option.default if option.default_factory is MISSING else option.default_factory()
        if (given := getattr(value, option.name)) != default:
            found[option.name] = _asked(given)
    return found


def _plain_all(tensors: Mapping[str, Array]) -> dict[str, Any]:
    return {name: _plain(tensor) for name, tensor in tensors.items()}


def _of_plain_all(plain: Mapping[str, Any]) -> dict[str, Array]:
    return {name: _of_plain(tensor) for name, tensor in plain.items()}


def _plain(tensor: Array) -> dict[str, Any]:
    data = base64.b64encode(np.ascontiguousarray(tensor).tobytes()).decode()
    return {"type": tensor.dtype.str, "shape": list(tensor.shape), "data": data}


def _of_plain(plain: Mapping[str, Any]) -> Array:
    return np.frombuffer(base64.b64decode(plain["data"]), plain["type"]).reshape(plain["shape"])


def _to_text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _of_text(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise InvalidRequest("resume.token: expected base64, got something else") from None
