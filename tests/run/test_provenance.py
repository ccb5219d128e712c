"""Where a number comes from: the chain, the environment, the crate and its checks."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from harness.assets.datasets import fetch
from harness.assets.inputs import record_inputs, write_inputs
from harness.cli import harness as harness_cli
from harness.errors import HarnessError
from harness.extras.crate import check_crate, export_crate, files_of_table
from harness.methods.fingerprints import fingerprint, method_code
from harness.records.cells import Group, NoiseDraws
from harness.records.cost import write_cost
from harness.records.restored import RECORD, LevelRecord
from harness.records.rows import ImageRow, MeasuredRecord, write_rows
from harness.records.runs import Clock, git_state, precision_flags, read_run, write_run
from harness.records.training_runs import Options, TrainedRecord, TrainingRun, read_trained, trained_folder
from harness.report.facts import run_facts
from harness.report.render import json_text
from harness.run.chain import Link, chain_text, explain, find_cell, quoted, train_command
from harness.run.cost import count_cost
from harness.run.environment import examine
from harness.run.measure import measure
from harness.run.pipeline import pipeline_stages
from harness.run.restore import restore
from harness.tables.collected import results_of
from harness.tables.diff import diff_table
from harness.tables.measurements import Measurements
from harness.tables.requests import requests
from harness.tables.workspace import Workspace

GROUP = Group("jpeg", "embedded-gray", "jpeg-y8", "jpeg", "whole")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The JPEG row of the embedded table, made stage by stage."""
    root = tmp_path_factory.mktemp("workspace")
    (root / "params.yaml").write_text("methods: []\n")
    made = Workspace(root)
    assert fetch("embedded-gray", made.data).complete
    inputs = record_inputs(made.data, "embedded-gray", "jpeg-y8", (10, 20, 30, 40), NoiseDraws())
    write_inputs(made.work / "inputs/jpeg/embedded-gray/jpeg-y8.json", inputs)
    method = made.method("jpeg")
    _, run = restore(
        GROUP,
        method,
        (10, 20, 30, 40),
        inputs,
        data=made.data,
        partial=made.work / "partial",
        target=made.work / "restored" / GROUP.place,
        noise=NoiseDraws(),
        code=fingerprint(method_code(method)),
    )
    write_run(made.work, GROUP, run)
    clock = Clock()
    folder = made.work / "restored" / GROUP.place
    record, rows = measure(folder, data=made.data, protocols=("psnr", "ssim-gauss", "ssim-8x8"))
    write_rows(made.work / "rows" / GROUP.place.parent / f"{GROUP.name}.csv", record, rows)
    write_run(made.work, GROUP, clock.finish(), "measure")
    table = made.table("embedded")
    made.results.mkdir()
    (made.results / "embedded.json").write_text(json_text(results_of(made, table)))
    return made


def test_a_run_is_told_only_with_what_it_made(workspace: Workspace) -> None:
    """DVC may take results from its cache: what another run took and used is not told of them."""
    assert read_run(workspace.work, GROUP) is not None
    record = workspace.work / "restored" / GROUP.place / RECORD
    text = record.read_bytes()
    try:
        record.write_bytes(text + b" ")
        assert read_run(workspace.work, GROUP) is None
        links = {link.title: link.facts for link in explain(workspace, find_cell(workspace, "embedded", "JPEG", KEY))}
        assert links["restored by"]["state"] == "not recorded; what the file tells is of another run"
        assert "revision" in links["measured by"]
    finally:
        record.write_bytes(text)


def test_a_kept_level_keeps_the_run_that_made_it(workspace: Workspace) -> None:
    """A run that adds a level is not told of the levels that it kept."""
    first = read_run(workspace.work, GROUP)
    assert first is not None
    later = msgspec.structs.replace(first, revision="f" * 40, kept=(10, 20), before=None)
    write_run(workspace.work, GROUP, later)
    try:
        told = {}
        for level in (10, 30):
            cell = find_cell(workspace, "embedded", "JPEG", f"embedded-gray/{level}/psnr")
            told[level] = {link.title: link.facts for link in explain(workspace, cell)}["restored by"]["revision"]
            facts = dict(run_facts(workspace, GROUP, level))
            assert facts["revision"] == told[level]
        assert told[30].startswith("fff") and not told[10].startswith("fff")
    finally:
        write_run(workspace.work, GROUP, first)


