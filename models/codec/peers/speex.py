"""Speex, wideband, at a constant quality: Debian's libspeex through ctypes."""

import ctypes
from functools import cache, partial

import numpy as np

from models.codec.peers.coded import Coded, System, frames_of, library, to_float, to_int16

QUALITIES = (0, 2, 4)
_WIDEBAND = 1
_FRAME = 320
_SET_ENHANCEMENT, _SET_QUALITY, _SET_COMPLEXITY = 0, 4, 16
_GET_VERSION_STRING = 9
_LONGEST_PACKET = 200
# More than encoder and decoder together are late, about 23 ms.
_TAIL = 640


def systems() -> list[System]:
    """Speex-WB at each of `QUALITIES`; raises `MissingPeer` without libspeex."""
    return [
        System(f"Speex-WB q{quality}", "Speex-WB", f"{version()} wb q{quality}", partial(code, quality=quality))
        for quality in QUALITIES
    ]


def version() -> str:
    """What the library calls itself."""
    text = ctypes.c_char_p()
    _library().speex_lib_ctl(_GET_VERSION_STRING, ctypes.byref(text))
    return f"libspeex {(text.value or b'').decode()}"


def code(samples: np.ndarray, quality: int) -> Coded:
    """Encode f32[n] at complexity 10, decode with the perceptual enhancement on; packets are whole bytes."""
    lib, bits = _library(), _Bits()
    lib.speex_bits_init(ctypes.byref(bits))
    mode = ctypes.c_void_p(lib.speex_lib_get_mode(_WIDEBAND))
    encoder = ctypes.c_void_p(lib.speex_encoder_init(mode))
    decoder = ctypes.c_void_p(lib.speex_decoder_init(mode))
    for request, value in {_SET_QUALITY: quality, _SET_COMPLEXITY: 10}.items():
        lib.speex_encoder_ctl(encoder, request, ctypes.byref(ctypes.c_int(value)))
    lib.speex_decoder_ctl(decoder, _SET_ENHANCEMENT, ctypes.byref(ctypes.c_int(1)))
    frames = frames_of(to_int16(samples), _FRAME, _TAIL)
    packet = ctypes.create_string_buffer(_LONGEST_PACKET)
    sizes = []
    for frame in frames:
        data = frame.ctypes.data_as(ctypes.c_void_p)
        lib.speex_bits_reset(ctypes.byref(bits))
        lib.speex_encode_int(encoder, data, ctypes.byref(bits))
        sizes.append(lib.speex_bits_write(ctypes.byref(bits), packet, _LONGEST_PACKET))
        lib.speex_bits_read_from(ctypes.byref(bits), packet, sizes[-1])
        if lib.speex_decode_int(decoder, ctypes.byref(bits), data) != 0:
            raise RuntimeError("libspeex could not decode its own packet")
    lib.speex_encoder_destroy(encoder)
    lib.speex_decoder_destroy(decoder)
    lib.speex_bits_destroy(ctypes.byref(bits))
    return Coded(to_float(frames.ravel()), 8 * sum(sizes))


class _Bits(ctypes.Structure):
    # SpeexBits of speex_bits.h; only the library looks inside.
    _fields_ = (("chars", ctypes.c_void_p), ("numbers", ctypes.c_int * 7), ("reserved", ctypes.c_void_p))


@cache
def _library() -> ctypes.CDLL:
    lib = library("libspeex.so.1", "libspeex1")
    for function in (lib.speex_lib_get_mode, lib.speex_encoder_init, lib.speex_decoder_init):
        function.restype = ctypes.c_void_p
    return lib
