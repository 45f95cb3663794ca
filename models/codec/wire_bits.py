"""What the codec costs on the wire: bits of codes and of whole SNC1 streams, by rate, entropy coding and packet."""

from collections.abc import Sequence
from itertools import product

from models.codec.judging import Clip
from models.codec.peers.coded import SAMPLE_RATE
from models.codec.served import ServedCodec, payload_bits
from models.common.evaluation_cache import Cache, digest
from models.common.markdown import table as markdown
from streamer.session.messages import CodecOptions
from streamer.tasks.codec_encode import FILE_FRAMES

_FRAMES_PER_PACKET = (1, FILE_FRAMES)


def measure(clips: Sequence[Clip], served: ServedCodec, cache: Cache) -> list[dict]:
    """Each rate, entropy mode and packet length: `payload_kbps` and `wire_kbps`, pooled over the clips."""
    choices = [*product(served.rates, served.entropy_modes, _FRAMES_PER_PACKET)]
    sizes = [
        cache.get(digest("bits", served.key, choices, clip.samples), lambda clip=clip: _sizes(clip, served, choices))
        for clip in clips
    ]
    seconds = sum(len(clip.samples) for clip in clips) / SAMPLE_RATE
    found = []
    for (rate, entropy, frames), each in zip(choices, zip(*sizes, strict=True), strict=True):
        payload, wire = (sum(column) / seconds / 1000 for column in zip(*each, strict=True))
        found.append({"rate": rate, "entropy": entropy, "frames": frames, "payload_kbps": payload, "wire_kbps": wire})
    return found


def table(found: Sequence[dict]) -> str:
    """A row for each rate, entropy mode and packet length."""
    columns = ("bits/s of codes", "entropy coding", "ms a packet", "payload, kbit/s", "all bytes, kbit/s")
    rows = [
        (
            str(each["rate"]),
            each["entropy"],
            str(20 * each["frames"]),
            f"{each['payload_kbps']:.2f}",
            f"{each['wire_kbps']:.2f}",
        )
        for each in found
    ]
    return markdown(columns, rows)


def _sizes(clip: Clip, served: ServedCodec, choices: Sequence[tuple[int, str, int]]) -> list[tuple[int, int]]:
    sizes = []
    for rate, entropy, frames in choices:
        options = CodecOptions(bitrate=rate, entropy=entropy, frames_per_packet=frames)
        stream = served.packets(clip.samples, options)
        sizes.append((payload_bits(stream), 8 * len(stream)))
    return sizes
