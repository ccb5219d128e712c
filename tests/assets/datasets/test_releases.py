"""Sets of pairs as their owners publish them, small: layouts, lists, packed files, and what a wrong folder is told."""

from __future__ import annotations

import json
import os
import shutil
import struct
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from release_folders import (
    REALBLUR,
    dnd_release,
    fu_rain,
    gopro,
    hide,
    matlab_hdf5,
    packed_as_mprnet,
    put,
    realblur,
    sidd_blocks,
    sidd_medium,
    sidd_validation,
    side_by_side,
)
from scipy.io import savemat
from synthetic_datasets import encode, picture

from harness.assets.datasets import fetch, open_dataset
from harness.assets.datasets.adding import add_dataset
from harness.assets.datasets.registry import dataset
from harness.assets.datasets.unpacking import read_dnd_image
from harness.assets.datasets.verification import verify_folder
from harness.assets.places import REGISTRIES
from harness.errors import HarnessError, NotAvailableError
from harness.images import read_image

RECORDS = REGISTRIES["datasets"]


@pytest.fixture
def small(registry, tmp_path, monkeypatch):
    """Register a set of the package again under the name `small`, with few and small images."""
    monkeypatch.chdir(tmp_path)

    def make(name: str, count: int, sizes: list[list[int]] | None = None) -> None:
        record = json.loads((RECORDS / f"{name}.json").read_text())
        record |= {"name": "small", "count": count, "aliases": []}
        if "sizes" in record:
            record["sizes"] = sizes or [[40, 60]]
        registry.write(record)

    return make


@pytest.fixture
def get(data):
    return lambda folder: fetch("small", data, folder=folder, say=lambda text: None)


def clean(number: int) -> np.ndarray:
    return picture(number)


def worse(number: int) -> np.ndarray:
    return picture(1000 + number)


def check(data: Path, ids: list[str], numbers: list[int]) -> None:
    fetched = open_dataset("small", data)
    assert fetched.image_ids == ids
    for image, number in zip(ids, numbers, strict=True):
        np.testing.assert_array_equal(fetched.read(image), clean(number))
        np.testing.assert_array_equal(fetched.read_input(image), worse(number))


FRAMES = ["G2-000001", "GOPR0384_11_00-000001", "GOPR0384_11_00-000002"]
SHOTS = ["scene050-1", "scene050-10", "scene244_reflect-2"]
PHOTOGRAPH = "0001_001_S6_00100_00060_3200_L-0001"
RELEASES = {
    "gopro-test": (partial(gopro, part="test"), FRAMES, [2, 0, 1]),
    "gopro-train": (partial(gopro, part="train"), FRAMES, [2, 0, 1]),
    "hide": (hide, ["3", "10_1", "20_1"], [2, 0, 1]),
    "realblur-j": (partial(realblur, kind="J"), SHOTS, [0, 1, 2]),
    "realblur-r": (partial(realblur, kind="R"), SHOTS, [0, 1, 2]),
    "sidd-train": (sidd_medium, [f"{PHOTOGRAPH}-010", f"{PHOTOGRAPH}-011"], [0, 1]),
    **{
        name: (packed_as_mprnet, ["1", "2", "3"], [0, 1, 2])
        for name in ("gopro-test ", "hide ", "realblur-j ", "rain13k", "test100", "test1200", "test2800")
    },
}


@pytest.mark.parametrize("name", RELEASES)
def test_a_release_is_read(name, small, data, get, tmp_path):
    write, ids, numbers = RELEASES[name]
    small(name.strip(), len(ids))
    write(tmp_path / "copy", clean=clean, worse=worse)
    found = verify_folder("small", tmp_path / "copy")
    assert (found.status, found.files, found.problems) == ("complete", 2 * len(ids), ())
    assert get(tmp_path / "copy").complete
    check(data, ids, numbers)


@pytest.mark.parametrize(
    ("name", "degraded", "sharp"),
    [
        ("sidd-validation", "SIDD/val/input", "SIDD/val/groundtruth"),
        ("gopro-test", "GoPro/test/input", "GoPro/test/groundtruth"),
        ("gopro-test", "GOPRO/test/blur", "GOPRO/test/sharp"),
        ("gopro-train", "GOPRO/train/blur", "GOPRO/train/sharp"),
        ("hide", "HIDE/test/input", "HIDE/test/groundtruth"),
        ("realblur-r", "RealBlur_R/test/input", "RealBlur_R/test/groundtruth"),
    ],
)
def test_other_packings(name, degraded, sharp, small, data, get, tmp_path):
    small(name, 3, [[40, 60]])
    for n in range(3):
        put(tmp_path / f"copy/{degraded}/{n + 1}.png", worse(n))
        put(tmp_path / f"copy/{sharp}/{n + 1}.png", clean(n))
    assert get(tmp_path / "copy").complete
    check(data, ["1", "2", "3"], [0, 1, 2])


def test_one_missing_frame_is_named(small, get, tmp_path):
    small("gopro-test", 3)
    gopro(tmp_path / "copy", clean, worse)
    (tmp_path / "copy/GOPRO_Large/test/G2/blur/000001.png").unlink()
    with pytest.raises(HarnessError) as told:
        get(tmp_path / "copy")
    for words in (
        "the folder has 2 pairs of 3",
        "the folder must hold test/{sequence}/blur/{frame}.* and test/{sequence}/sharp/{frame}.*",
        "found 8 image files",
        "without a partner: GOPRO_Large/test/G2/sharp/000001.png",
    ):
        assert words in str(told.value)
    found = verify_folder("small", tmp_path / "copy")
    assert found.status == "missing" and "has 2 pairs of 3" in found.problems[0]


