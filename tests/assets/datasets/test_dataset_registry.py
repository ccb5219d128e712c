"""The registry: every record holds, and a bad one is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness.assets.datasets import dataset, dataset_names, layouts
from harness.assets.datasets.registry import datasets
from harness.errors import HarnessError
from harness.names import is_safe

# What the four papers print or train on, by the number of images (of pairs).
COUNTS = {
    "kodak24": 24,
    "kodak24-crop500": 24,
    "cbsd68": 68,
    "bsd68-gray": 68,
    "urban100": 100,
    "mcmaster18": 18,
    "live1": 29,
    "classic5": 5,
    "set5": 5,
    "set14": 14,
    "b100": 100,
    "set12": 12,
    "manga109": 109,
    "rain100l": 100,
    "rain100h": 100,
    "bsd400": 400,
    "t91-bsd200": 291,
    "dnd-patches": 33,
    "div2k-train": 800,
    "div2k-valid": 100,
    "sidd-train": 320,
    "sidd-validation": 1280,
    "dnd": 50,
    "gopro-train": 2103,
    "gopro-test": 1111,
    "hide": 2025,
    "realblur-j": 980,
    "realblur-r": 980,
    "rain13k": 13712,
    "test100": 100,
    "test2800": 2800,
    "test1200": 1200,
    "embedded": 3,
    "embedded-gray": 1,
    "rcan-set5-x2": 5,
    "rcan-set5-x3": 5,
    "rcan-set5-x4": 5,
    "derained-derainnet": 1500,
    "derained-semi": 1500,
    "derained-didmdn": 1500,
    "derained-umrl": 1500,
    "derained-rescan": 1500,
    "derained-prenet": 1500,
    **{f"{system}-set5-x{scale}": 5 for system in ("rdn", "srfbn") for scale in (2, 3, 4)},
}


@pytest.fixture(autouse=True)
def no_own_records(monkeypatch):
    monkeypatch.delenv("HARNESS_DATASETS", raising=False)


def test_every_set_of_the_papers_is_registered():
    assert {record.name: record.count for record in datasets()} == COUNTS
    assert dataset_names() == sorted(COUNTS)


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_record_holds(name):
    record = dataset(name)
    per_image = 2 if record.kind == "pairs" else 1
    if record.supply != "user":
        assert record.files
    if record.files:
        assert len(record.files) == record.count * per_image
        names = [file.name for file in record.files]
        found = layouts.apply_layout(record, record.folder_layouts[0], names)
        assert sorted(found.values()) == sorted(names), "the first layout names every file's image and role"
        assert len({name.casefold() for name in names}) == len(names)
    for file in record.files:
        assert is_safe(file.name)
        assert file.bytes > 0
        assert len(file.shape) in (2, 3) and all(side > 8 for side in file.shape[:2])
        assert len(file.shape) == 2 or file.shape[2] == 3
        if record.supply == "pinned":
            assert file.at, f"{file.name} has no public source"
    for layout in record.folder_layouts:
        assert bool(layout.target) == (record.kind != "inputs")
        assert bool(layout.input) == (record.kind != "images")
    if record.supply == "user" and not record.files:
        normal = {"images": "{id}.*"}.get(record.kind, "input/{id}.*")
        assert normal in [pattern for layout in record.layouts for pattern in (layout.target, layout.input)]
    for text in (record.description, record.licence_note, record.citation, record.title, record.licence):
        assert text and text == text.strip()
    assert re.match(r"https?://\S+$", record.homepage)
    assert record.description.endswith(".") and record.licence_note.endswith(".")


def test_aliases_are_unique_and_found():
    taken = set(COUNTS)
    for record in datasets():
        for alias in record.aliases:
            assert alias not in taken
            taken.add(alias)
            assert dataset(alias).name == record.name
    assert dataset("sr291").name == "t91-bsd200"


def test_records_equal_the_mirrors_index(mirror: Path):
    index = json.loads((mirror / "datasets.json").read_text())
    for name, described in index.items():
        record = dataset(name)
        assert len(record.files) == len(described["files"])
        for file in described["files"]:
            mine = next(mine for mine in record.files if mine.name == file["name"])
            assert (mine.bytes, mine.sha256, list(mine.shape), mine.pixels_sha256) == (
                file["bytes"],
                file["sha256"],
                file["shape"],
                file["pixels_sha256"],
            )
            sources = [
                {"repo": record.sources[at].repo, "commit": record.sources[at].commit, "path": path}
                for at, path in mine.at
            ]
            assert sources == file["github"]


def test_unknown_name_suggests():
    with pytest.raises(HarnessError, match="unknown dataset 'kodak42'; did you mean 'kodak24'"):
        dataset("kodak42")
    for name in ("../kodak24", "", "/etc/passwd", "Kodak24"):
        with pytest.raises(HarnessError, match="unknown dataset"):
            dataset(name)


def test_unknown_key_is_named(registry):
    record = registry.add("tiny")
    registry.write({**record, "licens": "x"})
    with pytest.raises(HarnessError, match=r"tiny\.json: unknown key 'licens'; did you mean 'licence'"):
        dataset("tiny")


@pytest.mark.parametrize("name", ["../1.png", "/1.png", "a/../../1.png", "a//1.png", "..\\1.png", "C:1.png", "./1.png"])
def test_file_name_that_leaves_the_folder_is_refused(registry, name):
    record = registry.add("tiny", {"1.png": next(iter(registry.content["tiny"].values()))})
    record["files"][0]["name"] = name
    registry.write(record)
    with pytest.raises(HarnessError, match="leaves the set's folder"):
        dataset("tiny")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "0" * 63}, "checksum of 64 lower-case"),
        ({"at": [[0, "a.png"]]}, "unknown source"),
    ],
)
def test_bad_file_entry_is_refused(registry, change, message):
    record = registry.add("tiny", {"1.png": next(iter(registry.content["tiny"].values()))})
    record["files"][0].update(change)
    registry.write(record)
    with pytest.raises(HarnessError, match=message):
        dataset("tiny")


def test_source_must_be_pinned(registry):
    record = registry.add("tiny", registry.content["tiny"], sources=[{"repo": "a/b", "commit": "main"}])
    registry.write(record)
    with pytest.raises(HarnessError, match="full commit hash"):
        dataset("tiny")


def test_own_record_may_not_take_a_known_name(registry):
    registry.add("kodak24")
    with pytest.raises(HarnessError, match="a dataset 'kodak24' is also in"):
        dataset_names()


def test_own_records_are_listed(registry):
    assert "tiny" in dataset_names() and "kodak24" in dataset_names()


@pytest.mark.parametrize(
    ("layout", "names", "expected"),
    [
        (
            {"target": "test/{sequence}/sharp/{frame}.*", "input": "test/{sequence}/blur/{frame}.*"},
            ["test/G_1/sharp/01.png", "test/G_1/blur/01.png", "test/G_1/blur_gamma/01.png", "test/G_1/sharp/02.png"],
            {("G_1-01", "target"): "test/G_1/sharp/01.png", ("G_1-01", "input"): "test/G_1/blur/01.png"},
        ),
        (
            {"target": "GT/{id}.*", "input": "test/{distance}/{id}.*"},
            ["GT/1.png", "GT/2.png", "test/near/1.png"],
            {("1", "target"): "GT/1.png", ("1", "input"): "test/near/1.png"},
        ),
        (
            {
                "target": "Data/{scene}/{number}_GT_SRGB_{shot}.*",
                "input": "Data/{scene}/{number}_NOISY_SRGB_{shot}.*",
            },
            ["Data/0001_S6/0001_GT_SRGB_010.PNG", "Data/0001_S6/0001_NOISY_SRGB_010.PNG"],
            {
                ("0001_S6-0001-010", "target"): "Data/0001_S6/0001_GT_SRGB_010.PNG",
                ("0001_S6-0001-010", "input"): "Data/0001_S6/0001_NOISY_SRGB_010.PNG",
            },
        ),
    ],
)
def test_layouts(registry, layout, names, expected):
    registry.add("pair", kind="pairs", supply="user", count=1, layouts=[layout])
    record = dataset("pair")
    assert layouts.apply_layout(record, record.layouts[0], names) == expected
