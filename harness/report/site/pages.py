"""Where each page lies, what every page has around it, and how it is written."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from harness import __version__
from harness.files import json_numbers, write_text
from harness.records.cells import Group
from harness.report.grid import MEANINGS, SIGNS, marks_text
from harness.report.render import finalize, marked_spans
from harness.report.scenes import SceneId
from harness.tables.requests import is_of_images
from harness.tables.verdicts import VERDICTS

CellId = tuple[Group, int]
"""A cell: what was restored, and the level."""

PAPERS = {"panet": "PANet", "rnan": "RNAN", "kit": "KiT", "csnln": "CSNLN"}
"""Names of the papers that the project reproduces."""

FORMS = (("md", "Markdown"), ("csv", "CSV"), ("tex", "LaTeX"), ("json", "JSON"))
"""Endings and names of the forms in which a table can be taken along."""


def cell_page(cell: CellId) -> str:
    """Path of a cell's page below the site: a method on a dataset at a level."""
    group, level = cell
    return f"cells/{group.place}/{level}.html"


def table_page(name: str) -> str:
    """Path of a table's page below the site."""
    return f"tables/{name}.html"


def one_protocol_page(name: str) -> str:
    """Path of the page below the site that shows a table under one protocol."""
    return f"tables/one-protocol/{name}.html"


def scene_page(scene: SceneId) -> str:
    """Path of a scene's page below the site."""
    task, dataset, level = scene
    return f"compare/{task}/{dataset}/{level}/index.html"


def view_page(scene: SceneId, image: str) -> str:
    """Path of the page below the site that shows an image of a scene; names that are no file names get a hash."""
    plain = re.sub("[^A-Za-z0-9_-]+", "-", image).strip("-")
    if plain != image:
        plain = f"{plain}-{hashlib.sha256(image.encode()).hexdigest()[:8]}"
    task, dataset, level = scene
    return f"compare/{task}/{dataset}/{level}/{plain}.html"


@functools.cache
def environment() -> Any:
    """Templates of the pages: every text is escaped, and a missing name is an error."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.report", "templates/site"),
        autoescape=True,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        auto_reload=False,
    )
    made.policies["json.dumps_function"] = lambda plain, **options: json.dumps(json_numbers(plain), **options)
    made.policies["json.dumps_kwargs"] = {"sort_keys": True, "separators": (",", ":")}
    made.globals |= {"signs": SIGNS, "meanings": MEANINGS}
    made.tests["image_metric"] = is_of_images
    made.filters |= {
        # Jinja's own `capitalize` would write Jpeg.
        "sentence": lambda text: text[:1].upper() + text[1:],
        "number": lambda value: f"{value:,}",
        "base64": lambda data: base64.b64encode(data).decode(),
        "slug": lambda text: re.sub("[^a-z0-9]+", "-", str(text).lower()).strip("-"),
        "headings": lambda grid: [marked_spans(grid, line) for line in range(len(grid.heads))],
        "marks": marks_text,
    }
    return made


class Pages:
    """Writes the files of a site into a folder; `around` is what every page shows and where its navigation leads."""

    def __init__(self, folder: Path, **around: Any) -> None:
        self.folder = folder
        self._written: set[str] = set()
        self._around = {"version": __version__, "verdicts": VERDICTS, **around}

    def write(self, path: str, template: str, **context: Any) -> None:
        """Write a page below the site from a template."""
        root = "../" * path.count("/")
        text = environment().get_template(template).render(root=root, here=path, **self._around, **context)
        write_text(self.folder / path, text)
        self._written.add(path)

    def write_forms(self, page: str, forms: Mapping[str, str]) -> None:
        """Write the forms of a table beside its page, by ending."""
        for suffix, text in forms.items():
            write_text((self.folder / page).with_suffix(f".{suffix}"), text)

    def write_static(self) -> None:
        """Write styles and scripts."""
        target = self.folder / "static"
        target.mkdir()
        for file in (resources.files("harness.report") / "static").iterdir():
            if file.name.endswith((".css", ".js")):
                (target / file.name).write_bytes(file.read_bytes())

    def remove(self, paths: Iterable[str]) -> None:
        """Take files of the site back."""
        for path in paths:
            (self.folder / path).unlink()
            self._written.discard(path)

    @property
    def count(self) -> int:
        """Number of HTML pages."""
        return len(self._written)

    def write_picture(self, webp: bytes, folder: str = "pictures") -> str:
        """Write a picture under a name that its bytes decide; return its path below the site."""
        path = f"{folder}/{hashlib.sha256(webp).hexdigest()[:20]}.webp"
        (self.folder / folder).mkdir(exist_ok=True)
        (self.folder / path).write_bytes(webp)
        return path

    def size(self, path: str) -> int:
        """Bytes of a file."""
        return (self.folder / path).stat().st_size

    def bytes(self) -> int:
        """Bytes of all files so far."""
        return sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())
