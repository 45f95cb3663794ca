"""`streamer serve`: the server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.options import BundlePath, ConfigFile, LogLevel, Runtime, Workers, given, settings_from
from streamer.cli.port_file import write_ports
from streamer.errors import StreamerError

if TYPE_CHECKING:
    from streamer.config import Settings
    from streamer.gateway.server import Addresses
    from streamer.host import Host


def serve(
    config: ConfigFile = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default=False)] = None,
    grpc_port: Annotated[int | None, typer.Option(help="0 takes a free port.", show_default=False)] = None,
    http_port: Annotated[int | None, typer.Option(help="0 takes a free port.", show_default=False)] = None,
    wyoming_port: Annotated[
        int | None, typer.Option(help="Also serve Home Assistant's protocol here.", show_default=False)
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Bundle to serve, NAME or NAME@VERSION. Repeatable.", show_default=False)
    ] = None,
    bundle_path: BundlePath = None,
    workers: Workers = None,
    processes: Annotated[
        int | None, typer.Option(help="Processes that share the ports, for many cores.", show_default=False)
    ] = None,
    provider: Runtime = None,
    max_batch: Annotated[int | None, typer.Option(help="Rows of a model call.", show_default=False)] = None,
    max_streams: Annotated[int | None, typer.Option(help="Live streams per bundle.", show_default=False)] = None,
    drain_deadline: Annotated[
        float | None, typer.Option(help="Seconds that streams get to finish.", show_default=False)
    ] = None,
    log_level: Annotated[LogLevel | None, typer.Option(help="Least level logged.", show_default=False)] = None,
    port_file: Annotated[
        Path | None, typer.Option(help="Write the bound ports here as JSON when ready.", show_default=False)
    ] = None,
) -> None:
    """Serve live streams over gRPC and WebSocket until SIGTERM or Ctrl-C, then drain.

    Settings come from defaults, then --config, then the environment (STREAMER_HTTP_PORT,
    STREAMER_ENGINE__WORKERS, ...), then these flags.
    """
    settings = settings_from(
        config,
        {
            "host": host,
            "grpc_port": grpc_port,
            "http_port": http_port,
            "wyoming_port": wyoming_port,
            "models": given(model),
            "bundle_path": given(bundle_path),
            "drain_deadline_s": drain_deadline,
            "processes": processes,
            "log_level": log_level.value if log_level else None,
            "engine": {
                "workers": workers,
                "provider": provider.value if provider else None,
                "max_batch": max_batch,
                "max_streams": max_streams,
            },
        },
    )
    _run(settings, port_file)


def _run(settings: Settings, port_file: Path | None) -> None:
    import asyncio
    import os

    from streamer.cli.logs import configure_logging

    # The C core of grpc prints lines of its own, in its own form, about what is reported here anyway.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")

    configure_logging(settings.log_level)
    if port_file is not None:
        # What an earlier server left there must not be taken for this one's.
        port_file.unlink(missing_ok=True)
    if settings.processes > 1:
        from streamer.cli.fleet import Fleet

        asyncio.run(Fleet(settings).run(lambda addresses: _announce(_models_of(settings), addresses, port_file)))
        return
    asyncio.run(serve_until_told(settings, lambda host, addresses: _announce(_served(host), addresses, port_file)))


async def serve_until_told(
    settings: Settings, on_started: Callable[[Host, Addresses], None], shared_ports: bool = False
) -> None:
    """Serve in this process until SIGTERM or SIGINT, then drain; raises `StreamerError` if that cannot begin."""
    from streamer.gateway.server import Gateway
    from streamer.host.assemble import running_host

    async with running_host(settings) as host:
        gateway = Gateway(host, settings, shared_ports)
        try:
            await gateway.run(lambda addresses: on_started(host, addresses))
        except OSError as error:
            raise StreamerError(str(error)) from None
        finally:
            await gateway.stop()


def _served(host: Host) -> list[str]:
    return [model.key for model in host.models()]


def _models_of(settings: Settings) -> list[str]:
    from streamer.bundle.registry import Registry

    registry = Registry(settings.bundle_path)
    return [registry.find(name).key for name in settings.models]


def _announce(models: list[str], addresses: Addresses, port_file: Path | None) -> None:
    if port_file is not None:
        write_ports(
            port_file,
            addresses.host,
            addresses.grpc_port,
            addresses.http_port,
            addresses.wyoming_port,
            addresses.admin_port,
        )
    wyoming = f", {addresses.wyoming}" if addresses.wyoming else ""
    where = f"{addresses.grpc}, {addresses.websocket}{wyoming}, page {addresses.page}"
    typer.echo(f"streamer is ready: {where}, serving {', '.join(models)}")
