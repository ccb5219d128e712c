"""Images that others restored: what their files kept is measured, what they lost is named."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

from harness.assets.datasets import fetch, open_dataset
from harness.assets.inputs import record_inputs
from harness.cli import harness
from harness.degradations import degradation
from harness.errors import HarnessError
from harness.images import decode_image, read_image, read_result, write_png
from harness.methods import Method
from harness.metrics import psnr
from harness.records.cells import Group, NoiseDraws
from harness.run.measure import measure, measure_folder, measure_pair
from harness.run.restore import restore

NOISE = NoiseDraws(further_draws=0, images=0)


def png_16(pixels: NDArray[np.uint16]) -> bytes:
    """Encode a PNG of 16 bits a sample, gray or colour: Pillow writes no such colour image."""
    height, width = pixels.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, 16, 0 if pixels.ndim == 2 else 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def tiff_16(order: str, **options: Any) -> Callable[[NDArray[np.uint16]], bytes]:
    def encode(pixels: NDArray[np.uint16]) -> bytes:
        tifffile = pytest.importorskip("tifffile", reason="it writes the TIFF files of 16 bits")
        buffer = io.BytesIO()
        kind = "rgb" if pixels.ndim == 3 else "minisblack"
        tifffile.imwrite(buffer, pixels, photometric=kind, byteorder=order, rowsperstrip=7, **options)
        return buffer.getvalue()

    return encode


def any_16(shape: tuple[int, ...]) -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(0, 65536, shape, dtype=np.uint16)


DEEP = {
    "png": png_16,
    "tif little": tiff_16("<"),
    "tif big": tiff_16(">"),
    "tif deflate": tiff_16("<", compression="deflate"),
}


@pytest.mark.parametrize("kind", DEEP)
@pytest.mark.parametrize("shape", [(37, 41), (37, 41, 3)], ids=["gray", "colour"])
def test_16_bits_are_measured_whole_or_refused(kind: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    """The low byte of a colour sample used to be dropped without a word."""
    pixels, file = any_16(shape), tmp_path / f"a.{kind[:3]}"
    file.write_bytes(DEEP[kind](pixels))
    np.testing.assert_array_equal(read_result(file, "unrounded"), pixels / 257)
    for read in (read_image, read_result, lambda path: decode_image(path.read_bytes(), str(path))):
        with pytest.raises(HarnessError, match=rf"a\.{kind[:3]}: has 16 bits a sample; store it with 8"):
            read(file)
    file.write_bytes(DEEP[kind](pixels >> 8))
    for read in (read_image, lambda path: read_result(path, "unrounded")):
        with pytest.raises(HarnessError, match=r"has 16 bits a sample and in them values of 8 .* store it with 8"):
            read(file)


@pytest.mark.parametrize("data", [b"P6 41 37 65535\n" + any_16((37, 41, 3)).astype(">u2").tobytes()], ids=["ppm"])
def test_16_bits_that_pillow_scales_are_refused(data: bytes) -> None:
    with pytest.raises(HarnessError, match="a: has more than 8 bits a sample in a form that is not read"):
        decode_image(data, "a")


def test_planes_of_16_bits_are_refused() -> None:
    """Pillow decodes compressed separate planes to other samples."""
    encode = tiff_16("<", compression="deflate", planarconfig="separate")
    with pytest.raises(HarnessError, match="a: has more than 8 bits a sample in a form that is not read"):
        decode_image(encode(any_16((3, 37, 41))), "a")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name in ("embedded", "embedded-gray"):
        assert fetch(name, folder).complete
    return folder


def test_16_bit_results_by_every_way(data: Path, tmp_path: Path) -> None:
    """A folder measured at once, and a method on images: one rule, one number, to 1/512 of a gray level."""
    fetched = open_dataset("embedded", data)
    wanted = {}
    for image in fetched.image_ids:
        truth = fetched.read(image)
        stored = np.clip(truth * 257.0 + np.random.default_rng(1).normal(0, 500, truth.shape), 0, 65535)
        stored = np.rint(stored).astype(np.uint16)
        (tmp_path / f"{image}.png").write_bytes(png_16(stored))
        wanted[image] = psnr(truth, stored / 257, data_range=255)
    of = (tmp_path, data, "denoise-rgb", "embedded", 30, "awgn-8bit", ("psnr",))
    with pytest.raises(HarnessError, match="store it with 8, or measure it at its precision with saving 'unrounded'"):
        measure_folder(*of)
    found = measure_folder(*of, saving="unrounded")
    assert {image: values["psnr"] for image, values in found.items()} == wanted
    inputs = record_inputs(data, "embedded", "awgn-8bit", (30,), NOISE)
    build = lambda task, level: lambda dataset, image: tmp_path / f"{image}.png"  # noqa: E731
    for saving in ("round", "truncate", "unrounded"):
        chosen = Method("test", ("denoise-rgb",), build, on="images", depends=tuple(tmp_path.glob("*.png")))
        group = Group("denoise-rgb", "embedded", "awgn-8bit", "test", "whole", saving)
        places = {"data": data, "partial": tmp_path / "partial", "target": tmp_path / saving}
        if saving != "unrounded":
            with pytest.raises(HarnessError, match="measure it at its precision with saving 'unrounded'"):
                restore(group, chosen, (30,), inputs, noise=NOISE, code="c", **places)
            continue
        restore(group, chosen, (30,), inputs, noise=NOISE, code="c", **places)
        _, rows = measure(tmp_path / saving, data=data, protocols=("psnr",))
        assert {row.image: row.value for row in rows} == pytest.approx(wanted, abs=2e-3)


LOST = {
    "jpg": ("RGB", "JPEG", {"quality": 100}, "JPEG compression has changed the samples"),
    "webp": ("RGB", "WEBP", {"quality": 100}, "WebP compression has changed the samples"),
    "tif": ("RGB", "TIFF", {"compression": "jpeg", "quality": 100}, "JPEG compression has changed the samples"),
    "gif": ("RGB", "GIF", {}, "a palette or few gray levels hold less than was restored"),
    "png": ("P", "PNG", {}, "a palette or few gray levels hold less than was restored"),
    "bmp": ("1", "BMP", {}, "a palette or few gray levels hold less than was restored"),
}


@pytest.mark.parametrize("suffix", LOST)
def test_results_stored_with_losses_are_refused(suffix: str, data: Path, tmp_path: Path) -> None:
    """Sets may be so; a result would be measured with what its format did to it."""
    mode, kind, options, told = LOST[suffix]
    fetched = open_dataset("embedded", data)
    for image in fetched.image_ids:
        picture = Image.fromarray(fetched.read(image))
        picture.save(tmp_path / f"{image}.png")
    last = tmp_path / f"{image}.{suffix}"
    (tmp_path / f"{image}.png").unlink()
    picture.convert(mode).save(last, kind, **options)
    with pytest.raises(HarnessError, match=rf"{image}\.{suffix}: {told}.*; store results as PNG, BMP or TIFF"):
        measure_folder(tmp_path, data, "denoise-rgb", "embedded", 30, "awgn-8bit", ("psnr",))
    assert read_image(last).dtype == np.uint8
    inputs = record_inputs(data, "embedded", "awgn-8bit", (30,), NOISE)
    files = {file.stem: file for file in tmp_path.iterdir()}
    build = lambda task, level: lambda dataset, image: files[image]  # noqa: E731
    chosen = Method("test", ("denoise-rgb",), build, on="images", depends=tuple(files.values()))
    group = Group("denoise-rgb", "embedded", "awgn-8bit", "test", "whole")
    with pytest.raises(HarnessError, match=told):
        places = {"data": data, "partial": tmp_path / "partial", "target": tmp_path / "restored"}
        restore(group, chosen, (30,), inputs, noise=NOISE, code="c", **places)


def test_what_may_not_be_meant_is_remarked(data: Path, tmp_path: Path) -> None:
    """Gray images beside a set in colour: Pillow's are of another luma. And the ground truth itself."""
    of = (tmp_path, data, "sr", "embedded", 2, "bicubic-replicate", ("psnr-y-crop",))
    with pytest.raises(HarnessError, match="the folder is empty"):
        measure_folder(*of)
    fetched = open_dataset("embedded", data)
    truth = {image: degradation(of[5]).reference(fetched.read(image), 2) for image in fetched.image_ids}
    for mode, told in (
        ("RGB", f"3 of 3 images in {tmp_path} are the ground truth itself, sample by sample"),
        (
            "L",
            f"3 of 3 images in {tmp_path} are gray beside ground truth in colour and are compared as they are: "
            "psnr-y-crop of the unrounded MATLAB luma (16..235)",
        ),
    ):
        for image, pixels in truth.items():
            Image.fromarray(pixels).convert(mode).save(tmp_path / f"{image}.png")
        remarks: list[str] = []
        measure_folder(*of, remark=remarks.append)
        assert remarks == [told]