def test_a_foreign_folder_is_answered_with_what_it_holds(small, get, tmp_path):
    small("hide", 3)
    for n in range(2):
        put(tmp_path / f"copy/blurred/{n}.png", worse(n))
    put(tmp_path / "copy/originals/a.png", clean(1))
    with pytest.raises(HarnessError) as told:
        get(tmp_path / "copy")
    assert "found 3 image files: 2 in blurred/, 1 in originals/" in str(told.value)
    assert "for example blurred/0.png" in str(told.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(HarnessError, match="found no image files"):
        get(tmp_path / "empty")


def test_a_scaled_copy_is_refused(small, get, tmp_path):
    small("gopro-test", 3, [[720, 1280]])
    gopro(tmp_path / "copy", clean, worse)
    with pytest.raises(HarnessError, match=r"is 60x40 instead of 1280x720"):
        get(tmp_path / "copy")


def test_both_kinds_of_realblur_in_one_folder(small, data, get, tmp_path):
    """The authors' archive holds J and R: each set finds its own, also as MPRNet packs both, by the folder's name."""
    realblur(tmp_path / "copy", "J", clean, worse)
    realblur(tmp_path / "copy", "R", clean, worse)
    small("realblur-r", 3)
    assert get(tmp_path / "copy").complete
    packed_as_mprnet(tmp_path / "packed", worse, clean, "test/RealBlur_J")
    packed_as_mprnet(tmp_path / "packed", clean, worse, "test/RealBlur_R")
    assert get(tmp_path / "packed").complete
    check(data, ["1", "2", "3"], [0, 1, 2])


def test_two_folders_that_look_like_the_set(small, get, tmp_path):
    small("hide", 3)
    for name in ("first", "second"):
        packed_as_mprnet(tmp_path / "copy", clean, worse, f"test/{name}")
    with pytest.raises(HarnessError, match=r"3 pairs in several places.*both test/first/ and test/second/ look like"):
        get(tmp_path / "copy")
    assert verify_folder("small", tmp_path / "copy").status == "missing"
    assert get(tmp_path / "copy/test/second").complete


def test_a_neighbour_is_not_taken_for_the_set(small, data, get, tmp_path):
    """MPRNet's folder of deraining sets: Rain100H and Test100 have as many pairs; the folder's name decides."""
    small("test100", 3)
    packed_as_mprnet(tmp_path / "all", worse, clean, "Datasets/test/Rain100H")
    with pytest.raises(HarnessError, match="Datasets/test/Rain100H/ has such files, but the name of another set"):
        get(tmp_path / "all")
    packed_as_mprnet(tmp_path / "all", clean, worse, "Datasets/test/Test100")
    assert get(tmp_path / "all").complete
    check(data, ["1", "2", "3"], [0, 1, 2])
    # A pair of its own is gone: the whole neighbour is not better.
    (tmp_path / "all/Datasets/test/Test100/input/2.png").unlink()
    with pytest.raises(HarnessError, match=r"has 2 pairs of 3.*without a partner: .*/Test100/target/2\.png"):
        get(tmp_path / "all")


@pytest.mark.parametrize(
    ("name", "write", "inside"),
    [
        ("gopro-test", partial(gopro, part="test"), "GOPRO_Large/test"),
        ("gopro-train", partial(gopro, part="train"), "GOPRO_Large/train"),
        ("hide", hide, "HIDE_dataset/test"),
        ("realblur-j", partial(realblur, kind="J"), REALBLUR["J"]),
        ("sidd-train", sidd_medium, "SIDD_Medium_Srgb/Data"),
        ("rain13k", partial(packed_as_mprnet, below="train/Rain13K"), "train/Rain13K/input"),
    ],
)
def test_a_folder_inside_the_release(name, write, inside, small, get, tmp_path):
    """Who names a folder too deep is understood, or told what is missing where the other half lies beside it."""
    small(name, 2 if name == "sidd-train" else 3)
    write(tmp_path / "copy", clean=clean, worse=worse)
    if name in ("hide", "rain13k"):
        with pytest.raises(HarnessError, match=r"has 0 pairs of 3.*without a partner"):
            get(tmp_path / "copy" / inside)
        return
    assert get(tmp_path / "copy" / inside).complete
    assert verify_folder("small", tmp_path / "copy" / inside).status == "complete"


def test_names_in_another_case_and_what_systems_leave_behind(small, data, get, tmp_path):
    small("gopro-test", 3)
    gopro(tmp_path / "copy", clean, worse)
    root = tmp_path / "copy/GOPRO_Large"
    (root / "test").rename(root / "Test")
    (root / "Test/G2/sharp").rename(root / "Test/G2/Sharp")
    (root / "Test/G2/Sharp/000001.png").rename(root / "Test/G2/Sharp/000001.PNG")
    for name in ("._000001.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (root / "Test/G2/Sharp" / name).write_bytes(b"no image")
        (root / "Test/G2/blur" / name).write_bytes(b"no image")
    shutil.copytree(root, tmp_path / "copy/__MACOSX/GOPRO_Large")
    assert verify_folder("small", tmp_path / "copy").problems == ()
    assert get(tmp_path / "copy").complete
    check(data, FRAMES, [2, 0, 1])


def test_one_image_twice(small, get, tmp_path):
    small("test100", 3)
    packed_as_mprnet(tmp_path / "copy", clean, worse)
    put(tmp_path / "copy/test/Any/input/2.bmp", worse(77))
    told = r"input/2\.bmp and test/Any/input/2\.png would be one image: take one of them away"
    with pytest.raises(HarnessError, match=told):
        get(tmp_path / "copy")
    assert told.replace("\\", "") in " ".join(verify_folder("small", tmp_path / "copy").problems)
    (tmp_path / "copy/test/Any/input/2.bmp").rename(tmp_path / "copy/test/Any/target/2.bmp")
    with pytest.raises(HarnessError, match=r"target/2\.bmp and test/Any/target/2\.png would be one image"):
        get(tmp_path / "copy")


def sixteen_bits() -> bytes:
    """Encode a colour PNG of 16 bits a sample, which Pillow reads but cannot write."""
    rows = b"".join(b"\0" + bytes(6 * 60) for _ in range(40))
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, body in (
        (b"IHDR", struct.pack(">IIBBBBB", 60, 40, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ):
        parts.append(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))
    return b"".join(parts)


def damage(kind: str, path: Path) -> None:
    if kind == "16 bits":
        path.write_bytes(sixteen_bits())
    elif kind == "16 bits gray":
        Image.fromarray(np.zeros((40, 60), np.uint16)).save(path)
    elif kind == "gray":
        put(path, picture(3)[:, :, 0])
    elif kind == "small":
        put(path, picture(3, 20, 30))
    elif kind == "text":
        path.write_text("<html>not found</html>")
    elif kind == "nowhere":
        path.unlink()
        path.symlink_to(path.with_name("gone.png"))
    else:
        path.write_bytes(path.read_bytes()[:400])


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("16 bits", "has 16 bits a sample; store it with 8"),
        ("16 bits gray", "has 16 bits a sample; store it with 8"),
        ("gray", "is 60x40 colour, its partner 60x40 gray"),
        ("small", "is 60x40 colour, its partner 30x20 colour"),
        ("text", "not a readable image"),
        ("nowhere", "cannot be read"),
        ("cut off", "not a readable image"),
    ],
)
def test_one_bad_image_is_named(kind, told, small, get, tmp_path):
    small("test2800", 3)
    packed_as_mprnet(tmp_path / "copy", clean, worse)
    damage(kind, tmp_path / "copy/test/Any/input/2.png")
    with pytest.raises(HarnessError, match=f"test/Any/(input|target)/2.png {told}"):
        get(tmp_path / "copy")
    found = verify_folder("small", tmp_path / "copy")
    if kind != "cut off":  # verify reads headers only
        assert found.status == "missing" and told in found.problems[0] and "/2.png" in found.problems[0]


def test_a_gray_pair_among_colour_ones(small, get, tmp_path):
    small("test2800", 3)
    packed_as_mprnet(tmp_path / "copy", clean, worse)
    for role in ("input", "target"):
        damage("gray", tmp_path / f"copy/test/Any/{role}/2.png")
    with pytest.raises(HarnessError, match=r"2\.png is gray among colour images; store it as colour and 1 more"):
        get(tmp_path / "copy")
    for role in ("input", "target"):
        for n in (1, 3):
            damage("gray", tmp_path / f"copy/test/Any/{role}/{n}.png")
    assert get(tmp_path / "copy").complete  # all gray: another kind of set


def test_links_are_followed_and_stay_links(small, data, get, tmp_path):
    """Images elsewhere, linked into a folder, are the user's own decision: they are read, and none is copied."""
    small("test2800", 3)
    packed_as_mprnet(tmp_path / "elsewhere", clean, worse)
    (tmp_path / "copy").mkdir()
    for role in ("input", "target"):
        (tmp_path / "copy" / role).symlink_to(tmp_path / "elsewhere/test/Any" / role)
    (tmp_path / "copy/loop").symlink_to(tmp_path / "copy")
    assert get(tmp_path / "copy").complete
    check(data, ["1", "2", "3"], [0, 1, 2])
    assert all(path.is_symlink() for path in (data / "datasets/small").rglob("*.png"))
    # The folder is taken away: the reason says so, and nothing of the links that are left.
    shutil.rmtree(tmp_path / "elsewhere")
    (tmp_path / "copy/loop").unlink()
    shutil.rmtree(tmp_path / "copy")
    reason = fetch("small", data, say=lambda text: None).reason
    assert "(the own folder is gone)" in reason and "cannot be read" not in reason


def test_realblur_without_its_list(small, get, tmp_path):
    small("realblur-j", 3)
    realblur(tmp_path / "copy", "J", clean, worse)
    (tmp_path / "copy/RealBlur_J_test_list.txt").unlink()
    with pytest.raises(HarnessError, match=r"has 4 pairs of 3.*RealBlur_J_test_list\.txt, which names the pairs"):
        get(tmp_path / "copy")
    (tmp_path / "copy/RealBlur_J_test_list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(HarnessError, match=r"RealBlur_J_test_list\.txt: cannot be read as a list"):
        get(tmp_path / "copy")


def test_many_rains_of_one_scene(small, data, get, tmp_path):
    """Test2800 as its owners name the files: 14 rainy images share a ground truth."""
    small("test2800", 28)
    fu_rain(tmp_path / "copy", clean, worse)
    assert get(tmp_path / "copy").images == 28
    fetched = open_dataset("small", data)
    assert fetched.image_ids[:3] == ["901-1", "901-2", "901-3"]
    np.testing.assert_array_equal(fetched.read("902-14"), clean(902))
    np.testing.assert_array_equal(fetched.read_input("902-14"), worse(90214))


@pytest.mark.parametrize(("name", "left"), [("test1200", "input"), ("test100", "target")])
def test_side_by_side_pairs_are_cut(name, left, small, data, get, tmp_path):
    small(name, 3)
    side_by_side(tmp_path / "copy", clean, worse, left)
    assert verify_folder("small", tmp_path / "copy").status == "complete"
    assert get(tmp_path / "copy").complete
    check(data, ["0", "1", "2"], [0, 1, 2])
    # The inputs alone are as many images in one folder, and no halves.
    for n in range(3):
        put(tmp_path / f"half/test/Test/input/{n}.png", worse(n))
    with pytest.raises(HarnessError, match=r"has 0 pairs of 3.*without a partner: test/Test/input/0\.png and 2 more"):
        get(tmp_path / "half")
    put(tmp_path / "copy/1.png", picture(0, 40, 61))
    with pytest.raises(HarnessError, match="is 61 pixels wide"):
        get(tmp_path / "copy")


# SIDD ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["v5", "v5 compressed", "v7.3"])
def test_sidd_blocks(form, small, data, get, tmp_path):
    small("sidd-validation", 6, [[16, 16]])
    for seed, variable in ((1, "ValidationNoisyBlocksSrgb"), (2, "ValidationGtBlocksSrgb")):
        path = tmp_path / "copy/SIDD" / f"{variable}.mat"
        path.parent.mkdir(parents=True, exist_ok=True)
        if form == "v7.3":
            matlab_hdf5(path, **{variable: sidd_blocks(seed=seed)})
        else:
            savemat(path, {variable: sidd_blocks(seed=seed)}, do_compression=form.endswith("compressed"))
    assert verify_folder("small", tmp_path / "copy").status == "complete"
    assert get(tmp_path / "copy").images == 6
    fetched = open_dataset("small", data)
    assert fetched.image_ids[0] == "01-01" and fetched.image_ids[-1] == "02-03"
    np.testing.assert_array_equal(fetched.read("02-03"), sidd_blocks(seed=2)[1, 2])
    np.testing.assert_array_equal(fetched.read_input("01-02"), sidd_blocks(seed=1)[0, 1])


def test_half_a_sidd_and_a_wrong_one(small, get, tmp_path):
    small("sidd-validation", 6, [[16, 16]])
    (tmp_path / "copy").mkdir()
    savemat(tmp_path / "copy/ValidationGtBlocksSrgb.mat", {"ValidationGtBlocksSrgb": sidd_blocks()})
    with pytest.raises(HarnessError, match=r"holds ValidationGtBlocksSrgb\.mat and no ValidationNoisyBlocksSrgb\.mat"):
        get(tmp_path / "copy")
    noisy = tmp_path / "copy/ValidationNoisyBlocksSrgb.mat"
    savemat(noisy, {"BenchmarkNoisyBlocksSrgb": sidd_blocks()})
    with pytest.raises(HarnessError, match="holds 'BenchmarkNoisyBlocksSrgb' and no array 'ValidationNoisyBlocksSrgb'"):
        get(tmp_path / "copy")
    savemat(noisy, {"ValidationNoisyBlocksSrgb": sidd_blocks(photographs=3)})
    with pytest.raises(HarnessError, match="holds 3 x 3 blocks, 'small' has 6"):
        get(tmp_path / "copy")
    assert "holds 3 x 3 blocks" in verify_folder("small", tmp_path / "copy").problems[0]
    for form in (False, True):
        savemat(noisy, {"ValidationNoisyBlocksSrgb": sidd_blocks()}, do_compression=form)
        assert verify_folder("small", tmp_path / "copy").status == "complete"
        noisy.write_bytes(noisy.read_bytes()[:-100])
        problems = verify_folder("small", tmp_path / "copy").problems
        assert len(problems) == 1 and "NoisyBlocksSrgb.mat: cannot be read (no MATLAB file, or trunc" in problems[0]
        with pytest.raises(HarnessError, match="or truncated"):
            get(tmp_path / "copy")
    savemat(noisy, {"ValidationNoisyBlocksSrgb": sidd_blocks(side=17)})
    with pytest.raises(HarnessError, match=r"holds \(2, 3, 17, 17, 3\) uint8 instead of \(40, 32, 16, 16, 3\)"):
        get(tmp_path / "copy")


def test_a_release_that_is_damaged_later_stops_nothing(small, data, get, tmp_path):
    """Tables fetch without a person at the terminal: the set is missing, with a reason, and the rest goes on."""
    small("sidd-validation", 6, [[16, 16]])
    sidd_validation(tmp_path / "copy", sidd_blocks(seed=1), sidd_blocks(seed=2))
    assert get(tmp_path / "copy").complete
    shutil.rmtree(data / "datasets/small")
    path = tmp_path / "copy/ValidationGtBlocksSrgb.mat"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    said: list[str] = []
    manifest = fetch("small", data, say=said.append)
    assert not manifest.complete and "the own folder holds a damaged or foreign release" in manifest.reason
    assert str(tmp_path) not in manifest.reason  # the same manifest on every machine
    assert "ValidationGtBlocksSrgb.mat: cannot be read (no MATLAB file, or truncated)" in said[0]
    path.write_bytes(whole)
    assert not (data / "datasets/small").exists()  # looked at before anything is written
    (data / "datasets/small/input/01-01.png").mkdir(parents=True)
    with pytest.raises(HarnessError, match="cannot be written"):
        fetch("small", data)
    (data / "datasets/small/input/01-01.png").rmdir()
    assert fetch("small", data).images == 6


# DND -----------------------------------------------------------------------------------------------------------------


def test_dnd_is_unpacked_and_has_no_ground_truth(small, data, get, tmp_path):
    small("dnd", 2)
    dnd_release(tmp_path / "copy/dnd_2017")
    shutil.copytree(tmp_path / "copy/dnd_2017", tmp_path / "copy/__MACOSX/dnd_2017")
    assert verify_folder("small", tmp_path / "copy").status == "complete"
    assert verify_folder("small", tmp_path / "copy/dnd_2017/images_srgb").status == "complete"
    assert get(tmp_path / "copy").images == 2
    (tmp_path / "copy/dnd_2017/info.mat").rename(tmp_path / "copy/elsewhere.mat")
    assert (
        verify_folder("small", tmp_path / "copy")
        .problems[0]
        .endswith("info.mat is not there; a submission needs the boxes that it holds")
    )
    fetched = open_dataset("small", data)
    assert fetched.image_ids == ["0001", "0002"]
    expected = picture(1, 24, 64)
    expected[0, 0] = 31  # 0.12345678 of 255
    np.testing.assert_array_equal(fetched.read_input("0001"), expected)
    with pytest.raises(NotAvailableError, match="no ground truth"):
        fetched.read("0001")
    image = read_dnd_image(tmp_path / "copy/dnd_2017/images_srgb/0001.mat")
    assert image.dtype == np.float32 and image[0, 0, 0] == np.float32(0.12345678)


def test_an_incomplete_dnd(small, get, tmp_path):
    small("dnd", 2)
    dnd_release(tmp_path / "copy", count=1)
    with pytest.raises(HarnessError, match=r"holds 1 files of 2 \(0001\.mat to 0002\.mat\)"):
        get(tmp_path / "copy")
    matlab_hdf5(tmp_path / "copy/images_srgb/0002.mat", InoisySRGB=2 * np.ones((8, 8, 3), np.float32))
    with pytest.raises(HarnessError, match=r"0002\.mat: 'InoisySRGB' leaves the range"):
        get(tmp_path / "copy")


# Sets of the user's own ----------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project with a folder of pairs under unusual names."""
    monkeypatch.delenv("HARNESS_DATASETS", raising=False)
    (tmp_path / "params.yaml").write_text("methods: []\n")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    for n in range(3):
        put(tmp_path / f"photos/night/IMG_{n}_iso100.png", clean(n))
        put(tmp_path / f"photos/night/IMG_{n}_iso6400.png", worse(n))
    return tmp_path


def run(*arguments: str) -> None:
    from harness.cli import harness

    harness.main(args=list(arguments), standalone_mode=False)


def test_pairs_of_the_users_own(project, capsys):
    run(
        "datasets", "add", "my-phone", "--from", str(project / "photos"),
        "--input", "{scene}/IMG_{number}_iso6400.*", "--target", "{scene}/IMG_{number}_iso100.*",
    )  # fmt: skip
    assert "my-phone: complete, 3 pairs" in capsys.readouterr().out
    record = dataset("my-phone")
    assert (record.kind, record.count) == ("pairs", 3)
    assert json.loads((project / "datasets/my-phone.json").read_text())["layouts"] == [
        {"target": "{scene}/IMG_{number}_iso100.*", "input": "{scene}/IMG_{number}_iso6400.*"}
    ]
    fetched = open_dataset("my-phone", "data")
    assert fetched.image_ids == ["night-0", "night-1", "night-2"]
    np.testing.assert_array_equal(fetched.read_input("night-2"), worse(2))
    with pytest.raises(HarnessError, match="a dataset 'my-phone' is there already"):
        run("datasets", "add", "my-phone", "--from", str(project / "photos"))


def test_usual_names_need_no_patterns(project, capsys):
    shutil.rmtree(project / "photos")
    for n in range(2):
        put(project / f"photos/clean/{n}.png", clean(n))
        put(project / f"photos/noisy/{n}.png", worse(n))
    put(project / "photos/noisy/7.png", worse(7))
    run("datasets", "add", "mine", "--from", str(project / "photos"))
    assert dataset("mine").layouts[0].input == "noisy/{id}.*" and dataset("mine").count == 2
    assert "left out, without a partner: noisy/7.png" in capsys.readouterr().out
    # One level above, as an archive unpacks; and in other letters.
    (project / "photos/noisy").rename(project / "photos/Noisy")
    (project / "all").mkdir()
    (project / "photos").rename(project / "all/photos")
    run("datasets", "add", "deeper", "--from", str(project / "all"))
    assert (dataset("deeper").count, open_dataset("deeper", "data").image_ids) == (2, ["0", "1"])


def test_pairs_side_by_side_in_one_folder(project, capsys):
    for n in range(2):
        put(project / f"flat/{n}.png", clean(n))
        put(project / f"flat/{n}_noisy.png", worse(n))
    command = ["datasets", "add", "flat", "--from", str(project / "flat")]
    run(*command, "--input", "{id}_noisy.*", "--target", "{id}.*")
    assert "left out" not in capsys.readouterr().out
    assert open_dataset("flat", "data").image_ids == ["0", "1"]


def test_an_own_set_that_cannot_be_read_leaves_no_record(project):
    put(project / "photos/night/IMG_1_iso100.png", picture(1, 20, 20))
    command = [
        "datasets", "add", "my-phone", "--from", str(project / "photos"),
        "--input", "{scene}/IMG_{number}_iso6400.*", "--target", "{scene}/IMG_{number}_iso100.*",
    ]  # fmt: skip
    with pytest.raises(HarnessError, match="is 20x20 colour, its partner 60x40 colour"):
        run(*command)
    assert not (project / "datasets/my-phone.json").exists()
    put(project / "photos/night/IMG_1_iso100.png", clean(1))
    run(*command)
    assert dataset("my-phone").count == 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["My Set"], "dataset 'My Set': use lower-case letters, digits and single '-'"),
        (["set5"], "a dataset 'set5' is there already"),
        (["mine", "--target", "../{id}.*"], "write a path below the folder"),
        (["mine", "--target", "/{id}.*"], "write a path below the folder"),
        (["mine", "--target", "night/fixed.png"], "with a placeholder"),
        (["mine", "--target", "day/{id}.*"], "holds no images as day/{id}"),
        (["mine"], "holds no pairs under the usual names"),
    ],
)
def test_what_add_refuses(project, arguments, told):
    with pytest.raises(HarnessError, match=told):
        run("datasets", "add", *arguments, "--from", str(project / "photos"))
    assert not (project / "datasets").exists() or not list((project / "datasets").iterdir())


