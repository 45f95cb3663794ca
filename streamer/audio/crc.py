"""The two checksums of SNC1: CRC-32C over headers and chunks (RFC 9260, appendix A), CRC-16 over packets."""

from __future__ import annotations

import binascii

_POLYNOMIAL_32C = 0x82F63B78


def _entry(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ _POLYNOMIAL_32C * (value & 1)
    return value


_TABLE_32C = tuple(_entry(value) for value in range(256))


def crc32c(data: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of `data`."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE_32C[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def crc16(data: bytes) -> int:
    """Return the CRC-16 of `data`: polynomial 0x1021 of CCITT, most significant bit first, from 0xFFFF."""
    return binascii.crc_hqx(data, 0xFFFF)
