"""Disks, caches and clocks that fail, for real: a file system of 200 kB, limits on files, bits that flip, kills."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import forked
import numpy as np
import pytest
from test_plugins import WHERE, Project

from harness.assets.datasets import fetch
from harness.assets.hosts import Hosts
from harness.assets.weights import loading
from harness.assets.weights.registry import WeightFile
from harness.errors import HarnessError
from harness.files import file_sha256, write_json
from harness.records.rows import read_rows

MEASURE = [sys.executable, "-m", "harness", "stage", "measure", *WHERE, "--policy", "whole", "--protocols", "psnr"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.plugin("pass")
    return made


def measure(project: Project) -> subprocess.CompletedProcess[str]:
    return forked.harness(*MEASURE[3:], cwd=project.root, timeout=60)


def rows_file(project: Project) -> Path:
    return project.root / "work/rows/jpeg/embedded-gray/jpeg-y8/bad--whole.csv"


def test_files_that_cannot_grow(project: Project) -> None:
    """A limit on the size of files, as a quota sets it: the image is not kept half, and the message says where."""
    done = subprocess.run(
        project.command,
        cwd=project.root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert not project.restored.exists()
    assert not [p for p in (project.root / "work").rglob("*.part")]
    project.completes()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 120 kB: one of the two restored images (66 and 95 kB) fits."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=120k", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(project: Project, small_disk: Path) -> None:
    (project.root / "work/partial").symlink_to(small_disk, target_is_directory=True)
    done = project.restore()
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert not project.restored.exists()
    kept = project.kept
    (project.root / "work/partial").unlink()
    shutil.copytree(small_disk, project.root / "work/partial")
    assert project.kept == kept
    project.completes()


def test_results_that_cannot_be_written(project: Project, small_disk: Path) -> None:
    """A read-only file system under the rows; nothing is lost, and it goes on when it can be written again."""
    assert project.restore().returncode == 0
    (project.root / "work/rows").symlink_to(small_disk, target_is_directory=True)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    done = measure(project)
    assert done.returncode == 2
    assert "Read-only file system" in done.stderr
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert measure(project).returncode == 0
    assert len(read_rows(rows_file(project))[1]) == 2


def test_a_results_folder_that_cannot_be_written(project: Project, small_disk: Path) -> None:
    """Rendering: the folder is there and read-only, which also hinders tidying up."""
    (project.root / "results").symlink_to(small_disk, target_is_directory=True)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    render = [sys.executable, "-m", "harness", "stage", "render", "embedded"]
    done = subprocess.run(render, cwd=project.root, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "results/embedded.md: cannot be written (Read-only file system); nothing was changed" in done.stderr
    assert "Traceback" not in done.stderr
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    subprocess.run(render, cwd=project.root, capture_output=True, timeout=60, check=True)
    assert (project.root / "results/embedded.json").is_file()


def test_a_file_where_a_folder_should_be(project: Project) -> None:
    (project.root / "work/restored").write_text("")
    done = project.restore()
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert len(project.kept) == 2
    (project.root / "work/restored").unlink()
    project.completes()


KILLED_WHILE_WRITING = """
import os, signal
before = os.replace
def replace(source, target, *rest, **options):
    if str(target).endswith({suffix!r}):
        os.kill(os.getpid(), signal.SIGKILL)
    return before(source, target, *rest, **options)
