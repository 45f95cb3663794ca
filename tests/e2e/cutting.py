"""A TCP proxy that breaks connections after so many bytes, as networks do: without a goodbye."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

_BLOCK_BYTES = 1 << 14


class CuttingProxy:
    """Carries bytes to a server and back. Each connection in turn gets one of `budgets`; those after have no limit."""

    def __init__(self, port: int, budgets: Iterable[int]) -> None:
        self.port = 0
        self.cuts = 0
        self._target = port
        self._budgets = deque(budgets)
        self._open: set[asyncio.StreamWriter] = set()

    def cut_all(self) -> None:
        """Break what is open now."""
        for writer in list(self._open):
            self.cuts += 1
            self._open.discard(writer)
            writer.transport.abort()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of a client."""
        left = [self._budgets.popleft() if self._budgets else None]
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, server_writer)
        self._open.add(writer)
        try:
            there = asyncio.create_task(self._pump(reader, server_writer, left, pair))
            back = asyncio.create_task(self._pump(server_reader, writer, left, pair))
            await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
            # What one side has ended, the other may still answer.
            await asyncio.wait((there, back), timeout=1.0)
        finally:
            self._open.discard(writer)
            for task in (there, back):
                task.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
            for end in pair:
                end.transport.abort()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        left: list[int | None],
        pair: tuple[asyncio.StreamWriter, ...],
    ) -> None:
        while data := await reader.read(_BLOCK_BYTES):
            if left[0] is not None:
                data = data[: left[0]]
                left[0] -= len(data)
            writer.write(data)
            await writer.drain()
            if left[0] == 0:
                self.cuts += pair[0] in self._open
                self._open.discard(pair[0])
                for end in pair:
                    end.transport.abort()
                return
        writer.write_eof()


@asynccontextmanager
async def cutting(url: str, budgets: Iterable[int] = ()) -> AsyncIterator[tuple[str, CuttingProxy]]:
    """Put a proxy before the server at `url`; gives the URL to use instead, and the proxy."""
    parts = urlsplit(url)
    assert parts.port is not None
    proxy = CuttingProxy(parts.port, budgets)
    server = await asyncio.start_server(_quietly(proxy), "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield urlunsplit(parts._replace(netloc=f"127.0.0.1:{proxy.port}")), proxy
    finally:
        cuts = proxy.cuts
        server.close()
        proxy.cut_all()
        proxy.cuts = cuts
        await server.wait_closed()


def _quietly(proxy: CuttingProxy):
    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Connections that break are what this is for.
        try:
            await proxy.carry(reader, writer)
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()

    return carry
