"""docs/snc1.md says what the reader reads."""

from __future__ import annotations

import re
from pathlib import Path

from streamer.audio import snc1, snc1_chunks
from streamer.audio.snc1 import Header, Packet
from streamer.tasks.bit_packing import unpack
from tests.audio.snc1_streams import read

TEXT = (Path(__file__).parents[2] / "docs" / "snc1.md").read_text(encoding="utf-8")
EXAMPLE = b"".join(
    bytes.fromhex(line.split("#")[0]) for line in re.findall(r"```hex\n(.*?)```", TEXT, re.DOTALL)[0].splitlines()
)


def test_the_example_is_decoded() -> None:
    """To what its comments and the text before it say."""
    header = Header(16000, 320, 12, 10, preskip=480, keyframe_every=50, dtx=True, model=bytes((1, 2, 3, 4, 5, 6, 7, 8)))
    items, reader = read(EXAMPLE, [1])
    assert (reader.header, reader.total_samples, reader.missing) == (header, 160, None)
    assert items[1] == Packet(1, 1, True, True, False, b"")
    first = items[0]
    assert isinstance(first, Packet)
    assert (first.n_books, first.is_keyframe) == (3, True)
    assert unpack(first.payload, 1, 3, 10).tolist() == [[5, 1023, 512]]
    assert "with the codes 5, 1023 and 512, the end after 160 samples" in TEXT


def test_its_layout_is_that_of_the_source() -> None:
    """The places of the header's fields, and the limits."""
    rows = re.findall(r"^\| (\d+) \| (\d+) \| `?(\w[\w ]*)`? \|", TEXT, re.MULTILINE)
    places = [(int(place), int(length)) for place, length, _ in rows]
    assert [sum(length for _, length in places[:number]) for number in range(len(places))] == [
        place for place, _ in places
    ]
    assert sum(length for _, length in places) == snc1.HEADER_BYTES
    for name in re.findall(r"^\| \d+ \| \d+ \| `(\w+)` \|", TEXT, re.MULTILINE):
        assert name in Header.__slots__
    assert f"to {snc1.MAX_HEADER_BYTES:,}: what is behind byte 48 is skipped" in TEXT
    assert f"at most {snc1_chunks.MAX_ENTRIES:,}" in TEXT
    assert f"1 to {snc1.MAX_BOOKS} |" in TEXT
