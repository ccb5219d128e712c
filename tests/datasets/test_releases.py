"""Sets of pairs as their owners publish them, small: layouts, lists, packed files, and what a wrong folder is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from release_folders import dnd_release, matlab_hdf5, put, sidd_blocks
from scipy.io import savemat
from synthetic_datasets import encode, picture

from harness.datasets import fetch, open_dataset, places
from harness.datasets.registry import dataset
from harness.datasets.unpacking import read_dnd_image
from harness.datasets.verification import verify_folder
from harness.errors import HarnessError, NotAvailableError

RECORDS = Path(places.__file__).with_name("registry")


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


# Each release: where the files of pair `n` lie in the owners' archive.
def gopro(folder: Path, part: str = "test") -> None:
    for n, (sequence, frame) in enumerate(
        [("GOPR0384_11_00", "000001"), ("GOPR0384_11_00", "000002"), ("G2", "000001")]
    ):
        put(folder / f"GOPRO_Large/{part}/{sequence}/sharp/{frame}.png", clean(n))
        put(folder / f"GOPRO_Large/{part}/{sequence}/blur/{frame}.png", worse(n))
        put(folder / f"GOPRO_Large/{part}/{sequence}/blur_gamma/{frame}.png", picture(5000 + n))  # left out


def hide(folder: Path) -> None:
    for n, (distance, name) in enumerate(
        [("test-close-ups", "10_1"), ("test-long-shot", "20_1"), ("test-long-shot", "3")]
    ):
        put(folder / f"HIDE_dataset/GT/{name}.png", clean(n))
        put(folder / f"HIDE_dataset/test/{distance}/{name}.png", worse(n))
    put(folder / "HIDE_dataset/GT/of_the_training_part.png", clean(9))
    put(folder / "HIDE_dataset/train/of_the_training_part.png", worse(9))


def realblur(folder: Path, kind: str) -> None:
    root = {"J": "RealBlur-J_ECC_IMCORR_centroid_itensity_ref", "R": "RealBlur-R_BM3D_ECC_IMCORR_centroid_itensity_ref"}
    lines = []
    for n, (scene, shot) in enumerate([("scene050", 1), ("scene050", 10), ("scene244_reflect", 2), ("scene001", 1)]):
        put(folder / f"{root[kind]}/{scene}/gt/gt_{shot}.png", clean(n))
        put(folder / f"{root[kind]}/{scene}/blur/blur_{shot}.png", worse(n))
        lines.append(f"{root[kind]}/{scene}/gt/gt_{shot}.png {root[kind]}/{scene}/blur/blur_{shot}.png \n")
    (folder / f"RealBlur_{kind}_test_list.txt").write_text("".join(lines[:3]))  # the fourth is for training


def sidd_medium(folder: Path) -> None:
    for n, shot in enumerate(["010", "011"]):
        scene = folder / "SIDD_Medium_Srgb/Data/0001_001_S6_00100_00060_3200_L"
        put(scene / f"0001_GT_SRGB_{shot}.PNG", clean(n))
        put(scene / f"0001_NOISY_SRGB_{shot}.PNG", worse(n))


def packed_as_mprnet(folder: Path) -> None:
    for n in range(3):
        put(folder / f"test/Any/target/{n + 1}.png", clean(n))
        put(folder / f"test/Any/input/{n + 1}.png", worse(n))


RELEASES = {
    "gopro-test": (gopro, ["G2-000001", "GOPR0384_11_00-000001", "GOPR0384_11_00-000002"], [2, 0, 1]),
    "gopro-train": (
        lambda folder: gopro(folder, "train"),
        ["G2-000001", "GOPR0384_11_00-000001", "GOPR0384_11_00-000002"],
        [2, 0, 1],
    ),
    "hide": (hide, ["3", "10_1", "20_1"], [2, 0, 1]),
    "realblur-j": (
        lambda folder: realblur(folder, "J"),
        ["scene050-1", "scene050-10", "scene244_reflect-2"],
        [0, 1, 2],
    ),
    "realblur-r": (
        lambda folder: realblur(folder, "R"),
        ["scene050-1", "scene050-10", "scene244_reflect-2"],
        [0, 1, 2],
    ),
    "sidd-train": (
        sidd_medium,
        ["0001_001_S6_00100_00060_3200_L-0001-010", "0001_001_S6_00100_00060_3200_L-0001-011"],
        [0, 1],
    ),
    **{
        name: (packed_as_mprnet, ["1", "2", "3"], [0, 1, 2])
        for name in ("gopro-test ", "hide ", "realblur-j ", "rain13k", "test100", "test1200", "test2800")
    },
}


@pytest.mark.parametrize("name", RELEASES)
def test_a_release_is_read(name, small, data, get, tmp_path):
    write, ids, numbers = RELEASES[name]
    small(name.strip(), len(ids))
    write(tmp_path / "copy")
    found = verify_folder("small", tmp_path / "copy")
    assert (found.status, found.files, found.problems) == ("complete", 2 * len(ids), ())
    assert get(tmp_path / "copy").complete
    check(data, ids, numbers)


def test_one_missing_frame_is_named(small, get, tmp_path):
    small("gopro-test", 3)
    gopro(tmp_path / "copy")
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
    gopro(tmp_path / "copy")
    with pytest.raises(HarnessError, match=r"is 60x40 instead of 1280x720"):
        get(tmp_path / "copy")


def test_both_kinds_of_realblur_in_one_folder(small, data, get, tmp_path):
    """The authors' archive holds J and R: each set finds its own; MPRNet's packing of both is ambiguous and told so."""
    realblur(tmp_path / "copy", "J")
    realblur(tmp_path / "copy", "R")
    small("realblur-r", 3)
    assert get(tmp_path / "copy").complete
    for kind in "JR":
        for n in range(3):
            put(tmp_path / f"packed/test/RealBlur_{kind}/target/{n}.png", clean(n))
            put(tmp_path / f"packed/test/RealBlur_{kind}/input/{n}.png", worse(n))
    with pytest.raises(HarnessError, match=r"both test/RealBlur_J/ and test/RealBlur_R/ look like it: name one"):
        get(tmp_path / "packed")
    assert get(tmp_path / "packed/test/RealBlur_R").complete


def test_realblur_without_its_list(small, get, tmp_path):
    small("realblur-j", 3)
    realblur(tmp_path / "copy", "J")
    (tmp_path / "copy/RealBlur_J_test_list.txt").unlink()
    with pytest.raises(HarnessError, match=r"has 4 pairs of 3.*RealBlur_J_test_list\.txt, which names the pairs"):
        get(tmp_path / "copy")
    (tmp_path / "copy/RealBlur_J_test_list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(HarnessError, match=r"RealBlur_J_test_list\.txt: cannot be read as a list"):
        get(tmp_path / "copy")


def test_many_rains_of_one_scene(small, data, get, tmp_path):
    """Test2800 as its owners name the files: 14 rainy images share a ground truth."""
    small("test2800", 28)
    for scene in (901, 902):
        put(tmp_path / f"copy/testing/ground_truth/{scene}.png", clean(scene))
        for rain in range(1, 15):
            put(tmp_path / f"copy/testing/rainy_image/{scene}_{rain}.png", worse(100 * scene + rain))
    assert get(tmp_path / "copy").images == 28
    fetched = open_dataset("small", data)
    assert fetched.image_ids[:3] == ["901-1", "901-2", "901-3"]
    np.testing.assert_array_equal(fetched.read("902-14"), clean(902))
    np.testing.assert_array_equal(fetched.read_input("902-14"), worse(90214))


@pytest.mark.parametrize(("name", "left"), [("test1200", "input"), ("test100", "target")])
def test_side_by_side_pairs_are_cut(name, left, small, data, get, tmp_path):
    small(name, 3)
    for n in range(3):
        halves = [worse(n), clean(n)] if left == "input" else [clean(n), worse(n)]
        put(tmp_path / f"copy/{n}.png", np.concatenate(halves, axis=1))
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


# DND -----------------------------------------------------------------------------------------------------------------


def test_dnd_is_unpacked_and_has_no_ground_truth(small, data, get, tmp_path):
    small("dnd", 2)
    dnd_release(tmp_path / "copy")
    assert get(tmp_path / "copy").images == 2
    fetched = open_dataset("small", data)
    assert fetched.image_ids == ["0001", "0002"]
    expected = picture(1, 24, 64)
    expected[0, 0] = 31  # 0.12345678 of 255
    np.testing.assert_array_equal(fetched.read_input("0001"), expected)
    with pytest.raises(NotAvailableError, match="no ground truth"):
        fetched.read("0001")
    image = read_dnd_image(tmp_path / "copy/images_srgb/0001.mat")
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
    run("datasets", "add", "mine", "--from", str(project / "photos"))
    assert dataset("mine").layouts[0].input == "noisy/{id}.*"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["My Set"], "is no name for a dataset"),
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
