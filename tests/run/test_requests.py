"""Which cells a table asks for."""

from __future__ import annotations

import msgspec
import pytest

from harness.errors import HarnessError
from harness.methods import Method
from harness.records.loading import convert
from harness.tables.published import CellNote, Table, select
from harness.tables.requests import plans, requests

METHODS = {
    "jpeg": Method("jpeg", ("jpeg",), lambda task, level: None),  # type: ignore[arg-type,return-value]
    "net": Method("net", ("jpeg", "sr"), lambda task, level: None, policy="chop"),  # type: ignore[arg-type,return-value]
    "kit-k4-h2": Method("kit-k4-h2", ("denoise-real",), lambda task, level: None),  # type: ignore[arg-type,return-value]
}


def table(**changes: object) -> Table:
    plain = {
        "name": "doe-table1",
        "paper": "doe",
        "title": "t",
        "source": "s",
        "parts": [
            {
                "task": "jpeg",
                "protocol": {"psnr": "psnr", "ssim": "ssim-gauss"},
                "columns": [
                    {"dataset": "live1", "level": 10, "metric": "psnr"},
                    {"dataset": "live1", "level": 10, "metric": "ssim"},
                    {"dataset": "classic5", "level": 20, "metric": "psnr"},
                ],
                "rows": [
                    {
                        "name": "JPEG",
                        "method": "jpeg",
                        "values": ["27.77", "0.79", "30.1"],
                        "protocol": {"ssim": "ssim-8x8"},
                    },
                    {
                        "name": "Net",
                        "method": "net",
                        "values": ["29.0", "N/A", "31.0"],
                        "incomparable": "retrained",
                        "cells": {"classic5/20/psnr": {"incomparable": "other images"}},
                    },
                    {"name": "Lost", "method": "lost", "values": ["1.0", "0.5", "1.0"]},
                    {"name": "Old", "values": ["1.0", "0.5", "1.0"], "not_run": "no code"},
                ],
            }
        ],
    } | changes
    return convert(plain, Table, "test")


def test_requests_of_a_table() -> None:
    found = {(r.row, r.key): r for r in requests(table(), METHODS)}
    assert len(found) == 12
    jpeg = found["JPEG", "live1/10/ssim"]
    assert (jpeg.protocol, jpeg.column_protocol) == ("ssim-8x8", "ssim-gauss")
    assert jpeg.group is not None
    assert (jpeg.group.degradation, jpeg.group.policy) == ("jpeg-y8", "whole")
    net = found["Net", "live1/10/psnr"]
    assert net.group is not None
    assert net.group.policy == "chop"
    assert net.special.incomparable == "retrained"
    assert found["Net", "classic5/20/psnr"].special.incomparable == "other images"
    assert found["Net", "live1/10/ssim"].printed is None
    assert found["Lost", "live1/10/psnr"].group is None
    assert "no method of this version" in found["Lost", "live1/10/psnr"].reason
    assert found["Old", "live1/10/psnr"].reason == "no code"


def test_what_makes_a_row_incomparable_is_no_word_about_its_released_images() -> None:
    """The row's reason is about the weights of its method; the authors' images are what was measured."""
    part = table().parts[0]
    row = msgspec.structs.replace(part.rows[1], images={"live1": "jpeg"})
    own = table(parts=[msgspec.to_builtins(msgspec.structs.replace(part, rows=(row,)))])
    found = [(r.method, r.special.incomparable) for r in requests(own, METHODS)]
    assert found == [("jpeg", ""), ("jpeg", ""), ("net", "other images")]


def test_a_cell_may_be_saved_differently_from_its_row() -> None:
    found = table()
    row = msgspec.structs.replace(
        found.parts[0].rows[0], saving="unrounded", cells={"live1/10/psnr": CellNote(saving="round")}
    )
    part = msgspec.structs.replace(found.parts[0], rows=(row,))
    asked = requests(msgspec.structs.replace(found, parts=(part,)), METHODS)
    savings = {request.key: request.group.saving for request in asked if request.group is not None}
    assert savings == {"live1/10/psnr": "round", "live1/10/ssim": "unrounded", "classic5/20/psnr": "unrounded"}


def test_plans_merge_tables_and_measure_every_protocol_once() -> None:
    first = table()
    second = select(first, dataset="live1")
    found = plans([first, second], METHODS)
    assert [(p.group.dataset, p.group.method, p.levels) for p in found] == [
        ("classic5", "jpeg", (20,)),
        ("classic5", "net", (20,)),
        ("live1", "jpeg", (10,)),
        ("live1", "net", (10,)),
    ]
    live1 = found[2]
    assert {"psnr", "ssim-gauss", "ssim-8x8"} <= set(live1.protocols)


def test_variants_name_methods_and_rows_carry_levels() -> None:
    part = {
        "task": "denoise-real",
        "columns": [{"dataset": "sidd-validation", "metric": "psnr", "variant": "h2", "label": "h = 2"}],
        "rows": [{"name": "k = 4", "method": "kit-k4", "values": ["39.76"]}],
    }
    (request,) = requests(table(parts=[part]), METHODS)
    assert request.group is not None
    assert (request.group.method, request.level) == ("kit-k4-h2", 0)
    part = {
        "task": "sr",
        "columns": [{"dataset": "set5", "metric": "ssim"}],
        "rows": [{"name": "Net", "method": "net", "level": 3, "values": ["0.9"]}],
    }
    (request,) = requests(table(parts=[part]), METHODS)
    assert (request.level, request.protocol) == (3, "ssim-gauss-y-crop")


def test_select() -> None:
    chosen = select(table(), row="jpeg", dataset="classic5")
    assert [r.name for r in chosen.parts[0].rows] == ["JPEG"]
    assert chosen.parts[0].rows[0].values == ("30.1",)
    with pytest.raises(HarnessError, match="did you mean 'JPEG'"):
        select(table(), row="JPG")
    with pytest.raises(HarnessError, match="did you mean 'live1'"):
        select(table(), dataset="live")
