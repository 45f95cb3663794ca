"""Opus (RFC 6716) at a constant bitrate in frames of 20 ms: Debian's libopus through ctypes."""

import ctypes
from collections.abc import Sequence
from functools import cache, partial

import numpy as np

from models.codec.peers.coded import SAMPLE_RATE, Coded, System, frames_of, library, to_float, to_int16

RATES = (6000, 8000, 12000)
FRAME = 320
_VOIP = 2048
_SIGNAL_VOICE = 3001
_SET_BITRATE, _SET_VBR, _SET_COMPLEXITY, _SET_FEC, _SET_LOSS, _SET_SIGNAL = 4002, 4006, 4010, 4012, 4014, 4024
_LONGEST_PACKET = 1275
# More than its look-ahead of 6.5 ms.
_TAIL = 160


def systems() -> list[System]:
    """Opus at each of `RATES`; raises `MissingPeer` without libopus."""
    return [
        System(f"Opus {rate // 1000}", "Opus", f"{version()} cbr {rate} voip", partial(code, rate=rate))
        for rate in RATES
    ]


def version() -> str:
    """What the library calls itself."""
    return str(_library().opus_get_version_string().decode())


def code(samples: np.ndarray, rate: int, lost: Sequence[bool] = (), expected_loss: int = 0) -> Coded:
    """Encode f32[n] at `rate` bits/s and decode what is left of it.

    `lost` marks frames that do not arrive. With `expected_loss` per cent, the encoder adds its own forward error
    correction (LBRR), within the same rate, and a lost frame whose successor arrives is taken from that.
    """
    packets = encode(samples, rate, expected_loss)
    arrived = [None if i < len(lost) and lost[i] else packet for i, packet in enumerate(packets)]
    return Coded(decode(arrived, bool(expected_loss)), 8 * sum(map(len, packets)))


def encode(samples: np.ndarray, rate: int, expected_loss: int) -> list[bytes]:
    """The packets of f32[n], one each 20 ms."""
    lib, error = _library(), ctypes.c_int()
    encoder = ctypes.c_void_p(lib.opus_encoder_create(SAMPLE_RATE, 1, _VOIP, ctypes.byref(error)))
    settings = {_SET_BITRATE: rate, _SET_VBR: 0, _SET_COMPLEXITY: 10, _SET_SIGNAL: _SIGNAL_VOICE}
    fec = {_SET_FEC: 1, _SET_LOSS: expected_loss} if expected_loss else {}
    for request, value in (settings | fec).items():
        _succeed(lib.opus_encoder_ctl(encoder, request, ctypes.c_int(value)))
    packet = ctypes.create_string_buffer(_LONGEST_PACKET)
    packets = []
    for frame in frames_of(to_int16(samples), FRAME, _TAIL):
        size = lib.opus_encode(encoder, frame.ctypes.data_as(ctypes.c_void_p), FRAME, packet, _LONGEST_PACKET)
        packets.append(packet.raw[: _succeed(size)])
    lib.opus_encoder_destroy(encoder)
    return packets


def decode(packets: Sequence[bytes | None], fec: bool) -> np.ndarray:
    """Decode packets, None where one was lost, to f32[320 x packets]."""
    lib, error = _library(), ctypes.c_int()
    decoder = ctypes.c_void_p(lib.opus_decoder_create(SAMPLE_RATE, 1, ctypes.byref(error)))
    frames = np.zeros((len(packets), FRAME), np.int16)
    for frame, packet, following in zip(frames, packets, [*packets[1:], None], strict=True):
        repaired = packet is None and fec and following is not None
        data = following if repaired else packet
        out = frame.ctypes.data_as(ctypes.c_void_p)
        _succeed(lib.opus_decode(decoder, data, len(data or b""), out, FRAME, int(repaired)))
    lib.opus_decoder_destroy(decoder)
    return to_float(frames.ravel())


@cache
def _library() -> ctypes.CDLL:
    lib = library("libopus.so.0", "libopus0")
    lib.opus_get_version_string.restype = ctypes.c_char_p
    lib.opus_encoder_create.restype = lib.opus_decoder_create.restype = ctypes.c_void_p
    return lib


def _succeed(status: int) -> int:
    if status < 0:
        raise RuntimeError(f"libopus answered with error {status}")
    return status
