"""What `fetch --plan` says before anything is fetched, for both kinds of set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from synthetic_datasets import Published, Server

from harness.assets.places import REGISTRIES
from harness.assets.planning import PlannedSet, plan, plan_text
from harness.cli.main import harness

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(autouse=True)
def _sources(published: Published) -> None:
    published.add(published.content, ("one/set",))


def planned(published: Published) -> PlannedSet:
    (one,) = plan(published.kind, [published.name], published.paths.data)
    return one


def test_what_would_be_downloaded(published: Published, server: Server) -> None:
    one = planned(published)
    assert (one.here, one.mirrored, one.downloads, one.supplied) == (0, 0, len(published.content), 0)
    assert one.bytes == sum(map(len, published.content.values())) and one.unknown == 0
    assert one.licence == "none" and one.repositories == ("one/set",)
    published.add(published.content, ("one/set", "two/copy"))
    assert planned(published).repositories == ("one/set", "two/copy")
    assert f"to download, {one.bytes / 1000:.1f} kB, from one/set" in plan_text([one])
    assert not server.requests and not published.paths.data.exists()


@pytest.mark.parametrize("copies", [False, True])
def test_what_is_here_or_in_a_mirror(
    published: Published, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copies: bool
) -> None:
    """A mirror holds files of the set, or copies of their public sources."""
    folder = Path("extra/one+set/test set") if copies else Path(published.kind) / published.name
    published.fill(tmp_path / "mirror" / folder)
    monkeypatch.setenv("HARNESS_MIRROR", str(tmp_path / "mirror"))
    count = len(published.content)
    assert (planned(published).mirrored, planned(published).downloads) == (count, 0)
    published.get()
    assert (planned(published).here, planned(published).mirrored) == (count, 0)


@pytest.mark.parametrize("published", ["weights"], indirect=True)
def test_unknown_sizes_and_files_that_only_the_user_has(published: Published) -> None:
    path = REGISTRIES["weights"] / f"{published.name}.json"
    record = json.loads(path.read_text())
    first, *others = record["files"]
    del first["bytes"], first["sha256"]
    first["git_blob"] = "a" * 40
    for other in others:
        del other["at"]
    record["obtain"] = "ask its authors"
    path.write_text(json.dumps(record))
    one = planned(published)
    assert (one.downloads, one.unknown, one.bytes, one.supplied) == (1, 1, 0, len(others))
    text = plan_text([one])
    assert "1 to download, 1 of unknown size (blob id only), from one/set" in text
    assert f"{len(others)} you supply: ask its authors" in text
    assert text.endswith(f"{len(others)} that you supply. Nothing was fetched.\n")


def test_the_command_fetches_nothing(published: Published, tmp_path: Path) -> None:
    kind = published.kind
    result = CliRunner().invoke(harness, [kind, "fetch", "--all", "--plan", "--data", str(tmp_path / "data")])
    assert result.exit_code == 0 and "licence: " in result.output
    assert result.output.rstrip().endswith("Nothing was fetched.")
    assert not (tmp_path / "data").exists()
