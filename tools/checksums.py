"""Checksums of OTA packages, as ThingsBoard writes them: lower-case hex."""

from __future__ import annotations

import hashlib
import zlib

ALGORITHMS = ("MD5", "SHA256", "SHA384", "SHA512", "CRC32", "MURMUR3_32", "MURMUR3_128")


def checksum(algorithm: str, data: bytes) -> str:
    """The checksum of the data; ValueError for an algorithm that ThingsBoard does not have."""
    if algorithm not in ALGORITHMS:
        raise ValueError(f"no checksum algorithm {algorithm}")
    if algorithm == "CRC32":
        return zlib.crc32(data).to_bytes(4, "little").hex()  # Guava writes numbers from their lowest byte on
    if algorithm.startswith("MURMUR3"):
        import mmh3

        if algorithm == "MURMUR3_128":
            return mmh3.hash_bytes(data).hex()
        return mmh3.hash(data, signed=False).to_bytes(4, "little").hex()
    return hashlib.new(algorithm.lower(), data).hexdigest()
