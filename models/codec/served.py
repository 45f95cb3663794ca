"""The codec as it is served: streams of a host in this process, from audio to SNC1 packets and back."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from models.codec.peers.coded import SAMPLE_RATE, Coded, System
from models.common.evaluation_cache import digest
from streamer.audio.snc1 import ENTROPY_MODES, Packet, encode_header, encode_packet
from streamer.audio.snc1_chunks import encode_end
from streamer.audio.snc1_reader import PacketReader
from streamer.bundle.loader import Bundle, load_bundle
from streamer.config import EngineSection, Settings
from streamer.host.assemble import running_host
from streamer.host.host import Host
from streamer.host.stream import Stream
from streamer.session.messages import Audio, AudioOut, CodecOptions, Config, End, Packets
from streamer.tasks.codec import CodecModel
from streamer.tasks.codec_encode import FILE_FRAMES
from streamer.tasks.codec_options import MOST_FRAMES_PER_PACKET

FAMILY = "ours"
OURS = {FAMILY: "raw", f"{FAMILY} (network)": "network"}
"""Families of ours, and how their codes are written: what is heard is the same."""
_MESSAGE_BYTES = 1 << 16


class ServedCodec:
    """A codec's bundle behind a host; made by `serving`. `key` tells bundles apart."""

    def __init__(self, host: Host, bundle: Bundle, runner: asyncio.Runner) -> None:
        self.key = f"snc1 {bundle.digest}"
        model = CodecModel.of(bundle.manifest, bundle.folder)
        if model is None:
            raise ValueError(f"expected the bundle of a codec, got {bundle.key}")
        self.rates = tuple(sorted(model.rates))
        self.entropy_modes = tuple(ENTROPY_MODES[mode] for mode in sorted(model.fingerprints))
        self._host = host
        self._bundle = bundle.manifest.name
        self._runner = runner
        self._whole: dict[str, bytes] = {}

    def systems(self) -> list[System]:
        """The codec at each of its rates, in packets as files have them, codes raw and then by the entropy network."""
        return [
            System(f"{family} {rate / 1000:g}", family, f"{self.key} {options}", partial(self.code, options))
            for family, entropy in OURS.items()
            if entropy in self.entropy_modes
            for rate in self.rates
            for options in [CodecOptions(bitrate=rate, frames_per_packet=FILE_FRAMES, entropy=entropy)]
        ]

    def code(self, options: CodecOptions, samples: np.ndarray) -> Coded:
        """Make packets of f32[n], count the bits, decode."""
        stream = self.packets(samples, options)
        return Coded(self.decode(stream), payload_bits(stream), len(stream))

    def packets(self, samples: np.ndarray, options: CodecOptions) -> bytes:
        """The SNC1 stream of f32[n], as `encode` makes it, but the audio is encoded once for all rates and packets.

        The rest is transcoded, which drops books and packs codes anew: name the rate and the frames of a packet.
        """
        key = digest(samples)
        if key not in self._whole:
            top = CodecOptions(bitrate=max(self.rates), frames_per_packet=MOST_FRAMES_PER_PACKET)
            self._whole[key] = self.encode(samples, top)
        return self.transcode(self._whole[key], options)

    def encode(self, samples: np.ndarray, options: CodecOptions) -> bytes:
        """The SNC1 stream of f32[n] at 16 kHz; raises the `StreamerError` of the stream."""
        config = Config("pcm_f32le", SAMPLE_RATE, 1, task="codec", model=self._bundle, mode="file", codec=options)
        return self._runner.run(self._answer(config, np.asarray(samples, "<f4").tobytes(), Packets))

    def decode(self, stream: bytes) -> np.ndarray:
        """The audio f32[n] at 16 kHz of an SNC1 stream; raises the `StreamerError` of the stream."""
        options = CodecOptions(output="pcm_f32le")
        config = Config("snc1", SAMPLE_RATE, 1, task="codec", model=self._bundle, mode="file", codec=options)
        return np.frombuffer(self._runner.run(self._answer(config, stream, AudioOut)), "<f4")

    def transcode(self, stream: bytes, options: CodecOptions) -> bytes:
        """The same codes, or fewer books of them, in packets as `options` say; raises the `StreamerError`."""
        options = replace(options, output="snc1")
        config = Config("snc1", SAMPLE_RATE, 1, task="codec", model=self._bundle, mode="file", codec=options)
        return self._runner.run(self._answer(config, stream, Packets))

    async def _answer(self, config: Config, data: bytes, kind: type[Packets] | type[AudioOut]) -> bytes:
        stream, answers = self._host.connect(), []
        sender = asyncio.create_task(_send(stream, config, data))
        try:
            while (message := await stream.receive()) is not None:
                if isinstance(message, kind):
                    answers.append(message.data)
            await sender
        finally:
            sender.cancel()
            stream.abort()
            await asyncio.gather(sender, return_exceptions=True)
        return b"".join(answers)


@contextmanager
def serving(bundle: Path) -> Iterator[ServedCodec]:
    """Serve one bundle in this process while the context lasts; raises `BundleError` if it cannot be."""
    settings = Settings(models=(bundle.name,), bundle_path=(bundle.resolve().parent,), engine=EngineSection(workers=1))
    with asyncio.Runner() as runner:
        hosting = running_host(settings)
        host = runner.run(hosting.__aenter__())
        try:
            yield ServedCodec(host, load_bundle(bundle), runner)
        finally:
            runner.run(hosting.__aexit__(None, None, None))


def payload_bits(stream: bytes) -> int:
    """Bits of the payloads of all packets of an SNC1 stream: codes and repeated codes, no headers and checksums."""
    return 8 * sum(len(packet.payload) for packet in _packets(stream)[1])


def without(stream: bytes, lost: Sequence[bool]) -> bytes:
    """An SNC1 stream as it is when the packets that `lost` marks did not arrive; how long it was stays known."""
    reader, packets = _packets(stream)
    kept = [packet for index, packet in enumerate(packets) if not (index < len(lost) and lost[index])]
    header = encode_header(replace(reader.header, has_index=False))
    end = b"" if reader.header.total_samples is not None else encode_end(reader.total_samples)
    return header + end + b"".join(map(encode_packet, kept))


def _packets(stream: bytes) -> tuple[PacketReader, list[Packet]]:
    reader = PacketReader()
    items = [*reader.feed(stream), *reader.finish()]
    if reader.missing or any(not isinstance(item, Packet) for item in items):
        raise ValueError(f"expected a whole stream, got one without {reader.missing or 'some packets'}")
    return reader, items


async def _send(stream: Stream, config: Config, data: bytes) -> None:
    await stream.send(config)
    for start in range(0, len(data), _MESSAGE_BYTES):
        await stream.send(Audio(data[start : start + _MESSAGE_BYTES]))
    await stream.send(End())
