"""What an audit may cost."""

from __future__ import annotations

import msgspec

INPUTS = ("stored", "screened", "all")
"""Which restored images are used: ``stored``, those in work/restored and what needs no network, and the stated input
restored again to be saved otherwise where stored images leave cells unmatched; ``screened``, others on a few images
first, then on all while the budget lasts; ``all``, every one on every image."""


class AuditSettings(msgspec.Struct, frozen=True):
    """What an audit may cost.

    `inputs`: One of `INPUTS`.
    `budget`: Seconds of restoring with slow methods, per row.
    `seeds`: Seeds of independent noise that are tried with fast methods; slow ones get the first.
    `probe`: Images of a set that a slow making is tried on first.
    """

    inputs: str = "screened"
    budget: float = 180.0
    seeds: int = 3
    probe: int = 4


HELD_OUT = ("b100", "urban100", "manga109", "rain100h")
"""Sets that no audit of the findings sees: a protocol is fixed without them and then tested on them."""
