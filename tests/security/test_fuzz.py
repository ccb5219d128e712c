"""Parsers of foreign bytes under damaged files: a result or a sentence, nothing else (deeper: fuzz/fuzz_parsers.py)."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2] / "fuzz"))

from parsers import attempt, parsers

KNOWN = parsers()

# What is done to a valid file: where, and with what.
EDITS = st.lists(
    st.tuples(st.sampled_from(("set", "insert", "delete", "cut")), st.floats(0, 1), st.binary(min_size=1, max_size=6)),
    min_size=1,
    max_size=6,
)


def edited(data: bytes, edits: list[tuple[str, float, bytes]]) -> bytes:
    for kind, where, text in edits:
        at = int(where * max(len(data) - 1, 0))
        if kind == "set":
            data = data[:at] + text + data[at + len(text) :]
        elif kind == "insert":
            data = data[:at] + text + data[at:]
        elif kind == "delete":
            data = data[:at] + data[at + len(text) :]
        else:
            data = data[:at]
    return data


@pytest.mark.parametrize("name", list(KNOWN))
def test_valid_files_are_read(name: str) -> None:
    parse, seeds = KNOWN[name]
    # A record's file must be named like its dataset, and the .mat of version 7.3 is that of no network.
    refused = name in ("dataset record", "matlab 7.3")
    assert [attempt(parse, seed) for seed in seeds] == [not refused] * len(seeds)


@pytest.mark.parametrize("name", list(KNOWN))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_files_are_read_or_refused(name: str, data: st.DataObject) -> None:
    parse, seeds = KNOWN[name]
    damaged = edited(data.draw(st.sampled_from(seeds)), data.draw(EDITS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        attempt(parse, damaged)


SCALARS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["yes", "on", "1e3", "0o17", "012", "1:30", "1_000", "0x1f", "~", "null", "=", "33e7", ".5", "2026-11-20"]
    ),
    st.integers(),
    st.booleans(),
    st.none(),
    st.floats(allow_nan=False),
)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


@settings(max_examples=150, deadline=None)
@given(tree=st.dictionaries(st.text(min_size=1, max_size=6), TREES, max_size=4), plain=st.booleans())
def test_the_fast_yaml_reader_agrees_with_dvcs_own(tree: dict[str, object], plain: bool) -> None:
    """What goes through libyaml comes out as from DVC's parser; the rest goes to that parser."""
    from harness.run import dvc_private

    text = yaml.safe_dump(tree, allow_unicode=True)
    if plain:  # as a person may write it, without quotes
        text = text.replace("'", "").replace('"', "")
    results = []
    for parse in (dvc_private._parse_yaml, dvc_private._parse_with_dvc):
        try:
            results.append(repr(parse(text, "x", "safe")))
        except Exception:
            results.append("refused")
    assert results[0] == results[1], text


def test_the_pipelines_are_read_alike() -> None:
    from harness.run import dvc_private

    root = Path(__file__).parents[2]
    for path in [*root.glob("pipelines/jpeg/*/dvc.*"), *root.glob("pipelines/datasets/dvc.*"), root / "dvc.yaml"]:
        text = path.read_text()
        assert dvc_private._parse_yaml(text, "x") == dvc_private._parse_with_dvc(text, "x"), path
