"""What a refused `harness train` leaves behind: nothing that was trained or recorded before is changed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from forked import harness
from training_workspace import Place

from harness.images import write_png


def run(place: Place, *arguments: str) -> subprocess.CompletedProcess[str]:
    return harness(*arguments, cwd=place.root)


def add_set(place: Place, name: str, shapes: dict[str, tuple[int, ...]]) -> None:
    rng = np.random.default_rng(0)
    for image, shape in shapes.items():
        write_png(place.root / name / f"{image}.png", rng.integers(0, 256, shape, dtype=np.uint8))
    added = run(place, "datasets", "add", name, "--from", name, "--data", "data")
    assert added.returncode == 0, added.stderr


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


REFUSED = {
    "smaller than a patch": ({"a": (8, 8, 3), "b": (9, 9, 3)}, "holds a patch of 16x16 pixels"),
    "one gray image": (
        {"a": (32, 32, 3), "b": (32, 32), "c": (32, 32, 3)},
        "training set 'own-set': b.png of 3 images is gray, and the others or the task are of colour",
    ),
    "all gray": ({"a": (32, 32), "b": (32, 32)}, "training set 'own-set': a.png, b.png of 2 images are gray"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_trained_on_is_named_before_the_first_step(kind: str, place: Place) -> None:
    shapes, told = REFUSED[kind]
    add_set(place, "own-set", shapes)
    code, said = place.train("--iterations", "3", "--data", "own-set")
    assert code == 2 and told in said and "Traceback" not in said, said
    assert not (place.root / "training.yaml").exists() and not list(place.root.rglob("log.csv"))


def test_a_refused_training_changes_nothing(place: Place) -> None:
    add_set(place, "own-set", REFUSED["smaller than a patch"][0])
    state = place.root / "training.yaml"
    code, said = place.train("--iterations", "4")
    assert code == 0, said
    before = state.read_bytes(), files(place.trained)
    for data in ("own-set", "bsd400; touch HARM #"):
        code, said = place.train("--iterations", "3", "--data", data)
        assert code == 2 and "Traceback" not in said, said
    assert (state.read_bytes(), files(place.trained)) == before and not (place.root / "HARM").exists()
    # What the pipeline does next makes the weights again that are there.
    made = run(place, "stage", "train", f"{place.method}--denoise-rgb-50")
    assert made.returncode == 0, made.stderr
    assert files(place.trained) == before[1]


@pytest.mark.parametrize("edited", ["training.yaml", "tiny.yaml"])
def test_a_plan_or_recipe_that_is_changed_while_it_is_trained(place: Place, edited: str) -> None:
    """DVC would record the new one as what the weights follow, and never train by it."""
    (place.root / "training.yaml").write_text(f"runs: {{{place.method}--denoise-rgb-50: {{iterations: 4}}}}\n")
    plugin, file = place.root / "methods/tiny_net.py", str(place.root / edited)
    change = f"text = open({file!r}).read().replace('iterations: 4', 'iterations: 6'); open({file!r}, 'w').write(text)"
    plugin.write_text(
        plugin.read_text().replace("    from torch import nn\n", f"    from torch import nn\n    {change}\n")
    )
    done = run(place, "stage", "train", f"{place.method}--denoise-rgb-50")
    assert done.returncode == 2 and "was changed while" in done.stderr and edited in done.stderr, done.stderr
    again = run(place, "stage", "train", f"{place.method}--denoise-rgb-50")
    assert again.returncode == 0, again.stderr


def test_the_list_tells_what_was_trained(place: Place) -> None:
    """A plan in training.yaml is no training."""
    state = place.root / "training.yaml"
    run_name = f"{place.method}--denoise-rgb-50"
    state.write_text(f"runs: {{{run_name}: {{iterations: 7}}}}\n")
    assert "50: not trained yet (7 iterations planned)" in run(place, "train", "--list").stdout
    assert place.train()[0] == 0
    assert "50: 7 iterations" in run(place, "train", "--list").stdout
    state.write_text(f"runs: {{{run_name}: {{iterations: 9}}}}\n")
    assert "50: 7 iterations (9 iterations planned)" in run(place, "train", "--list").stdout


def test_a_gray_validation_image_is_named_before_the_first_step(place: Place) -> None:
    add_set(place, "own-set", {"a": (32, 32, 3), "b": (32, 32)})
    recipe = place.root / "tiny.yaml"
    recipe.write_text(recipe.read_text().replace("datasets: [embedded]", "datasets: [own-set]"))
    code, said = place.train("--iterations", "3")
    assert code == 2 and "validation set 'own-set': b.png of 2 images is gray" in said, said
    assert not list(place.root.rglob("log.csv"))