def test_verify_a_folder_on_the_command_line(project, registry, capsys):
    registry.add("pair", kind="pairs", supply="user", count=2, layouts=[{"target": "t/{id}.*", "input": "i/{id}.*"}])
    put(project / "copy/t/1.png", clean(1))
    put(project / "copy/i/1.png", worse(1))
    put(project / "copy/i/2.png", worse(2))
    with pytest.raises(HarnessError, match="does not hold 'pair' whole"):
        run("datasets", "verify", "pair", "--from", str(project / "copy"))
    out = capsys.readouterr().out
    assert "has 1 pairs of 2" in out and "without a partner: i/2.png" in out
    put(project / "copy/t/2.png", clean(2))
    run("datasets", "verify", "pair", "--from", str(project / "copy"))
    assert "next: harness datasets fetch pair --from" in capsys.readouterr().out
    (project / "tiny").mkdir()
    (project / "tiny/1.png").write_bytes(encode(picture(1)))
    with pytest.raises(HarnessError, match="does not hold 'tiny' whole"):
        run("datasets", "verify", "tiny", "--from", str(project / "tiny"))
    assert "10.png is not there" in capsys.readouterr().out


LIST = "RealBlur_J_test_list.txt"


@pytest.mark.parametrize(
    ("name", "rewrite"),
    [
        (LIST, lambda text: text.replace("\n", "\r\n").encode()),
        (LIST, lambda text: text.replace(" ", ",").encode()),
        (LIST, lambda text: text.replace("/", "\\").encode("utf-8-sig")),
        (LIST, lambda text: text.encode("utf-16")),
        (LIST.lower(), lambda text: text.replace("RealBlur-J", "./datasets/RealBlur/RealBlur-J").encode()),
        (LIST, lambda text: text.replace(".png", ".jpg").encode()),
    ],
    ids=["CRLF", "commas", "backslashes", "UTF-16", "another folder", "converted images"],
)
def test_lists_from_other_systems_and_for_other_folders(name, rewrite, small, data, get, tmp_path):
    small("realblur-j", 3)
    realblur(tmp_path / "copy", "J", clean, worse)
    text = (tmp_path / "copy" / LIST).read_text()
    (tmp_path / "copy" / LIST).unlink()
    (tmp_path / "copy" / name).write_bytes(rewrite(text))
    assert get(tmp_path / "copy").complete
    check(data, SHOTS, [0, 1, 2])


