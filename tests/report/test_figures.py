"""Figures for a paper: what their files hold is what was restored and measured, and nothing else."""

from __future__ import annotations

import io
import itertools
import os
import random
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the package matplotlib is not installed")

from matplotlib.text import Text
from PIL import Image
from small_workspace import GROUPS, MARKUP
from test_latex import compile_tex

from harness.assets.datasets.reading import open_dataset
from harness.cli import main
from harness.errors import HarnessError
from harness.records.cells import Group
from harness.report.figures.charts import curve_figure, scatter_figure
from harness.report.figures.crops import _best, crop_figure, parse_crop
from harness.report.figures.drawing import Crop
from harness.report.figures.files import COLOURS, PaperFigure, chosen_rows, row_notes, write_figure
from harness.tables.collected import results_of
from harness.tables.diff import CellResult
from harness.tables.measurements import Measurement, Measurements, NotRun
from harness.tables.published import Column, Row, Table, TablePart
from harness.tables.verdicts import Judgement
from harness.tables.workspace import Workspace

NOISY, BLUR, SMEAR, ENLARGE, LUMA = GROUPS
HOSTILE = r"$\input{/etc/passwd}$ 100 % of {x}_y^z ~ & # \\"


def crops_of(workspace: Workspace, name: str = "report-mine", **options: Any) -> PaperFigure:
    options = {"image": "embedded/coffee", "level": 50, "width": 6.9, "dpi": 150, **options}
    table = workspace.table(name)
    return crop_figure(workspace, table, results_of(workspace, table), **options)


def restored(workspace: Workspace, group: Group, level: int, image: str) -> Any:
    file = workspace.work / "restored" / group.place / str(level) / "draw0" / f"{image}.png"
    return np.asarray(Image.open(file))


def truth(workspace: Workspace, image: str) -> Any:
    return open_dataset("embedded", workspace.data).read(image)


def png_of(figure: PaperFigure, folder: Path, dpi: int) -> Any:
    write_figure(figure, [folder / "figure.png"], dpi)
    return np.asarray(Image.open(folder / "figure.png").convert("RGB"))


def places(figure: PaperFigure, pixels: Any) -> list[tuple[int, int, int, int]]:
    """Left, top, width and height in the file's pixels of each picture: the whole image, then the panels'."""
    height, width = pixels.shape[:2]
    found = []
    for axes in figure.drawn.axes:
        of = axes.get_position()
        left, top = round(of.x0 * width), round((1 - of.y1) * height)
        found.append((left, top, round(of.width * width), round(of.height * height)))
    return found


def texts(figure: PaperFigure) -> list[str]:
    return [text.get_text() for text in figure.drawn.texts]


@pytest.mark.parametrize(
    ("crops", "options"),
    [
        (["320,272,64x64"], {}),
        (["0,0,31x47"], {"width": 3.3, "dpi": 299}),
        (["569,353,31x47", "10,20,31x47"], {"zoom": 2, "dpi": 211}),
        (["1,2,40x20", "5,6,40x20", "500,300,40x20"], {"layout": "row", "dpi": 300}),
    ],
)
def test_every_pixel_of_a_crop_is_a_square_in_the_png(
    report_workspace: Workspace, tmp_path: Path, crops: list[str], options: dict[str, Any]
) -> None:
    cuts = [parse_crop(text) for text in crops]
    figure = crops_of(report_workspace, crops=cuts, **options)
    png = png_of(figure, tmp_path, options.get("dpi", 150))
    _, *panels = places(figure, png)
    images = [truth(report_workspace, "coffee"), *(restored(report_workspace, g, 50, "coffee") for g in GROUPS[:3])]
    assert len(panels) == len(images) * len(cuts)
    zooms = set()
    for (left, top, width, height), (image, cut) in zip(panels, itertools.product(images, cuts), strict=True):
        zooms.add((width / cut.width, height / cut.height))
        own = image[cut.top : cut.top + cut.height, cut.left : cut.left + cut.width]
        zoom = width // cut.width
        shown = png[top : top + height, left : left + width]
        assert np.array_equal(shown, own.repeat(zoom, axis=0).repeat(zoom, axis=1))
    [(across, down)] = zooms
    assert across == down == int(across) == options.get("zoom", across)