def test_the_chain_reaches_the_pixels(workspace: Workspace) -> None:
    links = {link.title: link.facts for link in explain(workspace, find_cell(workspace, "embedded", "JPEG", KEY))}
    assert links["number"]["published"] == "28.43"
    assert links["number"]["measured"].startswith("28.4")
    assert links["number"]["protocol"] == "psnr, version psnr.1"
    for title in ("measured by", "restored by"):
        assert {"revision", "finished", "hardware", "libraries", "wall time", "peak memory"} <= set(links[title])
        assert "numpy" in links[title]["libraries"]
    assert links["code"]["now"] == "the same"
    record = json.loads((workspace.work / "restored" / GROUP.place / "restored.json").read_text())
    assert record["images"]["10/draw0/camera.png"] in links["restored images"]["first"]
    inputs = json.loads((workspace.work / "inputs/jpeg/embedded-gray/jpeg-y8.json").read_text())
    assert inputs["inputs"]["10/draw0/camera.png"] in links["inputs"]["first"]
    manifest = json.loads((workspace.data / "manifests/datasets/embedded-gray.json").read_text())
    assert manifest["files"][0]["sha256"] in links["images"]["target"]
    assert links["again"]["bring up to date"] == 'harness repro embedded --row "JPEG" --dataset embedded-gray'
    assert "restored images" in chain_text(explain(workspace, find_cell(workspace, "embedded", "JPEG", KEY)))


KEY = "embedded-gray/10/psnr"


@pytest.mark.parametrize(
    ("row", "column", "said"),
    [
        ("JPG", KEY, "unknown row of embedded 'JPG'; did you mean 'JPEG'"),
        ("JPEG", "embedded-gray/10/pnsr", "did you mean 'embedded-gray/10/psnr'"),
        ("JPEG", "embedded-gray/psnr", "could be embedded-gray/10/psnr, embedded-gray/20/psnr"),
    ],
)
def test_a_cell_that_is_not_there(workspace: Workspace, row: str, column: str, said: str) -> None:
    with pytest.raises(HarnessError, match=said):
        find_cell(workspace, "embedded", row, column)


def test_a_cell_that_was_not_run_says_why(workspace: Workspace) -> None:
    result = find_cell(workspace, "panet-table3", "DnCNN", "live1/10/psnr")
    links = {link.title: link.facts for link in explain(workspace, result)}
    assert links["number"]["measured"] == "not run"
    assert links["rows"]["state"] == "not measured here yet"
    assert "harness repro panet-table3" in links["again"]["bring up to date"]


def commands(links: list[Link]) -> list[str]:
    """What is to be pasted; a run's own command line is history."""
    told = [t for link in links for name, t in link.facts.items() if name != "command"]
    return [text for text in told if text.startswith(("harness ", "dvc "))]


def assert_can_be_pasted(command: str, stages: set[str]) -> None:
    """A shell splits it into a command with arguments that this version takes, or a stage that there is."""
    words = shlex.split(command)
    if words[0] == "dvc":
        assert words[1:-1] == ["repro", "--single-item", "--force"]
        assert words[-1] in stages, command
        return
    found = harness_cli.get_command(click.Context(harness_cli), words[1])
    assert found is not None, command
    found.make_context(words[1], words[2:])


def test_every_kind_of_cell_says_how_to_have_it() -> None:
    """In a checkout of its own: of each row of each table, one cell of each metric, whatever its verdict."""
    workspace = Workspace(Path(__file__).parents[2])
    stages = {f"{path}:{name}" for path, found in pipeline_stages(workspace).items() for name in found}
    assert any(stage.startswith("pipelines/cost/dvc.yaml:") for stage in stages)
    seen: set[tuple[object, ...]] = set()
    for name, table in workspace.tables().items():
        for result in diff_table(table, workspace.methods(), Measurements(workspace.work)):
            request = result.request
            kind = (result.verdict, request.metric, request.reason[:40], request.method and name, bool(request.dataset))
            if kind in seen:
                continue
            seen.add(kind)
            links = explain(workspace, result)
            assert all(link.facts for link in links)
            assert commands(links), f"{name}, {request.row}, {request.key} does not say what to do"
            for command in commands(links):
                assert_can_be_pasted(command, stages)
    assert len(seen) > 50


def test_a_number_of_parameters_has_a_chain(workspace: Workspace) -> None:
    write_cost(workspace.work, count_cost(workspace.method("dncnn")))
    links = {
        link.title: link.facts
        for link in explain(workspace, find_cell(workspace, "panet-table4", "DnCNN", "parameters"))
    }
    assert "mean of" not in links["number"]
    counted = int(links["counted"]["parameters"].replace(",", ""))
    assert links["number"]["measured"] == f"{counted / 1000:.1f}K"
    assert links["code"]["method"] == "harness/methods/dncnn.py"
    assert links["again"]["count anew"] == "harness stage cost dncnn"


