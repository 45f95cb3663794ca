"""Logs on standard error: lines for people on a terminal, JSON objects for machines elsewhere."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog


def configure_logging(level: str, process: int | None = None) -> None:
    """Send structlog and the standard library's loggers (asyncio, grpc, uvicorn) to standard error from `level` up.

    Every event names `process`, the number of this one among several that write to the same place.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    shared = _shared_processors(process)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers()],
        )
    )
    logging.basicConfig(level=number, handlers=[handler], force=True)


def _shared_processors(process: int | None) -> list[Any]:
    def name_process(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
        return {"process": process, **event}

    return [
        structlog.contextvars.merge_contextvars,
        *([] if process is None else [name_process]),
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _renderers() -> list[Any]:
    if sys.stderr.isatty():
        return [_escape_controls, structlog.dev.ConsoleRenderer()]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _escape_controls(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Write values with line ends and controls of terminals as Python would; JSON escapes them anyway."""
    return {
        name: repr(value) if name != "event" and isinstance(value, str) and not value.isprintable() else value
        for name, value in event.items()
    }
