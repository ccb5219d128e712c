"""Protocols: how restored images become numbers, by name and version.

>>> from harness.protocols import protocol
>>> protocol("ssim-gauss-y8-crop").version
'ssim-gauss.1-y8.1-crop.1'
"""

from harness.metrics.quantization import to_uint8
from harness.protocols.definitions import (
    ALIGNED,
    LUMAS,
    METRICS,
    Protocol,
    ProtocolWord,
    measure_many,
    protocol,
    protocol_grid,
)

__all__ = [
    "ALIGNED",
    "LUMAS",
    "METRICS",
    "Protocol",
    "ProtocolWord",
    "measure_many",
    "protocol",
    "protocol_grid",
    "to_uint8",
]
