"""What a codec makes of a recording, and how peers are called."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SAMPLE_RATE = 16_000


@dataclass(frozen=True)
class Coded:
    """A recording that went through a codec.

    `samples` is f32[n] at 16 kHz, late by the codec's delay; `payload_bits` are the bits of its packets or frames,
    `wire_bytes` those of the whole stream where the codec has a container of its own, else None.
    """

    samples: np.ndarray
    payload_bits: int
    wire_bytes: int | None = None


@dataclass(frozen=True)
class System:
    """A codec at one rate.

    `key` names codec, rate, settings and version: audio coded under the same key is the same. `family` joins the rates
    of a codec into one line of the plot. `code` takes f32[n] at 16 kHz, and codes it as one stream.
    """

    name: str
    family: str
    key: str
    code: Callable[[np.ndarray], Coded]


class MissingPeer(RuntimeError):
    """A peer is not installed; the message says what to install."""


def library(file: str, package: str) -> ctypes.CDLL:
    """Load a shared library; raises `MissingPeer` naming the Debian package."""
    try:
        return ctypes.CDLL(file)
    except OSError:
        raise MissingPeer(f"expected the library {file}, found none: apt-get install {package}") from None


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Round f32[n] in [-1, 1] to 16 bits."""
    return np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16)


def to_float(samples: np.ndarray) -> np.ndarray:
    """Bring 16 bits to f32[n] in [-1, 1)."""
    return samples.astype(np.float32) / 32768


def frames_of(samples: np.ndarray, length: int, tail: int) -> np.ndarray:
    """Cut [n] into [frames, length]; zeros let at least `tail` samples follow, so that a late decoder gives all."""
    count = -(-(len(samples) + tail) // length)
    return np.pad(samples, (0, count * length - len(samples))).reshape(count, length)
