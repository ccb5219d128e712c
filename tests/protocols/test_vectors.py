"""The vectors: this package agrees with each, they are what their program makes, and their schema and README hold."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import shutil
import subprocess
from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from forked import harness
from PIL import Image

from harness.degradations import degradation, imresize, matlab_randn, rgb2gray, rgb2ycbcr
from harness.degradations.jpeg import jpeg
from harness.errors import NotAvailableError
from harness.metrics import luma
from harness.protocols import measure_many, protocol, protocol_grid
from harness.protocols.vectors import EQUAL, FOLDER, read_vectors, try_function, vector_image

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="vectors/ is not beside harness/")

# Double precision beside 50 digits: what was measured is 1.8e-12 dB and 5.1e-13 of SSIM, at values near 75 dB and 0.9.
DECIBEL, SIMILARITY = 1e-11, 2e-12


def content(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def transforms() -> dict[str, Any]:
    return content("transforms.json")


@pytest.fixture(scope="module")
def maker() -> Any:
    spec = importlib.util.spec_from_file_location("vectors_make", FOLDER / "make.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_protocol_agrees_with_every_pair() -> None:
    counts: Counter[str] = Counter()
    for pair in read_vectors():
        found = measure_many(list(pair.values), pair.reference, pair.restored, pair.scale)
        for name, wanted in pair.values.items():
            tolerance = DECIBEL if name.startswith("psnr") else SIMILARITY
            assert found[name] == pytest.approx(wanted, rel=0, abs=tolerance), (pair.id, name)
        if pair.gray:
            for word in ("y8", "yiq"):
                wanted = {n: v for n, v in pair.values.items() if n.startswith("psnr")}
                names = [n.replace("psnr", f"psnr-{word}") for n in wanted]
                assert list(measure_many(names, pair.reference, pair.restored, pair.scale).values()) == pytest.approx(
                    list(wanted.values())
                )
        counts.update(pair.values.keys())
    assert set(counts) == {of.name for of in protocol_grid()}
    assert min(counts.values()) >= 4


def test_sums_of_squared_errors_are_exact() -> None:
    file = content("pairs.json")
    images = {name: vector_image(entry).astype(np.int64) for name, entry in file["images"].items()}
    assert len(file["pairs"]) >= 300
    for entry in file["pairs"]:
        if "tiled" in entry or "psnr" not in entry["values"]:
            continue
        difference = images[entry["reference"]] - images[entry["restored"]]
        assert entry["values"]["psnr"][:2] == [str((difference**2).sum()), difference.size]


def test_pooled_sets() -> None:
    by_id = {pair.id: pair for pair in read_vectors()}
    for entry in content("pairs.json")["sets"]:
        of = protocol(entry["protocol"])
        members = [by_id[name] for name in entry["pairs"]]
        found = of.aggregate([of.measure(pair.reference, pair.restored) for pair in members])
        assert found == pytest.approx(float(entry["value"]), abs=DECIBEL)


def test_imresize(transforms: dict[str, Any]) -> None:
    for entry in transforms["imresize"]:
        source = vector_image(transforms["images"][entry["input"]])
        scale = float(Fraction(entry["scale"]))
        if entry["class"] == "uint8":
            wanted = vector_image(transforms["images"][entry["output"]])
            assert np.array_equal(imresize(source, scale, border=entry["border"]), wanted)
        else:
            wanted = np.array(entry["output"], dtype=float)
            found = imresize(source.astype(float), scale, border=entry["border"])
            assert found == pytest.approx(wanted, abs=1e-11)


def test_colours(transforms: dict[str, Any]) -> None:
    entries = transforms["colours"]
    image = np.array([[entry["rgb"] for entry in entries]], np.uint8)
    ycbcr, unrounded = rgb2ycbcr(image), rgb2ycbcr(image.astype(float))
    for plane, name in enumerate(("y", "cb", "cr")):
        assert ycbcr[0, :, plane].tolist() == [entry[f"{name}8"] for entry in entries]
        wanted = [entry["exact"][name][0] / entry["exact"][name][1] for entry in entries]
        assert unrounded[0, :, plane] == pytest.approx(wanted, abs=1e-12)
    assert rgb2gray(image)[0].tolist() == [entry["yfull8"] for entry in entries]
    assert luma(image, "uint8", "yiq")[0].tolist() == [entry["yiq8"] for entry in entries]


def test_the_luma_through_jpeg(transforms: dict[str, Any]) -> None:
    compared = []
    for entry in transforms["jpeg"]:
        colour, plane, wanted = (vector_image(transforms["images"][entry[k]]) for k in ("input", "luma", "output"))
        assert np.array_equal(luma(colour, "uint8"), plane)
        assert np.array_equal(jpeg(plane, entry["quality"]), wanted)
        made = degradation("jpeg-y8")
        assert np.array_equal(made.degrade(made.reference(colour, entry["quality"]), entry["quality"]), wanted)
        # A second witness of what comes out: the transform in floating point, of the file's own table of divisors.
        with Image.open(io.BytesIO(bytes.fromhex(entry["file"]))) as file:
            table = np.empty(64)
            table[:] = file.quantization[0]
            assert np.array_equal(np.asarray(file), wanted)
        apart = np.abs(through_jpeg(plane, table.reshape(8, 8)) - wanted)
        compared += [np.isfinite(apart).mean()]
        assert np.nanmax(apart) <= 1
    assert np.mean(compared) > 0.5


def through_jpeg(plane: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Baseline JPEG by its definition (ITU-T T.81, A.3) in floats; NaN where a coefficient is near a half."""
    height, width = plane.shape
    padded = np.pad(plane.astype(float) - 128, [(0, -height % 8), (0, -width % 8)], mode="edge")
    at = np.arange(8)
    basis = np.cos((2 * at[None] + 1) * at[:, None] * np.pi / 16) / 2
    basis[0] /= np.sqrt(2)
    for top in range(0, padded.shape[0], 8):
        for left in range(0, padded.shape[1], 8):
            block = (slice(top, top + 8), slice(left, left + 8))
            quotients = basis @ padded[block] @ basis.T / table
            padded[block] = basis.T @ (np.round(quotients) * table) @ basis
            if np.abs(np.abs(quotients) % 1 - 0.5).min() < 0.01:
                padded[block] = np.nan
    return np.clip(np.round(padded[:height, :width] + 128), 0, 255)


