"""docs/plugins.md, followed: its files and commands, in a folder that `harness init` made."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import forked
import numpy as np
import pytest

import harness
from harness.assets.datasets import fetch, open_dataset
from harness.degradations import DEGRADATIONS, noise_generator
from harness.errors import HarnessError, InvalidArgumentError
from harness.images import write_png
from harness.methods.definitions import origin_of, registry_of
from harness.methods.fingerprints import made_with
from harness.registries import take_out
from harness.run.graph import Node, Step
from harness.run.reproduction import prefetch
from harness.tables.workspace import Workspace

PAGE = Path(__file__).parent.parent / "docs" / "plugins.md"


def block(heading: str) -> str:
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "mine"
    root.mkdir()
    run(root, "init")
    yield root
    Workspace(tmp_path).define()


def run(root: Path, *arguments: str, code: int = 0) -> str:
    done = forked.harness(*arguments, cwd=root)
    assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def psnr(root: Path, table: str) -> float:
    found = json.loads((root / "results" / f"{table}.json").read_text())
    values = re.findall(r'"measured": ([0-9.]+)', json.dumps(found))
    return float(values[0])


def test_an_own_task_from_its_files_to_its_numbers(folder: Path) -> None:
    (folder / "plugins" / "holes.py").write_text(block("Inpainting"))
    (folder / "methods" / "filled.py").write_text(block("A method and a table"))
    run(folder, "new", "table", "holes", "--task", "inpaint", "--dataset", "embedded", "--method", "filled")
    run(folder, "repro", "holes")
    workspace = Workspace(folder)
    method = workspace.method("filled").build("inpaint", 50)
    values = []
    fetched = open_dataset("embedded", folder / "data")
    for image in fetched.image_ids:
        truth = fetched.read(image)
        kept = noise_generator("embedded", image, 50, 0).random(truth.shape[:2]) >= 0.5
        restored = method(truth * kept[:, :, None] / 255)
        values.append(harness.measure(truth, np.rint(restored * 255).clip(0, 255).astype(np.uint8)))
    assert psnr(folder, "holes") == pytest.approx(np.mean(values), abs=1e-6)
    # An edited degradation is made again without a new version, and with it what was made of its inputs.
    before = psnr(folder, "holes")
    file = folder / "plugins" / "holes.py"
    file.write_text(file.read_text().replace("level / 100", "level / 200"))
    said = run(folder, "repro", "holes")
    assert "inputs inpaint embedded holes" in said and "restore filled" in said and "measure filled" in said
    assert psnr(folder, "holes") > before + 1
    said = run(folder, "repro", "holes")
    assert "restore filled" not in said and "measure filled" not in said
    # Plain `dvc` learns of an edit, too.
    assert "plugins/holes.py" in (folder / "pipelines" / "code" / "dvc.yaml").read_text()


def test_poisson_noise_is_the_same_for_the_same_image(folder: Path) -> None:
    (folder / "plugins" / "poisson.py").write_text(block("Poisson noise"))
    Workspace(folder).define()
    image = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)
    first = harness.degrade(image, "poisson", 30, dataset="set", image_id="a")
    assert first.dtype == np.float64
    assert np.array_equal(first, harness.degrade(image, "poisson", 30, dataset="set", image_id="a"))
    assert not np.array_equal(first, harness.degrade(image, "poisson", 30, dataset="set", image_id="b"))
    grid = first / 255 * 30
    assert np.allclose(grid, np.rint(grid))


def test_scales_of_an_own_task_reach_sizes_and_borders(folder: Path) -> None:
    (folder / "plugins" / "wide.py").write_text(block("Super-resolution x8"))
    (folder / "methods" / "repeat.py").write_text(
        "import harness\n"
        "@harness.method('repeat', tasks=['sr-x8'], on='array')\n"
        "def build(task, level):\n"
        "    return lambda image: image.repeat(level, 0).repeat(level, 1)\n"
    )
    run(folder, "new", "table", "wide", "--task", "sr-x8", "--dataset", "embedded", "--method", "repeat")
    assert "conforms" in run(folder, "check", "repeat")
    run(folder, "repro", "wide")
    fetched = open_dataset("embedded", folder / "data")
    made = DEGRADATIONS["bicubic-replicate"]
    values = []
    for image in fetched.image_ids:
        reference = made.reference(fetched.read(image), 8)
        restored = made.degrade(reference, 8).repeat(8, 0).repeat(8, 1)
        values.append(harness.measure(reference, restored, "psnr-y-crop", scale=8))
    assert psnr(folder, "wide") == pytest.approx(np.mean(values), abs=1e-6)
    assert "repeat" in run(folder, "list", "methods", "--task", "sr-x8")


@pytest.mark.parametrize(
    ("body", "options", "reason"),
    [
        ("return reference.astype(float)", "", "must be an array of uint8"),
        ("return reference[::2]", "", "with shrinks=True the input is smaller"),
        ("return reference * float('nan')", "output='float64'", "NaN"),
        ("return list(reference)", "", "returned a list"),
        ("return reference", "levels=(1, 2)", "has the levels 1, 2, and no level 3"),
    ],
)
def test_what_a_degradation_returns_is_looked_at(folder: Path, body: str, options: str, reason: str) -> None:
    (folder / "plugins" / "odd.py").write_text(
        f"import harness\n@harness.degradation('odd', version=1, {options})\ndef odd(reference, level):\n    {body}\n"
    )
    Workspace(folder).define()
    with pytest.raises(InvalidArgumentError, match=re.escape(reason)):
        harness.degrade(np.zeros((8, 8), np.uint8), "odd", 3)


def test_a_function_that_writes_into_its_image_does_not_change_the_truth(folder: Path) -> None:
    (folder / "plugins" / "odd.py").write_text(
        "import harness\n@harness.degradation('odd', version=1)\n"
        "def odd(reference, level):\n    reference[:] = 0\n    return reference\n"
    )
    Workspace(folder).define()
    image = np.full((4, 4), 9, np.uint8)
    assert not harness.degrade(image, "odd").any()
    assert (image == 9).all()


OF_A_LAB = {
    "task": "harness.task('of-a-lab', degradation='pairs')",
    "degradation": "@harness.degradation('of-a-lab', version=1)\ndef made(reference, level):\n    return reference",
    "metric": "@harness.metric('of-a-lab', version=1, better='lower')\ndef made(reference, restored):\n    return 1.0",
    "dataset": "@harness.dataset('of-a-lab')\ndef made():\n    yield 'a', harness.imresize",
}


@pytest.mark.parametrize("kind", OF_A_LAB)
def test_an_installed_package_defines(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{kind}s_of_a_lab.py").write_text(f"import harness\n{OF_A_LAB[kind]}\n")
    about = tmp_path / "lab-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[harness.{kind}s]\nlab = {kind}s_of_a_lab\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        Workspace(tmp_path).define()
        assert "of-a-lab" in registry_of(kind)
        assert origin_of(kind, "of-a-lab") == "package lab 1.0"
    finally:
        monkeypatch.undo()
        Workspace(tmp_path).define()
        sys.modules.pop(f"{kind}s_of_a_lab", None)
    assert "of-a-lab" not in registry_of(kind)


def test_an_own_dataset_is_made_again_where_its_images_change_and_only_then(folder: Path) -> None:
    """From its file to its numbers; files that the function reads count, a comment makes nothing."""
    (folder / "plugins" / "halves.py").write_text(block("A dataset"))
    (folder / "plugins" / "scale.txt").write_text("40")
    run(folder, "new", "table", "t", "--task", "denoise-real", "--dataset", "shadows", "--method", "noisy")
    run(folder, "repro", "t")
    truth = np.tile(np.arange(0, 240, 2, dtype=np.uint8), (80, 1))
    assert psnr(folder, "t") == pytest.approx(harness.psnr(truth, (truth * 0.4).astype(np.uint8)), abs=1e-6)
    before = psnr(folder, "t")
    with (folder / "plugins" / "halves.py").open("a") as file:
        file.write("# no other image\n")
    assert "restore" not in run(folder, "repro", "t")
    (folder / "plugins" / "scale.txt").write_text("80")
    said = run(folder, "repro", "t")
    assert "inputs" in said and "restore noisy shadows" in said and psnr(folder, "t") > before + 5
    run(
        folder, "measure", "--task", "denoise-real", "--dataset", "shadows", "--restored", "data/datasets/shadows/input"
    )
    assert "made by a plugin" in run(folder, "datasets", "ls") or "present" in run(
        folder, "datasets", "show", "shadows"
    )


@pytest.mark.parametrize(
    ("body", "options", "reason"),
    [
        ("return ()", "", "gave no image"),
        ("yield 'a'", "", "gave a str; it must give (name, image)"),
        ("yield 'a', image", ", pairs=True", "gave 2 values; it must give (name, ground truth, input)"),
        ("yield 'a/b', image", "", "cannot name an image"),
        ("yield 3, image", "", "cannot name an image"),
        ("yield 'a', image; yield 'A', image", "", "two images named 'A'"),
        ("yield 'a', image / 255", "", "is an array of float64; give an array of uint8"),
        ("yield 'a', image[None]", "", "has the shape (1, 8, 8)"),
        ("yield 'a', 3", "", "is a int"),
        ("yield 'a', 'nowhere.png'", "", "nowhere.png"),
        ("yield 'a', image, image[1:]", ", pairs=True", "its partner 8x7"),
        ("yield 'a', image; yield 'b', np.stack([image] * 3, 2)", "", "gray"),
        ("yield 'a', image; raise KeyError('odd')", "", "failed: KeyError: 'odd'"),
        ("yield 'a', image; import sys; sys.exit(0)", "", "failed: SystemExit: 0"),
        ("yield 'a', image; import os; os.chdir('/')", "", "the current folder"),
    ],
)
def test_what_a_dataset_gives_is_looked_at(tmp_path: Path, body: str, options: str, reason: str) -> None:
    source = (
        f"import harness\nimport numpy as np\nimage = np.zeros((8, 8), np.uint8)\n@harness.dataset('odd'{options})\n"
    )
    exec(f"{source}def odd():\n    {body}\n", {"__file__": str(tmp_path / "odd.py")})
    try:
        with pytest.raises(HarnessError, match=re.escape(reason)):
            fetch("odd", tmp_path / "data")
        assert not (tmp_path / "data" / "manifests" / "datasets" / "odd.json").exists()
    finally:
        take_out([("dataset", "odd")])


def test_a_dataset_that_lacks_a_package_says_so(tmp_path: Path) -> None:
    @harness.dataset("odd")
    def odd() -> Iterator[tuple[str, object]]:
        import no_such_package  # noqa: F401

        yield "a", None

    try:
        assert "no_such_package" in fetch("odd", tmp_path).reason
    finally:
        take_out([("dataset", "odd")])


def test_what_a_dataset_reads_is_named(tmp_path: Path) -> None:
    """Files that it gives lie in `depends`, which must be there and hide nothing; files of one name are two files."""
    folders = [tmp_path / name for name in ("train", "test")]
    for folder in folders:
        folder.mkdir()
        write_png(folder / "a.png", np.zeros((8, 8), np.uint8))
    named: list[Path] = [tmp_path / "train"]
    given = tmp_path / "train" / "a.png"

    def fetched() -> str:
        harness.dataset("odd", depends=named)(lambda: iter([("a", given)]))
        try:
            return fetch("odd", tmp_path / "data").reason
        finally:
            take_out([("dataset", "odd")])

    assert fetched() == ""
    named[:] = folders[1:]
    with pytest.raises(HarnessError, match="is a file that depends= does not name"):
        fetched()
    named[:] = [tmp_path / "gone"]
    assert "gone is not here, which its depends= names" in fetched()
    named[:] = folders
    (folders[0] / "linked").symlink_to(tmp_path / "test")
    with pytest.raises(HarnessError, match="is a link to a folder"):
        fetched()
    files = [Path(folder.name, "a.png") for folder in folders]
    (tmp_path / "mine.py").touch()
    assert len([key for key in made_with(tmp_path / "mine.py", files) if key.startswith("file ")]) == len(files)


def test_an_edit_is_seen_by_the_same_process(tmp_path: Path) -> None:
    """As beside a notebook; and a function that fails now makes its stage run, so that no old image stands."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "params.yaml").write_text("plugins: [plugins]\n")
    workspace = Workspace(tmp_path)
    node = {"odd": Node("odd", "dvc.yaml", "odd", Step("", "datasets", name="odd"), (), (), True)}
    values = []
    for number in ("7", "200", "1 / 0"):
        (tmp_path / "plugins" / "odd.py").write_text(
            f"import harness\nimport numpy as np\n@harness.dataset('odd')\ndef odd():\n"
            f"    yield 'a', np.full((8, 8), {number}, np.uint8)\n"
        )
        workspace.define()
        failed = prefetch(workspace, node)
        values.append((bool(failed), int(open_dataset("odd", workspace.data).read("a")[0, 0])))
    assert values == [(False, 7), (False, 200), (True, 200)]


@pytest.mark.parametrize("name", ["set5", "bsd68-color", "A B", 3])
def test_a_dataset_has_a_name_of_its_own(name: object) -> None:
    with pytest.raises(HarnessError, match=r"is there already|use lower-case letters"):
        harness.dataset(name)(lambda: ())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values", [{"levels": []}, {"levels": [-1]}, {"levels": ["2"]}, {"channels": 4}, {"metrics": "psnr"}]
)
def test_a_task_that_cannot_be_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(HarnessError, match="task 'odd'"):
        harness.task("odd", degradation="pairs", **values)  # type: ignore[arg-type]


def test_a_level_that_no_paper_prints(folder: Path) -> None:
    run(
        folder,
        "new",
        "table",
        "s25",
        "--task",
        "denoise-rgb",
        "--dataset",
        "embedded",
        "--level",
        "25",
        "--method",
        "noisy",
    )
    run(folder, "repro", "s25")
    assert 20 < psnr(folder, "s25") < 21
