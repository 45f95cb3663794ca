"""A server that cases of nonsense are played against, all at once, and what must not be found after them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import structlog
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from streamer.errors import WIRE_CODES
from tests.e2e.serving import Served, serving
from tests.e2e.test_streams import LIVE, audio, expected_text, text_of, transcribe
from tests.toys import write_listener

TIMEOUT_S = 120
REFUSALS = {code for code in WIRE_CODES.values() if code.name != "internal"}
WEBSOCKET_CODES = {code.websocket for code in REFUSALS} | {1000, 1007}

T = TypeVar("T")
Play = Callable[[Served, T], Awaitable[None]]


class Batch(list[T]):
    """Cases that are played at once; what is shown of a batch that failed is not megabytes of it."""

    def __repr__(self) -> str:
        return f"<{len(self)} cases>"


class Server:
    """A server on an event loop that runs only while a batch is played, of at most `at_once` cases."""

    def __init__(self, folder: Path, at_once: int, **options: Any) -> None:
        self.at_once = at_once
        self._runner = asyncio.Runner()
        self._stack = contextlib.AsyncExitStack()
        self._served: Served = self._runner.run(self._start(folder, options))

    async def _start(self, folder: Path, options: dict[str, Any]) -> Served:
        options = {"session": {"max_ahead_ms": 60_000}, "also": write_listener, **options}
        return await self._stack.enter_async_context(
            serving(folder, "websocket", max_streams=self.at_once + 1, **options)
        )

    def play(self, cases: Batch[T], one: Play[T]) -> None:
        """Play all cases at once beside a stream that behaves, and look for what they left."""

        async def batch() -> None:
            async with asyncio.timeout(TIMEOUT_S), asyncio.TaskGroup() as group:
                text = group.create_task(transcribe(self._served.connect, LIVE, audio(0.3, 1), 800))
                for case in cases:
                    group.create_task(_shown(one, self._served, case))
            assert text_of(text.result()) == expected_text(audio(0.3, 1))
            async with asyncio.timeout(TIMEOUT_S):
                await self._served.host.until_empty()
            worker = self._served.host.workers[0]
            assert [worker.used_slots(f"{m.name}@{m.version}") for m in self._served.host.models()] == [0, 0]
            assert b'outcome="internal"' not in self._served.host.metrics_text()

        with alarms() as heard:
            self._runner.run(batch())
        assert not heard, "\n".join(heard)

    def close(self) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()


async def _shown(one: Play[T], served: Served, case: T) -> None:
    try:
        await one(served, case)
    except Exception as error:
        raise AssertionError(f"{case!r:.4000}") from error


class _Listener(logging.Handler):
    def __init__(self, heard: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        self._heard.append(self.format(record))


@contextlib.contextmanager
def alarms() -> Iterator[list[str]]:
    """Collect what is logged as an error: by the server, and by the libraries below it (uvicorn, asyncio, grpc)."""
    heard: list[str] = []
    listener = _Listener(heard)
    root = logging.getLogger()
    root.addHandler(listener)

    def listen(_: Any, level: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        if level in ("error", "exception", "critical"):
            heard.append(structlog.processors.format_exc_info(None, level, event).__repr__())
        raise structlog.DropEvent

    before = structlog.get_config()["processors"]
    structlog.configure(processors=[listen])
    try:
        yield heard
    finally:
        structlog.configure(processors=before)
        root.removeHandler(listener)


def play_batches(server: Server, cases: st.SearchStrategy[T], one: Play[T], batches: int, seeded: bool) -> None:
    """Play `batches` of cases; the same ones each time if `seeded`."""

    @settings(
        max_examples=batches,
        derandomize=seeded,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    @given(st.lists(cases, min_size=server.at_once, max_size=server.at_once).map(Batch))
    def run(batch: Batch[T]) -> None:
        server.play(batch, one)

    run()
