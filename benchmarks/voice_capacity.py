"""How many listeners a machine speaks to at once: paced streams of our server, of espeak-ng and of flite.

    python benchmarks/voice_capacity.py --streams 1 10 20 --duration 30

Every listener plays audio from when the first of it comes, and runs dry where more comes too late. Speech is made at
most 3 s ahead of listening: by the server's own pacing, and a program is started for the next sentence when less than
that is left. The load generator runs on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import random
from contextlib import AbstractContextManager, aclosing, nullcontext
from dataclasses import dataclass

from voice_speakers import Listener, Server, Speaker, long_text, programs, serving

from streamer.cli.load import percentiles_ms

_COLUMNS = "| speaker | streams | ran dry | dry, longest s | first audio p50 / p95 ms | CPU s per audio s |"
_RAMP_S = 3.0
_CHARS_PER_S = 15.0


@dataclass(frozen=True)
class Figures:
    """Listeners of one run, the seconds to each one's first audio, and processor seconds per second of audio."""

    listeners: list[Listener]
    first_s: list[float]
    cpu_ratio: float


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="voice-en", help="name of the voice's bundle")
    parser.add_argument("--bundle-path", default="", help="folder of bundles; default those that are shipped")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 10, 20])
    parser.add_argument("--duration", type=float, default=30.0, help="seconds of speech of each stream, about")
    parser.add_argument("--lead", type=float, default=3.0, help="seconds of audio that are made ahead")
    parser.add_argument("--workers", type=int, default=1, help="model threads of the server")
    parser.add_argument(
        "--pieces", choices=("clauses", "words"), default="clauses", help="what the server cuts text into"
    )
    parser.add_argument("--transport", choices=("grpc", "ws"), default="grpc")
    parser.add_argument("--peers-only", action="store_true", help="leave the server out")
    arguments = parser.parse_args()
    ours = nullcontext({}) if arguments.peers_only else _ours(arguments)
    print(_COLUMNS, "|---" * 6 + "|", sep="\n", flush=True)
    with ours as servers:
        speakers: list[Speaker] = [each for transport, each in servers.items() if transport == arguments.transport]
        speakers += programs()
        for streams in arguments.streams:
            for speaker in speakers:
                found = asyncio.run(measure(speaker, streams, arguments.duration, arguments.lead))
                print(row(speaker, streams, found), flush=True)


def _ours(arguments: argparse.Namespace) -> AbstractContextManager[dict[str, Server]]:
    return serving(arguments.model, arguments.bundle_path, arguments.workers, arguments.pieces)


async def measure(speaker: Speaker, streams: int, duration_s: float, lead_s: float) -> Figures:
    """Let so many listeners begin at random within three seconds, and hear about so much speech each."""
    clock, dice = asyncio.get_running_loop().time, random.Random(streams)
    listeners, first_s = [Listener() for _ in range(streams)], []

    async def listen(number: int, listener: Listener, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        sentences = long_text(round(duration_s * _CHARS_PER_S), number)
        asked = clock()
        async with aclosing(speaker.play(sentences, lead_s, listener)) as sound:
            async for seconds in sound:
                if not listener.audio_s:
                    first_s.append(clock() - asked)
                listener.hear(seconds, clock())

    before = speaker.cpu_s()
    await asyncio.gather(*(listen(i, each, dice.uniform(0, _RAMP_S)) for i, each in enumerate(listeners)))
    audio_s = sum(listener.audio_s for listener in listeners)
    return Figures(listeners, first_s, (speaker.cpu_s() - before) / audio_s)


def row(speaker: Speaker, streams: int, found: Figures) -> str:
    """One line of the table."""
    first = percentiles_ms(found.first_s)
    assert first is not None
    dry = [listener for listener in found.listeners if listener.dry]
    longest = max((listener.longest_dry_s for listener in dry), default=0.0)
    cells = (
        speaker.name,
        f"{streams}",
        f"{len(dry)} of {streams}",
        f"{longest:.2f}",
        f"{first['p50']:.0f} / {first['p95']:.0f}",
        f"{found.cpu_ratio:.4f}",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
