"""Restoring and measuring through files: what is kept, what is refused, what goes on after an interruption."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace as replace_in

import harness.images
from harness.assets.datasets import fetch, reading
from harness.assets.inputs import InputRecord, read_inputs, record_inputs, write_inputs
from harness.degradations import degradation
from harness.errors import HarnessError, Missing, NotAvailableError
from harness.images import read_image, write_png
from harness.methods import Method
from harness.records.cells import Group, NoiseDraws
from harness.records.restored import read_pixels
from harness.records.rows import read_rows, write_rows
from harness.run.measure import measure
from harness.run.restore import keep_for_further_levels, restore
from harness.tables.measurements import Measurement, Measurements, NotRun

GROUP = Group("jpeg", "embedded-gray", "jpeg-y8", "test", "whole")
NOISE = NoiseDraws(further_draws=2, images=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name in ("embedded", "embedded-gray"):
        assert fetch(name, folder).complete
    return folder


@pytest.fixture(scope="module")
def inputs(data: Path) -> InputRecord:
    return record_inputs(data, "embedded-gray", "jpeg-y8", (10, 20), NOISE)


def method(function: Callable[[Any], Any], **options: Any) -> Method:
    return Method("test", ("jpeg", "denoise-rgb", "sr"), lambda task, level: function, on="array", **options)


def run(data: Path, inputs: InputRecord, folder: Path, chosen: Method, **options: Any) -> Any:
    settings: dict[str, Any] = {"levels": (10, 20), "code": "c0", "group": GROUP} | options
    return restore(
        settings.pop("group"),
        chosen,
        settings.pop("levels"),
        inputs,
        data=data,
        partial=folder / "partial",
        target=folder / "restored",
        noise=NOISE,
        **settings,
    )


def unchanged(image: Any) -> Any:
    return image


def test_images_that_nothing_has_recorded_yet_are_not_lost(data: Path, inputs: InputRecord, tmp_path: Path) -> None:
    """DVC clears a stage's folder before it runs it again: after a full cache, or a kill before it had recorded it."""
    first, timing = run(data, inputs, tmp_path, method(unchanged))
    assert all(timing.seconds.values())
    shutil.rmtree(tmp_path / "restored")
    again, timing = run(data, inputs, tmp_path, method(unchanged))
    assert again == first and not any(timing.seconds.values())


def test_a_further_level_is_restored_alone(data: Path, tmp_path: Path) -> None:
    """What was recorded serves a run that adds a level; the same levels again are made anew, as for --force."""
    inputs = record_inputs(data, "embedded-gray", "jpeg-y8", (10, 20, 30), NOISE)
    first, _ = run(data, inputs, tmp_path, method(unchanged))
    keep_for_further_levels(tmp_path / "partial", first.group, first.levels)
    again, timing = run(data, inputs, tmp_path, method(unchanged))
    assert again == first and all(timing.seconds.values())
    keep_for_further_levels(tmp_path / "partial", first.group, first.levels)
    # Edited where it lies, as whoever follows a link to it may do: it is not taken for what was restored.
    (edited,) = (path for path in (tmp_path / "partial").rglob("*.png") if path.parts[-3] == "10")
    shutil.copy(next(path for path in (tmp_path / "partial").rglob("*.png") if path.parts[-3] == "20"), edited)
    more, timing = run(data, inputs, tmp_path, method(unchanged), levels=(10, 20, 30))
    assert {file: digest for file, digest in more.images.items() if file in first.images} == first.images
    assert {file.partition("/")[0] for file, seconds in timing.seconds.items() if seconds} == {"10", "30"}
    # A level less: what is left was restored.
    keep_for_further_levels(tmp_path / "partial", first.group, more.levels)
    _, timing = run(data, inputs, tmp_path, method(unchanged), levels=(10, 30))
    assert not any(timing.seconds.values()) and timing.kept == (10, 30)
    # Told to make everything anew, nothing serves, whatever is asked for.
    _, timing = run(data, inputs, tmp_path, method(unchanged), levels=(10, 20, 30), anew=True)
    assert all(timing.seconds.values()) and timing.kept == ()
    # Other circumstances: nothing serves, and nothing is left behind.
    keep_for_further_levels(tmp_path / "partial", first.group, more.levels)
    _, timing = run(data, inputs, tmp_path, method(unchanged), levels=(10, 20), code="other")
    assert all(timing.seconds.values()) and len(list((tmp_path / "partial").rglob("*.png"))) == 2