def test_a_list_that_names_other_files(small, get, tmp_path):
    small("realblur-j", 3)
    realblur(tmp_path / "copy", "J", clean, worse)
    lines = (tmp_path / "copy" / LIST).read_text().splitlines()
    (tmp_path / "copy" / LIST).write_text(lines[0] + "\n" + lines[1].replace("scene050", "scene999"))
    with pytest.raises(HarnessError, match=rf"{LIST} names 4 files \(of 6\), 2 of them are there"):
        get(tmp_path / "copy")


@pytest.mark.parametrize(
    ("degraded", "sharp"),
    [
        ("input/rain-{}.png", "target/norain-{}.png"),
        ("input/IM_{}.JPG", "target/im_{}.png"),
        ("rainy/{}_rain.png", "clean/{}_clean.png"),
        ("test/Test100/rain/{}.png", "test/Test100/norain/{}.png"),
    ],
)
def test_pairs_whose_names_differ(degraded, sharp, small, data, get, tmp_path):
    small("test100", 3)
    for n in range(3):
        put(tmp_path / "copy" / sharp.format(n + 1), clean(n))
        put(tmp_path / "copy" / degraded.format(n + 1), worse(n))
    assert get(tmp_path / "copy").complete
    fetched = open_dataset("small", data)
    assert [image.removeprefix("im_") for image in fetched.image_ids] == ["1", "2", "3"]
    for n, image in enumerate(fetched.image_ids):
        np.testing.assert_array_equal(fetched.read(image), clean(n))


