"""The way of coded packets from a stream's bytes to its task: what `Hearing` and `Intake` are for audio."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from streamer.audio.snc1 import Lost, Packet
from streamer.audio.snc1_reader import PacketReader
from streamer.errors import InvalidRequest
from streamer.session.limits import SessionSettings, check_bytes, check_pace
from streamer.session.messages import Audio, Config, Warning
from streamer.tasks.codec_work import Arrival


class PacketHearing:
    """Reads the packets of one stream. What they stand for is held to the pace of live audio."""

    def __init__(self, config: Config, settings: SessionSettings) -> None:
        self._config = config
        self._settings = settings
        self._reader = PacketReader()
        self._received_bytes = 0

    def take(self, message: Audio, received: int, elapsed_s: float) -> list[Arrival]:
        """Return what a message adds to `received` samples at the age `elapsed_s`.

        Raises `InvalidRequest`, `MessageTooLarge` or `TooFast`.
        """
        check_bytes(message, self._settings)
        if message.first_sample is not None:
            raise InvalidRequest(f"expected no first_sample with encoding snc1, got {message.first_sample}")
        self._received_bytes += len(message.data)
        return self._gathered(self._reader.feed(message.data), received, elapsed_s)

    def settle(self, received: int, elapsed_s: float) -> list[Arrival]:
        """Return the packets that waited for more bytes, and the end: no bytes follow."""
        rest = self._gathered(self._reader.finish(), received, elapsed_s)
        return [*rest, Arrival(self._reader.header, total_samples=self._reader.total_samples, is_end=True)]

    def truncation(self) -> Warning | None:
        """Say what the stream lacks at its end: what was heard until then stands.

        Raises `InvalidRequest` when there was something, and not as much as a header.
        """
        missing = self._reader.missing if self._received_bytes else None
        if missing is None:
            return None
        if self._reader.header is None:
            raise InvalidRequest(f"snc1 stream is truncated, it lacks {missing}")
        return Warning("truncated_audio", f"snc1 stream is truncated, it lacks {missing}")

    def _gathered(self, items: Iterable[Packet | Lost], received: int, elapsed_s: float) -> list[Arrival]:
        arrivals: list[Arrival] = []
        lost = 0
        for item in items:
            if isinstance(item, Lost):
                lost += item.n_packets
                continue
            arrived = [*self._lost(lost, item), self._arrival(item)]
            received += sum(map(_samples, arrived))
            arrivals += arrived
            lost = 0
            self._check(received, elapsed_s)
        arrivals += (at_end := self._lost(lost, None))
        self._check(received + sum(map(_samples, at_end)), elapsed_s)
        return arrivals

    def _lost(self, n_packets: int, rescuer: Packet | None) -> list[Arrival]:
        """Packets that did not arrive; the one after them may repeat the last of them."""
        # A few bytes may tell of thousands, so they are not listed.
        alike = [self._arrival(None, count=n_packets - 1)] if n_packets > 1 else []
        return [*alike, self._arrival(None, rescuer)] if n_packets else []

    def _arrival(self, packet: Packet | None, rescuer: Packet | None = None, count: int = 1) -> Arrival:
        return Arrival(self._reader.header, packet, rescuer, self._reader.total_samples, count=count)

    def _check(self, received: int, elapsed_s: float) -> None:
        header = self._reader.header
        if header is None:
            return
        if header.sample_rate != self._config.sample_rate:
            raise InvalidRequest(
                f"expected sample_rate {header.sample_rate}, which the snc1 header says, got {self._config.sample_rate}"
            )
        check_pace(received, self._config, elapsed_s, self._settings)


class PacketIntake:
    """A queue of packets, which knows for each the samples it stands for, and when it came.

    The surface is that of `Intake`. Positions are samples, which are those of the wire: the header has their rate.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[Arrival, float]] = deque()
        # How many packets of the first of them are done with.
        self._done = 0
        self._received = 0
        self._start = 0

    @property
    def received(self) -> int:
        """Samples taken in."""
        return self._received

    @property
    def hold_back_samples(self) -> int:
        """Packets wait for nothing."""
        return 0

    @property
    def processed(self) -> int:
        """Samples of the packets that are done with."""
        return self._start

    @property
    def position(self) -> int:
        """Position after the last packet."""
        return self._received

    @property
    def start(self) -> int:
        """Position of the next packet."""
        return self._start

    @property
    def next_end(self) -> int:
        """Position after the next packet; while there is none, behind all that came."""
        return self._start + (_packet_samples(self._waiting[0][0]) if self._waiting else 1)

    @property
    def end(self) -> int:
        """Position after the last packet."""
        return self._received

    @property
    def complete_at(self) -> float | None:
        """When the next packet came; None when there is none."""
        return self._waiting[0][1] if self._waiting else None

    @property
    def is_padded(self) -> bool:
        """Nothing is made up between packets."""
        return False

    def take(self, arrivals: Sequence[Arrival], now: float) -> None:
        """Take in packets."""
        self._waiting.extend((arrival, now) for arrival in arrivals)
        self._received += sum(map(_samples, arrivals))

    def flush(self, n_zeros: int, now: float) -> int:
        """Packets are not padded; returns the position after the last one."""
        return self._received

    def peek(self) -> Arrival | None:
        """Return the next packet, or None when there is none."""
        return self._waiting[0][0] if self._waiting else None

    def advance(self) -> None:
        """The next packet is done with."""
        arrival, _ = self._waiting[0]
        self._start += _packet_samples(arrival)
        self._done += 1
        if self._done == arrival.count:
            self._waiting.popleft()
            self._done = 0

    def to_wire(self, position: int) -> int:
        """Return the wire sample of a position, which is the same."""
        return position

    def forget(self, position: int) -> None:
        """Nothing is remembered."""


def _samples(arrival: Arrival) -> int:
    return arrival.count * _packet_samples(arrival)


def _packet_samples(arrival: Arrival) -> int:
    return 0 if arrival.is_end or arrival.header is None else arrival.header.packet_samples
