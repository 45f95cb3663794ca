"""Server settings: defaults < TOML file < environment (`STREAMER_*`) < command-line flags, read once and frozen.

A key that is not known is an error, wherever it comes from. Environment names nest with two underscores:
`STREAMER_ENGINE__WORKERS=2`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from streamer.errors import InvalidRequest

ENVIRONMENT_PREFIX = "STREAMER_"

# Settings that are lists, and what separates their items in the environment.
_SEPARATORS = {"bundle_path": os.pathsep, "models": os.pathsep, "origins": ","}
# Their values are never repeated.
_SECRETS = {"hash", "secret", "ticket_secret"}

Port = Annotated[int, Field(ge=0, le=65535)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EngineSection(_Section):
    """How models run: worker threads, provider, batch and memory limits."""

    workers: Annotated[int, Field(ge=1)] | None = None
    """Worker threads; unset means one per CPU core (one per GPU for cuda)."""
    provider: Literal["cpu", "cuda"] = "cpu"
    max_batch: Annotated[int, Field(ge=1, le=256)] = 8
    max_streams: Annotated[int, Field(ge=1)] = 256
    """Live slots over all workers, per bundle."""
    memory_budget_mb: Annotated[int, Field(ge=1)] = 2048
    """State memory over all workers, per bundle."""


class SessionSection(_Section):
    """What each stream is held to; announced in `Ready`."""

    max_frame_bytes: Annotated[int, Field(ge=2)] = 65536
    max_frame_ms: Annotated[int, Field(ge=1)] = 2000
    max_ahead_ms: Annotated[int, Field(ge=1)] = 10_000
    idle_timeout_ms: Annotated[int, Field(ge=1)] = 30_000
    max_session_ms: Annotated[int, Field(ge=1)] | None = None
    unread_limit_ms: Annotated[int, Field(ge=1)] = 10_000


class KeySection(_Section):
    """One API key: its name, the digest of the key (`streamer keys new` prints both) and what it may do.

    A limit of None means none. `audio_s_per_minute` is seconds of audio over all streams of the key.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    hash: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    max_streams: Annotated[int, Field(ge=1)] | None = None
    max_new_streams_per_minute: Annotated[int, Field(ge=1)] | None = None
    max_requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    audio_s_per_minute: Annotated[float, Field(gt=0)] | None = None
    expires: datetime | None = None
    """From then on the key is refused; without an offset it is in UTC."""
    admin: bool = False


class AccessSection(_Section):
    """Who may come in. Without keys everybody may."""

    keys: tuple[KeySection, ...] = ()
    keys_file: Path | None = None
    """More keys, in TOML: tables `[[keys]]` like the ones here. Read again when the server is told to reload."""
    origins: tuple[str, ...] = ()
    """Origins of other sites whose pages may use this server from a browser, `*` for all."""
    ticket_secret: Annotated[SecretStr, Field(min_length=32)] | None = None
    """Signs browser tickets; processes that share a port must share it. Unset means random, made at start."""
    ticket_lifetime_s: Annotated[int, Field(ge=1, le=3600)] = 60
    max_opening: Annotated[int, Field(ge=1)] = 1024
    """Connections that have not sent their config yet."""
    max_streams_per_address: Annotated[int, Field(ge=1)] | None = None
    """Streams at a time from one client address that shows no key."""
    metrics: Literal["open", "admin_key", "admin_port"] = "open"
    """Who may read /metrics on the HTTP port: all, holders of admin keys, nobody (it is on the admin port)."""


class ResumeSection(_Section):
    """Streams that can be taken up again after a lost connection, here or on another server."""

    interval_ms: Annotated[int, Field(ge=0)] = 2000
    """How often a resumable stream is told what it may forget, with a new token."""
    token_valid_s: Annotated[float, Field(gt=0)] = 3600.0
    """How long a token, or the snapshot of a stream, is good for."""
    max_token_chars: Annotated[int, Field(ge=4096, le=32768)] = 32768
    secret: Annotated[SecretStr, Field(min_length=32)] | None = None
    """Signs tokens; servers that take up each other's streams must share it. Unset means one in `state_dir`, if that is
    set, else a random one."""


class _ForeignSection(_Section):
    """A surface for clients of another service, with its names of models, and uploads of files."""

    aliases: Annotated[dict[str, str], Field(max_length=100)] = {}
    """Names that clients ask for, each with the served model that stands for it. TOML only."""
    max_upload_mb: Annotated[int, Field(ge=1, le=4096)] = 100
    max_audio_s: Annotated[float, Field(gt=0)] = 4 * 3600.0
    """Length of the audio in one upload."""
    max_uploads: Annotated[int, Field(ge=1)] = 32
    """Uploads that are received at a time."""


class OpenAiSection(_ForeignSection):
    """The surface for clients of OpenAI's API; an alias may be `whisper-1`."""

    max_input_chars: Annotated[int, Field(ge=1, le=1_000_000)] = 4096
    """Length of one text to be spoken, in characters."""


class DeepgramSection(_ForeignSection):
    """The surface for clients of Deepgram's API; an alias may be `nova-3`."""


class TlsSection(_Section):
    """Certificates of both ports, in PEM. TLS 1.2 is the least that is spoken."""

    cert: Path
    """The chain, the server's own certificate first."""
    key: Path
    client_ca: Path | None = None
    """If given, clients must show a certificate of one of these authorities."""


