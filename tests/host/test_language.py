"""The language of a config reaches the task of its stream, also when the stream is taken up again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from streamer.errors import InvalidRequest
from streamer.host import catalogue
from streamer.tasks.base import Task
from streamer.tasks.options import TaskOptions
from streamer.tasks.registry import TaskMaker
from tests.gateway.serving import with_loop
from tests.host.test_resuming import CONFIG, Client, hosting, noise
from tests.toys import write_echo


class Told:
    """Makes tasks as ever, of a model that knows two languages, and notes which it was told."""

    def __init__(self) -> None:
        self.languages: list[str] = []

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        maker_of = catalogue.task_maker

        def patched(*arguments: Any) -> TaskMaker:
            make = maker_of(*arguments)

            def noting(options: TaskOptions) -> Task:
                if options.language not in ("", "de", "en"):
                    raise InvalidRequest(f"expected de or en, got {options.language!r}")
                self.languages.append(options.language)
                return make(options)

            return noting

        monkeypatch.setattr(catalogue, "task_maker", patched)


@pytest.mark.parametrize("language", ["", "de"])
@with_loop
async def test_a_task_is_told_the_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, language: str) -> None:
    """A stream's first life, and both of its tasks when it is replayed, are told the language of the config."""
    told = Told()
    told.patch(monkeypatch)
    async with hosting(tmp_path, write_echo) as host:
        client = Client(dataclasses.replace(CONFIG, language=language), noise(2.0))
        stream = await client.live(host, 20_000)
        await client.read(stream, 3)
        stream.abort()
        assert told.languages == [language]
        await client.read(await client.live(host))
    # The one that goes on, and the one that only warms the model up.
    assert told.languages == [language] * 3
    assert client.done is not None


@with_loop
async def test_a_task_may_refuse_a_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any audio, like whatever else a model cannot do."""
    Told().patch(monkeypatch)
    async with hosting(tmp_path, write_echo) as host:
        stream = host.connect()
        await stream.send(dataclasses.replace(CONFIG, language="fr"))
        with pytest.raises(InvalidRequest, match="^expected de or en, got 'fr'$"):
            await stream.receive()
