"""Captions of a microphone in the terminal: `python examples/live_captions.py [URL]`.

Needs `pip install 'streamer-speech[microphone]'` and a running `streamer serve`. Ctrl-C ends it. The server may be
restarted meanwhile: what is said then is kept and shown when it is back.
"""

from __future__ import annotations

import contextlib
import sys

from streamer.client import Client


def main() -> None:
    """Show text while it is spoken."""
    url = sys.argv[1] if len(sys.argv) > 1 else "ws://localhost:8080"
    with Client(url) as client, contextlib.suppress(KeyboardInterrupt):
        for result in client.microphone():
            print(f"\r\033[K{result.text}", end="\n" if result.is_final else "", flush=True)


if __name__ == "__main__":
    main()
