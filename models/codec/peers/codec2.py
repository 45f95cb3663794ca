"""Codec 2 (David Rowe), a vocoder at 8 kHz: Debian's libcodec2 through ctypes."""

import ctypes
from functools import cache, partial

import numpy as np
import soxr

from models.codec.peers.coded import SAMPLE_RATE, Coded, System, frames_of, library, to_float, to_int16

# Of codec2.h, by bits/s.
MODES = {"700C": 8, "1200": 5, "2400": 1, "3200": 0}
_FILE = "libcodec2.so.1.0"
_RATE = 8000
# More than it is late.
_TAIL = 640


def systems() -> list[System]:
    """Codec 2 in each of `MODES`; raises `MissingPeer` without libcodec2."""
    _library()
    return [
        System(f"Codec2 {name}", "Codec2 (8 kHz)", f"{_FILE} {name}", partial(code, mode=mode))
        for name, mode in MODES.items()
    ]


def code(samples: np.ndarray, mode: int) -> Coded:
    """Encode f32[n] at 8 kHz and decode; brought down from 16 kHz, and back up, without a delay."""
    lib = _library()
    state = ctypes.c_void_p(lib.codec2_create(mode))
    bits = lib.codec2_bits_per_frame(state)
    narrow = to_int16(soxr.resample(samples, SAMPLE_RATE, _RATE))
    frames = frames_of(narrow, lib.codec2_samples_per_frame(state), _TAIL)
    packet = ctypes.create_string_buffer((bits + 7) // 8)
    for frame in frames:
        data = frame.ctypes.data_as(ctypes.c_void_p)
        lib.codec2_encode(state, packet, data)
        lib.codec2_decode(state, data, packet)
    lib.codec2_destroy(state)
    wide = soxr.resample(to_float(frames.ravel()), _RATE, SAMPLE_RATE).astype(np.float32)
    return Coded(wide, bits * len(frames))


@cache
def _library() -> ctypes.CDLL:
    lib = library(_FILE, "libcodec2-1.0")
    lib.codec2_create.restype = ctypes.c_void_p
    return lib
