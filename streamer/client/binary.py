"""Binary frames of a server: packets of a codec, or decoded audio. Frames are bare, so positions are counted here."""

from __future__ import annotations

from streamer.audio.snc1_reader import PacketReader
from streamer.client.formats import BYTES_PER_SAMPLE, SNC1, TEXT
from streamer.session.messages import AudioOut, Config, Packets


class BinaryFrames:
    """Turns the binary frames of one stream into messages; what they hold follows from its `config`."""

    def __init__(self, config: Config) -> None:
        self._rate = config.sample_rate
        if config.encoding == TEXT:
            output = config.synthesis.output_encoding or "pcm_s16le"
        else:
            output = config.codec.output or ("pcm_s16le" if config.encoding == SNC1 else SNC1)
        # None: packets.
        self._sample_bytes = BYTES_PER_SAMPLE.get(output)
        self._packets = PacketReader()
        self._said = 0

    def message(self, data: bytes) -> Packets | AudioOut:
        """Return the message of the next frame; raises `InvalidRequest` for packets that are none."""
        first = self._said
        if self._sample_bytes is not None:
            self._said += len(data) // self._sample_bytes
            return AudioOut(data, first)
        for _ in self._packets.feed(data):
            pass
        self._said = self._coded_samples()
        return Packets(data, first, self._said - first)

    def _coded_samples(self) -> int:
        """Wire samples that all packets so far stand for, as far as the audio goes."""
        header, total = self._packets.header, self._packets.total_samples
        if header is None:
            return 0
        samples = self._packets.n_packets * header.packet_samples
        return min(samples, samples if total is None else total) * self._rate // header.sample_rate
