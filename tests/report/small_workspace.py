"""A small workspace with everything a report shows: real images restored by plugins, tables with every verdict."""

from __future__ import annotations

import json
from typing import Any

from harness.records.cells import Group
from harness.tables.measurements import Measurement, Measurements
from harness.tables.workspace import Workspace

# What an attacker would put into a name that ends up on a page.
MARKUP = "<script>window.attacked=1</script>\"'><img src=x onerror=window.attacked=2>"

BLUR_TITLE = f"Blur {MARKUP}"

PLUGIN = f"""
import numpy as np
from scipy import ndimage
from harness.methods import method


def blur(side):
    return lambda array: ndimage.uniform_filter(array, (side, side) + (1,) * (array.ndim - 2))


@method("report-blur", tasks=["denoise-rgb"], title={BLUR_TITLE!r}, on="array")
def small(task, level):
    return blur(3)


@method("report-smear", tasks=["denoise-rgb"], title="Smear", on="array")
def large(task, level):
    return blur(5)


@method("report-enlarge", tasks=["sr"], title="Enlarge", on="array")
def enlarge(task, level):
    return lambda array: np.repeat(np.repeat(array, level, axis=0), level, axis=1)
"""

GROUPS = (
    Group("denoise-rgb", "embedded", "awgn-8bit", "noisy", "whole"),
    Group("denoise-rgb", "embedded", "awgn-8bit", "report-blur", "whole"),
    Group("denoise-rgb", "embedded", "awgn-8bit", "report-smear", "whole"),
    Group("sr", "embedded", "bicubic-replicate", "report-enlarge", "whole"),
    Group("sr", "embedded", "bicubic-y8-float", "bicubic-luma", "whole"),
)
LEVELS = {"denoise-rgb": (30, 50), "sr": (2,)}

# A group that has rows and no images, with an image name that must not become markup.
ROWS_ONLY = Group("denoise-rgb", "kodak24", "awgn-8bit", "report-blur", "whole")


def mean(workspace: Workspace, group: Group, level: int, protocol: str) -> float:
    found = Measurements(workspace.work).value(group, level, protocol)
    assert isinstance(found, Measurement)
    return found.value


def write_tables(workspace: Workspace) -> None:
    """Write a table whose printed numbers give every verdict, and one for super-resolution."""
    by_method = {group.method: group for group in GROUPS[:3]}

    def printed(method: str, away: float) -> list[str]:
        return [f"{mean(workspace, by_method[method], level, 'psnr') + away:.2f}" for level in (30, 50)]

    denoising: dict[str, Any] = {
        "name": "report-mine",
        "paper": "panet",
        "title": f"A title {MARKUP}",
        "source": f"A source {MARKUP}",
        "notes": [f"A note {MARKUP}"],
        "parts": [
            {
                "task": "denoise-rgb",
                "degradation": "awgn-8bit",
                "columns": [
                    *({"metric": "psnr", "dataset": "embedded", "level": level} for level in (30, 50)),
                    {"metric": "psnr", "dataset": "kodak24", "level": 50},
                ],
                "rows": [
                    {"name": "Noisy", "method": "noisy", "values": [*printed("noisy", 0.0), "N/A"]},
                    {
                        "name": f"Blur {MARKUP}",
                        "method": "report-blur",
                        "values": [*printed("report-blur", 0.03), "20.00"],
                    },
                    {
                        "name": "Smear",
                        "method": "report-smear",
                        "values": [*(f"**{v}**" for v in printed("report-smear", 1.0)), "N/A"],
                    },
                    {
                        "name": "Blur of others",
                        "method": "report-blur",
                        "incomparable": f"other weights {MARKUP}",
                        "values": [*(f"_{v}_" for v in printed("report-blur", 0.5)), "N/A"],
                    },
                    {"name": "Nobody", "not_run": f"No code {MARKUP}", "values": ["30.00", "28.00", "27.00"]},
                ],
            }
        ],
    }
    enlarging: dict[str, Any] = {
        "name": "report-sr",
        "paper": "",
        "title": "Enlarged",
        "source": "a test",
        "parts": [
            {
                "task": "sr",
                "protocol": {"psnr": "psnr-y-crop"},
                "columns": [{"metric": "psnr", "dataset": "embedded", "level": 2}],
                "rows": [
                    {"name": "Enlarge", "method": "report-enlarge"},
                    {
                        "name": "Bicubic",
                        "method": "bicubic-luma",
                        "degradation": "bicubic-y8-float",
                        "protocol": {"psnr": "psnr-y8-crop"},
                    },
                ],
            }
        ],
    }
    for table in (denoising, enlarging):
        # JSON is YAML.
        (workspace.root / "tables" / f"{table['name']}.yaml").write_text(json.dumps(table))


TABLES = ("report-mine", "report-sr")
