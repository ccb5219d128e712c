"""How much a file that strangers wrote may unpack to."""

from __future__ import annotations

from pathlib import Path

# Ten times as much as any released weights, and eight times SIDD's validation blocks.
MOST_BYTES = 2**31
# RFC 1951: deflate makes at most 258 bytes out of two bits. A small file has a header and little else.
_RATIO = 1032
_SMALL = 1 << 20


def most_bytes(path: Path) -> int:
    """Give how many bytes a file may unpack to, by its own size; OSError where it cannot be read."""
    return min(MOST_BYTES, _RATIO * path.stat().st_size + _SMALL)