class TracingSection(_Section):
    """Where traces of streams go (extra `otel`). Spans hold neither audio nor text."""

    endpoint: Annotated[str, Field(pattern=r"^https?://")]
    """Address of a collector's OTLP over HTTP, such as http://collector:4318/v1/traces."""
    ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Part of the streams that is traced; a client that is in a sampled trace is traced always."""
    service_name: str = "streamer"


def _shipped_models() -> tuple[str, ...]:
    """The defaults; the voice is the largest of them, and a package may come without it."""
    bundles = Path(__file__).with_name("bundles")
    voices = ("voice-en",) if (bundles / "voice-en" / "manifest.json").exists() else ()
    return ("asr-en", "vad", "codec-16k", *voices)


class Settings(_Section):
    """Everything `streamer serve` can be told."""

    host: str = "127.0.0.1"
    grpc_port: Port = 50051
    http_port: Port = 8080
    admin_host: str = "127.0.0.1"
    admin_port: Port | None = None
    """Where metrics and commands of operators are served besides; unset means nowhere."""
    bundle_path: tuple[Path, ...] = ()
    """Folders of bundles, searched before the ones that ship with the package."""
    models: tuple[str, ...] = Field(default_factory=_shipped_models)
    """Bundles to serve; the first one of each task is that task's default."""
    wyoming_port: Port | None = None
    """TCP port for clients of the Wyoming protocol (Home Assistant); unset means that there is none."""
    wyoming_open: bool = False
    """Let everybody in over Wyoming, which carries no credentials, even where the other surfaces ask for some."""
    vosk_sample_rate: Annotated[int, Field(ge=8000, le=48000)] | None = None
    """Sample rate (Hz) of vosk clients that do not declare theirs; unset means that they are refused."""
    adapter_mode: Literal["live", "file"] = "file"
    """Mode of streams whose protocol does not speak of it: Wyoming, vosk, Riva and Deepgram."""
    processes: Annotated[int, Field(ge=1, le=256)] = 1
    """Server processes that share the ports; workers, streams and memory are divided among them."""
    state_dir: Path | None = None
    """Folder for what outlives the process: the secret of resume tokens, and streams that a drain cut off."""
    drain_deadline_s: Annotated[float, Field(ge=0)] = 20.0
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    engine: EngineSection = EngineSection()
    session: SessionSection = SessionSection()
    access: AccessSection = AccessSection()
    openai: OpenAiSection = OpenAiSection()
    deepgram: DeepgramSection = DeepgramSection()
    resume: ResumeSection = ResumeSection()
    tls: TlsSection | None = None
    tracing: TracingSection | None = None


def load_settings(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """Merge the sources into frozen settings.

    `flags` is nested like the TOML file; values of None mean "not given". Raises `InvalidRequest` naming the key, what
    was expected and what was there.
    """
    merged: dict[str, Any] = {}
    for source in (_from_file(file), _from_environment(environment), _given(flags or {})):
        _merge(merged, source)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise InvalidRequest(f"setting {key}: expected {_near(first['loc'])}, got an unknown key") from None
        raise InvalidRequest(f"setting {key}: {first['msg'].lower()}, got {_shown(first)}") from None


def _near(place: tuple[int | str, ...]) -> str:
    """The keys that may stand at `place`, the likely one alone if the given one is nearly it."""
    section: Any = Settings
    for part in place[:-1]:
        if isinstance(part, str):
            section = _section_of(section.model_fields[part].annotation)
    known = list(section.model_fields)
    return " or ".join(get_close_matches(str(place[-1]), known, 1)) or f"one of {', '.join(known)}"


def _section_of(annotation: Any) -> Any:
    """The section that a field holds: itself, one of a tuple, or one that may be unset."""
    inner = [_section_of(each) for each in get_args(annotation)]
    is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if is_section else next((each for each in inner if each is not None), None)


def _shown(error: Any) -> str:
    """What was given, unless it is a secret, or may be the key itself where its digest belongs."""
    if error["type"] == "missing":
        return "nothing"
    if error["loc"][-1] in _SECRETS:
        return f"{len(str(error['input']))} characters that are not shown"
    return f"{error['input']!r:.120}"


def _from_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidRequest(f"cannot read settings file {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"settings file {file} is not TOML: {error}") from None


def _from_environment(environment: Mapping[str, str] | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, text in (os.environ if environment is None else environment).items():
        if not key.startswith(ENVIRONMENT_PREFIX):
            continue
        *sections, name = key.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        target = found
        for section in sections:
            target = _section(target, section)
        if isinstance(target.get(name), dict):
            raise InvalidRequest(f"setting {name}: expected a section, got {text!r:.120}")
        target[name] = text.split(_SEPARATORS[name]) if name in _SEPARATORS else text
    return found


def _section(settings: dict[str, Any], name: str) -> dict[str, Any]:
    section = settings.setdefault(name, {})
    if not isinstance(section, dict):
        raise InvalidRequest(f"setting {name}: expected a section, got {section!r:.120}")
    return section


def _given(flags: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in flags.items():
        if isinstance(value, Mapping):
            kept[key] = _given(value)
        elif value is not None:
            kept[key] = value
    return kept


def _merge(target: dict[str, Any], source: Mapping[str, Any]) -> None:
    for key, value in source.items():
        if isinstance(value, Mapping) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = dict(value) if isinstance(value, Mapping) else value
