"""Exits with 0 if the server in this container would take a new stream, 1 otherwise; says why on standard output."""

import json
import os
import sys
import urllib.error
import urllib.request

PORT = os.environ.get("STREAMER_HTTP_PORT", "8080")
TIMEOUT_S = 2.5


def main() -> int:
    """Ask `/readyz`, without the proxies of the environment."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{PORT}/readyz", timeout=TIMEOUT_S) as answer:
            return _report(answer.read())
    except urllib.error.HTTPError as refusal:
        return _report(refusal.read())
    except OSError as error:
        sys.stdout.write(f"no answer: {error}\n")
        return 1


def _report(body: bytes) -> int:
    try:
        state = json.loads(body)
        ready = state["ready"] is True
    except (ValueError, KeyError, TypeError):
        sys.stdout.write("unreadable answer\n")
        return 1
    sys.stdout.write("ready\n" if ready else f"not ready: {state.get('reason')}\n")
    return 0 if ready else 1


if __name__ == "__main__":
    sys.exit(main())
