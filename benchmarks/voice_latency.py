"""How soon a voice is heard, and what speech costs: our server beside espeak-ng and flite, run as programs.

    python benchmarks/voice_latency.py --streams 1 10 --rounds 20

First audio is from the last character of a sentence's first clause to the first bytes of sound, on loopback, the stream
being open. A program gets the clause when it is started, so the start is in its figure. Each of the streams speaks
again after a pause drawn at random. The real-time factor is processor seconds per second of audio, of one long text.
Speakers take turns. The load generator runs on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
from collections.abc import Sequence
from contextlib import AbstractContextManager, aclosing, nullcontext

from voice_speakers import SENTENCES, Server, Speaker, long_text, programs, serving

from streamer.cli.load import percentiles_ms

_COLUMNS = "| speaker | streams | first audio p50 / p95 ms | CPU s per audio s | wall s per audio s |"
_PAUSE_S = (0.1, 1.0)
_LONG_CHARS = 600

Turn = tuple[list[float], tuple[float, float]]
"""Seconds to the first audio of each sentence; processor and wall seconds per second of audio."""


def main() -> None:
    """Run from the command line; see --help."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="voice-en", help="name of the voice's bundle")
    parser.add_argument("--bundle-path", default="", help="folder of bundles; default those that are shipped")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--rounds", type=int, default=20, help="sentences of each stream")
    parser.add_argument(
        "--turns", type=int, default=3, help="how often everyone's turn comes; figures are of all turns"
    )
    parser.add_argument("--workers", type=int, default=1, help="model threads of the server")
    parser.add_argument(
        "--pieces", choices=("clauses", "words"), default="clauses", help="what the server cuts text into"
    )
    parser.add_argument("--peers-only", action="store_true", help="leave the server out")
    arguments = parser.parse_args()
    ours = nullcontext({}) if arguments.peers_only else _ours(arguments)
    with ours as servers:
        speakers: list[Speaker] = [*servers.values(), *programs()]
        for speaker in speakers:
            asyncio.run(first_audio(speaker, 1, 2))
        print(_COLUMNS, "|---" * 5 + "|", sep="\n", flush=True)
        for streams in arguments.streams:
            found = [
                [asyncio.run(measure(each, streams, arguments)) for each in speakers] for _ in range(arguments.turns)
            ]
            for speaker, turns in zip(speakers, zip(*found, strict=True), strict=True):
                print(row(speaker, streams, turns), flush=True)


def _ours(arguments: argparse.Namespace) -> AbstractContextManager[dict[str, Server]]:
    return serving(arguments.model, arguments.bundle_path, arguments.workers, arguments.pieces)


async def measure(speaker: Speaker, streams: int, arguments: argparse.Namespace) -> Turn:
    """One turn: the delays of all streams, and the processor and wall seconds per second of audio of one."""
    return await first_audio(speaker, streams, arguments.rounds), await cost(speaker)


async def first_audio(speaker: Speaker, streams: int, rounds: int) -> list[float]:
    """Seconds to the first audio, of `streams` streams that speak `rounds` sentences each."""
    dice = random.Random(streams)
    delays: list[float] = []

    async def converse(number: int) -> None:
        for turn in range(rounds):
            await asyncio.sleep(dice.uniform(*_PAUSE_S))
            delays.append(await _delay(speaker, *SENTENCES[(number + turn) % len(SENTENCES)]))

    await asyncio.gather(*map(converse, range(streams)))
    return delays


async def cost(speaker: Speaker) -> tuple[float, float]:
    """Processor and wall seconds per second of audio, of one long text."""
    clock = asyncio.get_running_loop().time
    before, began, audio_s = speaker.cpu_s(), clock(), 0.0
    async with aclosing(speaker.read(" ".join(long_text(_LONG_CHARS)))) as sound:
        async for seconds in sound:
            audio_s += seconds
    return (speaker.cpu_s() - before) / audio_s, (clock() - began) / audio_s


def row(speaker: Speaker, streams: int, turns: Sequence[Turn]) -> str:
    """One line of the table: percentiles of all turns, medians of the costs."""
    delay = percentiles_ms([seconds for delays, _ in turns for seconds in delays])
    assert delay is not None
    cpu, wall = (statistics.median(costs) for costs in zip(*(costs for _, costs in turns), strict=True))
    cells = f"{delay['p50']:.0f} / {delay['p95']:.0f} | {cpu:.4f} | {wall:.4f}"
    return f"| {speaker.name} | {streams} | {cells} |"


async def _delay(speaker: Speaker, clause: str, rest: str) -> float:
    clock = asyncio.get_running_loop().time
    asked = heard = None
    async with aclosing(speaker.speak(clause, rest)) as sound:
        async for seconds in sound:
            if asked is None:
                asked = clock()
            elif seconds and heard is None:
                heard = clock()
    if asked is None or heard is None:
        raise RuntimeError(f"{speaker.name} said nothing")
    return heard - asked


if __name__ == "__main__":
    main()