def test_the_noise(transforms: dict[str, Any]) -> None:
    wanted = [float(number) for number in transforms["randn"]["deviates"]]
    assert matlab_randn((len(wanted),)) == pytest.approx(wanted, abs=1e-14)
    assert [round(number, 4) for number in wanted[:4]] == [1.1650, 0.6268, 0.0751, 0.3516]  # MATLAB's manuals
    for entry in transforms["noise"]:
        source = vector_image(transforms["images"][entry["input"]])
        found = degradation("awgn-seed0-8bit").degrade(source, entry["sigma"])
        assert np.array_equal(found, vector_image(transforms["images"][entry["output"]]))


def test_the_program_makes_the_files_again(maker: Any) -> None:
    step = 23
    file = content("pairs.json")
    found, images = maker.pairs(step)
    assert images == file["images"]
    for n, (entry, stands) in enumerate(zip(found, file["pairs"], strict=True)):
        if n % step:
            assert entry | {"values": stands["values"]} == stands
        else:
            assert maker.compact(entry) == maker.compact(stands)
    assert maker.sets(file["pairs"]) == file["sets"]
    text = (FOLDER / "transforms.json").read_text(encoding="utf-8")
    assert maker.lines(maker.RANDN) in text
    assert maker.lines(list(maker.colours())) in text