@pytest.mark.parametrize(("kind", "options"), [("WEBP", {"lossless": True}), ("TIFF", {"compression": "tiff_lzw"})])
def test_results_stored_without_losses_are_taken(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    pixels = (any_16((37, 41, 3)) >> 8).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a", kind, **options)
    np.testing.assert_array_equal(read_result(tmp_path / "a"), pixels)


def turned(kind: str) -> bytes:
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray((any_16((37, 41, 3)) >> 8).astype(np.uint8)).save(buffer, kind, exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_turned_image_is_refused(kind: str) -> None:
    """Pillow turns TIFF files and no others; viewers turn them all."""
    with pytest.raises(HarnessError, match=r"a: an EXIF note says that it is stored turned \(orientation 6\).*; store"):
        decode_image(turned(kind), "a")


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP"])
def test_several_images_in_a_file_are_refused(kind: str) -> None:
    buffer = io.BytesIO()
    first, second = (Image.fromarray(np.full((9, 9, 3), value, np.uint8)) for value in (10, 200))
    first.save(buffer, kind, save_all=True, append_images=[second])
    with pytest.raises(HarnessError, match="a: holds several images; store the one that is meant"):
        decode_image(buffer.getvalue(), "a")


@pytest.mark.parametrize("mode", ["P", "RGB", "L"])
def test_a_transparent_colour_is_refused(mode: str) -> None:
    buffer = io.BytesIO()
    transparency = (0, 0, 0) if mode == "RGB" else 0
    Image.new(mode, (8, 8)).save(buffer, "PNG", transparency=transparency)
    with pytest.raises(HarnessError, match="a: has transparent pixels"):
        decode_image(buffer.getvalue(), "a")


def test_gray_results_stored_as_rgb_have_the_number_of_their_gray(synthetic) -> None:
    """Three equal channels hold one image; the luma of 16..235 would flatter it by 1.32 dB."""
    truth, gray = synthetic(72, 90, 1), synthetic(72, 90, 1)[::-1].copy()
    truth_as_rgb, as_rgb = (np.stack([image] * 3, axis=2) for image in (truth, gray))
    names = ("psnr", "ssim-gauss", "ssim-8x8", "psnr-crop6", "psnr-y", "psnr-y8")
    wanted = measure_pair(truth, gray, "denoise-gray", 30, names)
    assert measure_pair(truth, as_rgb, "denoise-gray", 30, names) == wanted
    assert wanted["psnr-y"] == wanted["psnr"]
    colour = measure_pair(truth_as_rgb, as_rgb, "denoise-rgb", 30, names)
    assert measure_pair(truth_as_rgb, gray, "denoise-rgb", 30, names) == colour
    assert colour["psnr"] == pytest.approx(wanted["psnr"], abs=1e-12)


def test_what_is_not_gray_is_not_measured_as_gray(synthetic) -> None:
    """The sentence must not lead to a luma of 16..235, which is another number."""
    gray, colour = synthetic(72, 90, 1), synthetic(72, 90, 3)
    for pair, kind in (((gray, colour), "gray"), ((colour, gray), "colour")):
        with pytest.raises(HarnessError) as refused:
            measure_pair(*pair, "denoise-gray", 30, ("psnr",))
        assert str(refused.value).endswith(f"store the result as the {kind} image that the reference is")
        assert "psnr-y" not in str(refused.value)


@pytest.fixture
def mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with a set of the user's own that holds one gray image."""
    rng = np.random.default_rng(0)
    for name, shape in (("a", (48, 64, 3)), ("b", (48, 64)), ("c", (48, 64, 3))):
        write_png(tmp_path / f"images/{name}.png", rng.integers(0, 256, shape, dtype=np.uint8))
    (tmp_path / "params.yaml").write_text("noise: {further_draws: 0, images: 0}\n")
    monkeypatch.chdir(tmp_path)
    added = CliRunner().invoke(harness, ["datasets", "add", "blend", "--from", "images", "--data", "data"])
    assert added.exit_code == 0, added.output
    assert "blend: b.png is gray among colour images; one mean over both" in added.output
    return tmp_path


def test_no_mean_over_gray_and_colour_images(mixed: Path) -> None:
    made = record_inputs(mixed / "data", "blend", "awgn-8bit", (30,), NOISE)
    assert made.reason.startswith("dataset 'blend': b is gray among colour images") and not made.inputs
    assert record_inputs(mixed / "data", "blend", "awgn-8bit-gray", (30,), NOISE).inputs
    with pytest.raises(HarnessError, match="dataset 'blend': b is gray among colour images"):
        of = ("denoise-rgb", "blend", 30, "awgn-8bit", ("psnr",))
        measure_folder(mixed / "images", mixed / "data", *of)


def test_no_mean_over_what_was_restored_before_either(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images that an earlier version restored of such a set."""
    monkeypatch.setattr("harness.assets.inputs.gray_among_colour", lambda dimensions: "")
    made = record_inputs(mixed / "data", "blend", "awgn-8bit", (30,), NOISE)
    chosen = Method("test", ("denoise-rgb",), lambda task, level: lambda image: image, on="array")
    group = Group("denoise-rgb", "blend", "awgn-8bit", "test", "whole")
    places = {"data": mixed / "data", "partial": mixed / "partial", "target": mixed / "restored"}
    restore(group, chosen, (30,), made, noise=NOISE, code="c", **places)
    with pytest.raises(HarnessError, match="dataset 'blend': b is gray among colour images"):
        measure(mixed / "restored", data=mixed / "data", protocols=("psnr",))