def test_names_that_agree_are_never_read_otherwise(small, data, get, tmp_path):
    """Images called rain-1 and norain-1 in both folders are four images."""
    small("test100", 2)
    for n, name in enumerate(("rain-1", "norain-1")):
        put(tmp_path / f"copy/target/{name}.png", clean(n))
        put(tmp_path / f"copy/input/{name}.png", worse(n))
    assert get(tmp_path / "copy").complete
    check(data, ["norain-1", "rain-1"], [1, 0])


@pytest.mark.parametrize(
    ("noisy", "ground"),
    [
        ("validationnoisyblockssrgb.MAT", "validationgtblockssrgb.MAT"),
        ("ValidationNoisyBlocksSrgb (1).mat", "gt.mat"),
        ("Datasets/test/SIDD/ValidationNoisyBlocksSrgb.mat", "elsewhere/ValidationGtBlocksSrgb.mat"),
    ],
)
def test_sidd_under_other_names(noisy, ground, small, data, get, tmp_path):
    small("sidd-validation", 6, [[16, 16]])
    blocks = {"Gt": sidd_blocks(seed=1), "Noisy": sidd_blocks(seed=2)}
    for kind, name in (("Gt", ground), ("Noisy", noisy)):
        path = tmp_path / "copy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        others = {"about": {"camera": "x"}, "list": np.array(["a", "b"], object), "ValidationIndex": np.eye(9)}
        with path.open("wb") as file:
            savemat(file, others | {f"Validation{kind}BlocksSrgb": blocks[kind]}, do_compression=kind == "Gt")
    assert verify_folder("small", tmp_path / "copy").status == "complete"
    assert get(tmp_path / "copy").complete
    np.testing.assert_array_equal(open_dataset("small", data).read("02-03"), blocks["Gt"][1, 2])
    np.testing.assert_array_equal(open_dataset("small", data).read_input("01-01"), blocks["Noisy"][0, 0])


