"""Reading a fetched set: pixels, order, and files that changed in the meantime."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_datasets import encode, picture

from harness.assets.datasets import fetch, open_dataset
from harness.assets.datasets.reading import crop, natural_key
from harness.assets.datasets.registry import LandscapeCrop
from harness.assets.manifest import DatasetManifest
from harness.assets.places import AssetPaths
from harness.assets.verified import still_complete
from harness.errors import HarnessError, NotAvailableError
from harness.images import decode_image, pixels_sha256, read_image
from harness.names import is_safe


@pytest.fixture
def tiny(registry, data):
    registry.fill("tiny", AssetPaths(data, "datasets", "tiny").folder)
    assert fetch("tiny", data).complete
    return data


def test_pixels_and_order(tiny):
    fetched = open_dataset("tiny", tiny)
    assert fetched.name == "tiny" and isinstance(fetched.manifest, DatasetManifest)
    assert fetched.image_ids == ["1", "2", "10"]
    for image in fetched.image_ids:
        pixels = fetched.read(image)
        np.testing.assert_array_equal(pixels, picture(int(image)))
        assert pixels.dtype == np.uint8
        assert fetched.pixels_sha256(image) == pixels_sha256(pixels)
        assert fetched.shape(image) == pixels.shape


def test_unknown_image_suggests(tiny):
    with pytest.raises(HarnessError, match="unknown image of 'tiny' '11'; did you mean"):
        open_dataset("tiny", tiny).read("11")


def test_images_have_no_inputs(tiny):
    with pytest.raises(HarnessError, match="dataset 'tiny' has no degraded inputs"):
        open_dataset("tiny", tiny).read_input("1")


def test_inputs_have_no_ground_truth(registry, data):
    registry.add("noisy", {"1.png": encode(picture(1))}, kind="inputs", note="Scored by a server.")
    registry.fill("noisy", data / "own" / "noisy")
    assert fetch("noisy", data).complete
    fetched = open_dataset("noisy", data)
    np.testing.assert_array_equal(fetched.read_input("1"), picture(1))
    with pytest.raises(NotAvailableError, match="dataset 'noisy' has no ground truth: Scored by a server"):
        fetched.read("1")


def replace_quietly(path, content):
    """Replace a file's bytes so that size, time and inode say that nothing happened."""
    before = path.stat()
    with open(path, "r+b") as file:
        file.write(content)
        file.truncate()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), r"2\.png: is gone; run `harness datasets fetch tiny`"),
        (lambda path: path.write_bytes(path.read_bytes()[:100]), r"2\.png: has 100 bytes instead of \d+; run"),
        (
            lambda path: replace_quietly(path, bytes(reversed(path.read_bytes()))),
            r"2\.png: has another checksum than when it was fetched; run `harness datasets fetch tiny`",
        ),
        (lambda path: (path.unlink(), path.mkdir()), r"2\.png: cannot be read \(Is a directory\); run"),
    ],
    ids=["gone", "truncated", "changed", "folder"],
)
def test_file_that_changed_is_named(tiny, change, message):
    fetched = open_dataset("tiny", tiny)
    change(tiny / "datasets" / "tiny" / "2.png")
    with pytest.raises(HarnessError, match=message):
        fetched.read("2")
    np.testing.assert_array_equal(fetched.read("1"), picture(1))


def test_quiet_damage_is_repaired_by_the_remedy(tiny, registry):
    """File stats say that nothing happened: reading notices, and the fetch that it asks for hashes every byte."""
    path = tiny / "datasets" / "tiny" / "2.png"
    replace_quietly(path, bytes(reversed(path.read_bytes())))
    assert still_complete(AssetPaths(tiny, "datasets", "tiny")) is not None
    with pytest.raises(HarnessError, match="another checksum"):
        open_dataset("tiny", tiny).read("2")
    registry.fill("tiny", tiny / "own" / "tiny")
    assert fetch("tiny", tiny).complete
    np.testing.assert_array_equal(open_dataset("tiny", tiny).read("2"), picture(2))


