"""A range coder in pure integers, for the codes of one packet: exact on every machine.

Subbotin's and Schindler's construction with carries (G. N. N. Martin, "Range encoding", 1979): 32 bits, leaving by
bytes. All frequencies are relative to a total of 2^16.
"""

from __future__ import annotations

from streamer.errors import InvalidRequest, ModelFault
from streamer.work import Array

TOTAL_BITS = 16
TOTAL = 1 << TOTAL_BITS
_BOTTOM = 1 << 24
_MASK = (1 << 32) - 1


class RangeEncoder:
    """Writes symbols, each as the interval `[cumulative, cumulative + frequency)` of `TOTAL`."""

    def __init__(self) -> None:
        # The interval that the symbols so far leave, less the bytes of `_low` that are out.
        self._low = 0
        self._range = 1 << 32
        self._out = bytearray()

    def encode(self, cumulative: int, frequency: int) -> None:
        """Append the symbol with this interval; raises `ModelFault` where it is empty or leaves `TOTAL`."""
        _check(cumulative, frequency)
        step = self._range >> TOTAL_BITS
        self._low += step * cumulative
        # The last symbol gets what the division left over.
        self._range = self._range - step * cumulative if cumulative + frequency == TOTAL else step * frequency
        if self._low > _MASK:
            self._carry()
        while self._range < _BOTTOM:
            self._out.append(self._low >> 24)
            self._low = self._low << 8 & _MASK
            self._range <<= 8

    def _carry(self) -> None:
        self._low &= _MASK
        place = len(self._out) - 1
        while self._out[place] == 0xFF:
            self._out[place] = 0
            place -= 1
        self._out[place] += 1

    def finish(self) -> bytes:
        """Return the shortest bytes that a decoder, which reads zeros after their end, decodes to the same symbols."""
        # All bytes that are out, and one carried into them, if that lies in the interval. Or one byte more: there is
        # always one, because the range is at least 2^24.
        end = -(-self._low >> 32) << 32
        if end >= self._low + self._range:
            end = -(-self._low >> 24) << 24
        self._low = end
        if end > _MASK:
            self._carry()
        self._out.append(self._low >> 24)
        return bytes(self._out.rstrip(b"\0"))


def encode_intervals(begins: Array, sizes: Array) -> bytes:
    """Return the symbols whose intervals `begins` and `sizes` tell, int arrays of any one shape, in C order."""
    encoder = RangeEncoder()
    for begin, size in zip(begins.ravel().tolist(), sizes.ravel().tolist(), strict=True):
        encoder.encode(begin, size)
    return encoder.finish()


class RangeDecoder:
    """Reads the symbols of `data` in the order in which they were written."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 4
        self._range = 1 << 32
        # How far the number that the bytes make lies in the interval.
        self._code = int.from_bytes(data[:4].ljust(4, b"\0"), "big")
        self._step = 0

    def target(self) -> int:
        """Return a number from 0 to `TOTAL` - 1 that lies in the interval of the next symbol."""
        self._step = self._range >> TOTAL_BITS
        return min(self._code // self._step, TOTAL - 1)

    def consume(self, cumulative: int, frequency: int) -> None:
        """Go on behind the symbol with this interval, in which the last `target` lies."""
        _check(cumulative, frequency)
        self._code -= self._step * cumulative
        is_last = cumulative + frequency == TOTAL
        self._range = self._range - self._step * cumulative if is_last else self._step * frequency
        while self._range < _BOTTOM:
            byte = self._data[self._place] if self._place < len(self._data) else 0
            self._place += 1
            self._code = self._code << 8 | byte
            self._range <<= 8

    def symbol(self, bounds: Array) -> int:
        """Return the next symbol, of intervals that begin and end at `bounds` int `[symbols + 1]`, from 0 to 2^16."""
        found = int(bounds.searchsorted(self.target(), side="right")) - 1
        begin = int(bounds[found])
        self.consume(begin, int(bounds[found + 1]) - begin)
        return found

    def finish(self) -> None:
        """Raise `InvalidRequest` unless the bytes end as an encoder ends them after the symbols that were read.

        That takes no bytes, and sees about half of the payloads that were written with other frequencies: who decodes
        with another model notices within a few packets.
        """
        # The encoder's last byte is the first of the four that the decoder has read ahead.
        used = self._place - 3
        if len(self._data) > used or (len(self._data) == used and self._code >= _BOTTOM):
            raise InvalidRequest("payload does not end where its codes do")


def _check(cumulative: int, frequency: int) -> None:
    # Of a symbol of no probability, neither side would find an end.
    if not 0 < frequency <= TOTAL - cumulative or cumulative < 0:
        raise ModelFault(f"expected the interval of a code within {TOTAL}, got {frequency} from {cumulative}")
