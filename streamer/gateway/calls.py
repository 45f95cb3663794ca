"""What the gRPC services have in common: who calls, and how a call fails."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import structlog

from streamer.errors import StreamerError
from streamer.gateway.services import Services
from streamer.host.tracing import traceparent
from streamer.wire.failure import Failure

if TYPE_CHECKING:
    from streamer.host import Stream

_FIRST_MESSAGE_S = 0.5

log = structlog.get_logger()
Context = Any  # grpc.aio.ServicerContext; its stubs are older than its methods
EOF = grpc.aio.EOF  # type: ignore[attr-defined]  # likewise


@asynccontextmanager
async def statuses(context: Context) -> AsyncIterator[None]:
    """End the call with the status of what is raised inside."""
    try:
        yield
    except asyncio.CancelledError:
        # The client is gone. Swallowing this would leak the call (grpc/grpc#43360).
        raise
    except StreamerError as error:
        await _abort(context, Failure.of(error))
    except Exception as error:
        log.exception("grpc call failed")
        await _abort(context, Failure.of(error))


def connect(services: Services, context: Context) -> Stream:
    """Begin a stream for who makes a call, as part of the trace that the call belongs to; raises `StreamerError`."""
    value = dict(context.invocation_metadata() or ()).get("traceparent", "")
    traceparent.set(value if isinstance(value, str) else "")
    return services.host.connect(services.access.of_call(context))


async def connect_streaming(services: Services, context: Context) -> Stream:
    """The same for a call that streams its requests."""
    try:
        return connect(services, context)
    except StreamerError:
        # Clients of grpc.aio that are refused while they write their first message learn nothing but "Internal error
        # from Core", so it is taken before.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_MESSAGE_S):
                await context.read()
        raise


async def _abort(context: Context, failure: Failure) -> None:
    metadata = [("streamer-error", failure.code.name)]
    if failure.retry_after_ms is not None:
        metadata.append(("retry-after-ms", str(failure.retry_after_ms)))
    await context.abort(grpc.StatusCode[failure.code.grpc], failure.message, tuple(metadata))