@pytest.mark.parametrize("name", ["../../secret.png", "/etc/passwd"])
def test_manifest_that_leaves_the_folder_is_refused(tiny, name):
    path = AssetPaths(tiny, "datasets", "tiny").manifest
    plain = json.loads(path.read_text())
    plain["files"][0]["name"] = name
    path.write_text(json.dumps(plain))
    with pytest.raises(HarnessError, match=r"tiny\.json: the file name '.*' leaves the set's folder"):
        open_dataset("tiny", tiny)


def test_manifest_of_another_set_is_refused(tiny, registry):
    registry.add("other", registry.content["tiny"])
    text = AssetPaths(tiny, "datasets", "tiny").manifest.read_text()
    AssetPaths(tiny, "datasets", "other").manifest.write_text(text)
    with pytest.raises(HarnessError, match="is the manifest of 'tiny'"):
        open_dataset("other", tiny)


def test_manifest_text_is_json_and_stable(tiny):
    path = AssetPaths(tiny, "datasets", "tiny").manifest
    manifest = DatasetManifest.read(path)
    assert manifest.text() == path.read_text()
    for file in manifest.files:
        assert len([line for line in path.read_text().splitlines() if file.sha256 in line]) == 1, "one line a file"
    assert [file["name"] for file in json.loads(path.read_text())["files"]] == ["1.png", "10.png", "2.png"]


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1"])
def test_decoding_agrees_with_read_image(tmp_path, mode):
    from PIL import Image

    Image.fromarray(picture(4)).convert(mode).save(tmp_path / "a.png")
    np.testing.assert_array_equal(decode_image((tmp_path / "a.png").read_bytes(), "a"), read_image(tmp_path / "a.png"))


@pytest.mark.parametrize("mode", ["RGBA", "CMYK", "I", "LA", "F"])
def test_decoding_refuses_other_modes(mode):
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new(mode, (8, 8)).save(buffer, format="TIFF")
    with pytest.raises(HarnessError, match=f"a: image mode '{mode}' is not supported; store it as 8-bit"):
        decode_image(buffer.getvalue(), "a")


@given(st.binary(max_size=200), st.integers(0, 3000))
def test_decoding_garbage_is_one_sentence(tail, keep):
    data = encode(picture(1, 8, 8))[:keep] + tail
    try:
        assert decode_image(data, "a").shape == (8, 8, 3)
    except HarnessError as error:
        assert str(error).startswith("a: ") and "\n" not in str(error)


def test_crop_is_transposed_for_upright_images():
    """The crop of FFDNet's paper: rows 6 to 505 and columns 134 to 633 counted from one."""
    which = LandscapeCrop(height=500, width=500, top=5, left=133)
    rows, columns = np.mgrid[0:512, 0:768]
    land = np.stack([rows % 256, columns % 256, rows // 256 * 2 + columns // 256], axis=-1).astype(np.uint8)
    cut = crop(land, which)
    assert cut.shape == (500, 500, 3)
    np.testing.assert_array_equal(cut, land[6 - 1 : 505, 134 - 1 : 633])
    np.testing.assert_array_equal(crop(land.transpose(1, 0, 2), which), cut.transpose(1, 0, 2))


def test_natural_order():
    names = ["img_10", "img_2", "b", "a10", "a9", "2", "10", "1"]
    assert sorted(names, key=natural_key) == ["1", "2", "10", "a9", "a10", "b", "img_2", "img_10"]


@given(st.lists(st.text(st.sampled_from("ab-_0123456789²٣"), max_size=6), unique=True))
def test_natural_order_is_total(names):
    assert sorted(names, key=natural_key) == sorted(reversed(names), key=natural_key)


@given(st.lists(st.sampled_from(["a", "..", ".", "", "b.png", "\\", "c:", "\0"]), min_size=1, max_size=4))
def test_safe_names_stay_inside(parts):
    name = "/".join(parts)
    if is_safe(name):
        joined = os.path.normpath(os.path.join("/folder", name))
        assert joined.startswith("/folder/") and "\\" not in name
    else:
        assert any(part in ("..", ".", "", "\\", "c:", "\0") for part in parts)
