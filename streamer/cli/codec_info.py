"""What an SNC1 stream says of itself, for people and programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from streamer.audio.snc1 import ENTROPY_MODES
from streamer.audio.snc1_description import Description, describe
from streamer.cli.inputs import Input
from streamer.cli.source import open_stdin
from streamer.errors import InvalidRequest


def describe_input(item: Input) -> Description:
    """Read an input to its end; raises `InvalidRequest` if it cannot be read or is no SNC1 stream."""
    if item.path is None:
        with open_stdin() as pipe:
            return describe(pipe.readall())
    try:
        return describe(item.path)
    except OSError as error:
        raise InvalidRequest(f"cannot open {item.path.name}: {(error.strerror or 'unreadable').lower()}") from None


def show(name: str, found: Description) -> None:
    """Print what is known, a line each."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(name), show_header=False, title_justify="left")
    for key, value in lines(found).items():
        table.add_row(key, escape(value))
    Console().print(table)


def plain(name: str, found: Description) -> dict[str, Any]:
    """Return all that is known as JSON values."""
    header = asdict(found.header)
    header["model"] = found.header.model.hex()
    header["entropy_mode"] = ENTROPY_MODES[found.header.entropy_mode]
    return {
        "file": name,
        "header": header,
        "total_samples": found.total_samples,
        "duration_s": round(found.duration_s, 6),
        "bytes": found.n_bytes,
        "bits_per_second": round(found.bits_per_second, 3),
        "payload_bits_per_second": round(found.payload_bits_per_second, 3),
        "packets": found.n_packets,
        "lost_packets": found.n_lost,
        "damaged_bytes": found.damaged_bytes,
        "silent_packets": found.n_silent,
        "redundant_packets": found.n_redundant,
        "keyframes": found.n_keyframes,
        "books": {str(n_books): count for n_books, count in found.books.items()},
        "missing": found.missing,
    }


def lines(found: Description) -> dict[str, str]:
    """Return the same in words, a line each."""
    header = found.header
    frame_ms = 1000 * header.frame_samples / header.sample_rate
    file_rate = 8 * found.n_bytes / found.duration_s if found.duration_s else 0.0
    every = f"every {header.keyframe_every} packets at least"
    payload = f"{found.payload_bits_per_second:.0f} of them payload"
    losses = f"{found.n_lost} of {found.n_packets} packets lost, {found.damaged_bytes} bytes damaged"
    return {
        "length": f"{found.duration_s:.2f} s at {header.sample_rate} Hz",
        "packets": f"{found.n_packets} of {header.frames_per_packet} frames of {frame_ms:g} ms",
        "bits per second": f"{found.bits_per_second:.0f} in packets, {payload}",
        "file": f"{found.n_bytes} bytes, {file_rate:.0f} bits per second with header and index",
        "entropy coding": ENTROPY_MODES[header.entropy_mode],
        "books": _books(found),
        "keyframes": "every packet" if header.keyframe_every == 1 else f"{found.n_keyframes}, {every}",
        "silence": f"{found.n_silent} packets" if header.dtx else "coded like sound",
        "redundancy": f"in {found.n_redundant} packets" if header.fec else "none",
        "losses": losses if found.n_lost or found.damaged_bytes else "none, all checksums are right",
        "seek index": "yes" if header.has_index else "no",
        "model": header.model.hex(),
        "lacks": found.missing or "nothing",
    }


def _books(found: Description) -> str:
    """How many packets send how many of the books."""
    header = found.header
    counts = ", ".join(f"{n_books} in {count} packets" for n_books, count in found.books.items()) or "none"
    return f"{counts}; {header.books} of {header.bits_per_book} bits at most"
