"""Compressed audio for tests, written by libsndfile and PyAV, and streams that no encoder would write, page by page."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator, Sequence

import av
import numpy as np
import soundfile

OPUS_HEAD = struct.pack("<8sBBHIHB", b"OpusHead", 1, 1, 312, 48000, 0, 0)
OPUS_TAGS = b"OpusTags" + struct.pack("<I", 4) + b"test" + struct.pack("<I", 0)
# Opus of 120 ms in two bytes: two frames of 60 ms, each of no bytes, which stands for silence (RFC 6716, 3.2.5).
OPUS_SILENCE = b"\x1b\x02"
PACKET_SAMPLES = 5760


def speech(n: int, rate: int = 16000, seed: int = 0) -> np.ndarray:
    """Noise and a tone that come and go, float32 `[n]`: no block of it is like another."""
    random = np.random.default_rng(seed)
    time = np.arange(n) / rate
    loudness = 0.5 + 0.5 * np.sin(2 * np.pi * 3 * time)
    signal = 0.3 * np.sin(2 * np.pi * 440 * time) + 0.1 * random.standard_normal(n)
    return np.clip(loudness * signal, -1, 1).astype(np.float32)


def flac(samples: np.ndarray, rate: int, subtype: str = "PCM_16") -> bytes:
    data = io.BytesIO()
    soundfile.write(data, samples, rate, format="FLAC", subtype=subtype)
    return data.getvalue()


def opus(samples: np.ndarray, rate: int = 48000) -> bytes:
    data = io.BytesIO()
    soundfile.write(data, samples, rate, format="OGG", subtype="OPUS")
    return data.getvalue()


def decoded(data: bytes) -> np.ndarray:
    """What libsndfile makes of a file: mono float32 `[n]`, clipped."""
    samples = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0]
    return np.clip(samples.mean(axis=1, dtype=np.float32), -1, 1)


def container(form: str, codec: str, samples: np.ndarray, rate: int, **options: str) -> bytes:
    """A file of PyAV's muxer `form` with samples `[n]` or `[channels, n]` in `codec`."""
    data = io.BytesIO()
    layout = "stereo" if samples.ndim == 2 else "mono"
    with av.open(data, "w", format=form, options=options) as file:
        stream = file.add_stream(codec, rate=rate, layout=layout)
        resampler = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=rate)
        for frame in [*_frames(np.atleast_2d(samples), rate, layout), None]:
            for ready in resampler.resample(frame):
                file.mux(stream.encode(ready))
        file.mux(stream.encode(None))
    return data.getvalue()


def _frames(samples: np.ndarray, rate: int, layout: str) -> Iterator[av.AudioFrame]:
    for start in range(0, samples.shape[1], 1024):
        part = np.ascontiguousarray(samples[:, start : start + 1024])
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, start
        yield frame


def page(packets: Sequence[bytes], sequence: int, granule: int, flags: int = 0, serial: int = 7) -> bytes:
    """An Ogg page of whole packets shorter than 255 bytes."""
    lengths = bytes(len(packet) for packet in packets)
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, granule, serial, sequence, 0, len(lengths))
    blank = head + lengths + b"".join(packets)
    return blank[:22] + struct.pack("<I", _ogg_crc(blank)) + blank[26:]


def opus_pages(counts: Iterable[int], packet: bytes = OPUS_SILENCE, origin: int = 0) -> list[bytes]:
    """A stream of silence: two pages of headers, then one of so many packets for each of `counts`."""
    pages = [page([OPUS_HEAD], 0, 0, flags=2), page([OPUS_TAGS], 1, 0)]
    granule = origin
    for count in counts:
        granule += count * PACKET_SAMPLES
        pages.append(page([packet] * count, len(pages), granule))
    return pages


def silent_flac(n_blocks: int, rate: int = 8000, block: int = 65535) -> bytes:
    """Silence in blocks of a constant: `block` samples take some fifteen bytes."""
    info = struct.pack(">HH6sQ16s", block, block, bytes(6), rate << 44 | 15 << 36, bytes(16))
    return b"fLaC\x80\0\0\x22" + info + b"".join(_silent_block(number, block) for number in range(n_blocks))


def _silent_block(number: int, block: int) -> bytes:
    # Block size in the header (7), rate of the stream (0), one channel (0), 16 bits (4).
    header = b"\xff\xf8\x70\x08" + _coded(number) + struct.pack(">H", block - 1)
    frame = header + bytes([_crc(header, 0x07, 8)]) + b"\0\0\0"
    return frame + struct.pack(">H", _crc(frame, 0x8005, 16))


def _coded(number: int) -> bytes:
    return chr(number).encode("utf-8", "surrogatepass")


def _ogg_crc(data: bytes) -> int:
    return _crc(data, 0x04C11DB7, 32)


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    """The definition, bit by bit."""
    value, top, mask = 0, 1 << bits - 1, (1 << bits) - 1
    for byte in data:
        value ^= byte << bits - 8
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
    return value
