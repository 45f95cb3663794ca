"""Our server beside sherpa-onnx's own WebSocket server: the same weights, clips, pace and machine, in turns.

    pip install sherpa-onnx sherpa-onnx-bin
    python benchmarks/sherpa_server.py --streams 1 10 20 --duration 30

The bundle is exported with `streamer bundle export sherpa`. Both servers get as many model threads, and batches of at
most 16. Lag is from sending the last sample of the chunk that holds the newest token to receiving it; sherpa-onnx needs
280 samples more before it may begin, which is in its lag. The load generator runs on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sherpa_onnx
import websockets

from streamer.bundle.registry import SHIPPED_BUNDLES
from streamer.cli.clips import Clip, read_clip, sample_clips
from streamer.cli.load import percentiles_ms
from streamer.cli.process_stats import cpu_seconds, memory_mb
from streamer.cli.ticker import Ticker

_COLUMNS = "| server | streams | lag p50 / p95 / p99 ms | finalisation p50 ms | CPU s per audio s | peak MB |"
_FRAME_MS = 40.0
_CHUNK_SAMPLES, _CHUNK_S = 5120, 0.32
_RAMP_S = 1.0


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=SHIPPED_BUNDLES / "asr-en")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 10, 20])
    parser.add_argument("--duration", type=float, default=30.0, help="seconds of audio of each stream")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="model threads of each server")
    parser.add_argument("--rounds", type=int, default=1, help="how often each number of streams is measured")
    arguments = parser.parse_args()
    print(_COLUMNS, "|---" * 6 + "|", sep="\n", flush=True)
    with tempfile.TemporaryDirectory() as name:
        exported = Path(name) / "exported"
        _run("bundle", "export", "sherpa", str(arguments.bundle), "--out", str(exported))
        for streams in arguments.streams * arguments.rounds:
            ours = measure_ours(arguments.bundle, streams, arguments.duration, arguments.workers, Path(name))
            print(_row("streamer", streams, ours), flush=True)
            theirs = measure_theirs(exported, streams, arguments.duration, arguments.workers)
            print(_row("sherpa-onnx", streams, theirs), flush=True)


def measure_ours(bundle: Path, streams: int, duration_s: float, workers: int, folder: Path) -> dict[str, Any]:
    """Run `streamer bench` over WebSocket; raises `CalledProcessError` if it fails."""
    out = folder / "figures.json"
    model = json.loads((bundle / "manifest.json").read_text())["name"]
    options = {
        "--streams": streams, "--duration": duration_s, "--frame-ms": _FRAME_MS, "--ramp": _RAMP_S, "--transport": "ws",
        "--workers": workers, "--bundle-path": bundle, "--model": model, "--json": out,
    }  # fmt: skip
    _run("bench", "--spawn", *(str(word) for option in options.items() for word in option))
    figures: dict[str, Any] = json.loads(out.read_text())
    return figures


def measure_theirs(exported: Path, streams: int, duration_s: float, workers: int) -> dict[str, Any]:
    """Start sherpa-onnx's server, play the same streams, and return figures of the same names."""
    clips = [read_clip(path) for path in sample_clips()]
    with _their_server(exported, workers) as (address, pid):
        before = cpu_seconds(pid) or 0.0
        players = asyncio.run(_play(address, clips, streams, duration_s))
        cpu_s = (cpu_seconds(pid) or 0.0) - before
        memory = memory_mb(pid)
    return {
        "lag_ms": percentiles_ms([lag for player in players for lag in player.lags_s]),
        "finalisation_ms": percentiles_ms([player.finalisation_s for player in players]),
        "server_cpu_s_per_audio_s": cpu_s / (streams * duration_s),
        "server_peak_rss_mb": memory[1] if memory else float("nan"),
    }


