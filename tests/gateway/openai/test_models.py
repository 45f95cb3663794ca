"""The list of models, as OpenAI's clients read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.config import load_settings
from streamer.errors import InvalidRequest
from streamer.gateway.openai.models import check_aliases
from tests.gateway.fake_host import FakeHost
from tests.gateway.openai.test_request import services
from tests.gateway.serving import get, serving, with_loop

ECHO = {"id": "echo", "object": "model", "created": 0, "owned_by": "streamer"}


@with_loop
async def test_models_and_aliases_are_listed() -> None:
    """Beside the list in our own shape."""
    async with serving(FakeHost(), openai={"aliases": {"whisper-1": "echo"}}) as addresses:
        listed = (await get(addresses, "/v1/models")).json()
    assert (listed["object"], listed["data"]) == ("list", [ECHO, {**ECHO, "id": "whisper-1"}])
    assert [model["name"] for model in listed["models"]] == ["echo"]


@with_loop
async def test_one_model() -> None:
    """By name, by name and version, by alias; anything else is not found."""
    async with serving(FakeHost(), openai={"aliases": {"org/tiny": "echo@1"}}) as addresses:
        for name in ("echo", "echo@1", "org/tiny"):
            assert (await get(addresses, f"/v1/models/{name}")).json() == {**ECHO, "id": name}
        missing = await get(addresses, "/v1/models/whisper-1")
    assert missing.status_code == 404
    assert missing.json()["error"] == {
        "message": "unknown model 'whisper-1', expected one of echo, org/tiny",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }


def test_aliases_are_read_from_the_settings_file(tmp_path: Path) -> None:
    """OpenAI's names hold dashes and dots, which no variable of the environment can."""
    file = tmp_path / "streamer.toml"
    file.write_text('[openai.aliases]\n"whisper-1" = "asr-en"\n', encoding="utf-8")
    assert load_settings(file, {}).openai.aliases == {"whisper-1": "asr-en"}


def test_an_alias_of_nothing_is_an_error_of_the_settings() -> None:
    """It is found when the server starts, not when the first client comes."""
    check_aliases(services(openai={"aliases": {"whisper-1": "echo"}}))
    with pytest.raises(InvalidRequest, match=r"^setting openai.aliases.whisper-1: expected one of echo, got 'large'$"):
        check_aliases(services(openai={"aliases": {"whisper-1": "large"}}))
