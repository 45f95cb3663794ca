"""The command `streamer`. Modules of commands import what is heavy inside their functions, so that help is fast."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from streamer import __version__
from streamer.cli import bench, bundle, codec, config, demo, keys, listen, serve, synthesize, transcribe
from streamer.errors import StreamerError

_NO_RUNTIME = (
    "onnxruntime is not installed, expected one of two extras: "
    "pip install 'streamer-speech[cpu]', or pip install 'streamer-speech[gpu]' for NVIDIA GPUs"
)


class _Commands(TyperGroup):
    """Errors made on purpose end a command with one line and status 1; the rest are bugs and show a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except StreamerError as error:
            raise _failed(str(error)) from None
        except BrokenPipeError:
            # Whoever read our output has seen enough; typer ends in silence.
            raise
        except OSError as error:
            raise _failed(_reason(error)) from None
        except ModuleNotFoundError as error:
            if error.name != "onnxruntime":
                raise
            raise _failed(_NO_RUNTIME) from None
        except KeyboardInterrupt:
            typer.echo("streamer: interrupted", err=True)
            raise typer.Exit(130) from None


def _reason(error: OSError) -> str:
    if error.filename is None or error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror.lower()}"


def _failed(message: str) -> typer.Exit:
    typer.echo(f"streamer: {message}", err=True)
    return typer.Exit(1)


app = typer.Typer(
    cls=_Commands,
    name="streamer",
    help="Streaming speech inference: live over gRPC and WebSocket, and files from the command line.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _tell_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"streamer {__version__}")
        raise typer.Exit


@app.callback()
def _streamer(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_tell_version, is_eager=True)
    ] = False,
) -> None:
    pass


app.command()(serve.serve)
app.command()(transcribe.transcribe)
app.command()(synthesize.synthesize)
app.command()(listen.listen)
app.add_typer(codec.app, name="codec")
app.add_typer(bundle.app, name="bundle")
app.add_typer(config.app, name="config")
app.add_typer(keys.app, name="keys")
app.command()(bench.bench)
app.command(hidden=True)(demo.demo)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