def test_a_trained_number_tells_its_training(workspace: Workspace, tmp_path: Path) -> None:
    """The weights that come with the project, applied to one image."""
    root = Path(__file__).parents[2]
    (tmp_path / "params.yaml").write_text("methods: []\n")
    shutil.copytree(root / "weights", tmp_path / "weights")
    made = Workspace(tmp_path)
    group = next(
        found.group
        for found in requests(made.table("embedded"), made.methods())
        if found.method == "resnet-half" and found.group is not None
    )
    run = TrainingRun("denoise-rgb", "resnet-half", 50)
    trained = read_trained(trained_folder(tmp_path, run))
    assert trained is not None
    record = MeasuredRecord(
        group=group,
        origin="trained",
        degradation_version=1,
        code="x",
        reason="",
        levels={50: LevelRecord("", {"resnet-half--denoise-rgb-50/weights.safetensors": trained.weights})},
        protocols={"psnr": "psnr.1"},
        images=1,
    )
    place = group.place
    write_rows(
        made.work / "rows" / place.with_name(place.name + ".csv"),
        record,
        [ImageRow(50, 0, "coffee", "psnr.1", 27.0)],
    )
    found = find_cell(made, "embedded", "Residual network trained on a CPU", "embedded/50/psnr")
    assert found.verdict == "trained"
    links = {link.title: link.facts for link in explain(made, found)}
    assert links["weights"]["resnet-half--denoise-rgb-50/weights.safetensors"] == f"SHA-256 {trained.weights}"
    assert "2,500 of 4,000 iterations (62 %)" in links["trained by"]["length"]
    again = links["trained by"]["train it again"]
    assert again == "harness train resnet-half --task denoise-rgb --level 50 --iterations 2500"


def test_options_of_training_are_part_of_the_command() -> None:
    options = Options(amp="bfloat16", deterministic=False, ema=0.999, clip=0.5, accumulate=2, seed=7)
    record = TrainedRecord(TrainingRun("deblur", "kit", 0), "r", "kit", "", 300, 1000, "mine", "gopro-train", options)
    command = train_command(record)
    assert_can_be_pasted(command, set())
    settings = ("amp=bfloat16", "deterministic=false", "ema=0.999", "clip=0.5", "accumulate=2")
    said = f"--data mine --seed 7 {' '.join(f'--set {setting}' for setting in settings)}"
    assert command == f"harness train kit --task deblur --iterations 300 {said}"


@pytest.mark.parametrize("name", ["EDSR", "a b", 'the "best"', "$HOME", "it's", "back\\slash", "`id`", "new!"])
def test_row_names_survive_a_shell(name: str) -> None:
    assert shlex.split(f"x --row {quoted(name)}") == ["x", "--row", name]
    done = subprocess.run(["bash", "-c", f"printf %s {quoted(name)}"], capture_output=True, text=True, check=True)
    assert done.stdout == name


def test_git_state(tmp_path: Path) -> None:
    assert git_state(tmp_path)[0] == "" or not str(tmp_path).startswith("/tmp")
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "code.py").write_text("x = 1\n")
    subprocess.run(["git", "add", "-A"], cwd=tmp_path, check=True)
    subprocess.run([*git, "commit", "-qm", "First"], cwd=tmp_path, check=True)
    revision, dirty = git_state(tmp_path)
    assert (len(revision), dirty) == (40, False)
    # What a run writes is no change of the sources; an edit, or a file that git does not know, is.
    (tmp_path / "dvc.lock").write_text("")
    (tmp_path / "results").mkdir()
    (tmp_path / "results/a.md").write_text("")
    assert git_state(tmp_path) == (revision, False)
    (tmp_path / "plugin.py").write_text("")
    assert git_state(tmp_path) == (revision, True)


def test_the_environment_is_examined() -> None:
    found = examine(Workspace(Path(__file__).parents[2]))
    by_name = {finding.what for finding in found}
    assert {"Python", "harness", "packages", "git", "DVC", "memory", "cores", "torch", "plugins"} <= by_name