def test_gray_rows_beside_colour_ones_and_small_inputs(report_workspace: Workspace, tmp_path: Path) -> None:
    cut = parse_crop("100,60,32x32")
    figure = crops_of(report_workspace, "report-sr", image="chelsea", level=None, crops=[cut])
    png = png_of(figure, tmp_path, 150)
    luma = restored(report_workspace, LUMA, 2, "chelsea")[60:92, 100:132]
    left, top, width, height = places(figure, png)[-1]
    zoom = width // 32
    expected = luma.repeat(zoom, axis=0).repeat(zoom, axis=1)
    assert all(np.array_equal(png[top : top + height, left : left + width, c], expected) for c in range(3))
    # The input has a quarter of the pixels and no PSNR.
    left, top, width, height = places(figure, png)[2]
    shown = png[top : top + height, left : left + width]
    assert np.array_equal(shown[:: 2 * zoom], shown[zoom :: 2 * zoom])
    assert texts(figure)[texts(figure).index("Input") + 1] == "–"
    assert any("each shown 2 times as large" in sentence for sentence in figure.caption)


def test_boxes_lie_around_the_crops_in_the_colours_of_their_frames(report_workspace: Workspace, tmp_path: Path) -> None:
    cuts = [parse_crop("320,272,64x48"), parse_crop("90,200,64x48")]
    figure = crops_of(report_workspace, crops=cuts, rows=["Noisy"], dpi=300)
    png = png_of(figure, tmp_path, 300).astype(int)
    (left, top, width, height), *panels = places(figure, png)
    line = 300 / 72
    for number, cut in enumerate(cuts):
        colour = np.array([int(COLOURS[number][i : i + 2], 16) for i in (1, 3, 5)])

        def near(x: float, y: float, colour: Any = colour) -> bool:
            return int(np.abs(png[round(y), round(x)] - colour).max()) < 12

        x, y = left + cut.left * width / 600, top + cut.top * height / 400
        right, bottom = x + cut.width * width / 600, y + cut.height * height / 400
        middle = (x + right) / 2, (y + bottom) / 2
        for at in ((x - line / 2, middle[1]), (right + line / 2, middle[1])):
            assert near(*at)
        for at in ((middle[0], y - line / 2), (middle[0], bottom + line / 2)):
            assert near(*at)
        assert not near(*middle)
        for panel in panels[number :: len(cuts)]:
            assert near(panel[0] - 2, panel[1] + panel[3] / 2) and near(
                panel[0] + panel[2] / 2, panel[1] + panel[3] + 1
            )


def test_below_a_crop_stands_the_measured_number_of_its_image(report_workspace: Workspace) -> None:
    figure = crops_of(report_workspace, crops=[parse_crop("320,272,64x64")])
    found = texts(figure)
    measurements = Measurements(report_workspace.work)
    best = max(GROUPS[:3], key=lambda group: measurements.images(group, 50, "psnr")["coffee"])
    for name, group in (("Noisy", NOISY), ("Smear", SMEAR)):
        value = measurements.images(group, 50, "psnr")["coffee"]
        below = figure.drawn.texts[found.index(name) + 1]
        assert below.get_text() == f"{value:.2f}"
        assert (below.get_fontweight() == "bold") == (group == best)
    assert found[found.index("Ground truth") + 1] == "PSNR"
    assert "Below each, of the whole image: PSNR in dB." in figure.caption


def test_an_input_that_no_row_hands_back_is_shown_and_measured_alike(report_workspace: Workspace) -> None:
    figure = crops_of(report_workspace, crops=[parse_crop("320,272,64x64")], rows=["Smear"])
    value = Measurements(report_workspace.work).images(NOISY, 50, "psnr")["coffee"]
    found = texts(figure)
    assert found[found.index("Input") + 1] == f"{value:.2f}"
    assert "Input" not in texts(
        crops_of(report_workspace, crops=[parse_crop("320,272,64x64")], rows=["Noisy", "Smear"])
    )


