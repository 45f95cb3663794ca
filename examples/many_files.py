"""Files to subtitles, eight at a time: `python examples/many_files.py URL talk.wav meeting.mp3`.

Writes `talk.srt` beside `talk.wav`. Formats other than WAV need a ws:// or wss:// URL.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from streamer.client import transcribe
from streamer.transcripts.formats import Format, render


async def subtitles(url: str, path: Path, slots: asyncio.Semaphore) -> None:
    """Write the subtitles of one file."""
    async with slots:
        transcript = await transcribe(url, path)
    path.with_suffix(".srt").write_text(render(transcript, Format.SRT), encoding="utf-8")
    print(f"{path}: {len(transcript.words)} words")


async def main(url: str, paths: list[Path]) -> None:
    """Transcribe all files; one that fails does not stop the others."""
    slots = asyncio.Semaphore(8)
    outcomes = await asyncio.gather(*(subtitles(url, path, slots) for path in paths), return_exceptions=True)
    for path, outcome in zip(paths, outcomes, strict=True):
        if outcome is not None:
            print(f"{path}: {outcome}", file=sys.stderr)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], [Path(argument) for argument in sys.argv[2:]]))
