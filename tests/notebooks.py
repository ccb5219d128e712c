"""Running notebooks without Jupyter: a notebook is JSON, and its cells are Python that is run in order.

``python tests/notebooks.py docs/notebooks/NAME.ipynb`` runs a notebook and writes what its cells show into it. That a
test needs no kernel, no nbformat and no nbclient (some forty packages) costs magics: a cell may hold plain Python only.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Output = dict[str, Any]


def outputs(notebook: dict[str, Any]) -> list[list[Output]]:
    """Run the code cells in order in one namespace, and give what each shows as a notebook keeps it.

    That is standard output, and the value of a last line that is an expression. Progress on standard error is left out.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    return [_run("".join(cell["source"]), names) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def _run(source: str, names: dict[str, Any]) -> list[Output]:
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    value = None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "<cell>", "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
    found: list[Output] = []
    if printed.getvalue():
        found.append({"output_type": "stream", "name": "stdout", "text": _lines(printed.getvalue())})
    if value is not None:
        shown: dict[str, Any] = {"text/plain": _lines(repr(value))}
        if isinstance(value, Image.Image):
            stream = io.BytesIO()
            value.save(stream, "PNG")
            shown = {"image/png": base64.b64encode(stream.getvalue()).decode(), "text/plain": ["a picture"]}
        found.append({"output_type": "execute_result", "data": shown, "metadata": {}})
    return found


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def alike(kept: list[Output], found: list[Output]) -> bool:
    """Return whether a cell shows what is kept: the same texts, and pictures up to a rounding of their samples."""
    if len(kept) != len(found):
        return False
    for one, other in zip(kept, found, strict=True):
        shown, shows = (
            dict(one.get("data", {"text": one.get("text")})),
            dict(other.get("data", {"text": other.get("text")})),
        )
        picture, pictured = shown.pop("image/png", ""), shows.pop("image/png", "")
        if shown != shows or bool(picture) != bool(pictured):
            return False
        if picture and not np.allclose(_samples(picture), _samples(pictured), rtol=0, atol=1):
            return False
    return True


def _samples(picture: str) -> NDArray[np.float64]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))), np.float64)


def write(path: Path) -> None:
    """Run a notebook and write what its cells show into it."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, (cell, found) in enumerate(zip(cells, outputs(notebook), strict=True), 1):
        cell["execution_count"] = number
        cell["outputs"] = [
            o | {"execution_count": number} if o["output_type"] == "execute_result" else o for o in found
        ]
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        write(Path(name))