def test_what_is_wrong_with_an_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params.yaml").write_text("methods: [methods]\n")
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods/bad.py").write_text("import nothing_of_this_name\n")
    (tmp_path / "work").write_text("a file where a folder should be")
    monkeypatch.setenv("HARNESS_MIRROR", str(tmp_path / "nowhere"))
    done = subprocess.run(
        [sys.executable, "-m", "harness", "doctor", "--format", "json"],
        cwd=tmp_path,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    wrong = {finding["what"]: finding["detail"] for finding in json.loads(done.stdout) if finding["state"] == "wrong"}
    assert {"DVC", "work", "mirror", "plugins"} <= set(wrong)
    assert "nothing_of_this_name" in wrong["plugins"]


@pytest.fixture
def crate(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("rocrate")
    names = [p.relative_to(workspace.root).as_posix() for p in workspace.root.rglob("*") if p.is_file()]
    kept = [name for name in names if name.startswith(("work/", "results/", "params"))]
    # Listing asks DVC's pipelines, which belong to a checkout; what is in the workspace is the list here.
    monkeypatch.setattr("harness.extras.crate.files_of_table", lambda *_, **__: sorted(kept))
    target = tmp_path / "crate.zip"
    assert export_crate(workspace, "embedded", target, images=True) == len(kept)
    return target


def test_a_crate_is_verified_elsewhere(workspace: Workspace, crate: Path, tmp_path: Path) -> None:
    elsewhere = Workspace(tmp_path)
    checked = check_crate(crate, elsewhere)
    assert checked.problems == ()
    assert (checked.table, checked.remade, checked.measured) == ("embedded", True, 4)
    metadata = json.loads(zipfile.ZipFile(crate).read("ro-crate-metadata.json"))
    kinds = {entity["@id"]: entity["@type"] for entity in metadata["@graph"]}
    assert kinds["#run"] == "CreateAction" and kinds["#harness"] == "SoftwareApplication"
    with pytest.raises(HarnessError, match="exists; name another"):
        export_crate(workspace, "embedded", crate)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda root: (root / ROWS).write_text((root / ROWS).read_text().replace("28.4", "28.9")), "another checksum"),
        (lambda root: (root / ROWS).unlink(), "is missing"),
        (lambda root: (root / "results/more.csv").write_text("x"), "is not listed"),
        (lambda root: (root / "results/link").symlink_to("/etc/passwd"), "is a link"),
    ],
)
def test_a_crate_that_was_changed(crate: Path, tmp_path: Path, harm: object, said: str) -> None:
    root = tmp_path / "opened"
    shutil.unpack_archive(crate, root)
    harm(root)  # type: ignore[operator]
    checked = check_crate(root, Workspace(tmp_path))
    assert any(said in problem for problem in checked.problems), checked.problems
    assert not checked.remade


ROWS = "work/rows/jpeg/embedded-gray/jpeg-y8/jpeg--whole.csv"
RESULTS = "results/embedded.json"


def change_metadata(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Let something happen to each entity of a crate's metadata."""
    metadata = root / "ro-crate-metadata.json"
    graph = json.loads(metadata.read_text())
    for entity in graph["@graph"]:
        change(entity)
    metadata.write_text(json.dumps(graph))


def name_table(root: Path, table: object) -> None:
    change_metadata(root, lambda entity: entity["@id"] == "./" and entity.update(harnessTable=table))


def write_and_sum(path: Path, root: Path, data: bytes) -> None:
    """Replace a file, and put its checksum right."""
    path.write_bytes(data)
    name, digest = path.relative_to(root).as_posix(), hashlib.sha256(data).hexdigest()
    change_metadata(root, lambda entity: entity["@id"] == name and entity.update(sha256=digest))


def some(root: Path, pattern: str) -> Path:
    return min((root / "work/restored").rglob(pattern))


def make_pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda root: name_table(root, "../../etc/passwd"), "names no table"),
        (lambda root: name_table(root, "a\0b"), "names no table"),
        (lambda root: name_table(root, ["embedded"]), "names no table"),
        (lambda root: name_table(root, "panet-table3"), "is not in the crate"),
        (lambda root: write_and_sum(root / RESULTS, root, b"5"), "holds no results"),
        (lambda root: write_and_sum(root / RESULTS, root, b'["a"]'), "holds no results"),
        (lambda root: write_and_sum(root / RESULTS, root, b'{"cells": null}'), "holds no results"),
        (lambda root: write_and_sum(root / RESULTS, root, b"[" * 100_000), "holds no results"),
        (lambda root: write_and_sum(root / RESULTS, root, b"\xff\xfe\x00"), "holds no results"),
        (lambda root: write_and_sum(some(root, "restored.json"), root, b"[]"), "expected a block of keys"),
        (lambda root: write_and_sum(some(root, "*.png"), root, b"none"), "are not the recorded ones"),
        (lambda root: make_pipe(root / RESULTS), "is no file"),
        (lambda root: make_pipe(root / "pipe"), "is neither file nor folder"),
        (lambda root: change_metadata(root, lambda e: e["@id"] == RESULTS and e.update({"@id": "x" * 5000})), "read"),
        (lambda root: change_metadata(root, lambda e: e["@id"] == RESULTS and e.update({"@id": "../x"})), "leaves"),
    ],
)
def test_a_malformed_crate(crate: Path, tmp_path: Path, harm: Callable[[Path], object], said: str) -> None:
    """Whatever a stranger's crate holds is a problem of the crate: no traceback, and nothing is waited for."""
    root = tmp_path / "opened"
    shutil.unpack_archive(crate, root)
    harm(root)
    checked = check_crate(root, Workspace(tmp_path))
    assert any(said in problem for problem in checked.problems), checked.problems


