"""Settings come from four places, and nothing unknown slips in."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.config import Settings, load_settings
from streamer.errors import InvalidRequest


def written(folder: Path, text: str) -> Path:
    path = folder / "streamer.toml"
    path.write_text(text)
    return path


def test_defaults_need_no_source() -> None:
    """Without any source, settings are the documented defaults."""
    assert load_settings(environment={}) == Settings()


def test_flags_beat_environment_beats_file(tmp_path: Path) -> None:
    """Each source overrides the one before it, key by key."""
    file = written(tmp_path, "http_port = 1\ngrpc_port = 1\nhost = '0.0.0.0'\n[engine]\nworkers = 1\nmax_batch = 2\n")
    environment = {"STREAMER_GRPC_PORT": "2", "STREAMER_HTTP_PORT": "2", "STREAMER_ENGINE__WORKERS": "2"}
    settings = load_settings(file, environment, {"http_port": 3, "host": None, "engine": {"max_streams": 3}})
    assert (settings.host, settings.grpc_port, settings.http_port) == ("0.0.0.0", 2, 3)
    assert (settings.engine.workers, settings.engine.max_batch, settings.engine.max_streams) == (2, 2, 3)


def test_lists_in_the_environment_are_paths(tmp_path: Path) -> None:
    """Several models or folders are separated as in PATH."""
    settings = load_settings(environment={"STREAMER_MODELS": "a:b", "STREAMER_BUNDLE_PATH": f"{tmp_path}"})
    assert settings.models == ("a", "b")
    assert settings.bundle_path == (tmp_path,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("htp_port = 1", "setting htp_port: expected http_port, got an unknown key"),
        ("[engine]\nworker = 1", "setting engine.worker: expected workers, got an unknown key"),
        ("http_port = 70000", "setting http_port: input should be less than or equal to 65535, got 70000"),
        ("[engine]\nprovider = 'tpu'", "setting engine.provider: input should be 'cpu' or 'cuda', got 'tpu'"),
    ],
)
def test_bad_keys_and_values_are_named(tmp_path: Path, text: str, message: str) -> None:
    """An error names the key, what was expected and what was there."""
    with pytest.raises(InvalidRequest) as caught:
        load_settings(written(tmp_path, text), {})
    assert str(caught.value) == message


def test_an_unknown_environment_name_is_an_error() -> None:
    """A misspelt variable does not pass in silence."""
    with pytest.raises(InvalidRequest, match=r"^setting engine\.worker: expected workers, got an unknown key$"):
        load_settings(environment={"STREAMER_ENGINE__WORKER": "2"})


def test_a_section_is_no_value() -> None:
    """A variable that gives a value to a section is named, whatever else is set in it."""
    environment = {"STREAMER_ENGINE": "fast", "STREAMER_ENGINE__WORKERS": "2"}
    for order in (environment, dict(reversed(environment.items()))):
        with pytest.raises(InvalidRequest, match=r"^setting engine: expected a section, got 'fast'$"):
            load_settings(environment=order)


def test_secrets_are_not_repeated(tmp_path: Path) -> None:
    """A secret that is too short, or a key where its digest belongs, stays out of the error and of what is printed."""
    for text, message in (
        (
            "[access]\nticket_secret = 'hush'",
            "setting access.ticket_secret: value should have at least 32 items after validation, not 4, "
            "got 4 characters that are not shown",
        ),
        (
            "[[access.keys]]\nname = 'ada'\nhash = 'hush'",
            "setting access.keys.0.hash: string should match pattern '^sha256:[0-9a-f]{64}$', "
            "got 4 characters that are not shown",
        ),
        (
            "[[access.keys]]\nhash = 'hush'\nkey = 'hush'",
            "setting access.keys.0.name: field required, got nothing",
        ),
        (
            "[resume]\nsecret = 'hush'",
            "setting resume.secret: value should have at least 32 items after validation, not 4, "
            "got 4 characters that are not shown",
        ),
    ):
        with pytest.raises(InvalidRequest) as caught:
            load_settings(written(tmp_path, text), {})
        assert str(caught.value) == message
    secret = "0123456789" * 4
    assert secret not in repr(load_settings(environment={"STREAMER_ACCESS__TICKET_SECRET": secret}))


def test_origins_in_the_environment_are_separated_by_commas() -> None:
    """Origins hold colons, so these do not separate them."""
    settings = load_settings(environment={"STREAMER_ACCESS__ORIGINS": "https://a.example:8443,https://b.example"})
    assert settings.access.origins == ("https://a.example:8443", "https://b.example")


def test_unreadable_and_broken_files_are_told_apart(tmp_path: Path) -> None:
    """A missing file and a file that is not TOML each get their message."""
    with pytest.raises(InvalidRequest, match="cannot read settings file .*: No such file or directory"):
        load_settings(tmp_path / "none.toml", {})
    with pytest.raises(InvalidRequest, match="is not TOML"):
        load_settings(written(tmp_path, "= 1"), {})
