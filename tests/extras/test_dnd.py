"""DND's submission: made from a release in the owners' file formats, read back, and broken in every way we know."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from release_folders import dnd_release, picture
from scipy.io import loadmat, savemat

import harness.extras.dnd as submissions
from harness.errors import HarnessError, NotAvailableError
from harness.extras.dnd import (
    Release,
    check_submission,
    cut,
    find_release,
    make_submission,
    open_release,
    pack,
    read_boxes,
)
from harness.methods import Method, get_method

COUNT, SIDE = 3, 8


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return open_release(dnd_release(tmp_path / "dnd", COUNT, side=SIDE), COUNT)


def method(function: Any, **options: Any) -> Method:
    return Method("mine", ("denoise-real",), lambda task, level: function, on="array", **options)


def halved(image: np.ndarray) -> np.ndarray:
    return image / 2


def test_boxes_are_cut_as_matlab_would(release: Release) -> None:
    """Inoisy(top:bottom, left:right, :) with corners counted from 1 and both inside."""
    assert len(release.boxes) == COUNT and {len(boxes) for boxes in release.boxes} == {20}
    image = np.arange(24 * 64 * 3).reshape(24, 64, 3)
    assert release.boxes[0][1] == (9, 9, 16, 16)
    np.testing.assert_array_equal(cut(image, (9, 9, 16, 16)), image[8:16, 8:16])
    np.testing.assert_array_equal(cut(image, (1, 1, 24, 64)), image)
    with pytest.raises(HarnessError, match="leaves an image of 64x24"):
        cut(image, (1, 1, 25, 64))


def test_the_files_are_what_the_devkit_writes(release: Release, tmp_path: Path) -> None:
    record = make_submission(method(halved), release, tmp_path / "out")
    assert sorted(record.files) == ["0001.mat", "0002.mat", "0003.mat"]
    held = loadmat(tmp_path / "out/0002.mat")
    assert {key for key in held if not key.startswith("__")} == {"Idenoised", "israw", "eval_version"}
    assert held["Idenoised"].shape == (1, 20) and held["Idenoised"].dtype == object
    assert held["israw"].tolist() == [[0]] and held["eval_version"].tolist() == ["1.0"]
    noisy = picture(2, 24, 64).astype(np.float32) / np.float32(255)
    noisy[0, 0] = 0.12345678
    for crop, (top, left, bottom, right) in zip(held["Idenoised"][0], release.boxes[1], strict=True):
        assert crop.dtype == np.float32
        # Not rounded to 8 bits on the way: 0.12345678 / 2 comes out as it is.
        np.testing.assert_allclose(crop, noisy[top - 1 : bottom, left - 1 : right] / 2, atol=1e-7)
    assert check_submission(tmp_path / "out", release) == []


def test_a_network_makes_it_too(release: Release, tmp_path: Path) -> None:
    import torch

    network = Method("net", ("denoise-real",), lambda task, level: lambda batch: batch * 1.5)
    make_submission(network, release, tmp_path / "out", policy="x8")
    first = loadmat(tmp_path / "out/0001.mat")["Idenoised"][0, 0]
    image = submissions.read_dnd_image(release.images[0])[:SIDE, :SIDE]
    np.testing.assert_allclose(first, np.minimum(image * 1.5, 1), atol=1e-6)
    assert torch.get_num_threads() >= 1


def test_the_archive_is_read_back(release: Release, tmp_path: Path) -> None:
    make_submission(method(halved), release, tmp_path / "out")
    archive = pack(tmp_path / "out", COUNT)
    with zipfile.ZipFile(archive) as packed:
        assert packed.namelist() == ["0001.mat", "0002.mat", "0003.mat"]
    assert check_submission(archive, release) == []
    data = archive.read_bytes()
    pack(tmp_path / "out", COUNT)
    assert archive.read_bytes() == data


def test_an_interrupted_run_goes_on(release: Release, tmp_path: Path) -> None:
    calls = []

    def counted(image: np.ndarray) -> np.ndarray:
        calls.append(image)
        if len(calls) == 45:
            raise KeyboardInterrupt
        return image

    with pytest.raises(KeyboardInterrupt):
        make_submission(method(counted), release, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0001.mat", "0002.mat", "submission.json"]
    (tmp_path / "out/0002.mat").write_bytes(b"damaged since")
    make_submission(method(counted), release, tmp_path / "out")
    assert len(calls) == 45 + 40  # the first image was kept, the damaged one was made again
    assert check_submission(tmp_path / "out", release) == []


def test_what_was_made_of_other_files_is_not_taken_up(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that the method depends on, the benchmark's image, the version of a library."""
    weights = tmp_path / "net.txt"
    weights.write_text("one")
    calls: list[int] = []

    def counted(image: np.ndarray) -> np.ndarray:
        calls.append(1)
        return image

    chosen = method(counted, depends=(weights,))
    make_submission(chosen, release, tmp_path / "out")
    make_submission(chosen, release, tmp_path / "out")
    assert len(calls) == COUNT * 20
    release.images[0].write_bytes(release.images[1].read_bytes())
    record = make_submission(chosen, release, tmp_path / "out")
    assert len(calls) == (COUNT + 1) * 20
    assert record.files["0001.mat"] == record.files["0002.mat"]
    weights.write_text("two")
    with pytest.raises(HarnessError, match="made with other code, weights, libraries or boxes"):
        make_submission(chosen, release, tmp_path / "out")
    weights.write_text("one")
    monkeypatch.setattr("harness.records.runs.LIBRARIES", ("numpy",))
    with pytest.raises(HarnessError, match="made with other code, weights, libraries or boxes"):
        make_submission(chosen, release, tmp_path / "out")


