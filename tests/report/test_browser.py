"""The site in a real browser, from disk: no errors, no requests elsewhere, and every control does what it says."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_workspace import GROUPS, ROWS_ONLY

from harness.assets.datasets.reading import open_dataset
from harness.degradations import degradation
from harness.images import read_image
from harness.metrics.luminance import STANDARDS
from harness.protocols import protocol
from harness.report.pictures import luma_of
from harness.report.site import SiteSummary, cell_page, table_page
from harness.tables.collected import collect
from harness.tables.diff import as_record
from harness.tables.workspace import Workspace

TABLE = table_page("report-mine")
VIEW = "compare/denoise-rgb/embedded/50/coffee.html"
LUMA_VIEW = "compare/sr/embedded/2/coffee.html"
KINDS = ("index.html", TABLE, cell_page((GROUPS[1], 50)), "compare/index.html", VIEW, "plots.html")


# What a page must show and what must not have happened on it, in one call for many pages.
LOOK = """() => ({
    title: document.title,
    headings: document.querySelectorAll("h1").length,
    attacked: window.attacked ?? null,
    strange: document.querySelectorAll("img[src=x]").length,
    shown: [...document.images].every((image) => image.complete && image.naturalWidth > 0),
})"""


class Visit:
    """A page that is open, and what it complained of or asked for."""

    def __init__(self, context: Any, folder: Path) -> None:
        self.folder = folder
        self.page = context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", lambda request: self.complaints.append(f"failed: {request.url[:100]}"))
        self.page.on("dialog", lambda dialog: (self.complaints.append("dialog"), dialog.dismiss()))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def go(self, path: str) -> Any:
        self.page.goto((self.folder / path).as_uri())
        if self.page.locator("#view").count() and self.page.evaluate("document.scripts.length") > 1:
            self.page.wait_for_selector("html[data-ready=yes]", state="attached")
        return self.page


@pytest.fixture
def visit(browser: Any, site: SiteSummary) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    made = Visit(context, site.folder)
    yield made
    context.close()
    assert made.complaints == []
    assert all(url.startswith(("file:", "data:")) for url in made.requests)


def test_every_page_loads_without_a_word(visit: Visit, site: SiteSummary) -> None:
    paths = sorted(path.relative_to(site.folder).as_posix() for path in site.folder.rglob("*.html"))
    for path in paths:
        found = visit.go(path).evaluate(LOOK)
        assert found.pop("title").endswith("restoration-harness")
        assert found == {"headings": 1, "attacked": None, "strange": 0, "shown": True}, path
    assert len(paths) == site.pages


def test_no_page_is_wider_than_a_phone(browser: Any, site: SiteSummary) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    made = Visit(context, site.folder)
    for path in (*KINDS, cell_page((ROWS_ONLY, 50)), "compare/denoise-rgb/embedded/50/index.html"):
        page = made.go(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
    context.close()
    assert made.complaints == []


def test_the_navigation_is_one_line_on_a_phone(browser: Any, site: SiteSummary) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 740}, is_mobile=True, has_touch=True)
    page = Visit(context, site.folder).go("index.html")
    tops = page.locator(".top nav a").evaluate_all("(links) => links.map((a) => a.getBoundingClientRect().top)")
    assert len(tops) >= 4 and len(set(tops)) == 1
    assert page.locator(".top").bounding_box()["height"] < 64
    context.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_a_table_that_goes_on_says_so(browser: Any, site: SiteSummary, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = Visit(context, site.folder).go(TABLE)
    boxes = page.locator(".scroll").evaluate_all(
        """(boxes) => boxes.filter((box) => box.checkVisibility()).map((box) => [
          box.scrollWidth > box.clientWidth + 1, box.classList.contains("more"),
          box.previousElementSibling?.classList.contains("sideways") && !box.previousElementSibling.hidden])"""
    )
    assert all(wider == bool(fades) == bool(says) for wider, fades, says in boxes)
    assert any(wider for wider, _, _ in boxes) or width > 390
    matrix = page.locator(".scroll").first
    matrix.evaluate("(box) => { box.scrollLeft = box.scrollWidth; }")
    page.wait_for_timeout(100)
    assert not matrix.evaluate("(box) => box.classList.contains('more')")
    context.close()


def test_a_reason_opens_from_every_cell_of_its_row(visit: Visit) -> None:
    page = visit.go(TABLE)
    link = page.locator("#cells td.reason a").first
    told = page.locator(link.get_attribute("href"))
    assert not told.is_visible()
    link.click()
    assert told.is_visible() and told.inner_text()


def test_keys_lead_through_the_images(visit: Visit) -> None:
    page = visit.go("compare/index.html")
    thumbs = page.locator(".thumbs").first.locator("a")
    thumbs.first.focus()
    page.keyboard.press("ArrowRight")
    here = "document.activeElement.getAttribute('href')"
    assert page.evaluate(here) == thumbs.nth(1).get_attribute("href")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(here) == thumbs.first.get_attribute("href")
    page.keyboard.press("ArrowDown")
    assert page.evaluate(here) == page.locator(".thumbs").nth(1).locator("a").first.get_attribute("href")
    # From image to image, and to another level.
    order = [
        href.rpartition("/")[2]
        for href in page.locator("section", has_text="sigma 50")
        .first.locator(".thumbs a")
        .evaluate_all("(links) => links.map((a) => a.href)")
    ]
    page = visit.go(f"compare/denoise-rgb/embedded/50/{order[0]}")
    page.keyboard.press("ArrowRight")
    page.wait_for_url(f"**/50/{order[1]}")
    page.wait_for_selector("html[data-ready=yes]", state="attached")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(f"**/50/{order[0]}")
    page.wait_for_selector("html[data-ready=yes]", state="attached")
    # A control keeps its keys.
    page.locator("#split").focus()
    page.keyboard.press("ArrowRight")
    assert page.url.endswith(f"/50/{order[0]}")
    page.locator("#split").blur()
    page.keyboard.press("Shift+ArrowLeft")
    page.wait_for_url(f"**/30/{order[0]}")


def test_a_view_can_be_saved(visit: Visit, report_workspace: Workspace, tmp_path: Path) -> None:
    page = visit.go(VIEW)
    meta = json.loads(page.locator("#view").inner_text())
    # All pictures but the second; the first stands in the upper left corner.
    page.locator("[name=picture]").nth(1).uncheck()
    with page.expect_download() as download:
        page.locator("#save").click()
    crop = meta["crops"][0]
    name = f"coffee-{crop['left']}-{crop['top']}-{crop['side']}x{crop['side']}.png"
    assert download.value.suggested_filename == name
    download.value.save_as(tmp_path / "view.png")
    saved = np.asarray(Image.open(tmp_path / "view.png").convert("RGB"))
    times = round(240 / crop["side"])
    size = times * crop["side"]
    drawn = saved[12 : 12 + size : times, 12 : 12 + size : times]
    np.testing.assert_array_equal(drawn, _pixels(page.locator("[data-picture='0'] canvas.crop")))
    shown = len(meta["pictures"]) - 1
    assert saved.shape[1] == min(shown, 1500 // (size + 12)) * (size + 12) + 12
    # Below the crop stands its name.
    assert saved[12 + size : 12 + size + 40, 12 : 12 + size].min() < 100


def test_columns_sort_by_what_is_chosen(visit: Visit, report_workspace: Workspace) -> None:
    page = visit.go(TABLE)
    records = [as_record(r) for r in collect(report_workspace, ["report-mine"])[0].results]
    at_50 = [r for r in records if r["dataset"] == "embedded" and r["level"] == 50]
    button = page.locator("table.matrix thead button", has_text="sigma 50").first

    def rows() -> list[str]:
        found: list[str] = page.locator("table.matrix tbody th").all_inner_texts()
        return found

    for by in ("measured", "published", "delta"):
        page.locator("[name=by]").select_option(by)
        for direction, sign in (("descending", -1), ("ascending", 1)):
            page.evaluate("document.querySelectorAll('[aria-sort]').forEach((h) => h.removeAttribute('aria-sort'))")
            button.click()
            if direction == "ascending":
                button.click()
            have = [r for r in at_50 if r[by] is not None]
            values = {}
            for record in have:
                values.setdefault(record["row"], []).append(record[by])
            shown = [row for row in rows() if row in values]
            order = [values[row][0] for row in shown]
            assert order == sorted(order, key=lambda value: sign * value)
            # What has no value stands below, whichever way one sorts.
            assert set(rows()[: len(shown)]) == set(shown)
            assert button.locator("xpath=..").get_attribute("aria-sort") == direction


def test_text_columns_sort_from_a_to_z(visit: Visit) -> None:
    page = visit.go(TABLE)
    page.locator("#cells thead button", has_text="Row").click()
    names = [name.lower() for name in page.locator("#cells tbody th").all_inner_texts()]
    assert names == sorted(names)


def test_rows_are_filtered_by_verdict_and_text(visit: Visit, report_workspace: Workspace) -> None:
    page = visit.go(TABLE)
    records = [as_record(r) for r in collect(report_workspace, ["report-mine"])[0].results]
    assert page.locator("#shown").inner_text() == f"{len(records)} of {len(records)} cells"
    page.locator("[name=verdict][value='not run']").uncheck()
    measured = [r for r in records if r["verdict"] != "not run"]
    assert page.locator("#cells tbody tr:visible").count() == len(measured)
    assert "Nobody" not in page.locator("table.matrix tbody tr:visible th").all_inner_texts()
    page.locator("[name=text]").fill("SMEAR")
    assert page.locator("#cells tbody tr:visible").count() == sum("Smear" in r["row"] for r in measured)
    page.locator("[name=text]").fill("")
    page.locator("[name=verdict][value='not run']").check()
    assert page.locator("#cells tbody tr:visible").count() == len(records)


def test_facts_come_with_the_mouse_and_with_the_keyboard(visit: Visit, report_workspace: Workspace) -> None:
    page = visit.go(TABLE)
    records = [as_record(r) for r in collect(report_workspace, ["report-mine"])[0].results]
    index, record = next((i, r) for i, r in enumerate(records) if r["row"] == "Smear" and r["level"] == 50)
    number = page.locator(f"[data-cell='{index}']")
    details = page.locator("#details")
    assert details.is_hidden()
    number.hover()
    text = details.inner_text()
    assert repr(record["measured"]) in text and "psnr (version psnr.1)" in text and "c0de" in text
    assert "report-smear" in text and "numpy" in text and "awgn-8bit" in text
    page.keyboard.press("Escape")
    assert details.is_hidden()
    page.mouse.move(0, 0)
    number.focus()
    assert repr(record["measured"]) in details.inner_text()
    assert number.get_attribute("aria-describedby") == "details"
    page.keyboard.press("Enter")
    page.wait_for_url("**/report-smear--whole/50.html")


def _pixels(canvas: Any) -> np.ndarray[Any, Any]:
    coded = canvas.evaluate("(c) => c.toDataURL('image/png').split(',')[1]")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(coded))).convert("RGB"))


@pytest.mark.parametrize("path", [VIEW, LUMA_VIEW])
def test_the_psnr_of_a_crop_is_that_of_its_pixels(visit: Visit, report_workspace: Workspace, path: str) -> None:
    page = visit.go(path)
    meta = json.loads(page.locator("#view").inner_text())
    group, level, measure = (GROUPS[1], 50, "psnr") if path == VIEW else (GROUPS[3], 2, "psnr-y")
    title = "Blur" if path == VIEW else "Enlarge"
    index = next(i for i, p in enumerate(meta["pictures"]) if p["title"].startswith(title))
    restored = read_image(report_workspace.work / "restored" / group.place / f"{level}/draw0/coffee.png")
    truth = degradation(group.degradation).reference(
        open_dataset("embedded", report_workspace.data).read("coffee"), level
    )
    figure = page.locator(f"[data-picture='{index}']")

    def check(top: int, left: int, side: int) -> None:
        square = np.s_[top : top + side, left : left + side]
        expected = protocol(measure).measure(truth[square], restored[square])
        assert math.isclose(float(figure.get_attribute("data-psnr")), expected, rel_tol=1e-9)
        assert figure.locator(".value").inner_text() == f"{expected:.2f}"
        assert "this crop" in figure.locator(".of").inner_text()
        np.testing.assert_array_equal(_pixels(figure.locator("canvas.crop")), restored[square])

    for number, crop in enumerate(meta["crops"]):
        page.locator(f"[name=crop][value='{number}']").check()
        check(crop["top"], crop["left"], crop["side"])
    (top, left), (_, width) = meta["origin"], meta["size"]
    for name, value in (("side", 23), ("top", top + 7), ("left", left + 11)):
        page.locator(f"[name={name}]").fill(str(value))
        page.locator(f"[name={name}]").press("Tab")
    assert page.locator("[name=crop][value=own]").is_checked()
    check(top + 7, left + 11, 23)
    # A wish that leaves the region is moved into it.
    page.locator("[name=left]").fill("99999")
    page.locator("[name=left]").press("Tab")
    check(top + 7, left + width - 23, 23)
    # Drawing with the mouse: half the large picture from its upper left corner.
    stage = page.locator("#stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    page.mouse.move(box["x"] + 1, box["y"] + 1)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 4, steps=4)
    page.mouse.up()
    side = int(page.locator("[name=side]").input_value())
    assert abs(side - width / 2) <= 2
    check(top, left, side)


def test_the_slider_divides_two_pictures(visit: Visit) -> None:
    page = visit.go(VIEW)
    meta = json.loads(page.locator("#view").inner_text())
    # A small crop in a corner, so that its frame hides little of the picture.
    for name, value in (("side", 8), ("top", meta["origin"][0]), ("left", meta["origin"][1])):
        page.locator(f"[name={name}]").fill(str(value))
        page.locator(f"[name={name}]").press("Tab")
    page.locator("[name=first]").select_option("0")
    last = len(meta["pictures"]) - 1
    page.locator("[name=second]").select_option(str(last))

    def at(split: int) -> np.ndarray[Any, Any]:
        page.locator("#split").fill(str(split))
        return _pixels(page.locator("#stage"))

    first, second = at(100), at(0)
    half = at(50)
    width = meta["size"][1]
    np.testing.assert_array_equal(half[20:, 10 : width // 2 - 2], first[20:, 10 : width // 2 - 2])
    np.testing.assert_array_equal(half[20:, width // 2 + 2 : -4], second[20:, width // 2 + 2 : -4])
    assert not np.array_equal(first[20:, 10:-4], second[20:, 10:-4])
    page.locator("#split").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#split").input_value() == "51"


def test_error_maps_are_the_error(visit: Visit, report_workspace: Workspace) -> None:
    page = visit.go(VIEW)
    meta = json.loads(page.locator("#view").inner_text())
    index = next(i for i, p in enumerate(meta["pictures"]) if p["title"] == "Smear")
    canvas = page.locator(f"[data-picture='{index}'] canvas.error")
    assert canvas.is_hidden()
    page.locator("[name=errors]").check()
    page.locator("[name=gain]").select_option("8")
    assert canvas.is_visible()
    crop = meta["crops"][0]
    square = np.s_[crop["top"] : crop["top"] + crop["side"], crop["left"] : crop["left"] + crop["side"]]
    restored = read_image(report_workspace.work / "restored" / GROUPS[2].place / "50/draw0/coffee.png")[square]
    truth = open_dataset("embedded", report_workspace.data).read("coffee")[square]
    error = np.abs(restored.astype(float) - truth).mean(axis=2)
    red = np.clip(3 * np.clip(8 * error / 255, 0, 1), 0, 1) * 255
    assert np.abs(_pixels(canvas)[:, :, 0] - red).max() <= 1
    assert page.locator("[data-picture] canvas.error:visible").count() == len(meta["pictures"]) - 1


def test_pictures_can_be_left_out(visit: Visit) -> None:
    page = visit.go(VIEW)
    count = page.locator("figure.picture:visible").count()
    page.locator("[name=picture]").first.uncheck()
    assert page.locator("figure.picture:visible").count() == count - 1


def test_light_and_dark(browser: Any, visit: Visit, site: SiteSummary) -> None:
    def brightness(page: Any) -> float:
        text = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        return sum(map(int, re.findall(r"\d+", text)[:3])) / 3

    page = visit.go(TABLE)
    assert brightness(page) > 200
    page.locator("#theme").click()
    assert brightness(page) < 60
    assert page.locator("#theme").inner_text() == "Light"
    page.reload()
    assert brightness(page) < 60
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto((site.folder / "index.html").as_uri())
    assert brightness(page) < 60
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility(browser: Any, site: SiteSummary, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    context = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 900})
    made = Visit(context, site.folder)
    for path in KINDS:
        page = made.go(path)
        if path == TABLE:
            page.locator("[data-cell]").first.focus()
        if path == VIEW:
            page.locator("[name=errors]").check()
        page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
        found = axe.Axe().run(page)
        problems = [
            (item["id"], node["html"][:120], node.get("failureSummary", "")[:300])
            for item in found.response["violations"]
            for node in item["nodes"]
        ]
        assert problems == [], path
    context.close()


def test_print_leaves_the_controls_out(visit: Visit) -> None:
    page = visit.go(TABLE)
    page.emulate_media(media="print")
    assert page.locator("#filters").is_hidden() and page.locator(".top").is_hidden()
    assert page.locator("table.matrix .measured").first.is_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('.scroll')).overflowX") == "visible"
    data = page.pdf(format="A4")
    assert data.startswith(b"%PDF") and len(data) > 10_000


def test_without_javascript_everything_is_still_there(browser: Any, site: SiteSummary) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site.folder / VIEW).as_uri())
    assert page.locator("figure.picture img:visible").count() == page.locator("figure.picture").count() > 3
    assert "this region" in page.locator(".crop-psnr").first.inner_text()
    assert page.locator("#controls").is_hidden()
    page.goto((site.folder / TABLE).as_uri())
    assert page.locator("#cells tbody tr").count() > 10 and page.locator("#filters").is_hidden()
    context.close()


def test_a_screenshot_is_no_blank_page(visit: Visit) -> None:
    page = visit.go(TABLE)
    picture = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("L"))
    assert picture.std() > 10


@pytest.mark.parametrize("name", ["psnr-y", "psnr-y8", "psnr-yfull8-crop", "psnr-yiq"])
def test_a_page_gets_the_luma_of_the_protocol(name: str) -> None:
    from harness.metrics import luma

    weights = luma_of(name)
    assert weights is not None
    pixels = np.arange(256 * 3, dtype=np.uint32).reshape(16, 16, 3) * 37 % 256
    r, g, b = (pixels[:, :, i].astype(np.float64) for i in range(3))
    y = weights.offset + (weights.r * r + weights.g * g + weights.b * b) / weights.divisor
    y = np.floor(y + 0.5) if weights.rounded else y
    standard = {"psnr-yfull8-crop": "full", "psnr-yiq": "yiq"}.get(name, "matlab")
    assert weights.divisor == STANDARDS[standard].divisor
    expected = luma(pixels.astype(np.uint8), "uint8" if weights.rounded else "none", standard)  # type: ignore[arg-type]
    np.testing.assert_allclose(y, expected, rtol=1e-12)
    assert luma_of("psnr") is None