def test_what_is_said_of_archives_and_of_deep_folders(small, get, tmp_path):
    small("test100", 3)
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy/Test100.zip").write_bytes(b"PK")
    with pytest.raises(HarnessError, match=r"found no image files; Test100\.zip is an archive: unpack it"):
        get(tmp_path / "copy")
    packed_as_mprnet(tmp_path / "copy", clean, worse, below="a/b/c/d")
    with pytest.raises(HarnessError, match="but a/b/c/d/ looks like it: name that folder"):
        get(tmp_path / "copy")


@pytest.mark.parametrize("below", ["DIV2K/DIV2K_train_HR", "DIV2K_train_HR", "a folder/DIV2K_train_HR", "DIV2K", "."])
def test_one_place_that_two_layouts_find_is_one_place(below, small, data, get, tmp_path):
    """DIV2K_train_HR/0001 in DIV2K, and 0001 in DIV2K/DIV2K_train_HR, are the same files."""
    small("div2k-train", 3)
    for n in range(3):
        put(tmp_path / "copy" / below / f"000{n + 1}.png", clean(n))
    assert verify_folder("small", tmp_path / "copy").status == "complete"
    assert get(tmp_path / "copy").complete
    assert open_dataset("small", data).image_ids == ["0001", "0002", "0003"]


