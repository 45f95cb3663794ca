"""How many live streams a machine carries: runs `streamer bench` at growing numbers of streams and prints a table.

    python benchmarks/capacity.py --streams 1 50 100 --duration 30

The load generator runs on the same machine, so the server has less than all of it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_COLUMNS = "| streams | lag p50 / p95 / p99 ms | finalisation p50 / p95 ms | CPU s per audio s | server MB | refused |"


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 10, 50, 100])
    parser.add_argument("--duration", type=float, default=30.0, help="seconds of audio of each stream")
    parser.add_argument("--transport", choices=("grpc", "ws"), default="grpc")
    arguments = parser.parse_args()
    print(_COLUMNS, "|---" * 6 + "|", sep="\n", flush=True)
    for streams in arguments.streams:
        print(row(streams, measure(streams, arguments.duration, arguments.transport)), flush=True)


def measure(streams: int, duration_s: float, transport: str) -> dict[str, Any]:
    """Run the bench against a server of its own and return its figures; raises `CalledProcessError` if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures.json"
        command = [
            *(sys.executable, "-m", "streamer.cli.main", "bench", "--spawn", "--json", str(out)),
            *("--streams", str(streams), "--duration", str(duration_s), "--transport", transport),
        ]
        subprocess.run(command, check=True, capture_output=True)
        figures: dict[str, Any] = json.loads(out.read_text())
        return figures


def row(streams: int, figures: dict[str, Any]) -> str:
    """One line of the table."""
    lag, final = figures["lag_ms"], figures["finalisation_ms"]
    cells = (
        f"{streams}",
        f"{lag['p50']:.0f} / {lag['p95']:.0f} / {lag['p99']:.0f}",
        f"{final['p50']:.0f} / {final['p95']:.0f}",
        f"{figures['server_cpu_s_per_audio_s']:.3f}",
        f"{figures['server_rss_mb']:.0f}",
        f"{sum(figures['streams']['refused'].values())}",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