os.replace = replace
import sys
sys.argv = ["harness", *{arguments!r}]
from harness.cli import main
main()
"""


@pytest.mark.parametrize("suffix", [".csv", "bad--whole.json", ".rows.json"])
def test_killed_while_a_row_is_written(project: Project, suffix: str) -> None:
    """kill -9 before each of the files of a row gets its name: the rows are whole, old or new, or refused."""
    assert project.restore().returncode == 0
    assert measure(project).returncode == 0
    before = read_rows(rows_file(project))
    # Another result of the same method, so that old and new rows differ.
    project.plugin("image = image * 0.5")
    plugin = project.root / "methods/bad.py"
    plugin.write_text(plugin.read_text().replace("level == 20", "True"))
    assert project.restore().returncode == 0
    code = KILLED_WHILE_WRITING.format(suffix=suffix, arguments=MEASURE[3:])
    done = subprocess.run([sys.executable, "-c", code], cwd=project.root, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    try:
        found = read_rows(rows_file(project))
    except HarnessError as error:
        assert "its checksum is not the recorded one" in str(error)
    else:
        assert found == before or suffix == ".rows.json"
    assert measure(project).returncode == 0
    after = read_rows(rows_file(project))
    assert after != before
    assert max(row.value for row in after[1]) < 15


def test_a_row_that_changes_on_the_disk_is_refused(project: Project) -> None:
    assert project.restore().returncode == 0
    assert measure(project).returncode == 0
    path = rows_file(project)
    data = bytearray(path.read_bytes())
    at = data.rindex(b".") + 2
    data[at] = ord("1") if data[at] != ord("1") else ord("2")
    path.write_bytes(data)
    with pytest.raises(HarnessError, match="its checksum is not the recorded one"):
        read_rows(path)


def test_pixels_that_change_unseen_make_no_row(project: Project) -> None:
    """Same size, same time, same inode (a clock that was set back, a bad disk): DVC cannot see it, measuring does."""
    assert project.restore().returncode == 0
    image = next(project.restored.rglob("*.png"))
    stat = image.stat()
    os.chmod(image, 0o644)
    with open(image, "r+b") as file:
        file.seek(stat.st_size // 2)
        byte = file.read(1)
        file.seek(stat.st_size // 2)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert image.stat().st_ino == stat.st_ino
    done = measure(project)
    assert done.returncode == 2
    assert "not those that were restored" in done.stderr or "not a readable image" in done.stderr
    assert not rows_file(project).exists()


def test_a_dataset_that_disappears(project: Project) -> None:
    data = project.root / "data"
    shutil.rmtree(data / "datasets")
    done = project.restore()
    assert done.returncode == 2
    assert "is gone; run `harness datasets fetch embedded" in done.stderr
    assert not project.restored.exists()
    assert fetch("embedded-gray", data).complete
    project.completes()


def test_a_clock_that_jumps(tmp_path: Path, project: Project) -> None:
    """Files and memories from next year, and from 1970: nothing is decided by them."""
    for when in (time.time() + 365 * 86400, 1.0):
        for path in (project.root / "data").rglob("*"):
            if path.is_file() and not path.is_symlink():
                os.utime(path, (when, when))
        memory = project.root / "data/state/hosts.json"
        memory.write_text(json.dumps({"https://example.org:443": when}))
        # A host that could not be reached "next year" or 50 years ago is asked again.
        assert Hosts(project.root / "data").remembered == {}
        shutil.rmtree(project.root / "work/restored", ignore_errors=True)
        done = project.restore()
        assert done.returncode == 0, done.stderr
        assert measure(project).returncode == 0


@pytest.fixture
def weights(tmp_path: Path) -> tuple[Path, Path]:
    path = tmp_path / "a.npz"
    np.savez(path, conv1_weight=np.ones((2, 1, 3, 3), np.float32), conv1_bias=np.zeros(2, np.float32))
    return path, tmp_path / "data"


def test_a_weights_cache_with_a_flipped_bit(weights: tuple[Path, Path]) -> None:
    """safetensors has no checksum: a flipped bit in the cached import would be another network."""
    path, data = weights
    digest, entry = file_sha256(path), WeightFile(name=path.name, format="npz", makes="a test")
    first = loading._cached(data, [loading._Held(entry, path, digest)])
    (cache,) = (data / "weights-cache").iterdir()
    content = bytearray(cache.read_bytes())
    content[-3] ^= 0x40
    cache.write_bytes(content)
    again = loading._cached(data, [loading._Held(entry, path, digest)])
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_weights_replaced_while_they_are_read(weights: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path, data = weights
    digest, entry = file_sha256(path), WeightFile(name=path.name, format="npz", makes="a test")
    imported = loading.import_weights

    def replaced(source: Path, format_name: str) -> object:
        np.savez(path, conv1_weight=np.zeros((2, 1, 3, 3), np.float32), conv1_bias=np.zeros(2, np.float32))
        return imported(source, format_name)

    monkeypatch.setattr("harness.assets.weights.loading.import_weights", replaced)
    with pytest.raises(HarnessError, match="was replaced while it was read"):
        loading._cached(data, [loading._Held(entry, path, digest)])
    assert not (data / "weights-cache").exists()


def test_a_file_where_a_folder_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(HarnessError, match=r"x\.json: cannot be written \(File exists\); nothing was changed"):
        write_json(tmp_path / "results" / "x.json", {})