def test_verify_sees_a_truncated_image(small, tmp_path):
    small("test100", 3)
    packed_as_mprnet(tmp_path / "copy", clean, worse, below="")
    image = tmp_path / "copy/input/2.png"
    image.write_bytes(image.read_bytes() + b"\n" * 200)  # what follows the image's end does no harm
    assert verify_folder("small", tmp_path / "copy").status == "complete"
    image.write_bytes(image.read_bytes()[:300])
    (problem,) = verify_folder("small", tmp_path / "copy").problems
    assert problem.startswith(f"{image}: not a readable image (")


def test_usual_names_in_one_folder(project, capsys):
    for n in range(2):
        put(project / f"rain/norain-{n}.png", clean(n))
        put(project / f"rain/rain-{n}.png", worse(n))
    run("datasets", "add", "rain", "--from", str(project / "rain"))
    assert "rain: complete, 2 pairs" in capsys.readouterr().out
    np.testing.assert_array_equal(open_dataset("rain", "data").read_input("1"), worse(1))


def test_another_release_that_is_older_than_what_was_unpacked(small, data, get, tmp_path):
    """Files copied with their times kept, or images under other names: nothing of the first release stays."""
    small("sidd-validation", 6, [[16, 16]])
    first, second = sidd_blocks(seed=1), sidd_blocks(seed=5)
    for folder, blocks in (("first", first), ("second", second)):
        sidd_validation(tmp_path / folder, blocks, sidd_blocks(seed=2))
        for file in (tmp_path / folder).iterdir():
            os.utime(file, (1_500_000_000, 1_500_000_000))
    assert get(tmp_path / "first").complete and get(tmp_path / "second").complete
    np.testing.assert_array_equal(open_dataset("small", data).read("01-01"), second[0, 0])


def test_side_by_side_images_under_other_names(small, data, get, tmp_path):
    small("test1200", 3)
    side_by_side(tmp_path / "first", clean, worse, "input")
    side_by_side(tmp_path / "second", clean, worse, "input")
    for file in (tmp_path / "second").iterdir():
        file.rename(file.with_name(f"new_{file.name}"))
    assert get(tmp_path / "first").complete and get(tmp_path / "second").complete
    check(data, ["new_0", "new_1", "new_2"], [0, 1, 2])
    # And from side by side to input and target, and back.
    packed_as_mprnet(tmp_path / "third", clean, worse, below="")
    assert get(tmp_path / "third").complete
    check(data, ["1", "2", "3"], [0, 1, 2])
    assert get(tmp_path / "first").complete
    check(data, ["0", "1", "2"], [0, 1, 2])


