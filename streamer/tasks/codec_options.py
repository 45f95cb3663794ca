"""What a client asks of a neural codec: what comes out, at which rate, and in what packets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from streamer.audio.formats import MAX_RATE, MIN_RATE, PCM
from streamer.audio.formats import SNC1 as SNC1
from streamer.errors import InvalidRequest

OUTPUTS = (SNC1, *PCM)
ENTROPY_MODES = ("", "raw", "tables", "network", "float")
# A packet's frames are lost together, and wait for each other.
MOST_FRAMES_PER_PACKET = 16
MOST_PACKETS_PER_KEYFRAME = 65535


@dataclass(frozen=True, slots=True)
class CodecOptions:
    """Options of one codec stream, from its config.

    PCM to `snc1` encodes, `snc1` to PCM decodes, `snc1` to `snc1` changes rate, packets or entropy coding without any
    audio in between. `output` is `snc1` or a PCM encoding; "" is `snc1` for audio and `pcm_s16le` for packets. Decoded
    audio has `output_rate` Hz, 0 for the model's own; `predict` has the decoder make up the fine codes that were not
    sent.

    The rest is about packets that are made; where they are made of packets, what is not asked for stays as it comes.
    `bitrate` is that of the codes before entropy coding, in bits per second and one of the model's; 0 is its default.
    A packet holds `frames_per_packet` frames; 0 is 1 in live streams and 5 in files. `entropy` is how codes are
    written: `raw` in fixed width, `tables` by order-1 statistics, `network` by the bundle's integer network, `float`
    by its float network, for a server of the same runtime; "" is `raw`. Entropy coding begins anew every
    `keyframe_every` packets, 0 for a second's worth. `fec` repeats the coarse codes of each packet in the next one,
    `dtx` sends nothing but a mark for frames of silence.
    """

    output: str = ""
    output_rate: int = 0
    bitrate: int = 0
    frames_per_packet: int = 0
    entropy: str = ""
    keyframe_every: int = 0
    fec: bool = False
    dtx: bool = False
    predict: bool = False


def check_codec(codec: CodecOptions, encoding: str) -> None:
    """Raise `InvalidRequest` unless every option is in its range and fits audio or packets in `encoding`."""
    if codec.output not in ("", *OUTPUTS):
        _refuse("output", f"one of {', '.join(OUTPUTS)} or nothing", codec.output)
    if codec.entropy not in ENTROPY_MODES:
        _refuse("entropy", f"one of {', '.join(ENTROPY_MODES[1:])} or nothing", codec.entropy)
    if codec.output_rate and not MIN_RATE <= codec.output_rate <= MAX_RATE:
        _refuse("output_rate", f"0 or a rate from {MIN_RATE} to {MAX_RATE} Hz", codec.output_rate)
    _check_integer("bitrate", codec.bitrate, 1_000_000)
    _check_integer("frames_per_packet", codec.frames_per_packet, MOST_FRAMES_PER_PACKET)
    _check_integer("keyframe_every", codec.keyframe_every, MOST_PACKETS_PER_KEYFRAME)
    if encoding != SNC1 and output_of(codec, encoding) != SNC1:
        _refuse("output", f"{SNC1} for audio in {encoding}", codec.output)
    _check_use(codec, encoding)


def output_of(codec: CodecOptions, encoding: str) -> str:
    """Return the encoding of what comes out of a stream of `encoding`."""
    return codec.output or ("pcm_s16le" if encoding == SNC1 else SNC1)


def _check_use(codec: CodecOptions, encoding: str) -> None:
    """Options that would say nothing are refused: they were meant for another stream."""
    makes_packets = output_of(codec, encoding) == SNC1
    of_packets = ("bitrate", "frames_per_packet", "entropy", "keyframe_every", "fec", "dtx")
    useless = ("output_rate", "predict") if makes_packets else of_packets
    for name in useless:
        if getattr(codec, name):
            made = "packets" if makes_packets else "audio"
            raise InvalidRequest(f"codec {name}: expected nothing in a stream that makes {made}, got an option")
    if codec.dtx and encoding == SNC1:
        raise InvalidRequest("codec dtx: expected nothing where no audio comes in, got an option")


def _check_integer(name: str, value: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        _refuse(name, f"an integer from 0 to {most}", value)


def _refuse(name: str, expected: str, got: object) -> NoReturn:
    raise InvalidRequest(f"codec {name}: expected {expected}, got {got!r}")