@contextmanager
def _their_server(exported: Path, workers: int) -> Iterator[tuple[str, int]]:
    """The address and process of sherpa-onnx's server, once it listens."""
    program = shutil.which("sherpa-onnx-online-websocket-server", path=f"{Path(sys.executable).parent}:{os.defpath}")
    if program is None:
        raise SystemExit("expected the program sherpa-onnx-online-websocket-server, of the package sherpa-onnx-bin")
    port = _free_port()
    options = {
        "port": port, "num-work-threads": workers, "num-io-threads": 1, "num-threads": 1, "max-batch-size": 16,
        "tokens": exported / "tokens.txt", "log-file": exported / "log",
        **{part: exported / f"{part}.onnx" for part in ("encoder", "decoder", "joiner")},
    }  # fmt: skip
    libraries = {**os.environ, "LD_LIBRARY_PATH": str(Path(sherpa_onnx.__file__).parent / "lib")}
    command = [program, *(f"--{name}={value}" for name, value in options.items())]
    process = subprocess.Popen(command, env=libraries, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        asyncio.run(_listening(port))
        yield f"ws://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait()


async def _listening(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


async def _play(address: str, clips: list[Clip], streams: int, duration_s: float) -> list[_Player]:
    """Play as `streamer bench` does: clips in turn, from a random frame on, begun at random within the ramp."""
    ticker, dice = Ticker(), random.Random(0)
    begin = asyncio.get_running_loop().time() + 0.1
    starts = [(begin + dice.uniform(0, _RAMP_S), dice.random()) for _ in range(streams)]
    players = [_Player(clips[index % len(clips)], duration_s, *start) for index, start in enumerate(starts)]
    await asyncio.gather(*(player.play(address, ticker) for player in players))
    return players


@dataclass
class _Player:
    """One stream to sherpa-onnx's server: float32 samples as binary frames, `Done`, and JSON until `Done!`."""

    clip: Clip
    duration_s: float
    start: float
    phase: float
    lags_s: list[float] = field(default_factory=list)
    finalisation_s: float = 0.0
    _ends: list[int] = field(default_factory=list)
    _sent_at: list[float] = field(default_factory=list)

    async def play(self, address: str, ticker: Ticker) -> None:
        await ticker.until(self.start)
        clock = asyncio.get_running_loop().time
        async with websockets.connect(address, max_size=None, compression=None) as socket:
            sender = asyncio.create_task(self._send(socket, ticker))
            newest = (0, 0)
            async for message in socket:
                if message == "Done!":
                    break
                result = json.loads(message)
                position = (result["segment"], len(result["tokens"]))
                if position > newest and result["tokens"]:
                    newest = position
                    self._note(result["start_time"] + result["timestamps"][-1], clock())
            self.finalisation_s = clock() - await sender

    async def _send(self, socket: websockets.ClientConnection, ticker: Ticker) -> float:
        frames, clock = self.clip.frames(_FRAME_MS), asyncio.get_running_loop().time
        first, began = int(self.phase * len(frames)), clock()
        for index in range(round(self.duration_s * 1000 / _FRAME_MS)):
            await ticker.until(began + (index + 1) * _FRAME_MS / 1000)
            data = frames[(first + index) % len(frames)]
            self._ends.append((self._ends[-1] if self._ends else 0) + len(data) // self.clip.sample_bytes)
            self._sent_at.append(clock())
            await socket.send(data)
        await socket.send("Done")
        return clock()

    def _note(self, token_s: float, now: float) -> None:
        """Note the lag of a token, unless it needed the padding behind the last sample."""
        chunk = int(token_s / _CHUNK_S + 1e-6) + 1
        frame = bisect_left(self._ends, chunk * _CHUNK_SAMPLES)
        if frame < len(self._ends):
            self.lags_s.append(now - self._sent_at[frame])


def _row(server: str, streams: int, figures: dict[str, Any]) -> str:
    lag = figures["lag_ms"]
    cells = (
        server,
        f"{streams}",
        f"{lag['p50']:.0f} / {lag['p95']:.0f} / {lag['p99']:.0f}",
        f"{figures['finalisation_ms']['p50']:.0f}",
        f"{figures['server_cpu_s_per_audio_s']:.4f}",
        f"{figures['server_peak_rss_mb']:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "streamer.cli.main", *arguments], check=True, capture_output=True)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