def test_a_folder_that_changes_after_it_was_verified(small, data, get, tmp_path):
    small("gopro-test", 3)
    gopro(tmp_path / "copy", clean, worse)
    assert get(tmp_path / "copy").complete
    blurred = tmp_path / "copy/GOPRO_Large/test/G2/blur/000001.png"
    put(blurred, worse(77))
    with pytest.raises(HarnessError, match=r"has (another checksum|\d+ bytes)"):
        open_dataset("small", data).read_input("G2-000001")
    assert fetch("small", data, say=lambda text: None).complete  # as a table does before it begins
    np.testing.assert_array_equal(open_dataset("small", data).read_input("G2-000001"), worse(77))
    blurred.unlink()
    missing = fetch("small", data, say=lambda text: None)
    assert not missing.complete and "the own folder has 2 pairs of 3" in missing.reason
    assert "without a partner: GOPRO_Large/test/G2/sharp/000001.png" in missing.reason


def test_the_record_says_where_pairs_were_found(project, capsys):
    for part, count in (("train", 3), ("test", 1)):
        for n in range(count):
            put(project / f"all/{part}/target/{n}.png", clean(n))
            put(project / f"all/{part}/input/{n}.png", worse(n))
    run("datasets", "add", "parts", "--from", str(project / "all"))
    assert "taken: train/input/{id}.* and train/target/{id}.*" in capsys.readouterr().out
    put(project / "polyu/PolyU/a_mean.JPG", clean(1))
    put(project / "polyu/PolyU/a_real.JPG", worse(1))
    run("datasets", "add", "polyu", "--from", str(project / "polyu"))
    assert "taken: PolyU/{id}_real.* and PolyU/{id}_mean.*" in capsys.readouterr().out
    assert open_dataset("polyu", "data").image_ids == ["a"]


@pytest.mark.parametrize(
    ("degraded", "sharp", "told"),
    [
        ("noisy/{ID}.*", "clean/{ID}.*", "write placeholders in lower-case letters, not {ID}"),
        ("noisy/{a}.*", "clean/{b}.*", "share no placeholder"),
    ],
)
def test_patterns_that_pair_nothing(degraded, sharp, told, project):
    with pytest.raises(HarnessError, match=told):
        run("datasets", "add", "mine", "--from", str(project / "photos"), "--input", degraded, "--target", sharp)


def test_names_from_archives_of_other_systems(small, data, get, tmp_path):
    """Accents taken apart by macOS are the same letters; bytes that are no UTF-8 are answered with a sentence."""
    small("test100", 1)
    put(tmp_path / "copy/input/e\u0301te\u0301.png", worse(1))
    put(tmp_path / "copy/target/\u00e9t\u00e9.png", clean(1))
    assert get(tmp_path / "copy").complete
    check(data, ["\u00e9t\u00e9"], [1])
    small("test100", 2)
    for folder in ("input", "target"):
        shutil.copy(
            tmp_path / "copy/target/\u00e9t\u00e9.png", os.fsencode(tmp_path / "copy" / folder) + b"/caf\xe9.png"
        )
    with pytest.raises(HarnessError, match=r"not every system can hold, such as input/caf\\udce9\.png|target/caf"):
        get(tmp_path / "copy")
    (_, problem) = verify_folder("small", tmp_path / "copy").problems
    assert problem.endswith("rename it; not every system can hold this name")
    problem.encode()


def pairs_below(folder: Path, degraded: str, clean: str, names: dict[str, str]) -> Path:
    for number, (first, second) in enumerate(names.items()):
        for place, name in ((degraded, first), (clean, second)):
            (folder / place).mkdir(parents=True, exist_ok=True)
            (folder / place / name).write_bytes(encode(picture(number)))
    return folder


@pytest.mark.parametrize(
    ("degraded", "clean", "names"),
    [
        ("low", "high", {"1.png": "1.png", "2.png": "2.png"}),
        ("Input", "GroundTruth", {"1.png": "1.png", "2.png": "2.png"}),
        ("noisy", "clean", {"IMG_1.png": "img_1.png", "img_2.png": "img_2.png", "Img_3.png": "img_3.png"}),
    ],
)
def test_usual_folders_and_names_in_any_case(project, tmp_path: Path, degraded: str, clean: str, names) -> None:
    folder = pairs_below(tmp_path / "own", degraded, clean, names)
    record, _, left = add_dataset("own-pairs", folder)
    assert (record.kind, record.count, left) == ("pairs", len(names), ())


def test_a_pipe_among_images(project, tmp_path: Path, capsys) -> None:
    """Nobody writes into it: whoever reads would wait without end."""
    put(tmp_path / "own/1.png", clean(1))
    os.mkfifo(tmp_path / "own/2.png")
    with pytest.raises(HarnessError) as refused:
        run("datasets", "add", "with-a-pipe", "--from", str(tmp_path / "own"))
    assert "is no file, but a pipe" in f"{refused.value}{''.join(capsys.readouterr())}"
    with pytest.raises(HarnessError, match="is no file, but a pipe"):
        read_image(tmp_path / "own/2.png")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["A.png", "a.png", "b.png"], "A and a differ by case only"),
        (["con.png", "b.png"], "rename it; not every system can hold this name"),
        (["NUL.tar.png", "b.png"], "rename it; not every system can hold this name"),
    ],
)
def test_names_that_many_systems_cannot_hold(project, tmp_path: Path, capsys, names: list[str], told: str) -> None:
    folder = pairs_below(tmp_path / "own", "noisy", "clean", {name: name for name in names})
    with pytest.raises(HarnessError) as refused:
        run("datasets", "add", "odd-names", "--from", str(folder))
    assert told in f"{refused.value}{''.join(capsys.readouterr())}"