@pytest.mark.slow
def test_the_program_makes_the_same_bytes(maker: Any) -> None:
    assert maker.transforms_file() == (FOLDER / "transforms.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["pairs.json", "transforms.json"])
def test_the_schema(name: str) -> None:
    schema = content("schema.json")
    validator = pytest.importorskip("jsonschema").Draft202012Validator(schema)
    file = content(name)
    assert not list(validator.iter_errors(file))
    del file["images"][next(iter(file["images"]))]["rows"]
    assert list(validator.iter_errors(file))


def test_the_readme_says_what_is_there() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    names = {name for pair in read_vectors() for name in pair.values}
    assert text.startswith(f"# Vectors\n\n{len(read_vectors())} small pairs")
    assert f"each of the {len(names)} named protocols" in text
    program = re.search(r"```js\n(.*?)```", text, re.DOTALL)
    assert program is not None
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: the example in another language was not run")
    run = subprocess.run([node, "-e", program[1]], cwd=FOLDER.parent, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"\d{3} pairs agree\n", run.stdout)


def test_a_function_is_told_by_what_it_gives() -> None:
    pairs = read_vectors()
    of = protocol("psnr-yiq8-crop")
    tried = try_function(lambda x, y, scale: of.measure(x, y, scale), pairs)
    assert tried.fits[0].protocol == "psnr-yiq8-crop" and tried.fits[0].miss < EQUAL
    assert tried.fits[1].miss > 0.01

    def unlike(x: np.ndarray, y: np.ndarray) -> float:
        if x.ndim == 2:
            raise ValueError("colour images only")
        return 100.0 if np.array_equal(x, y) else float("nan") if x.size < 400 else 20.0

    tried = try_function(unlike, pairs)
    assert "ValueError: colour images only" in tried.refused.values() and "NaN" in tried.refused.values()
    assert tried.of_equal == [100.0] and tried.fits[0].miss > 1


def test_without_the_folder(tmp_path: Any) -> None:
    with pytest.raises(NotAvailableError, match=r"holds no pairs.json; take the folder vectors"):
        read_vectors(tmp_path)


def test_the_command_names_the_protocol_of_a_function(tmp_path: Any) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import numpy as np\n"
        "def psnr(x, y):\n"
        "    error = np.mean((x.astype(float) - y) ** 2)\n"
        "    return 100.0 if error == 0 else 10 * np.log10(255**2 / error)\n"
        "def wrong(x, y):\n"
        "    return psnr(x, y) + 0.01\n"
    )
    run = harness("check", f"{file}:psnr", "--format", "json", cwd=tmp_path)
    found = json.loads(run.stdout)
    assert run.returncode == 0 and found["equal"] == ["psnr"] and found["of_equal"] == [100.0]
    run = harness("check", f"{file}:wrong", cwd=tmp_path)
    assert run.returncode == 1 and re.search(r"psnr +0\.01 ", run.stdout)
    assert "equals no named protocol" in run.stderr
    run = harness("check", f"{file}:none", cwd=tmp_path)
    assert run.returncode == 2 and "cannot be imported: AttributeError" in run.stderr


@pytest.mark.parametrize("name", ["mine.py:psnr", "mine:psnr"])
def test_a_function_finds_what_lies_beside_it(tmp_path: Any, name: str) -> None:
    """As where Python runs the file: a module beside it, and a dataclass whose annotations are text."""
    (tmp_path / "peak_beside.py").write_text("PEAK = 255\n")
    (tmp_path / "mine.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "import numpy as np\n"
        "@dataclass\n"
        "class Setting:\n"
        "    peak: int\n"
        "def psnr(x, y):\n"
        "    from peak_beside import PEAK\n"
        "    error = np.mean((x.astype(float) - y) ** 2)\n"
        "    return 10 * np.log10(Setting(PEAK).peak ** 2 / error) if error else np.inf\n"
    )
    run = harness("check", name, "--format", "json", cwd=tmp_path)
    assert run.returncode == 0 and json.loads(run.stdout)["equal"] == ["psnr"], run.stderr
