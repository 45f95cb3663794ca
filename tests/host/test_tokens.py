"""Tokens: what goes in comes out, and nothing else is taken."""

from __future__ import annotations

import base64
import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from streamer.config import ResumeSection, Settings
from streamer.errors import InvalidRequest
from streamer.host.tokens import Identity, ResumeTokens, Ticket, check_owner, config_digest, resume_secret
from streamer.session.clock import Region
from streamer.session.intake import Replay
from streamer.session.messages import Config, Decoding, Endpointing, Hotword, Resume
from streamer.session.resume_point import ResumePoint

CONFIG = Config("pcm_s16le", 16000, 1, resumable=True)
IDENTITY = Identity("abc", "alice", "toy@1.0.0", "d" * 64, config_digest(CONFIG), 90.0)
REPLAY = Replay(1600, 1570, (Region(0, 0, 100, 100), Region(320, 100)))
TICKET = Ticket(
    IDENTITY, ResumePoint(3200, 3000, REPLAY, 2, 1, 3, {"text": "é", "since": 5}), {"last": np.int64([[7]])}
)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def tokens(secret: bytes = b"s" * 32, most: int = 32768) -> tuple[ResumeTokens, Clock]:
    clock = Clock()
    return ResumeTokens(secret, 60.0, most, clock), clock


def issued(made: ResumeTokens, ticket: Ticket = TICKET) -> str:
    token = made.issue(ticket)
    assert token is not None
    return token


def test_a_token_says_what_was_put_into_it() -> None:
    """Every field and every tensor, with its type."""
    made, _ = tokens()
    token = issued(made)
    assert token.isascii()
    assert len(token) < 600
    read = made.read(token)
    assert dataclasses.replace(read, tensors={}) == dataclasses.replace(TICKET, tensors={})
    assert read.tensors["last"].dtype == np.int64
    assert read.tensors["last"].tolist() == [[7]]


def test_a_token_is_good_for_its_time() -> None:
    """After that it is refused, to the second."""
    made, clock = tokens()
    token = issued(made)
    clock.now = 160.0
    made.read(token)
    clock.now = 165.0
    with pytest.raises(InvalidRequest, match=r"^resume\.token: expired 5 s ago$"):
        made.read(token)


def test_any_change_is_noticed() -> None:
    """Each character counts, the secret too, and rubbish is refused like forgery."""
    made, _ = tokens()
    token = issued(made)
    other, _ = tokens(b"t" * 32)
    version, payload, seal = token.split(".")
    zeros = base64.urlsafe_b64encode(bytes(32)).decode().rstrip("=")
    forged = [
        f"{version}.{payload}.{zeros}",
        f"{version}.{payload}",
        f"r2.{payload}.{seal}",
        "",
        "r1..",
        "é.ü.ß",
        "x" * 99_999,
    ]
    for index in range(0, len(token), 7):
        changed = "A" if token[index] != "A" else "B"
        forged.append(token[:index] + changed + token[index + 1 :])
    for text in forged:
        with pytest.raises(InvalidRequest, match=r"^resume\.token: expected a token that this server can check"):
            made.read(text)
    with pytest.raises(InvalidRequest, match="can check"):
        other.read(token)


def test_a_point_that_is_too_large_makes_no_token() -> None:
    """The limit is on the text that travels."""
    made, _ = tokens(most=1000)
    assert made.issue(TICKET) is not None
    large = dataclasses.replace(TICKET.point, task={"text": os.urandom(1000).hex()})
    assert made.issue(dataclasses.replace(TICKET, point=large)) is None


def test_a_stream_belongs_to_its_key_and_its_config() -> None:
    """Another key, or another wish, may not go on with it."""
    check_owner(IDENTITY, "alice", dataclasses.replace(CONFIG, resume=Resume("token", 3)))
    with pytest.raises(InvalidRequest, match=r"^resume\.token: expected a token of the same key, got another one's$"):
        check_owner(IDENTITY, "", CONFIG)
    for change in ({"sample_rate": 8000}, {"mode": "file"}, {"endpointing": Endpointing(max_segment_s=3.0)}):
        with pytest.raises(InvalidRequest, match=r"^resume: expected the config that the stream began with"):
            check_owner(IDENTITY, "alice", dataclasses.replace(CONFIG, **change))


def test_configs_are_told_apart() -> None:
    """Also deep inside; a value that is spelt out counts as the default that it is."""
    configs = [CONFIG, dataclasses.replace(CONFIG, decoding=Decoding(hotwords=(Hotword("a"),)))]
    configs += [dataclasses.replace(CONFIG, decoding=Decoding(hotwords=(Hotword("a", 1.0), Hotword("b"))))]
    assert len({config_digest(config) for config in configs}) == len(configs)
    assert config_digest(dataclasses.replace(CONFIG, endpointing=Endpointing())) == config_digest(CONFIG)


def test_the_secret_outlives_the_process(tmp_path: Path) -> None:
    """It is made once in the state folder, for the owner's eyes; the setting goes before; without both it is random."""
    settings = Settings(state_dir=tmp_path / "state")
    secret = resume_secret(settings)
    path = tmp_path / "state" / "secret"
    assert len(secret) == 32
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert resume_secret(settings) == secret
    assert [file.name for file in path.parent.iterdir()] == ["secret"]
    given = Settings(state_dir=tmp_path, resume=ResumeSection(secret="x" * 40))
    assert resume_secret(given) == b"x" * 40
    assert resume_secret(Settings()) != resume_secret(Settings())


def test_a_state_folder_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    """A file in its place, or a secret that was cut short, is a mistake to be told at the start."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidRequest, match=r"^setting state_dir: cannot use .*file/secret: "):
        resume_secret(Settings(state_dir=tmp_path / "file"))
    (tmp_path / "secret").write_bytes(b"short")
    with pytest.raises(InvalidRequest, match=r"^setting state_dir: expected 32 bytes in .*secret, got 5$"):
        resume_secret(Settings(state_dir=tmp_path))