def test_the_number_is_that_of_the_columns_protocol_at_the_columns_digits(report_workspace: Workspace) -> None:
    row = Row("Enlarge", ("30.00000",), method="report-enlarge", protocol={"psnr": "psnr-y-crop"})
    columns = (Column("psnr", "embedded", 2),)
    part = TablePart("sr", columns, (row,), degradation="bicubic-replicate", protocol={"psnr": "psnr-y8-crop"})
    table = Table("mine", "", "Mine", "a test", (part,))
    results = results_of(report_workspace, table)
    figure = crop_figure(report_workspace, table, results, image="chelsea", width=6.9, dpi=150)
    own, of_column = (
        Measurements(report_workspace.work).images(ENLARGE, 2, f"psnr-{luma}-crop")["chelsea"] for luma in ("y", "y8")
    )
    assert f"{own:.5f}" != f"{of_column:.5f}"
    assert texts(figure)[texts(figure).index("Enlarge") + 1] == f"{of_column:.5f}"
    assert any("of the MATLAB luma (16..235) rounded to 8 bits" in sentence for sentence in figure.caption)


def test_what_has_no_number_of_one_image_is_a_dash_and_infinity_is_best() -> None:
    assert _best([Decimal("Infinity"), Decimal("30.00"), None], "psnr") == [True, False, False]
    assert _best([Decimal("30.00"), Decimal("30.00")], "psnr") == [False, False]
    assert _best([Decimal("30.00"), None], "psnr") == [False, False]


def test_rows_without_images_are_named_with_the_reason(report_workspace: Workspace) -> None:
    figure = crops_of(report_workspace)
    said = "\n".join(figure.remarks)
    assert f"left out: Nobody: No code {MARKUP}" in said
    assert f"left out: Blur of others: the same images as Blur {MARKUP}" in said
    assert "Nobody" not in texts(figure)


@pytest.mark.parametrize("metrics", [["psnr"], ["ssim", "psnr"]])
def test_numbers_of_another_run_than_the_image_are_not_shown(
    report_workspace: Workspace, monkeypatch: pytest.MonkeyPatch, metrics: list[str]
) -> None:
    part = report_workspace.table("report-mine").parts[0]
    columns = tuple(Column(metric, "embedded", 50) for metric in ("psnr", "ssim"))
    rows = tuple(Row(name, method=f"report-{name}") for name in ("blur", "smear"))
    table = Table("mine", "", "Mine", "a test", (TablePart(part.task, columns, rows, degradation="awgn-8bit"),))
    results = results_of(report_workspace, table)

    def draw() -> PaperFigure:
        return crop_figure(report_workspace, table, results, image="coffee", metrics=metrics, width=6.9, dpi=150)

    assert {"blur", "smear"} <= set(texts(draw()))
    images = Measurements.images

    def of_an_earlier_run(self: Measurements, group: Group, level: int, name: str) -> dict[str, float]:
        return {i: v + (group == SMEAR) * 0.001 for i, v in images(self, group, level, name).items()}

    monkeypatch.setattr(Measurements, "images", of_an_earlier_run)
    figure = draw()
    assert "smear" not in texts(figure) and "blur" in texts(figure)
    assert any(r.startswith("left out: smear: its numbers are not of the image that is here") for r in figure.remarks)


def test_a_proposed_crop_can_be_repeated(report_workspace: Workspace, tmp_path: Path) -> None:
    figure = crops_of(report_workspace)
    [text] = re.findall(r"--crop (\S+)$", figure.remarks[0])
    again = crops_of(report_workspace, crops=[parse_crop(text)])
    assert np.array_equal(png_of(figure, tmp_path, 150), png_of(again, tmp_path, 150))


def test_a_long_name_is_cut_and_keeps_its_letters_apart_from_others(report_workspace: Workspace) -> None:
    figure = crops_of(report_workspace, width=3.3, dpi=300)
    figure.drawn.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.drawn.texts]
    assert any(text.startswith("Blur <") and text.endswith("…") for text in texts(figure))
    for first, second in itertools.combinations(boxes, 2):
        assert not first.overlaps(second)
    assert all(box.x0 >= -1 and box.x1 <= figure.drawn.bbox.x1 + 1 for box in boxes)


def test_crops_are_written_one_way_only() -> None:
    assert parse_crop(" 1, 2, 3x4") == Crop(1, 2, 3, 4)
    for wrong in ("1,2,3", "1,2,3,4", "1x2,3x4", "-1,2,3x4", "1,2,3x", "", "1.5,2,3x4", "٣,2,3x4", "1,2,0x4"):
        with pytest.raises(HarnessError, match="--crop"):
            parse_crop(wrong)


