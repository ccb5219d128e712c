"""Recipes hold the papers' values, and every trainable network takes a step of its own."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from deraining_facts import FACTS as DERAINING

from harness.degradations.kinds import Noise
from harness.degradations.registry import degradation
from harness.errors import HarnessError
from harness.methods import methods
from harness.networks.ranges import to_network
from harness.records.tasks import TASKS
from harness.tables.published import published_tables
from harness.training.losses import weighted
from harness.training.recipe import learning_rate, read_recipe, recipe, recipe_file, recipe_names

TRAINABLE = {name: found for name, found in methods().items() if found.recipes and found.module.startswith("harness.")}


def test_every_recipe_is_used_and_fits_its_task() -> None:
    used = {(found, task) for method in TRAINABLE.values() for task, found in method.recipes.items()}
    assert {name for name, _ in used} == set(recipe_names())
    for name, task in used:
        assert recipe(name).task == task


class Fact(NamedTuple):
    """What a paper or its released program says of a kind of recipe, and where."""

    recipes: tuple[str, ...]
    data: str
    patch: int
    batch: int
    loss: dict[str, float]
    iterations: int
    length_of: str
    halved: tuple[int, ...]
    sections: tuple[str, ...]
    where: str
    rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)


EPOCHS = 1000  # iterations of an epoch: the default of --test_every in all three released programs
EVERY_200 = tuple(range(200 * EPOCHS, 3000 * EPOCHS, 200 * EPOCHS))
L1, MSE, KIT = {"l1": 1.0}, {"mse": 1.0}, {"charbonnier": 1.0, "edge": 0.05}
FACTS = (
    Fact(
        ("panet-denoise-rgb", "panet-demosaic", "panet-jpeg"),
        *("div2k-train", 48, 16, L1, 1000 * EPOCHS, "released", EVERY_200[:4], ("3.5", "4.1", "4.2")),
        "PANet eq. 6, 4.1, 4.2: 48x48, 16, halved every 200 epochs; option.py: --epochs 1000, --decay 200-400-600-800",
    ),
    Fact(
        ("panet-sr",),
        *("div2k-train", 48, 16, L1, 1000 * EPOCHS, "released", EVERY_200[:4], ("4.7", "3.5", "4.1", "4.2")),
        "PANet 4.7: similar to the previous settings; SR/README: --patch_size 96 --scale 2 --decay 200-400-600-800",
    ),
    Fact(
        ("dbpn-sr",),
        *("div2k-train", 32, 12, L1, 1_000_000, "released", (500_000,), ()),
        "DBPN_solver_4x.prototxt: base_lr 0.0001, stepsize 500000, max_iter 1000000; DBPN_net_4x.prototxt: 12, AbsVal",
    ),
    Fact(
        ("san-sr",),
        *("div2k-train", 48, 16, L1, 3000 * EPOCHS, "released", tuple(range(68_000, 3000 * EPOCHS, 68_000)), ()),
        "SAN TrainCode/option.py: --epochs 3000, --lr_decay 50, --gamma 0.6, --beta2 0.99; --patch_size 96 to 192",
        betas=(0.9, 0.99),
    ),
    Fact(
        ("oisr-sr",),
        *("div2k-train", 48, 16, L1, 800 * EPOCHS, "epochs", (250_000, 500_000, 750_000), ("4.1", "4.2")),
        "OISR 4.1, 4.2: 48x48, 16, halved every 250 epochs, 800 epochs",
    ),
    Fact(
        ("nlrn-denoise-gray",),
        *("bsd400", 43, 16, MSE, 400_000, "released", tuple(range(75_000, 400_000, 75_000)), ()),
        "NLRN_v0 train.sh: 43, 16, 1e-3; train.py: step_num_batch 75000; test.sh: nlrn-data-400000",
        rate=1e-3,
    ),
    Fact(
        ("srmdnf-sr",),
        *("div2k-train", 32, 64, MSE, 400_000, "project", (100_000, 200_000, 300_000), ()),
        "SRMD Demo_Train_SRMD_x3.m: 64, 1e-4; generatepatches.m: 32*scale; vl_nnloss.m: squares",
    ),
    Fact(
        ("rnan-denoise-rgb", "rnan-denoise-gray", "rnan-demosaic", "rnan-jpeg"),
        *("div2k-train", 48, 16, MSE, 1300 * EPOCHS, "released", EVERY_200[:6], ("3.1", "3.4", "4")),
        "RNAN eq. 2, 3.4: 48x48, 16, halved every 2e5 iterations; option.py: --epochs 1300; commands: --loss 1*MSE",
    ),
    Fact(
        ("rnan-bsd400-denoise-rgb", "rnan-bsd400-denoise-gray", "rnan-bsd400-demosaic"),
        *("bsd400", 48, 16, MSE, 1300 * EPOCHS, "released", EVERY_200[:6], ("3.1", "3.4", "4")),
        "the same; RNAN A.1: BSD400 for denoising and demosaicing",
    ),
    Fact(
        ("rnan-sr291-jpeg",),
        *("t91-bsd200", 48, 16, MSE, 1300 * EPOCHS, "released", EVERY_200[:6], ("3.1", "3.4", "4")),
        "the same; RNAN A.1: SR291 for JPEG and super-resolution",
    ),
    Fact(
        ("rnan-sr",),
        *("div2k-train", 48, 16, L1, 3000 * EPOCHS, "released", EVERY_200[:14], ("3.4", "4")),
        "RNAN 3.4; SR/option.py: --epochs 3000, --loss 1*L1; commands: --patch_size 96, 144, 192 for x2, x3, x4",
    ),
    Fact(
        ("rnan-sr291-sr",),
        *("t91-bsd200", 48, 16, L1, 3000 * EPOCHS, "released", EVERY_200[:14], ("3.4", "4")),
        "the same; RNAN A.1: SR291 for JPEG and super-resolution",
    ),
    Fact(
        ("csnln-sr",),
        *("div2k-train", 48, 16, L1, 1000 * EPOCHS, "released", (200 * EPOCHS,), ()),
        "CSNLN option.py: --epochs 1000, --decay 200 (one milestone), --loss 1*L1; README: --patch_size 96 --scale 2",
    ),
    Fact(
        ("edsr-sr",),
        *("div2k-train", 48, 16, L1, 300 * EPOCHS, "released", EVERY_200[:1], ()),
        "EDSR option.py: --epochs 300, --decay 200, --loss 1*L1; demo.sh: --scale 2 --patch_size 96",
    ),
    Fact(
        ("rcan-sr",),
        *("div2k-train", 48, 16, L1, 1000 * EPOCHS, "released", EVERY_200[:4], ()),
        "RCAN option.py: --epochs 1000, --lr_decay 200, --loss 1*L1; TrainRCAN_scripts.sh: --scale 2 --patch_size 96",
    ),
    Fact(
        ("rdn-sr",),
        *("div2k-train", 32, 16, L1, 1000 * EPOCHS, "released", EVERY_200[:4], ()),
        "RDN opts.lua: -nEpochs 1000, -halfLife 200e3, -abs 1; README: -scale 3 -patchSize 96, -scale 4 -patchSize 128",
    ),
    Fact(
        ("srfbn-sr",),
        *("div2k-train", 40, 16, L1, 1000 * EPOCHS, "epochs", EVERY_200[:4], ()),
        "SRFBN train_SRFBN.json: LR_size 40, num_epochs 1000, lr_steps 200, 400, 600, 800, loss_type l1",
    ),
    Fact(
        ("kit-denoise-real",),
        *("sidd-train", 128, 16, KIT, 300 * 320 * 96 // 16, "epochs", (), ("3.4", "4.1", "4.2")),
        "KiT eq. 11, 4.1: 128x128, 16, 300 epochs; 4.2: 320 photographs of SIDD",
    ),
    Fact(
        ("kit-deblur",),
        *("gopro-train", 128, 16, KIT, 300 * -(-2103 // 16), "epochs", (), ("3.4", "4.1", "4.3")),
        "the same; KiT 4.3: 2,103 images of GoPro",
    ),
    Fact(
        ("kit-derain",),
        *("rain13k", 128, 16, KIT, 300 * 13712 // 16, "epochs", (), ("3.4", "4.1", "4.4")),
        "the same; KiT 4.4: 13,712 pairs",
    ),
    Fact(
        ("ridnet-denoise-real",),
        *("sidd-train", 192, 32, L1, 1000 * EPOCHS, "released", tuple(range(300_000, 1_000_000, 300_000)), ()),
        "RIDNet option.py: --patch_size 192, --batch_size 32, --epochs 1000, --lr_decay 300, --loss 1*L1",
    ),
    Fact(
        ("vdn-denoise-real",),
        *("sidd-train", 128, 64, MSE, 60 * 5000, "released", tuple(range(50_000, 300_000, 50_000)), ()),
        "VDN options.py: --patch_size 128, --batch_size 64, --epochs 60, --lr 2e-4; train_benchmark.py: 5,000 batches",
        2e-4,
    ),
    Fact(
        ("sadnet-denoise-real",),
        *("sidd-train", 128, 16, MSE, 200 * 10_000, "epochs", (600_000, 1_200_000, 1_800_000), ()),
        "SADNet option.py: --patch_size 128, --batch_size 16, --n_epoch 200, --milestone 60, --t_loss L2",
    ),
    Fact(
        ("danet-denoise-real",),
        *("sidd-train", 128, 16, L1, 70 * 5000, "released", tuple(range(50_000, 350_000, 50_000)), ()),
        "DANet.json: batch 16, patch 128, 70 epochs, lr_D 1e-4; train_DANet.py: 5,000 steps of the denoiser",
    ),
    Fact(
        ("nbnet-denoise-real",),
        *("sidd-train", 128, 32, L1, 70 * 10_000, "released", (), ()),
        "NBNet train_mge.py: --batch-size 32, --epochs 70, --steps_per_epoch 10000, --lr 2e-4, cosine; dataset.py: 128",
        2e-4,
    ),
    Fact(
        ("dagl-denoise-real",),
        *("sidd-train", 64, 64, MSE, 1300 * EPOCHS, "released", tuple(range(30_000, 1_300_000, 30_000)), ()),
        "DAGL DN_Real/option.py: --patch_size 64, --batch_size 64, --epochs 1300, --lr_decay 30, --lr 4e-4, 1*MSE",
        4e-4,
    ),
    Fact(
        ("deepdeblur-deblur",),
        *("gopro-train", 256, 16, L1, 1000 * -(-2103 // 16), "epochs", (66_000,), ()),
        "DeepDeblur option.py: --patch_size 256, --batch_size 16, --endEpoch 1000, --milestones 500 750 900, 1*L1",
    ),
    Fact(
        ("srn-deblur",),
        *("gopro-train", 256, 16, MSE, 4000 * (2103 // 16), "epochs", (), ()),
        "SRN run_model.py: --batch_size 16, --epoch 4000; model.py: crop_size 256, polynomial_decay to 0, power 0.3",
    ),
    Fact(
        ("pss-nsc-deblur",),
        *("gopro-train", 256, 16, MSE, 4000 * (2103 // 16), "project", (), ()),
        "no program: as SRN",
    ),
    Fact(
        ("dmphn-deblur",),
        *("gopro-train", 256, 6, MSE, 3000 * -(-2103 // 6), "epochs", tuple(range(158_000, 1_053_000, 158_000)), ()),
        "DMPHN README: -b 6; SDNet4.py: --epochs 3000, --cropsize 256, MSELoss, a tenth of the rate every 1000 epochs",
    ),
    Fact(
        ("mt-rnn-deblur",),
        *("gopro-train", 256, 16, L1, 1000 * -(-2103 // 16), "project", (), ()),
        "no program: as DeepDeblur",
    ),
    Fact(
        ("mimo-unet-deblur",),
        *("gopro-train", 256, 4, L1, 3000 * -(-2103 // 4), "epochs", tuple(range(263_000, 1_578_000, 263_000)), ()),
        "MIMO-UNet main.py: --batch_size 4, --num_epoch 3000, --lr_steps every 500; data_load.py: PairRandomCrop(256)",
    ),
)


def test_every_paper_recipe_has_its_facts() -> None:
    names = sorted([*(name for fact in FACTS for name in fact.recipes), *DERAINING])
    assert names == [name for name in recipe_names() if recipe(name).paper]
    assert all(recipe(name).length_of == "project" for name in recipe_names() if not recipe(name).paper)


@pytest.mark.parametrize(("name", "fact"), [(name, fact) for fact in FACTS for name in fact.recipes])
def test_a_recipe_states_what_is_so(name: str, fact: Fact) -> None:
    found = recipe(name)
    assert (found.data, found.patch, found.batch, found.loss) == (fact.data, fact.patch, fact.batch, fact.loss)
    assert found.augmentation == "dihedral"  # PANet 4.2; the released data loaders of RNAN and CSNLN; assumed for KiT
    assert (found.length("paper"), found.length_of) == (fact.iterations, fact.length_of), fact.where
    optimizer = found.optimizer
    assert (optimizer.rate, optimizer.betas, optimizer.epsilon) == (fact.rate, fact.betas, 1e-8)
    assert optimizer.name == ("adamw" if found.paper == "kit" else "adam")
    if found.schedule.kind == "halve":
        changes = range(EPOCHS, found.iterations, EPOCHS)
        halved = [i for i in changes if learning_rate(found, i) == learning_rate(found, i - 1) / 2]
        assert tuple(halved) == fact.halved, fact.where
        assert learning_rate(found, found.iterations - 1) == fact.rate * 0.5 ** len(fact.halved)
    # "sections 3.1 (loss), 3.4 (patches, batch) and 4 (training set)": numbers before a name in brackets, or in a list.
    cited = re.findall(r"(?:sections? |, | and |: sections )(\d(?:\.\d)?)(?= |,|\))", found.source)
    assert tuple(cited) == fact.sections, found.source


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (r"(panet|rnan).*denoise", "stored noisy files, one fixed noise for each image"),
        (r"rnan|kit", "mentions no flips or transposes"),
        (r"kit", "takes one root, of the squared norm over the image"),
        (r"kit", "Which discrete Laplacian is meant is not printed"),
        (r"kit", "layer normalisation acts on the features of each pixel"),
        (r"kit", "no patch is masked as its own partner, in KiT_S either"),
        (r"csnln", "one milestone"),
        (r"rnan", "The paper gives no length"),
        (r"panet", "released program's defaults"),
    ],
)
def test_what_a_paper_leaves_open_is_among_the_assumptions(names: str, said: str) -> None:
    for name in recipe_names():
        assert any(said in text for text in recipe(name).assumptions) == bool(re.match(names, name)), name


def test_the_docs_print_the_recipes() -> None:
    text = (Path(__file__).parents[2] / "docs/training.md").read_text()
    printed: dict[str, list[str]] = {}
    for line in text.splitlines():
        names, *row = line.strip("| ").split(" | ")
        if len(row) == 6:
            for pattern in re.findall("`(.*?)`", names):
                printed |= dict.fromkeys(fnmatch.filter(recipe_names(), pattern), row)
    for name in recipe_names():
        found, (_, sizes, loss, optimizer, schedule, iterations) = recipe(name), printed[name]
        rate = f"{found.optimizer.rate:.0e}".replace("e-0", "e-")
        assert (sizes, iterations) == (f"{found.patch}, {found.batch}", f"{found.iterations:,}"), name
        assert optimizer.lower() == f"{found.optimizer.name} {rate}" and loss.lower().startswith(min(found.loss)), name
        if found.schedule.kind == "halve":
            how = "once, at" if found.schedule.times else "every"
            assert schedule == f"halved {how} {found.schedule.every:,}", name
        else:
            assert schedule == ("warm-up, " if found.schedule.warmup else "") + found.schedule.kind, name


@pytest.mark.parametrize("name", ["srn-deblur", "pss-nsc-deblur"])
def test_a_polynomial_falls_to_its_last_rate(name: str) -> None:
    found = recipe(name)
    rates = [learning_rate(found, i) for i in (0, found.iterations // 2, found.iterations)]
    assert rates == pytest.approx([1e-4, 1e-4 * 0.5**0.3, 0.0])


def test_kit_as_printed() -> None:
    for task, data in (("denoise-real", "sidd-train"), ("deblur", "gopro-train"), ("derain", "rain13k")):
        found = recipe(f"kit-{task}")
        assert (found.data, found.patch, found.batch, found.optimizer.name) == (data, 128, 16, "adamw")
        assert set(found.loss) == {"charbonnier", "edge"}
        rates = [learning_rate(found, i) for i in range(0, found.iterations, found.iterations // 500)]
        top = rates.index(max(rates))
        assert rates[:top] == sorted(rates[:top]) and rates[top:] == sorted(rates[top:], reverse=True)
        assert max(rates) == pytest.approx(1e-4, rel=1e-3) and rates[-1] < 2e-6


def evaluated(method: str, task: str) -> str:
    """How the input of a method's rows is made; the task's default where no table prints it."""
    found = {
        row.degradation or part.degradation or TASKS[task].degradation
        for table in published_tables().values()
        for part in table.parts
        for row in part.rows
        if row.method == method and part.task == task == "sr"
    }
    return min(found, default=TASKS[task].degradation)


def test_inputs_are_degraded_as_in_the_evaluation() -> None:
    for name in recipe_names():
        if name == "memnet-sr":  # luma alone is evaluated, colour images are trained on: its assumptions say so
            continue
        task = recipe(name).task
        made, own = degradation(recipe(name).degradation), degradation(evaluated(name.removesuffix("-sr"), task))
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
    multiple = getattr(network, "size_multiple", 1)
    side = -(-12 // multiple) * multiple
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