def test_another_submission_is_not_overwritten(release: Release, tmp_path: Path) -> None:
    make_submission(method(halved), release, tmp_path / "out", code="one")
    with pytest.raises(HarnessError, match="holds a submission of 'mine' under 'whole', made with other code"):
        make_submission(method(halved), release, tmp_path / "out", code="two")
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange/0001.mat").write_bytes(b"x")
    with pytest.raises(HarnessError, match=r"holds 0001\.mat and no submission\.json"):
        make_submission(method(halved), release, tmp_path / "strange")


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda image: image[:4], r"returned \(4, 8, 3\) for a box of \(8, 8, 3\)"),
        (lambda image: image * np.nan, "returned NaN or infinity"),
        (lambda image: 1 / 0, "failed: ZeroDivisionError"),
    ],
)
def test_a_method_that_fails_leaves_no_file(function: Any, told: str, release: Release, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=told):
        make_submission(method(function), release, tmp_path / "out")
    assert not (tmp_path / "out/0001.mat").exists()


def test_methods_that_cannot(release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("HARNESS_MIRROR", raising=False)
    with pytest.raises(HarnessError, match="does not do 'denoise-real'"):
        make_submission(get_method("rainy"), release, tmp_path / "out")
    with pytest.raises(NotAvailableError, match=r"mprnet/denoising\.pth are not here"):
        make_submission(get_method("mprnet"), release, tmp_path / "out")
    with pytest.raises(HarnessError, match="is a folder of images"):
        make_submission(Method("x", ("denoise-real",), lambda t, n: halved, on="images"), release, tmp_path / "out")


# What a server would refuse ------------------------------------------------------------------------------------------


def rewrite(folder: Path, **changes: Any) -> None:
    held = {key: value for key, value in loadmat(folder / "0002.mat").items() if not key.startswith("__")}
    held |= {"israw": False, "eval_version": "1.0"}
    for key, value in changes.items():
        if value is None:
            del held[key]
        else:
            held[key] = value(held[key]) if callable(value) else value
    savemat(folder / "0002.mat", held)


def one_box(change: Any) -> Any:
    def apply(cell: np.ndarray) -> np.ndarray:
        cell[0, 4] = change(cell[0, 4])
        return cell

    return apply


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"israw": True}, "israw is not false"),
        ({"eval_version": "2.0"}, r"eval_version is not 1\.0"),
        ({"eval_version": None}, "holds Idenoised, israw instead of"),
        ({"extra": np.ones(2)}, "holds Idenoised, eval_version, extra, israw instead of"),
        ({"Idenoised": lambda cell: cell[:, :19]}, r"Idenoised is \(1, 19\) object instead of a cell of 20"),
        (
            {"Idenoised": lambda cell: np.stack(list(cell[0]))},
            r"Idenoised is \(20, 8, 8, 3\) float32 instead of a cell",
        ),
        ({"Idenoised": one_box(lambda crop: crop[:-1])}, r"box 5 is \(7, 8, 3\) instead of \(8, 8, 3\)"),
        ({"Idenoised": one_box(lambda crop: (crop * 255).astype(np.uint8))}, "box 5 is uint8 instead of single"),
        ({"Idenoised": one_box(lambda crop: crop + 1)}, r"box 5 leaves the range \[0, 1\]"),
        ({"Idenoised": one_box(lambda crop: crop * np.float32(np.nan))}, r"box 5 leaves the range \[0, 1\]"),
    ],
)
def test_broken_files_are_found(changes: dict[str, Any], told: str, release: Release, tmp_path: Path) -> None:
    make_submission(method(halved), release, tmp_path / "out")
    rewrite(tmp_path / "out", **changes)
    (problem,) = check_submission(tmp_path / "out", release)
    assert problem.startswith("0002.mat: ")
    assert re.search(told, problem)