ERRORS = (
    ([], "name an image with --image, such as embedded/"),
    (["--image", "kodim01"], "no such image, such as embedded/"),
    (["--image", "embedded/cofee", "--level", "50"], "did you mean 'coffee'"),
    (["--image", "embeded/coffee"], "did you mean 'embedded'"),
    (["--image", "coffee"], "name one with --level: 30, 50"),
    (["--image", "coffee", "--level", "25"], "has no level 25 of embedded; it has 30, 50"),
    (["--image", "coffee", "--level", "50", "--crop", "550,0,64x64"], "leaves 'coffee', which has 600x400 pixels"),
    (["--image", "coffee", "--level", "50", "--crop", "0,350,64x64"], "leaves 'coffee'"),
    (["--image", "coffee", "--level", "50", "--crop", "64x64"], "write LEFT,TOP,WIDTHxHEIGHT, such as"),
    (["--image", "coffee", "--level", "50", "--crop", "0,0,9x9", "--crop", "0,0,9x8"], "one size"),
    (["--image", "coffee", "--level", "50", *["--crop", "0,0,9x9"] * 5], "at most 4"),
    (["--image", "coffee", "--level", "50", "--row", "Noisy,Smaer"], "did you mean 'Smear'"),
    (["--image", "coffee", "--level", "50", "--metric", "ssim"], "unknown metric of report-mine 'ssim'"),
    (["--image", "coffee", "--level", "50", "--zoom", "90"], "do not fit 6.9 inches at 600 dpi; take --zoom"),
    (["--image", "coffee", "--level", "50", "--row", "Nobody"], "no row of report-mine restored 'coffee'"),
    (["--image", "coffee", "--out", "figure.jpg"], "a figure ends in .pdf, .png, .svg, .tex"),
    (["--image", "coffee", "--out", "a figure%.tex"], "name it with letters"),
    (["--image", "coffee", "--x", "seconds"], "--x goes with --kind scatter"),
    (["--kind", "curve", "--crop", "0,0,9x9"], "--crop goes with --kind crops"),
    (["--kind", "curve", "--metric", "psnr", "--metric", "ssim"], "one --metric"),
    (["--kind", "curve", "--dataset", "embeded"], "did you mean 'embedded'"),
    (["--kind", "curve", "--dataset", "kodak24"], "--kind curve needs them"),
    (["--kind", "scatter"], "choose by --dataset and --level: embedded 30, embedded 50, kodak24 50"),
    (["--kind", "scatter", "--dataset", "embedded", "--level", "50"], "has both psnr and parameters"),
)