def test_the_metadata_is_a_pipe(tmp_path: Path) -> None:
    make_pipe(tmp_path / "ro-crate-metadata.json")
    with pytest.raises(HarnessError, match="is no file"):
        check_crate(tmp_path, Workspace(tmp_path))


def test_a_file_name_in_a_record_leaves_the_crate(crate: Path, tmp_path: Path) -> None:
    root = tmp_path / "opened"
    shutil.unpack_archive(crate, root)
    file = some(root, "restored.json")
    record = json.loads(file.read_text())
    record["images"]["../" * 20 + "etc/passwd"] = "0"
    write_and_sum(file, root, json.dumps(record).encode())
    assert any("leaves the folder" in problem for problem in check_crate(root, Workspace(tmp_path)).problems)


def test_results_that_do_not_follow_from_the_rows(crate: Path, tmp_path: Path) -> None:
    """Results that were edited, with their checksum put right: the rows tell."""
    root = tmp_path / "opened"
    shutil.unpack_archive(crate, root)
    cells = json.loads((root / RESULTS).read_text())
    first = next(cell for cell in cells if cell["measured"] is not None)
    first["measured"] += 0.1
    write_and_sum(root / RESULTS, root, json.dumps(cells).encode())
    checked = check_crate(root, Workspace(tmp_path))
    assert any("do not follow from the rows" in problem for problem in checked.problems), checked.problems


def test_a_crate_tells_of_training() -> None:
    """A verdict `trained` rests on the record of the run; the weights themselves go with the images."""
    checkout = Workspace(Path(__file__).parents[2])
    folder = "weights/denoise-rgb/resnet-half/50"
    without = set(files_of_table(checkout, "embedded", images=False))
    assert {f"{folder}/training.json", f"{folder}/recipe.json", f"{folder}/log.csv"} <= without
    assert f"{folder}/weights.safetensors" not in without
    assert f"{folder}/weights.safetensors" in files_of_table(checkout, "embedded", images=True)


def test_results_without_their_rows_are_not_exported(workspace: Workspace, tmp_path: Path) -> None:
    """As in a fresh checkout, where results come with git and rows do not."""
    pytest.importorskip("rocrate")
    (tmp_path / "params.yaml").write_text("methods: []\n")
    shutil.copytree(workspace.results, tmp_path / "results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.extras.crate.files_of_table", lambda *_, **__: ["results/embedded.json"])
        with pytest.raises(HarnessError, match=r"do not follow from the rows here, such as .*; run harness repro"):
            export_crate(Workspace(tmp_path), "embedded", tmp_path / "crate.zip")
    assert not (tmp_path / "crate.zip").exists()


def test_no_crate(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no such crate"):
        check_crate(tmp_path / "nothing", Workspace(tmp_path))
    with pytest.raises(HarnessError, match="it is no crate"):
        check_crate(tmp_path, Workspace(tmp_path))
    (tmp_path / "ro-crate-metadata.json").write_text("[]")
    with pytest.raises(HarnessError, match="not the metadata of a crate"):
        check_crate(tmp_path, Workspace(tmp_path))


def test_whether_onednn_is_on_is_recorded() -> None:
    """The switch, not only whether this torch has it."""
    torch = pytest.importorskip("torch")
    before = torch.backends.mkldnn.enabled
    try:
        for enabled in (False, True):
            torch.backends.mkldnn.enabled = enabled
            assert precision_flags()["mkldnn"] == str(enabled and torch.backends.mkldnn.is_available())
    finally:
        torch.backends.mkldnn.enabled = before
