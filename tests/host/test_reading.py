"""Reading ahead of the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from streamer.host.reading import read_ahead


def test_items_come_in_order_from_another_thread() -> None:
    """Every item arrives, read by a thread that is not the loop's."""
    threads = []

    def items() -> Iterator[int]:
        for item in range(100):
            threads.append(threading.current_thread())
            yield item

    async def main() -> list[int]:
        return [item async for item in read_ahead(items())]

    assert asyncio.run(main()) == list(range(100))
    assert threading.current_thread() not in threads


def test_errors_come_after_the_items_before_them() -> None:
    """What reading raises is raised where the items are taken."""

    def items() -> Iterator[int]:
        yield 1
        raise ValueError("damaged")

    async def main() -> None:
        taken = read_ahead(items())
        assert await anext(taken) == 1
        with pytest.raises(ValueError, match="^damaged$"):
            await anext(taken)

    asyncio.run(main())


def test_reading_is_bounded_and_closed_when_nobody_takes_more() -> None:
    """Not more than `ahead` items are read early, and whoever reads closes them."""
    closed = threading.Event()
    read = []

    def items() -> Iterator[int]:
        try:
            for item in range(1000):
                read.append(item)
                yield item
        finally:
            closed.set()

    async def main() -> None:
        async with aclosing(read_ahead(items(), ahead=3)) as taken:
            assert await anext(taken) == 0
        assert await asyncio.to_thread(closed.wait, 10.0)

    asyncio.run(main())
    # One was taken, three may wait, and one more is read before the thread finds no room for it.
    assert len(read) <= 5