@pytest.mark.parametrize(("arguments", "said"), ERRORS)
def test_a_mistake_is_answered_in_a_sentence(
    report_workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(report_workspace.root)
    with pytest.raises(SystemExit) as stopped:
        main(["export", "figure", "report-mine", *arguments])
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert said in error and error.count("\n") == 1


def test_without_output_it_goes_to_results_and_else_the_caption_is_printed(
    report_workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(report_workspace.root)
    arguments = ["export", "figure", "report-mine", "--kind", "curve", "--dataset", "embedded"]
    with pytest.raises(SystemExit, match="0"):
        main(arguments)
    files = [Path("results/report-mine--curve-embedded").with_suffix(form) for form in (".pdf", ".tex")]
    assert capsys.readouterr().out.split("\n")[:2] == [f"written: {file}" for file in files]
    for file in files:
        file.unlink()
    with pytest.raises(SystemExit, match="0"):
        main([*arguments, "--width", "column", "--out", str(tmp_path / "c.svg")])
    printed = capsys.readouterr().out
    assert "caption: PSNR over the noise level σ on Embedded." in printed and "Hollow: as published" in printed
    assert 'width="237.6pt"' in (tmp_path / "c.svg").read_text()


def test_without_matplotlib_the_extra_is_named(report_workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(HarnessError, match=r"pip install 'restoration-harness\[figures\]'"):
        crops_of(report_workspace)


def test_the_same_figure_has_the_same_bytes(report_workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("font.size: 20\nsavefig.bbox: tight\nimage.interpolation: bicubic\n")
    for run, more in (("a", {"PYTHONHASHSEED": "1"}), ("b", {"PYTHONHASHSEED": "2", "MATPLOTLIBRC": str(tmp_path)})):
        (tmp_path / run).mkdir()
        outputs = [part for form in ("tex", "png", "svg") for part in ("--out", str(tmp_path / run / f"f.{form}"))]
        command = ["export", "figure", "report-mine", "--image", "coffee", "--level", "50", "--dpi", "100", *outputs]
        subprocess.run(
            [sys.executable, "-m", "harness", *command],
            cwd=report_workspace.root,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | more,
            check=True,
            capture_output=True,
        )
    for form in ("tex", "pdf", "png", "svg"):
        assert (tmp_path / "a" / f"f.{form}").read_bytes() == (tmp_path / "b" / f"f.{form}").read_bytes(), form


ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}


def pdf_text(data: bytes) -> str:
    """Read the text of a one-page PDF through the fonts' own tables of signs; fonts that are not embedded fail."""
    objects = dict(re.findall(rb"(?ms)^(\d+) 0 obj\n(.*?)\nendobj", data))

    def stream(number: bytes) -> bytes:
        found = re.search(rb"(?s)stream\r?\n(.*)\r?\nendstream", objects[number])
        assert found is not None
        return zlib.decompress(found[1])

    signs: dict[bytes, dict[int, str]] = {}
    for name, number in re.findall(rb"/(F\d+) (\d+) 0 R", data):
        [table] = re.findall(rb"/ToUnicode (\d+) 0 R", objects[number])
        [descendant] = re.findall(rb"/DescendantFonts \[ (\d+) 0 R", objects[number])
        [descriptor] = re.findall(rb"/FontDescriptor (\d+) 0 R", objects[descendant])
        assert b"/FontFile2" in objects[descriptor]
        of_font = signs.setdefault(name, {})
        for first, codes in re.findall(rb"<(\w+)> <\w+> \[(.*?)\]", stream(table)):
            for offset, code in enumerate(re.findall(rb"<(\w+)>", codes)):
                of_font[int(first, 16) + offset] = bytes.fromhex(code.decode()).decode("utf-16-be")
    [contents] = re.findall(rb"/Contents (\d+) 0 R", data)
    font, lines = b"", [""]
    for token in re.finditer(rb"(?s)/(F\d+) [\d.]+ Tf|\bBT\b|\(((?:\\.|[^\\()])*)\)", stream(contents)):
        if token[0] == b"BT":
            lines.append("")
        elif token[1]:
            font = token[1]
        else:
            raw = re.sub(rb"(?s)\\(.)", lambda found: ESCAPES.get(found[1], found[1]), token[2])
            lines[-1] += "".join(signs[font][int.from_bytes(raw[i : i + 2])] for i in range(0, len(raw), 2))
    return "\n".join(lines)


def pdf_pictures(data: bytes) -> list[Any]:
    """Read the colour pictures of a PDF, whose samples are coded as those of a PNG."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    pictures = []
    for head, body in re.findall(rb"(?s)(/Subtype /Image.*?)stream\r?\n(.*?)\r?\nendstream", data):
        [size] = re.findall(rb"/Width (\d+) /Height (\d+)", head)
        assert b"/DeviceRGB /BitsPerComponent 8 /Filter /FlateDecode" in head and b"/Predictor 10" in head
        about = chunk(b"IHDR", struct.pack(">IIBBBBB", *map(int, size), 8, 2, 0, 0, 0))
        file = b"\x89PNG\r\n\x1a\n" + about + chunk(b"IDAT", body) + chunk(b"IEND", b"")
        pictures.append(np.asarray(Image.open(io.BytesIO(file))))
    return pictures


def test_a_pdf_holds_its_text_and_fonts_and_the_pixels(report_workspace: Workspace, tmp_path: Path) -> None:
    figure = crops_of(report_workspace, crops=[parse_crop("320,272,64x64")])
    write_figure(figure, [tmp_path / "figure.pdf"], 150)
    data = (tmp_path / "figure.pdf").read_bytes()
    lines = pdf_text(data).split("\n")
    assert {"Ground truth", "Noisy", "Smear", "PSNR", "coffee", "Embedded, σ = 50"} <= set(lines)
    value = Measurements(report_workspace.work).images(SMEAR, 50, "psnr")["coffee"]
    assert lines[lines.index("Smear") + 1] == f"{value:.2f}"
    assert b"CreationDate" not in data
    own = restored(report_workspace, SMEAR, 50, "coffee")[272:336, 320:384]
    pictures = pdf_pictures(data)
    zoom = pictures[-1].shape[0] // 64
    assert len(pictures) == 5 and zoom > 1
    # A PDF counts lines from below.
    assert np.array_equal(pictures[-1][::-1], own.repeat(zoom, axis=0).repeat(zoom, axis=1))
    width, height = map(float, re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", data)[0])
    assert width <= 6.9 * 72 and height < width


def published(*rows: Row, columns: tuple[Column, ...]) -> tuple[Table, list[CellResult]]:
    table = Table("mine", "", "Mine", "a test", (TablePart(task="denoise-rgb", columns=columns, rows=rows),))
    return table, results_of(Workspace("."), table)


LEVELS = tuple(Column("psnr", "kodak24", level) for level in (10, 30, 50))


def test_hostile_names_compile_in_latex(report_workspace: Workspace, tmp_path: Path) -> None:
    rows = [Row(HOSTILE, ("34", "31", "28"), not_run="x"), Row("_b", ("33", "30", "27"), not_run="x")]
    rows += [Row("Müller, Łukasz — β ≥ 2 × σ 漢", ("32", "29", "26"), not_run="x")]
    table, results = published(*rows, columns=LEVELS)
    made = [
        crops_of(report_workspace, width=3.3, dpi=300),
        crops_of(report_workspace),
        curve_figure(table, results, width=3.3),
        curve_figure(table, results, width=3.3, against=HOSTILE),
    ]
    names = []
    for number, figure in enumerate(made):
        written, problems = write_figure(figure, [tmp_path / f"figure_{number}.v1.tex"], 100)
        assert [path.suffix for path in written] == [".pdf", ".tex"]
        names.append(written[-1].name)
        assert all("漢" in problem or "28450" in problem for problem in problems)
    body = "\n".join(rf"\input{{{name}}}" for name in names)
    log = compile_tex(tmp_path, body, r"\usepackage{graphicx}\textwidth=6.9in\columnsep=0.1in", "twocolumn")
    assert "Overfull" not in log
    assert "root:" not in (tmp_path / "all.log").read_text(errors="replace")
    text = (tmp_path / "figure_0.v1.tex").read_text()
    assert r"\begin{figure}" in text and r"\begin{figure*}" in (tmp_path / "figure_1.v1.tex").read_text()
    assert r"\label{fig:report-mine--crops-embedded-coffee-50}" in text
    assert "<script>" not in text
    legend = [item.get_text() for item in made[2].drawn.legends[0].get_texts()]
    assert legend[0] == HOSTILE and legend[1] == "_b"


def drawn_points(figure: PaperFigure, filled: bool) -> list[tuple[float, float]]:
    found = []
    for axes in figure.drawn.axes:
        for line in axes.lines:
            if line.get_linestyle() == "None" and (line.get_markerfacecolor() != "white") == filled:
                found += [(float(x), float(y)) for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)]
    return found


def test_curves_are_measured_where_they_were_and_else_published_and_hollow(report_workspace: Workspace) -> None:
    table = report_workspace.table("report-mine")
    results = results_of(report_workspace, table)
    figure = curve_figure(table, results, width=6.9, dataset="embedded")
    measured = [r for r in results if r.request.dataset == "embedded" and isinstance(r.measured, Measurement)]
    values = [(r.request.level, r.measured.value) for r in measured if isinstance(r.measured, Measurement)]
    assert sorted(drawn_points(figure, True)) == sorted(values)
    assert drawn_points(figure, False) == [(30.0, 30.0), (50.0, 28.0)]
    assert "Hollow: as published, not measured here." in figure.caption
    own = curve_figure(table, results, width=6.9, dataset="embedded", rows=["Smear", "Noisy"], against="Noisy")
    noisy = {level: value for (level, value), r in zip(values, measured, strict=True) if r.request.row == "Noisy"}
    smear = {level: value for (level, value), r in zip(values, measured, strict=True) if r.request.row == "Smear"}
    assert drawn_points(own, True) == [(level, smear[level] - noisy[level]) for level in (30, 50)]
    assert own.drawn.axes[0].get_ylabel() == "PSNR above Noisy (dB)"
    assert "Hollow: as published, not measured here." not in own.caption
    # The distance to a published value is not measured.
    assert not drawn_points(curve_figure(table, results, width=6.9, dataset="embedded", against="Nobody"), True)


def test_a_field_for_each_dataset() -> None:
    workspace = Workspace(".")
    table = workspace.table("panet-table3")
    figure = curve_figure(table, results_of(workspace, table), width=6.9)
    assert [axes.get_title() for axes in figure.drawn.axes] == ["LIVE1", "Classic5"]
    assert [label.get_text() for label in figure.drawn.axes[0].get_xticklabels()] == ["10", "20", "30", "40"]


def test_no_line_leads_over_a_level_without_a_value() -> None:
    rows = [Row("A", ("34", "N/A", "28"), not_run="x"), Row("B", ("33", "30", "27"), not_run="x")]
    figure = curve_figure(*published(*rows, columns=LEVELS), width=3.3)
    lines = [line for line in figure.drawn.axes[0].lines if line.get_linestyle() == "--"]
    assert [list(map(str, line.get_ydata())) for line in lines] == [["34.0", "nan", "28.0"], ["33.0", "30.0", "27.0"]]


def test_one_figure_shows_one_task(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (
        (["--kind", "curve"], "several tasks there; name one with --task: denoise-rgb, denoise-gray, jpeg, sr"),
        (["--kind", "scatter", "--dataset", "urban100", "--level", "30"], "--task: denoise-rgb, denoise-gray"),
        (["--kind", "curve", "--task", "denoise"], "did you mean"),
    ):
        with pytest.raises(SystemExit):
            main(["export", "figure", "rnan-table8", *arguments])
        assert said in capsys.readouterr().err


def test_a_number_under_the_columns_protocol_has_no_mark_for_that_of_its_print() -> None:
    workspace = Workspace(".")
    table = workspace.table("panet-table3")
    results = results_of(workspace, table)
    [*own] = [r for r in results if r.own_protocol and isinstance(r.under_column, Measurement)]
    assert {"JPEG", "ARCNN"} <= {r.request.row for r in own} and any(r.differs for r in own)
    notes = curve_figure(table, results, width=6.9, metric="ssim").notes
    assert not [note for note in notes if "compared under" in note.text and re.search("JPEG|ARCNN", note.text)]


def scatter_of(numbers: Sequence[tuple[str, str, str]], width: float = 3.3, cost: Any = "parameters") -> PaperFigure:
    rows = [Row(name, (y, x), not_run="x") for name, y, x in numbers]
    table, results = published(*rows, columns=(Column("psnr", "kodak24", 50), Column(cost)))
    return scatter_figure(Workspace("."), table, results, width=width, cost=cost)


@pytest.mark.parametrize("seed", range(4))
def test_labels_keep_off_each_other_and_off_points(seed: int) -> None:
    draw = random.Random(seed)
    numbers = [(f"Method {n}", f"{30 + draw.random():.2f}", f"{draw.randrange(500, 900)}K") for n in range(14)]
    figure = scatter_of(numbers)
    figure.drawn.draw_without_rendering()
    axes = figure.drawn.axes[0]
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # without the lines that lead to points
    assert len(boxes) == 14
    for first, second in itertools.combinations(boxes, 2):
        assert not first.overlaps(second)
    for line in axes.lines:
        for point in axes.transData.transform(line.get_xydata()):
            assert not any(box.contains(*point) for box in boxes)
    assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in boxes)


def test_costs_far_apart_have_a_logarithmic_axis() -> None:
    near, far = (scatter_of([("A", "30.00", "500K"), ("B", "31.00", cost)]) for cost in ("900K", "9,000K"))
    assert [figure.drawn.axes[0].get_xscale() for figure in (near, far)] == ["linear", "log"]
    labels = [label.get_text() for label in far.drawn.axes[0].get_xticklabels()]
    assert {"500K", "1M", "2M", "5M"} <= set(labels)
    assert sorted(drawn_points(far, False)) == [(500_000.0, 30.0), (9_000_000.0, 31.0)]
    assert "Hollow: as published, not measured here." in far.caption


def test_a_counted_network_stands_at_its_count(tmp_path: Path) -> None:
    rows = [Row("DnCNN", ("28.16",), method="dncnn"), Row("Nobody", ("27.00",), not_run="x")]
    table, results = published(*rows, columns=(Column("psnr", "kodak24", 50),))
    figure = scatter_figure(Workspace(tmp_path), table, results, width=3.3)
    [(count, value)] = drawn_points(figure, False)
    assert 600_000 < count < 700_000 and value == 28.16
    assert figure.remarks == ("left out: Nobody: psnr or parameters is not known",)
    operations = scatter_figure(Workspace(tmp_path), table, results, width=3.3, cost="operations")
    assert drawn_points(operations, False)[0][0] > 1e9
    assert "96×96 pixels" in operations.drawn.axes[0].get_xlabel()


def test_seconds_of_a_paper_never_stand_beside_those_of_this_machine(report_workspace: Workspace) -> None:
    part = report_workspace.table("report-mine").parts[0]
    rows = (
        Row("Smear", ("", "1.5"), method="report-smear"),
        Row("Nobody", ("28.00", "0.5"), not_run="x"),
    )
    columns = (Column("psnr", "embedded", 50), Column("seconds"))
    table = Table("mine", "", "Mine", "a test", (TablePart(part.task, columns, rows, degradation="awgn-8bit"),))
    results = results_of(report_workspace, table)
    figure = scatter_figure(report_workspace, table, results, width=3.3, cost="seconds")
    assert [text.get_text() for text in figure.drawn.axes[0].texts] == ["Smear"]
    assert figure.remarks == ("left out: Nobody: psnr or seconds is not known",)
    assert any(sentence.startswith("Time is the mean over the images") for sentence in figure.caption)
    [(seconds, _)] = drawn_points(figure, True)
    assert seconds not in (1.5, 0.5)


def test_rows_of_another_input_are_marked_and_explained(report_workspace: Workspace) -> None:
    part = report_workspace.table("report-mine").parts[0]
    rows = (
        Row("New", method="report-smear"),
        Row("Old", ("28.00", "26.00"), not_run="x", degradation="awgn-float"),
    )
    columns = tuple(Column("psnr", "embedded", level) for level in (30, 50))
    table = Table("mine", "", "Mine", "a test", (TablePart(part.task, columns, rows, degradation="awgn-8bit"),))
    figure = curve_figure(table, results_of(report_workspace, table), width=3.3)
    legend = [text.get_text() for text in figure.drawn.legends[0].get_texts()]
    assert legend == ["New", "Oldᵃ"]
    assert figure.notes[0].mark == "a" and figure.notes[0].text.startswith("Old: another input: awgn-float")
    assert "(a) Old: another input" in figure.caption_text


def test_rows_trained_here_say_for_how_long(report_workspace: Workspace) -> None:
    table = report_workspace.table("report-mine")
    found = results_of(report_workspace, table)
    measured = [r for r in found if not isinstance(r.measured, NotRun) and r.request.row in ("Noisy", "Smear")]
    trained = [
        CellResult(r.request, r.measured, Judgement("trained", None, ""), None, {}, origin)
        for r in measured
        for origin in ["trained: 0.4 % of the paper's iterations" if r.request.row == "Smear" else ""]
    ]
    notes, marks = row_notes(trained)
    assert [(note.mark, note.text) for note in notes] == [("a", "Smear: trained: 0.4 % of the paper's iterations.")]
    assert list(marks.values()) == ["a"]


def test_rows_are_chosen_by_names_that_may_hold_commas(report_workspace: Workspace) -> None:
    rows = [Row(name, ("1", "2", "3"), not_run="x") for name in ("A, B", "A", "B, C, D")]
    _, results = published(*rows, columns=LEVELS)
    assert chosen_rows("mine", results, "b, c, d,A, B,a") == ["B, C, D", "A, B", "A"]
    with pytest.raises(HarnessError, match="unknown row of mine 'C'"):
        chosen_rows("mine", results, "A,C")