def test_broken_folders_and_archives_are_found(release: Release, tmp_path: Path) -> None:
    out = tmp_path / "out"
    make_submission(method(halved), release, out)
    (out / "notes.txt").write_text("x")
    (out / "0003.mat").rename(out / "3.mat")
    (out / "0001.mat").write_bytes((out / "0001.mat").read_bytes()[:500])
    problems = check_submission(out, release)
    assert [problem.split(":")[0] for problem in problems] == [
        "0001.mat", "3.mat", "notes.txt", "0003.mat is missing",
    ]  # fmt: skip
    assert "cannot be read" in problems[0]
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("../0001.mat", b"x")
        archive.writestr("bundled/0001.mat", b"x")
    assert len(check_submission(tmp_path / "x.zip", release)) == 3
    (tmp_path / "y.zip").write_bytes(b"no zip")
    with pytest.raises(HarnessError, match="not a readable zip file"):
        check_submission(tmp_path / "y.zip", release)
    with pytest.raises(HarnessError, match="no such folder or zip file"):
        check_submission(tmp_path / "z.zip", release)


def test_a_swollen_archive_is_not_unpacked(release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submissions, "_LARGEST", 1000)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0001.mat", bytes(100_000))
    assert "0001.mat: unpacks to more than a gigabyte" in check_submission(tmp_path / "x.zip", release)


# The release ---------------------------------------------------------------------------------------------------------


def test_releases_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = dnd_release(tmp_path / "a/DND", COUNT)
    assert len(open_release(tmp_path / "a", COUNT).images) == COUNT
    with pytest.raises(HarnessError, match=r"lacks 0004\.mat and 46 more"):
        open_release(folder)
    (folder / "images_srgb/0004.mat").write_bytes(b"")
    with pytest.raises(HarnessError, match=r"holds boxes of 3 images, \(20, 4\) each, instead of 4"):
        open_release(folder, 4)
    with h5py.File(folder / "info.mat", "r+") as file:
        file["#refs#/b1"][0, 3] = 0
    with pytest.raises(HarnessError, match="image 2 has a box that is none"):
        open_release(folder, COUNT)
    (folder / "info.mat").write_bytes(b"nonsense")
    with pytest.raises(HarnessError, match=r"info\.mat: cannot be read as DND's info\.mat"):
        read_boxes(folder / "info.mat")
    (folder / "info.mat").unlink()
    with pytest.raises(HarnessError, match=r"holds no info\.mat"):
        open_release(folder, COUNT)
    monkeypatch.delenv("HARNESS_MIRROR", raising=False)
    with pytest.raises(NotAvailableError, match="give their folder with --from"):
        find_release(tmp_path / "data")
    dnd_release(tmp_path / "data/own/dnd", COUNT)
    assert len(find_release(tmp_path / "data", COUNT).boxes) == COUNT


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """All 50 images, small: identity rows make a submission too."""
    from harness.cli import harness

    (tmp_path / "params.yaml").write_text("methods: []\n")
    monkeypatch.chdir(tmp_path)
    dnd_release(tmp_path / "dnd", 50, side=4)
    harness.main(args=["export", "dnd", "noisy", "--from", "dnd"], standalone_mode=False)
    said = capsys.readouterr().out
    assert "written and read back: 50 files in submissions/dnd/noisy" in said and "noisy.zip" in said
    harness.main(args=["export", "check-dnd", "submissions/dnd/noisy.zip", "--from", "dnd"], standalone_mode=False)
    assert "50 files, 1,000 boxes; the format is kept" in capsys.readouterr().out
    rewrite(tmp_path / "submissions/dnd/noisy", israw=True)
    with pytest.raises(HarnessError, match="1 problem; the server would refuse it"):
        harness.main(args=["export", "check-dnd", "submissions/dnd/noisy", "--from", "dnd"], standalone_mode=False)
