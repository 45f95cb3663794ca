"""`streamer config`: settings checked and shown without a server."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import trustme

from streamer.config import load_settings
from tests.cli.conftest import streamer


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STREAMER_HTTP_PORT", raising=False)


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "streamer.toml"
    path.write_text(text)
    return str(path)


def test_valid_settings_name_the_models(toys: Path, tmp_path: Path) -> None:
    """What would be served, from where, and that all is well."""
    file = write(tmp_path, f'bundle_path = ["{toys}"]\nmodels = ["counter-asr"]\n')
    result = streamer("config", "check", file)
    assert result.exit_code == 0
    assert result.stdout == (
        f"model counter-asr@1.0.0: transcribe, from {toys / 'counter-asr'}\n"
        "access: everybody, no keys are set\n"
        "settings are valid\n"
    )


def test_keys_and_certificates_are_checked(toys: Path, tmp_path: Path) -> None:
    """What a server would refuse at start is refused here: keys that cannot be read, a key of another certificate."""
    authority = trustme.CA()
    for name in ("one", "two"):
        issued = authority.issue_cert("127.0.0.1")
        issued.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
        issued.private_key_pem.write_to_path(tmp_path / f"{name}.key")
    key = f"[[keys]]\nname = 'ada'\nhash = 'sha256:{'0' * 64}'\n"
    cases = {
        ("one", key): (0, f"access: keys of ada\ntls: {tmp_path}/one.pem\nsettings are valid\n"),
        ("two", key): (1, f"streamer: tls key {tmp_path}/two.key does not belong to tls cert {tmp_path}/one.pem\n"),
        ("one", "[[key]]"): (1, f"streamer: keys file {tmp_path}/keys.toml: key: extra inputs are not permitted\n"),
    }
    for (pair, keys), (status, told) in cases.items():
        (tmp_path / "keys.toml").write_text(keys)
        settings = (
            f'bundle_path = ["{toys}"]\nmodels = ["counter-asr"]\naccess.keys_file = "{tmp_path}/keys.toml"\n'
            f'tls = {{ cert = "{tmp_path}/one.pem", key = "{tmp_path}/{pair}.key" }}\n'
        )
        result = streamer("config", "check", write(tmp_path, settings))
        assert result.exit_code == status
        assert (result.stderr if status else result.stdout).endswith(told)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http_prt = 1", "setting http_prt: expected http_port, got an unknown key"),
        ("[engine]\nmax_streams = 0", "setting engine.max_streams: input should be greater than or equal to 1, got 0"),
        ("[[access.keys]]\nnaem = 'a'", "setting access.keys.0.name: field required, got nothing"),
        ("models = ['nothing']", "unknown bundle 'nothing', expected one of asr-en@"),
        ("= 1", "settings file {file} is not TOML: Invalid statement (at line 1, column 1)"),
    ],
)
def test_what_a_server_would_refuse_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """One line on standard error, status 1."""
    file = write(tmp_path, text)
    result = streamer("config", "check", file)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("streamer: " + message.replace("{file}", file))
    assert result.stderr.count("\n") == 1


def test_shown_settings_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed is TOML that gives the same settings; the environment's part is in it."""
    monkeypatch.setenv("STREAMER_HTTP_PORT", "8081")
    digest = "sha256:" + "0" * 64
    keys = f"[[access.keys]]\nname = 'a'\nhash = '{digest}'\nexpires = 2030-01-01T00:00:00Z\n"
    aliases = "[openai.aliases]\n'whisper-1' = 'b'\n'a.b c' = 'é'\n"
    file = write(tmp_path, 'models = ["é", "b"]\n' + keys + aliases)
    result = streamer("config", "show", file)
    assert tomllib.loads(result.stdout)["http_port"] == 8081
    assert "deepgram.aliases = {}" in result.stdout
    expected = load_settings(Path(file))
    assert load_settings(Path(write(tmp_path, result.stdout)), {}, {}) == expected


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    """The secret that signs tickets stays where it is."""
    file = write(tmp_path, "[access]\nticket_secret = 'a-secret-of-thirty-two-characters'\n")
    result = streamer("config", "show", file)
    assert "a-secret" not in result.stdout
    assert "access.ticket_secret" in result.stdout
