"""Applying a network to images: whole, in the papers' tiles (chop), and as a self-ensemble (x8)."""

from __future__ import annotations

from harness.inference.chop import CHOP_RULES, ChopRule, chop, chop_rule, tile_shape
from harness.inference.ensemble import self_ensemble
from harness.inference.policies import POLICIES, Policy, policy, restore
from harness.inference.sizes import whole

__all__ = [
    "CHOP_RULES",
    "POLICIES",
    "ChopRule",
    "Policy",
    "chop",
    "chop_rule",
    "policy",
    "restore",
    "self_ensemble",
    "tile_shape",
    "whole",
]
