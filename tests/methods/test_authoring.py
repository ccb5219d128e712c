"""Files that `new method` and `new table` write."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from msgspec.structs import replace

import harness
import harness.methods as registry
from harness.cli import harness as command
from harness.cli.authoring import write_method, write_table
from harness.errors import HarnessError
from harness.protocols.own import Metric, define_metric
from harness.records.tasks import TASKS
from harness.registries import added, take_out
from harness.report.paper import paper_tables
from harness.run.built import built_cost
from harness.run.conformance import check_method
from harness.tables.collected import results_of
from harness.tables.measurements import Measurement
from harness.tables.published import read_table, select
from harness.tables.workspace import Workspace

OWN_NETWORK = """
import harness

@harness.method("my-net", tasks=["jpeg"], depends=[__file__])
def build(task, level):
    import torch
    network = torch.nn.Conv2d(1, 1, 3, padding=1)
    return network.eval()

@harness.method("my-filter", tasks=["jpeg"])
def filtered(task, level):
    return lambda batch: batch
"""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    registry.methods()
    for name in ("_registry", "_broken", "_loaded"):
        value = getattr(registry, name)
        monkeypatch.setattr(registry, name, type(value)(value))
    (tmp_path / "params.yaml").write_text("# mine\nmethods: []  # folders\ntables: []\n")
    return Workspace(tmp_path)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", ["tensor", "array"])
def test_a_new_method_runs_and_conforms(workspace: Workspace, task: str, kind: str) -> None:
    path = write_method(workspace, "my-net", task, kind)  # type: ignore[arg-type]
    assert path == workspace.root / "methods/my_net.py"
    assert (workspace.root / "params.yaml").read_text() == "# mine\nmethods: [methods]\ntables: []\n"
    method = Workspace(workspace.root).method("my-net")
    assert [check for check in check_method(method) if check.held is False] == []


def test_names_that_are_taken_or_wrong(workspace: Workspace) -> None:
    with pytest.raises(HarnessError, match="'dncnn' is there already"):
        write_method(workspace, "dncnn", "jpeg", "tensor")
    with pytest.raises(HarnessError, match="lower-case letters"):
        write_method(workspace, "../evil", "jpeg", "tensor")
    with pytest.raises(HarnessError, match="did you mean 'denoise-rgb'"):
        write_method(workspace, "mine", "denoise-rbg", "tensor")
    write_method(workspace, "mine", "jpeg", "tensor")
    with pytest.raises(HarnessError, match="there already"):
        write_method(Workspace(workspace.root), "mine", "jpeg", "tensor")


def test_a_new_table_copies_published_rows(workspace: Workspace) -> None:
    path = write_table(workspace, "mine", "jpeg", ["classic5"], [10, 40], ["dncnn"], ["panet-table3:arcnn"])
    table = Workspace(workspace.root).table("mine")
    assert path == workspace.root / "tables/mine.yaml"
    (part,) = table.parts
    assert [(c.dataset, c.level, c.metric) for c in part.columns] == [
        ("classic5", 10, "psnr"),
        ("classic5", 10, "ssim"),
        ("classic5", 40, "psnr"),
        ("classic5", 40, "ssim"),
    ]
    arcnn, dncnn = part.rows
    assert arcnn.values == ("29.04", "0.8111", "33.34", "0.9101")
    # The new row is measured as the published one.
    assert (part.protocol, arcnn.protocol, dncnn.protocol) == ({"ssim": "ssim-8x8"}, {}, {})
    assert (dncnn.method, dncnn.values) == ("dncnn", ())


def test_a_network_with_a_file_of_its_own_is_listed_and_counted(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not as one without weights; and the paper's table knows its parameters, but not those of a function."""
    for folder in ("methods", "tables"):
        (workspace.root / folder).mkdir()
    (workspace.root / "params.yaml").write_text("methods: [methods]\ntables: [tables]\n")
    (workspace.root / "methods/mine.py").write_text(OWN_NETWORK)
    monkeypatch.chdir(workspace.root)
    listing = CliRunner().invoke(command, ["list", "methods", "--task", "jpeg"]).output
    told = {line.split()[0]: line for line in listing.splitlines() if line.startswith("my-")}
    assert "own file" in told["my-net"] and "none" in told["my-filter"]
    here = Workspace(workspace.root)
    network = here.method("my-net").build("jpeg", 10)
    assert built_cost(here.method("my-net"), "jpeg").parameters == sum(p.numel() for p in network.parameters())
    with pytest.raises(HarnessError, match="no torch network in what 'my-filter' builds"):
        built_cost(here.method("my-filter"), "jpeg")
    write_table(here, "mine", "jpeg", ["embedded-gray"], [10], ["my-net", "my-filter"], ["embedded:JPEG"])
    made = Workspace(workspace.root)
    with pytest.raises(HarnessError, match="no row of the table names a network"):
        table = select(made.table("mine"), row="JPEG (embedded)")
        paper_tables(made, table, results_of(made, table), ["parameters"])
    results = results_of(made, made.table("mine"))
    numbers = [replace(r, measured=Measurement(27.0, 1, None)) for r in results]
    (paper,) = paper_tables(made, made.table("mine"), numbers, ["parameters"])
    assert [row.cells[-1].text for row in paper.rows] == ["", "10", ""]


