"""Recipes hold the papers' values, and every trainable network takes a step of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.degradations.kinds import Noise
from harness.degradations.registry import degradation
from harness.errors import HarnessError
from harness.methods import methods
from harness.networks.ranges import to_network
from harness.tables.published import published_tables
from harness.tasks import TASKS
from harness.training.losses import weighted
from harness.training.recipe import learning_rate, read_recipe, recipe, recipe_file, recipe_names

TRAINABLE = {name: found for name, found in methods().items() if found.recipes and found.module.startswith("harness.")}


def test_every_recipe_is_used_and_fits_its_task() -> None:
    used = {(found, task) for method in TRAINABLE.values() for task, found in method.recipes.items()}
    assert {name for name, _ in used} == set(recipe_names())
    for name, task in used:
        assert recipe(name).task == task


@pytest.mark.parametrize("name", ["panet-denoise-rgb", "panet-demosaic", "panet-jpeg", "panet-sr", "csnln-sr"])
def test_panet_and_csnln_as_printed(name: str) -> None:
    found = recipe(name)
    assert (found.data, found.patch, found.batch, found.loss, found.augmentation) == (
        "div2k-train",
        48,
        16,
        {"l1": 1.0},
        "dihedral",
    )
    optimizer = found.optimizer
    assert (optimizer.name, optimizer.rate, optimizer.betas, optimizer.epsilon) == ("adam", 1e-4, (0.9, 0.999), 1e-8)
    # 200 epochs of 1000 iterations, 1000 epochs.
    assert [learning_rate(found, i) for i in (0, 199_999, 200_000, 999_999)] == [1e-4, 1e-4, 5e-5, 1e-4 / 16]
    assert found.iterations == found.length("paper") == 1_000_000


def test_rnan_as_printed() -> None:
    for name in [name for name in recipe_names() if name.startswith("rnan-")]:
        found = recipe(name)
        assert (found.patch, found.batch, found.optimizer.rate, found.schedule.every) == (48, 16, 1e-4, 200_000)
        assert found.loss == ({"l1": 1.0} if found.task == "sr" else {"mse": 1.0})
        small = {"jpeg": "t91-bsd200", "sr": "t91-bsd200"}.get(found.task, "bsd400")
        assert found.data == (small if "bsd400" in name or "sr291" in name else "div2k-train")


def test_kit_as_printed() -> None:
    for task, data in (("denoise-real", "sidd-train"), ("deblur", "gopro-train"), ("derain", "rain13k")):
        found = recipe(f"kit-{task}")
        assert (found.data, found.patch, found.batch, found.optimizer.name) == (data, 128, 16, "adamw")
        assert set(found.loss) == {"charbonnier", "edge"}
        rates = [learning_rate(found, i) for i in range(0, found.iterations, found.iterations // 500)]
        top = rates.index(max(rates))
        assert rates[:top] == sorted(rates[:top]) and rates[top:] == sorted(rates[top:], reverse=True)
        assert max(rates) == pytest.approx(1e-4, rel=1e-3) and rates[-1] < 2e-6


def test_inputs_are_degraded_as_in_the_evaluation() -> None:
    for name in recipe_names():
        made, own = degradation(recipe(name).degradation), degradation(TASKS[recipe(name).task].degradation)
        assert type(made) is type(own)
        if isinstance(made, Noise) and isinstance(own, Noise):
            # The evaluation may repeat a paper's very noise for every image; training draws fresh noise of that kind.
            assert (made.stored, made.gray) == (own.stored, own.gray)
        else:
            assert made == own


# The others train the network of one of these with its loss, on other images.
DIFFERENT = sorted(
    (task, name)
    for task, name in {(t, r) for m in TRAINABLE.values() for t, r in m.recipes.items()}
    if not name.startswith(("rnan-bsd400", "rnan-sr291", "kit-de")) or name == "kit-denoise-real"
)


@pytest.mark.parametrize(("task", "name"), DIFFERENT)
def test_a_step_of_every_recipe(task: str, name: str) -> None:
    # The smallest network of each recipe; the level of a scale decides shapes.
    level = TASKS[task].levels[0]
    found = [m for m in TRAINABLE.values() if m.recipes.get(task) == name]
    made = []
    for method in found:
        with torch.device("meta"):
            network = method.network(task, level)  # type: ignore[misc]
        made.append((sum(p.numel() for p in network.parameters()), method.name, method))
    method = min(made)[2] if "kit-k1-h1" not in {m.name for m in found} else TRAINABLE["kit-k1-h1"]
    torch.manual_seed(0)
    network = method.network(task, level)  # type: ignore[misc]
    side = max(12, getattr(network, "size_multiple", 1))
    scale = degradation(recipe(name).degradation).scale(level)
    channels = TASKS[task].channels
    x, y = torch.rand(1, channels, side, side), torch.rand(1, channels, scale * side, scale * side)
    output = network(to_network(network, x))
    assert output.shape == y.shape
    weighted(recipe(name).loss)(output, to_network(network, y)).backward()
    gradients = [p.grad for p in network.parameters() if p.requires_grad and p.grad is not None]
    assert gradients and all(torch.isfinite(g).all() for g in gradients)
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)  # what DDP needs


def test_every_ablation_row_names_a_method_that_trains() -> None:
    known = methods()
    for table in published_tables().values():
        if table.kind != "ablation":
            continue
        for part in table.parts:
            for row in part.rows:
                for column in part.columns:
                    name = f"{row.method}-{column.variant}" if column.variant else row.method
                    assert part.task in known[name].recipes, f"{table.name}: {row.name}"


def test_mistakes_in_a_recipe(tmp_path: Path) -> None:
    text = recipe_file("panet-denoise-rgb").read_text()

    def error(old: str, new: str, name: str = "panet-denoise-rgb") -> str:
        assert old in text
        path = tmp_path / f"{name}.yaml"
        path.write_text(text.replace(old, new))
        with pytest.raises(HarnessError) as caught:
            read_recipe(path)
        return str(caught.value)

    assert "name recipe and file alike" in error("48", "48", "other")
    assert "did you mean 'denoise-rgb'" in error("task: denoise-rgb", "task: denoise-rbg")
    assert "unknown degradation 'awgn'" in error("awgn-8bit", "awgn")
    assert "unknown loss 'l2'" in error("{l1: 1}", "{l2: 1}")
    assert "must rise" in error("short: 20000", "short: 20")
    assert "'every'" in error("every: 200000", "every: 0")
    assert "did you mean 'patch'" in error("patch:", "patsch:")
    with pytest.raises(HarnessError, match="did you mean 'panet-denoise-rgb'"):
        recipe("panet-denoise-rbg")
    with pytest.raises(HarnessError, match="unknown budget 'long'"):
        recipe("panet-sr").length("long")