def test_restored_images_are_measured(data: Path, inputs: InputRecord, tmp_path: Path) -> None:
    record, timing = run(data, inputs, tmp_path, method(unchanged))
    assert set(record.images) == {"10/draw0/camera.png", "20/draw0/camera.png"}
    assert timing.peak_memory > 1e6
    measured, rows = measure(tmp_path / "restored", data=data, protocols=("psnr", "ssim-8x8"))
    assert [(row.level, row.image) for row in rows] == [(10, "camera")] * 2 + [(20, "camera")] * 2
    assert 25 < rows[0].value < 35
    assert measured.images == 1
    write_rows(tmp_path / "rows.csv", measured, rows)
    assert read_rows(tmp_path / "rows.csv") == (measured, rows)


def test_rows_of_another_engine_are_a_group_of_their_own(data: Path, inputs: InputRecord, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    import torch

    from harness.networks.checkpoints import mark_ready
    from harness.networks.dncnn import DnCNN

    torch.manual_seed(0)
    network = mark_ready(DnCNN(1, 3), "trained", "drawn for a test")
    on_tensors = replace(method(unchanged), build=lambda task, level: network, on="tensor")
    values = {}
    for policy in ("whole", "whole+onnx1"):
        group = replace_in(GROUP, policy=policy)
        _, timing = run(data, inputs, tmp_path / policy, on_tensors, group=group)
        assert "onnxruntime" in timing.libraries
        measured, rows = measure(tmp_path / policy / "restored", data=data, protocols=("psnr",))
        write_rows(tmp_path / f"{policy}.csv", measured, rows)
        assert read_rows(tmp_path / f"{policy}.csv")[0].group == group
        values[group.place.name] = [row.value for row in rows]
    assert list(values) == ["test--whole", "test--whole+onnx1"]
    # A pixel may differ by a level, no more.
    assert values["test--whole"] == pytest.approx(values["test--whole+onnx1"], abs=1e-3)


def test_an_image_is_decoded_once_for_all_levels(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []
    decode = reading.decode_image

    def counting(content: bytes, name: str) -> Any:
        decoded.append(Path(name).name)
        return decode(content, name)

    monkeypatch.setattr(reading, "decode_image", counting)
    for most, times in ((reading.MOST_KEPT, 1), (0, 3)):
        monkeypatch.setattr(reading, "MOST_KEPT", most)
        decoded.clear()
        made = record_inputs(data, "embedded", "jpeg-y8", (10, 20, 30), NOISE)
        assert len(decoded) == times * len(set(decoded)) > 0
        decoded.clear()
        group = Group("jpeg", "embedded", "jpeg-y8", "test", "whole")
        run(data, made, tmp_path / str(most), method(unchanged), group=group, levels=(10, 20, 30))
        assert len(decoded) == times * len(set(decoded)) > 0
        decoded.clear()
        measure(tmp_path / str(most) / "restored", data=data, protocols=("psnr",), workers=1)
        assert len(decoded) == times * len(set(decoded)) > 0


def test_what_writes_into_an_image_does_not_reach_the_next_use(data: Path) -> None:
    read = reading.open_dataset("embedded-gray", data).reading_once(["camera", "camera"])
    first = read("camera")
    first[:] = 0
    assert read("camera").any()


def test_the_same_run_gives_the_same_bytes(data: Path, inputs: InputRecord, tmp_path: Path) -> None:
    files = []
    for name in ("a", "b"):
        run(data, inputs, tmp_path / name, method(unchanged))
        folder = tmp_path / name / "restored"
        files.append({p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()})
    assert files[0] == files[1]


def test_noise_draws_differ_and_only_draw_0_counts(data: Path, tmp_path: Path) -> None:
    made = record_inputs(data, "embedded", "awgn-8bit", (30,), NOISE)
    files = list(made.inputs)
    assert files == sorted(files)
    assert len(files) == 3 + 2 * 2
    assert len(set(made.inputs.values())) == len(files)
    group = Group("denoise-rgb", "embedded", "awgn-8bit", "test", "whole")
    run(data, made, tmp_path, method(unchanged), group=group, levels=(30,))
    _, rows = measure(tmp_path / "restored", data=data, protocols=("psnr",))
    assert sum(row.draw == 0 for row in rows) == 3
    assert len({row.value for row in rows}) == 7


def test_a_network_goes_on_while_an_image_is_written(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first image is written only once the network has begun the second; order and bytes stay."""
    began, waited = [threading.Event(), threading.Event()], []

    def network(batch: Any) -> Any:
        began[1 if began[0].is_set() else 0].set()
        return batch

    def write_later(path: Path, pixels: Any) -> None:
        waited.append(began[1].wait(60))
        write_png(path, pixels)

    made = record_inputs(data, "embedded", "jpeg-y8", (10,), NOISE)
    options = {"group": Group("jpeg", "embedded", "jpeg-y8", "test", "whole"), "levels": (10,)}
    plain, _ = run(data, made, tmp_path / "plain", method(unchanged), **options)
    monkeypatch.setattr("harness.run.restore.write_png", write_later)
    written = replace(method(unchanged), build=lambda task, level: network, on="tensor")
    record, _ = run(data, made, tmp_path / "behind", written, **options)
    assert all(waited)
    assert list(record.images.items()) == list(plain.images.items())


def test_an_interrupted_run_goes_on(data: Path, inputs: InputRecord, tmp_path: Path) -> None:
    calls: list[int] = []

    def fails_later(image: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return image

    with pytest.raises(KeyboardInterrupt):
        run(data, inputs, tmp_path, method(fails_later))
    (finished,) = (tmp_path / "partial").rglob("*.png")
    when = finished.stat().st_mtime_ns
    record, _ = run(data, inputs, tmp_path, method(fails_later))
    assert len(calls) == 3
    assert len(record.images) == 2
    assert (tmp_path / "restored/10/draw0/camera.png").stat().st_mtime_ns == when


def test_unfinished_work_of_other_code_is_not_taken_up(data: Path, inputs: InputRecord, tmp_path: Path) -> None:
    def fails_at_20(image: Any) -> Any:
        if (tmp_path / "partial").is_dir() and list((tmp_path / "partial").rglob("*.png")):
            raise RuntimeError("stop")
        return image

    with pytest.raises(HarnessError, match="stop"):
        run(data, inputs, tmp_path, method(fails_at_20))
    record, _ = run(data, inputs, tmp_path, method(lambda image: image * 0), code="c1")
    assert read_image(tmp_path / "restored/10/draw0/camera.png").max() == 0
    assert record.code == "c1"


def test_a_damaged_unfinished_image_is_made_again(data: Path, inputs: InputRecord, tmp_path: Path) -> None:
    def fails_at_20(image: Any) -> Any:
        if (tmp_path / "partial").is_dir() and list((tmp_path / "partial").rglob("*.png")):
            raise RuntimeError("stop")
        return image

    with pytest.raises(HarnessError):
        run(data, inputs, tmp_path, method(fails_at_20))
    (finished,) = (tmp_path / "partial").rglob("*.png")
    finished.write_bytes(finished.read_bytes()[:100])
    record, _ = run(data, inputs, tmp_path, method(unchanged))
    assert len(record.images) == 2
    measure(tmp_path / "restored", data=data, protocols=("psnr",))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda image: image[:-1], r"returned \(511, 512\) for an input of \(512, 512\)"),
        (lambda image: image + np.nan, "returned NaN or infinity"),
        (lambda image: 1 / 0, "failed: ZeroDivisionError"),
        (lambda image: None, "failed|returned"),
        (lambda image: np.ones((512, 512, 4)), r"returned \(512, 512, 4\)"),
    ],
)
def test_what_a_method_must_not_return(
    data: Path, inputs: InputRecord, tmp_path: Path, function: Callable[[Any], Any], message: str
) -> None:
    with pytest.raises(HarnessError, match=message) as caught:
        run(data, inputs, tmp_path, method(function))
    assert "'test' on embedded-gray/camera" in str(caught.value)
    assert not (tmp_path / "restored").exists()


def test_a_colour_network_and_a_gray_set(data: Path, tmp_path: Path) -> None:
    """The cell says why it is not run, in words of images; the other methods of the table are not stopped."""

    def network(image: Any) -> Any:
        if image.ndim == 2:
            raise RuntimeError("expected input[1, 1, 512, 512] to have 3 channels, but got 1 channels instead")
        return image

    gray = record_inputs(data, "embedded-gray", "awgn-seed0-8bit", (10,), NOISE)
    group = Group("denoise-rgb", "embedded-gray", "awgn-seed0-8bit", "test", "whole")
    record, _ = run(data, gray, tmp_path, method(network), group=group, levels=(10,))
    assert not record.images
    told = record.levels[10].reason
    assert told.startswith(
        "method 'test' takes no gray image, and embedded-gray/camera has 1 channel ('denoise-rgb' is a task of 3)"
    )
    assert run(data, gray, tmp_path, method(unchanged), group=group, levels=(10,))[0].images


def test_missing_weights_of_one_level_leave_the_others(data: Path, inputs: InputRecord, tmp_path: Path) -> None:
    def build(task: str, level: int) -> Callable[[Any], Any]:
        if level == 10:
            raise NotAvailableError("no weights for quality 10 were released")
        return unchanged

    record, _ = run(data, inputs, tmp_path, Method("test", ("jpeg",), build, on="array"))
    assert record.levels[10].reason == "no weights for quality 10 were released"
    measured, rows = measure(tmp_path / "restored", data=data, protocols=("psnr",))
    assert {row.level for row in rows} == {20}
    assert measured.levels[10].reason


def test_a_missing_dataset_is_a_reason_not_an_error(tmp_path: Path) -> None:
    made = record_inputs(tmp_path, "kodak24", "awgn-8bit", (30,), NOISE)
    assert "kodak24" in made.reason
    write_inputs(tmp_path / "inputs.json", made)
    assert read_inputs(tmp_path / "inputs.json") == made
    group = Group("denoise-rgb", "kodak24", "awgn-8bit", "test", "whole")
    record, _ = run(tmp_path, made, tmp_path, method(unchanged), group=group, levels=(30,))
    measured, rows = measure(tmp_path / "restored", data=tmp_path, protocols=("psnr",))
    assert rows == []
    assert measured.reason == record.reason == made.reason
    assert measured.missing == record.missing == made.missing == Missing("dataset", "kodak24")


def test_changed_inputs_stop_the_run(data: Path, inputs: InputRecord, tmp_path: Path) -> None:
    other = {name: "0" * 64 for name in inputs.inputs}
    changed = InputRecord(inputs.dataset, inputs.degradation, inputs.version, "", other)
    with pytest.raises(HarnessError, match="differs from the recorded one"):
        run(data, changed, tmp_path, method(unchanged))


def test_a_full_disk_keeps_what_is_finished(
    data: Path, inputs: InputRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    original = harness.images.Image.Image.save

    def save(image: Any, path: Any, *args: Any, **options: Any) -> None:
        if options.get("format") == "PNG":  # the degradation's JPEG is encoded in memory
            if written:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written.append(str(path))
        original(image, path, *args, **options)

    monkeypatch.setattr(harness.images.Image.Image, "save", save)
    with pytest.raises(HarnessError, match="No space left on device"):
        run(data, inputs, tmp_path, method(unchanged, random=True))
    assert len(list((tmp_path / "partial").rglob("*.png"))) == 1
    monkeypatch.undo()
    record, _ = run(data, inputs, tmp_path, method(unchanged, random=True))
    assert len(record.images) == 2


def test_a_replaced_restored_image_is_noticed(data: Path, inputs: InputRecord, tmp_path: Path) -> None:
    run(data, inputs, tmp_path, method(unchanged))
    image = tmp_path / "restored/10/draw0/camera.png"
    pixels = read_image(image)
    pixels[0, 0] ^= 1
    write_png(image, pixels)
    with pytest.raises(HarnessError, match="not those that were restored"):
        measure(tmp_path / "restored", data=data, protocols=("psnr",))


def test_images_restored_elsewhere(data: Path, inputs: InputRecord, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    write_png(mine / "camera.png", np.full((512, 512), 128, np.uint8))
    find = lambda task, level: lambda dataset, image: mine / f"{image}.png"  # noqa: E731
    chosen = Method("test", ("jpeg",), find, on="images", depends=(mine,))
    record, _ = run(data, inputs, tmp_path, chosen)
    assert len(set(record.images.values())) == 1
    (mine / "camera.png").unlink()
    with pytest.raises(HarnessError, match=r"camera\.png: no such image"):
        run(data, inputs, tmp_path, chosen)


def test_luma_alone_may_be_returned_for_colour(data: Path, tmp_path: Path) -> None:
    made = record_inputs(data, "embedded", "bicubic-replicate", (2,), NOISE)
    group = Group("sr", "embedded", "bicubic-replicate", "test", "whole")
    run(data, made, tmp_path, method(lambda x: x[..., 0].repeat(2, 0).repeat(2, 1)), group=group, levels=(2,))
    _, rows = measure(tmp_path / "restored", data=data, protocols=("psnr-y-crop",))
    assert len(rows) == 3


def test_damaged_rows_are_named(data: Path, inputs: InputRecord, tmp_path: Path) -> None:
    run(data, inputs, tmp_path, method(unchanged))
    record, rows = measure(tmp_path / "restored", data=data, protocols=("psnr",))
    path = tmp_path / "rows.csv"
    write_rows(path, record, rows)
    assert all(math.isfinite(row.value) for row in rows)
    path.write_text(path.read_text().replace("camera", "camera,x", 1))
    with pytest.raises(HarnessError, match=r"rows\.csv: damaged"):
        read_rows(path)
    path.with_suffix(".json").write_text(json.dumps({"group": 1}))
    with pytest.raises(HarnessError, match=r"rows\.json"):
        read_rows(path)


def test_unrounded_pixels_keep_their_fraction(data: Path, inputs: InputRecord, tmp_path: Path) -> None:
    group = Group("jpeg", "embedded-gray", "jpeg-y8", "test", "whole", "unrounded")
    run(data, inputs, tmp_path, method(lambda image: image + 0.3 / 255), group=group)
    measured, rows = measure(tmp_path / "restored", data=data, protocols=("psnr",))
    assert measured.group.saving == "unrounded"
    run(data, inputs, tmp_path / "rounded", method(lambda image: image + 0.3 / 255))
    _, rounded = measure(tmp_path / "rounded/restored", data=data, protocols=("psnr",))
    # Rounding takes the 0.3 away again; 16-bit files keep it (to 1/512).
    assert rows[0].value < rounded[0].value
    run(data, inputs, tmp_path / "plain", method(unchanged))
    _, plain = measure(tmp_path / "plain/restored", data=data, protocols=("psnr",))
    assert rounded == plain


def test_unrounded_colour_keeps_its_fraction(data: Path, tmp_path: Path) -> None:
    made = record_inputs(data, "embedded", "awgn-8bit", (10,), NOISE)
    values = {}
    for saving in ("unrounded", "round"):
        colour = Group("denoise-rgb", "embedded", "awgn-8bit", "test", "whole", saving)
        run(data, made, tmp_path / saving, method(lambda i: i * 0.999), group=colour, levels=(10,))
        _, rows = measure(tmp_path / saving / "restored", data=data, protocols=("psnr", "ssim-volume"))
        values[saving] = [row.value for row in rows if row.draw == 0]
        assert len(values[saving]) == 6
    assert all(abs(a - b) < 0.02 for a, b in zip(*values.values(), strict=True)) and len(set(values["round"])) == 6
    assert values["unrounded"] != values["round"]
    file = next((tmp_path / "unrounded/restored").rglob("chelsea.png"))
    assert read_pixels(file, "unrounded").shape == (300, 451, 3)


def test_gray_ground_truth_is_rgb_in_colour_super_resolution() -> None:
    made = degradation("bicubic-replicate")
    reference = made.reference(np.arange(42, dtype=np.uint8).reshape(6, 7), 2)
    assert reference.shape == (6, 6, 3)
    assert made.degrade(reference, 2).shape == (3, 3, 3)
    assert degradation("bicubic-y8-float").reference(np.zeros((6, 7), np.uint8), 2).shape == (6, 6)


def test_what_one_protocol_cannot_measure_the_others_do(tmp_path: Path) -> None:
    """An image that is smaller than SSIM's window, or cannot be aligned, leaves the other numbers of the table."""
    pytest.importorskip("cv2", reason="the extra 'alignment' is not installed")
    own = tmp_path / "own"
    for name, size in (("a", (40, 40)), ("b", (7, 40))):
        write_png(own / f"target/{name}.png", np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8))
        write_png(own / f"input/{name}.png", np.full((*size, 3), 77, np.uint8))
    record = {
        "name": "own-pairs", "title": "Own", "kind": "pairs", "count": 2, "supply": "user", "description": "Two.",
        "licence": "none", "licence_note": "None.", "homepage": "https://example.org", "citation": "none",
        "layouts": [{"target": "target/{id}.*", "input": "input/{id}.*"}],
    }  # fmt: skip
    (tmp_path / "params.yaml").write_text("")
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets/own-pairs.json").write_text(json.dumps(record))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert fetch("own-pairs", tmp_path / "data", folder=own).complete
        inputs = record_inputs(tmp_path / "data", "own-pairs", "pairs", (0,), NOISE)
        restoring = replace(method(unchanged), tasks=("deblur",))
        group = Group("deblur", "own-pairs", "pairs", "test", "whole")
        run(tmp_path / "data", inputs, tmp_path, restoring, group=group, levels=(0,))
        protocols = ("psnr", "ssim-gauss", "psnr-aligned")
        measured, rows = measure(tmp_path / "restored", data=tmp_path / "data", protocols=protocols)
        patch.setitem(sys.modules, "cv2", None)
        without, _ = measure(tmp_path / "restored", data=tmp_path / "data", protocols=protocols)
    lacking = without.unmeasured[0]["psnr-aligned"]
    assert lacking.startswith("the package 'cv2' is not installed") and "image" not in lacking.split(";")[0]
    assert without.unmeasured_missing == {0: {"psnr-aligned": Missing("package", "cv2")}}
    assert without.all_missing == {Missing("package", "cv2")} and not measured.all_missing
    assert [(row.image, row.protocol) for row in rows] == [("a", "psnr.1"), ("b", "psnr.1")]
    told = measured.unmeasured[0]
    assert "image 'b': " in told["ssim-gauss"] and "smaller than" in told["ssim-gauss"]
    assert told["psnr-aligned"] == (
        "image 'a': the image cannot be aligned with its ground truth (no contrast); look at what was restored "
        "(and 1 more)"
    )
    path = tmp_path / "work/rows" / group.place.with_name(group.place.name + ".csv")
    write_rows(path, measured, rows)
    assert read_rows(path)[0] == measured
    numbers = Measurements(tmp_path / "work")
    assert isinstance(numbers.value(group, 0, "psnr"), Measurement)
    missing = numbers.value(group, 0, "ssim-gauss")
    assert isinstance(missing, NotRun) and missing.reason.startswith("not measured under ssim-gauss: image 'b'")