def test_a_new_table_has_the_metrics_inputs_and_citations_that_were_asked_for(
    workspace: Workspace,
) -> None:
    """A degradation and a metric of one's own are as good as the package's, and a copied row keeps its `cite`."""
    before = added()
    own = define_metric(Metric("evenness", lambda restored: float(restored.std()), 1, "lower", reference=False))
    made = harness.degradation("half-lit", version=1)(lambda reference, level: reference // 2)
    small = harness.degradation("every-other", version=1, shrinks=True)(lambda reference, level: reference[::2, ::2])
    assert own and made and small
    try:
        where = (["classic5"], [10])
        write_table(workspace, "known", "jpeg", *where, [], ["panet-table3:DnCNN"])
        file = workspace.root / "tables/known.yaml"
        file.write_text(file.read_text().replace("method: dncnn", "method: dncnn\n    cite: zhang2017,chen-2018"))
        path = write_table(
            Workspace(workspace.root),
            *("mine", "jpeg", *where, ["jpeg"], ["known:DnCNN (panet-table3)"]),
            degradation="half-lit",
            metrics=["psnr", "evenness"],
        )
        (part,) = read_table(path).parts
        assert [column.metric for column in part.columns] == ["psnr", "evenness"]
        cited, measured = part.rows
        assert cited.cite == "zhang2017,chen-2018" and measured.method == "jpeg"
        assert (part.degradation, cited.degradation) == ("half-lit", "jpeg-y8")
        with pytest.raises(HarnessError, match="'every-other' is not one of JPEG"):
            write_table(Workspace(workspace.root), "other", "jpeg", *where, ["jpeg"], [], degradation="every-other")
        with pytest.raises(HarnessError, match="metric 'evennes'"):
            write_table(Workspace(workspace.root), "other", "jpeg", *where, ["jpeg"], [], metrics=["evennes"])
    finally:
        take_out(name for name in added() if name not in before)


def test_scales_of_published_rows_are_told_apart(workspace: Workspace) -> None:
    write_table(workspace, "mine", "sr", ["set5"], [4], [], ["csnln-table1:EDSR"])
    (row,) = Workspace(workspace.root).table("mine").parts[0].rows
    assert row.values == ("32.46", "0.8968")


def test_released_images_are_copied_with_their_dataset_alone(workspace: Workspace) -> None:
    for name, dataset, images in (("one", "set5", {"set5": "rcan-images"}), ("two", "set14", {})):
        write_table(workspace, name, "sr", [dataset], [4], [], ["csnln-table1:RCAN"])
        (row,) = Workspace(workspace.root).table(name).parts[0].rows
        assert (row.method, row.images) == ("rcan", images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mine", "jpeg", ["classic6"], [], [], []), "did you mean 'classic5'"),
        (("mine", "jpeg", ["classic5"], [], ["dncn"], []), "did you mean 'dncnn'"),
        (("mine", "jpeg", ["classic5"], [], ["lapsrn"], []), "does not do 'jpeg'"),
        (("mine", "jpeg", ["classic5"], [], [], ["panet-table3"]), "TABLE:ROW"),
        (("mine", "jpeg", ["classic5"], [], [], ["panet-table3:DnCN"]), "did you mean 'DnCNN'"),
        (("mine", "jpeg", ["classic5"], [], [], ["panet-table1:DnCNN"]), "not about"),
        (("mine", "jpeg", ["set5"], [], [], ["panet-table3:DnCNN"]), "prints none"),
        (("panet-table3", "jpeg", ["classic5"], [], [], []), "there already"),
    ],
)
def test_mistakes(workspace: Workspace, arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        write_table(workspace, *arguments)  # type: ignore[arg-type]
    assert not (workspace.root / "tables").exists()


def test_a_published_row_is_copied_with_everything_that_makes_its_numbers(workspace: Workspace) -> None:
    """How pixels are saved, what is special about a cell, and protocols that its part alone names."""
    path = write_table(workspace, "mine", "jpeg", ["live1"], [10], methods=[], published=["panet-table3:ARCNN"])
    row = yaml.safe_load(path.read_text())["parts"][0]["rows"][0]
    source = select(workspace.table("panet-table3"), row="ARCNN").parts[0].rows[0]
    assert row["saving"] == source.saving == "unrounded"
    assert row["cells"]["live1/10/psnr"]["saving"] == source.cells["live1/10/psnr"].saving
    path = write_table(workspace, "other", "denoise-real", ["sidd-validation"], [], [], ["kit-table5:KiT_S"])
    assert yaml.safe_load(path.read_text())["parts"][0]["protocol"] == {"ssim": "ssim-skimage-range2"}


def test_a_table_without_rows_is_refused(workspace: Workspace) -> None:
    with pytest.raises(HarnessError, match="a table needs rows"):
        write_table(workspace, "empty", "jpeg", ["live1"], [10], methods=[], published=[])
    with pytest.raises(HarnessError, match="give --task jpeg"):
        write_table(workspace, "mine", "denoise-rgb", ["live1"], [10], methods=[], published=["panet-table3:ARCNN"])
