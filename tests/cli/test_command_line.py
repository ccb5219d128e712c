"""The command line as a whole: one spelling and one meaning for each option, listings as JSON, help, completion."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from harness.cli import harness as command
from harness.cli.main import COMMANDS, SECTIONS
from harness.cli.options import Option
from harness.report.figures.crops import parse_crop

PROJECT = Path(__file__).parents[2]

# Commands that print a list or facts: each has a form for programs.
LISTINGS = {
    "tables": [],
    "diff": ["embedded"],
    "table": ["embedded"],
    "export rows": [],
    "why": ["embedded", "Bicubic", "embedded/2/psnr"],
    "report": ["--summary"],
    "report badge": ["embedded"],
    "datasets ls": [],
    "datasets show": ["embedded"],
    "datasets verify": ["embedded"],
    "datasets fetch": ["set5", "--plan"],
    "weights ls": [],
    "weights show": ["dncnn"],
    "weights verify": ["dncnn"],
    "weights fetch": ["dncnn", "--plan"],
    "list methods": ["--task", "sr"],
    "describe": ["bicubic", "--no-measure"],
    "check": ["bicubic-luma"],
    "list metrics": [],
    "list tasks": [],
    "list degradations": [],
    "measure": [
        "--task",
        "denoise-rgb",
        "--dataset",
        "embedded",
        "--level",
        "50",
        "--restored",
        "mine",
        "--protocol",
        "psnr",
    ],
    "train": ["--list"],
    "doctor": [],
}


def every(group: click.Group = command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Walk the commands that a user sees."""
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if found is None or (*path, name)[0] in ("stage", "first-table"):
            continue
        yield " ".join((*path, name)), found
        if isinstance(found, click.Group):
            yield from every(found, (*path, name))


def options() -> Iterator[tuple[str, str, click.Option]]:
    for name, found in every():
        for option in found.params:
            if isinstance(option, click.Option) and not option.hidden:
                for spelling in getattr(option, "shown", option.opts):
                    if spelling.startswith("--"):
                        yield name, spelling, option


def run(*words: str) -> Result:
    return CliRunner().invoke(command, list(words), catch_exceptions=False)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace in which one row of a table is measured."""
    from harness.assets.datasets import fetch
    from harness.cli.initialising import initialise

    root = tmp_path_factory.mktemp("command-line")
    before = os.getcwd()
    os.chdir(root)
    try:
        initialise(Path())
        repro = [sys.executable, "-m", "harness", "repro", "embedded", "--row", "Bicubic"]
        subprocess.run(repro, check=True, capture_output=True)
        fetch("embedded", root / "data")
        (root / "mine").symlink_to(root / "data/datasets/embedded")
        yield root
    finally:
        os.chdir(before)


def test_an_option_has_one_meaning() -> None:
    """The same name takes the same kind of value, as often, wherever it stands."""
    meanings: dict[str, dict[tuple[Any, ...], list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, spelling, option in options():
        kind = "choice" if isinstance(option.type, click.Choice) else option.type.name.partition(" range")[0]
        kind = "path" if kind in ("file", "directory") else kind
        # A figure is written in several forms at once.
        several = option.multiple and (name, spelling) != ("export figure", "--out")
        meanings[spelling][kind, several, option.is_flag, option.nargs, option.metavar].append(name)
    assert {spelling: dict(found) for spelling, found in meanings.items() if len(found) > 1} == {}


def test_an_option_has_one_spelling() -> None:
    """No two options of the command line differ in a plural or a dash alone, and none is called like its form."""
    spellings = {spelling for _, spelling, _ in options()}
    for spelling in spellings:
        # A number that seeds and how many are tried; a pattern of files and which inputs an audit tries.
        assert f"{spelling}s" not in spellings or spelling in ("--seed", "--input"), spelling
    assert not spellings & {"--json", "--output", "--to", "--rows", "--datasets", "--protocols", "--levels"}


def test_what_takes_several_takes_them_with_commas_and_given_again() -> None:
    parameters = {(name, spelling): option for name, spelling, option in options() if option.multiple}
    assert {"--row", "--dataset", "--method", "--level", "--protocol", "--table", "--fail-on"} <= {
        s for _, s in parameters
    }
    for (name, spelling), option in parameters.items():
        if not isinstance(option, Option):
            assert "repeat" in (option.help or "") or "=" in (option.metavar or ""), (name, spelling)
            continue
        assert (option.metavar or "").endswith(",…"), (name, spelling)


def test_levels_and_names_are_parted_at_commas() -> None:
    table = dict(every())["new table"]
    words = ["t", "--dataset", "set5, set14", "--dataset", "b100", "--level", "2,3", "--level", "4", "--task", "sr"]
    given = table.make_context("table", [*words, "--published", "a:B, C,d:E"], help_option_names=["-h", "--help"])
    assert given.params["datasets"] == ("set5", "set14", "b100") and given.params["levels"] == (2, 3, 4)
    assert given.params["published"] == ("a:B, C", "d:E")
    with pytest.raises(click.BadParameter, match="'x' is not a valid integer"):
        table.make_context("table", [*words, "--level", "2,x"], help_option_names=["-h", "--help"])
    with pytest.raises(click.BadParameter, match="a name is empty"):
        table.make_context("table", [*words, "--dataset", "set5,,set14"], help_option_names=["-h", "--help"])


def test_an_older_spelling_is_understood_and_not_shown() -> None:
    measure = dict(every())["measure"]
    words = ["--task", "sr", "--dataset", "set5", "--restored", "x", "--protocols", "psnr,ssim-gauss"]
    assert measure.make_context("measure", words).params["protocols"] == ("psnr", "ssim-gauss")
    assert "--protocols" not in run("measure", "--help").output


def test_a_part_of_an_image_is_written_alike_everywhere() -> None:
    """As `figure --crop` takes it: left, top, width x height."""
    region = next(o for name, spelling, o in options() if (name, spelling) == ("report attention-maps", "--region"))
    crop = next(o for name, spelling, o in options() if (name, spelling) == ("export figure", "--crop"))
    assert region.metavar == crop.metavar
    made = parse_crop("30,20,96x64")
    assert region.type("30,20,96x64") == region.type("20,30,64,96") == (made.top, made.left, made.height, made.width)
    with pytest.raises(click.BadParameter, match="is not LEFT,TOP,WIDTHxHEIGHT"):
        region.type("30,20,96")


def test_several_where_one_is_needed_is_said(workspace: Path) -> None:
    found = CliRunner().invoke(
        command, ["measure", "--task", "sr", "--dataset", "set5,b100", "--level", "2", "--restored", "mine"]
    )
    assert "measure takes one --dataset, not 2: set5, b100" in str(found.exception)


def test_help_is_narrow_and_has_an_example() -> None:
    """Every command; and the examples parse."""
    for name, found in [("", command), *every()]:
        text = run(*name.split(), "--help").output
        assert max(map(len, text.splitlines())) <= 80, name
        if not name:
            continue
        given = re.findall(rf"^    (harness {name}(?: .*|$))", text, re.MULTILINE)
        group = isinstance(found, click.Group)
        assert given or (group and "    harness " in text), name
        for option in found.params:
            assert not isinstance(option, click.Option) or option.help, (name, option.name)


def test_the_sections_of_the_help_hold_every_command_once() -> None:
    text = run("--help").output
    for name in COMMANDS:
        assert len(re.findall(rf"^  {name} ", text, re.MULTILINE)) == 1, name
    listed = [name for names in SECTIONS.values() for name in names]
    assert len(listed) == len(set(listed)) and set(listed) <= set(COMMANDS)
    assert list(COMMANDS) and all(f"{title}:" in text for title in SECTIONS)


def test_every_listing_has_a_form_for_programs(workspace: Path) -> None:
    """What has --format has json, it parses, and holds what the text shows."""
    commands = dict(every())
    with_format = {
        name: option
        for name, spelling, option in options()
        if spelling == "--format" and isinstance(option.type, click.Choice)
    }
    assert all("json" in option.type.choices for option in with_format.values())  # type: ignore[attr-defined]
    # An audit takes minutes, and claims that are untestable end with 2; tests/audit reads the JSON of both.
    assert {*LISTINGS, "audit", "claim"} == set(with_format), "a listing is not tried here, or has no --format"
    for name, words in LISTINGS.items():
        assert name in commands
        given = CliRunner().invoke(command, [*name.split(), *words, "--format", "json"])
        assert given.exit_code in (0, 1), (name, given.output, given.exception)
        try:
            told = json.loads(given.stdout)
        except ValueError:
            pytest.fail(f"{name}: no JSON: {given.stdout[:200]!r}")
        shown = CliRunner().invoke(command, [*name.split(), *words]).stdout
        # The words that begin the lines of the text, such as names, are values or keys of the JSON.
        flat = json.dumps(told, ensure_ascii=False)
        lines = [line for line in shown.splitlines() if re.match(r"[a-z0-9-]{4,}(  |:|,)", line)]
        for line in lines if name not in ("why", "table", "audit", "doctor") else ():
            word = re.split(r"  |:|,", line)[0].strip("-")
            assert not word or word in flat or word in ("name", "note", "not run", "ordering"), (name, line)


def complete(*words: str) -> tuple[list[str], str]:
    """Ask as bash does; give the answers, and what was imported."""
    program = (
        "import sys\n"
        "from harness.cli.main import harness\n"
        "try: harness.main(prog_name='harness', standalone_mode=False)\n"
        "finally: print(*sorted(sys.modules), file=sys.stderr)"
    )
    about = {"_HARNESS_COMPLETE": "zsh_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    told = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | about, capture_output=True, text=True, check=True
    )
    # Kind, value and help, a line each.
    return told.stdout.splitlines()[1::3], told.stderr


SHELL = [
    (("harness", "di"), {"diff"}),
    (("harness", "report", "bad"), {"badge"}),
    (("harness", "diff", "panet-table3"), {"panet-table3"}),
    (("harness", "repro", "min"), {"mine"}),
    (("harness", "repro", "panet-table3", "--row", "ar"), {"ARCNN"}),
    (("harness", "table", "panet-table3", "--row", "JPEG,ar"), {"JPEG,ARCNN"}),
    (("harness", "datasets", "fetch", "set1"), {"set12", "set14"}),
    (("harness", "weights", "show", "dncn"), {"dncnn", "dncnn-blind"}),
    (("harness", "describe", "my-"), {"my-net"}),
    (("harness", "export", "rows", "--method", "bm3d,my-"), {"bm3d,my-net"}),
    (("harness", "list", "methods", "--task", "der"), {"derain"}),
    (("harness", "measure", "--task", "my-"), {"my-task"}),
    (("harness", "measure", "--protocol", "my-"), {"my-metric"}),
    (("harness", "measure", "--protocol", "psnr-al"), {"psnr-aligned"}),
    (("harness", "diff", "embedded", "--format", "js"), {"json"}),
    (("harness", "diff", "embedded", "--fail-on", "off,cl"), {"off,close"}),
    (("harness", "nothing", "x"), set()),
]


def test_a_shell_completes_names_without_running_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those of a workspace, whatever in it is broken; neither torch nor a plugin is imported."""
    from harness.cli.initialising import initialise

    monkeypatch.chdir(tmp_path)
    initialise(Path())
    (tmp_path / "methods/my_net.py").write_text("import torch\n@method('my-net', tasks=['sr'])\ndef build(): ...\n")
    (tmp_path / "methods/broken.py").write_text("def (:\n")
    (tmp_path / "plugins/own.py").write_text(
        "import sys\nsys.exit(3)\nharness.task('my-task')\nharness.metric('my-metric')\n"
    )
    (tmp_path / "tables/mine.yaml").write_text("{")
    for words, wanted in SHELL:
        found, imported = complete(*words)
        assert set(found) == wanted, words
        assert not {"torch", "pandas", "scipy", "skimage", "dvc", "requests"} & set(imported.split()), words
        assert "Error" not in imported, words
    assert complete("harness", "repro", "mine", "--row", "a")[0] == []
    (tmp_path / "params.yaml").write_text("tables: 3")
    assert complete("harness", "diff", "panet-table3")[0] == ["panet-table3"]


def test_methods_that_can_run_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without a file of weights in the mirror; what the others lack in a line, or each."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARNESS_MIRROR", raising=False)

    def here() -> dict[str, Any]:
        told = json.loads(run("list", "methods", "--task", "sr", "--here", "--format", "json").output)
        return {record["method"]: record["here"] for record in told}

    assert here()["bicubic"] == {"sr": [2, 3, 4]} and "lapsrn" not in here() and "csnln-trained" not in here()
    from harness.assets.weights.registry import weight_set

    entry = next(file for file in weight_set("lapsrn").files if "2" in file.name)
    path = tmp_path / "data/weights/lapsrn" / entry.name
    path.parent.mkdir(parents=True)
    path.touch()
    assert here()["lapsrn"] == {"sr": [2]}
    short = run("list", "methods", "--task", "sr", "--here").output
    assert "lack weights" in short and "must be trained" in short and "csnln-trained" not in short
    whole = run("list", "methods", "--task", "sr", "--here", "--why").output
    assert "csnln-trained" in whole and "run `harness train csnln-trained" in whole
    assert "--why goes with --here" in str(CliRunner().invoke(command, ["list", "methods", "--why"]).exception)


def test_no_method_is_said_to_run_that_cannot() -> None:
    """Of the methods without weights, each is built."""
    from harness.methods import build_method
    from harness.run.here import what_runs
    from harness.tables.workspace import Workspace

    workspace = Workspace(Path("nowhere"))
    built = 0
    for method in workspace.methods().values():
        levels = what_runs(workspace, method).levels
        if method.origin == "none" and not method.depends:
            for task, ready in levels.items():
                build_method(method, task, ready[0])
                built += 1
    assert built > 5


@pytest.mark.parametrize("width", ["80", "60"])
def test_listings_fit_and_cut_no_word(width: str, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where COLUMNS, or a terminal, limits the width; in a pipe a line stays whole."""
    words = ["list", "methods", "--task", "sr"]
    monkeypatch.delenv("COLUMNS", raising=False)
    free = {" ".join(name): run(*name).output for name in (words, ["tables"], ["datasets", "ls"], ["train", "--list"])}
    monkeypatch.setenv("COLUMNS", width)
    for name, text in free.items():
        narrow = run(*name.split()).output
        fitting = [line for line in narrow.splitlines() if " " in line.strip()]
        assert max(map(len, fitting)) <= int(width), name
        # The heading of what stands below its line is left out, or repeated.
        rules = re.compile(r"-+")
        whole, kept = (
            {word.rstrip(":") for word in each.split() if not rules.fullmatch(word)} for each in (text, narrow)
        )
        heads = set(text.split("\n")[0].split())
        assert kept - heads <= whole and whole - kept <= heads, name
        assert max(map(len, text.splitlines())) > 80, name


def test_reasons_are_folded_and_shown_whole(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("diff", "table"):
        short, whole = (CliRunner().invoke(command, [name, "panet-table3", *why]).stdout for why in ([], ["--why"]))
        folded = [line for line in short.splitlines() if "not run: " in line and line.endswith("…")]
        assert folded and max(map(len, folded)) <= 80 and "--why" in short, name
        assert "…" not in whole.replace("… ", "") or len(whole) > len(short), name
        words = folded[0].strip().removesuffix(" …")
        assert words in " ".join(whole.split()), name


def test_rows_says_that_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").touch()
    told = run("export", "rows")
    assert told.stdout.count("\n") == 1 and "nothing is measured here yet; run `harness repro" in told.stderr


def test_rows_names_what_there_is(workspace: Path) -> None:
    told = run("export", "rows", "--dataset", "set5", "--mean")
    assert "nothing is measured of dataset set5; there is embedded" in told.stderr
    assert "nothing is measured of method nlm; there is bicubic-luma" in run("export", "rows", "--method", "nlm").stderr
    assert "bicubic-y8-float,bicubic-luma," in run("export", "rows", "--method", "nlm,bicubic-luma").stdout


def test_a_method_of_luma_is_not_given_rgb_unsaid(workspace: Path) -> None:
    words = ["--task", "sr", "--dataset", "embedded", "--level", "2", "--method"]
    said = run("new", "table", "rgb", *words, "bicubic-luma,bicubic").output
    assert "note: bicubic-luma clips to the range of luma" in said and "--degradation bicubic-y8-float" in said
    assert (
        "note:" not in run("new", "table", "luma", *words, "bicubic-luma", "--degradation", "bicubic-y8-float").output
    )
    assert "note:" not in run("new", "table", "other", *words, "bicubic").output


def test_rows_that_were_never_made_are_not_said_to_be_elsewhere(workspace: Path) -> None:
    """DVC names the files of every stage, run or not."""
    git = ["git", "-c", "user.name=Someone", "-c", "user.email=someone@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run(["dvc", "config", "--unset", "core.no_scm"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "Ours"], check=True)
    told = run("report", "--compare", "HEAD", ".").output
    assert "0 numbers differ" in told and "are equal" in told and "note:" not in told, told


def test_what_was_asked_for_is_not_advised_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fetch with --archives that cannot be done does not end in the advice to give --archives."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARNESS_MIRROR", raising=False)
    for name in ("realblur-j", "gopro-test"):
        plan = run("datasets", "fetch", name, "--archives", "--plan").output
        assert "archive: " in plan and "--archives" not in plan, name
        assert "or with --archives: " in run("datasets", "fetch", name, "--plan").output
    assert "--archives" in run("datasets", "fetch", "realblur-j").output
    told = run("datasets", "fetch", "realblur-j", "--archives").output
    assert "--archives" not in told and "run the command again" in told


@pytest.mark.parametrize("name", ["panet-table3", "csnln-table1", "kit-table3", "panet-table9", "embedded"])
def test_a_table_fits_and_cuts_no_word(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its columns go on below, under the heading that they continue."""
    monkeypatch.chdir(Path(__file__).parents[2])
    monkeypatch.setenv("COLUMNS", "80")
    narrow = run("table", name, "--why").output
    assert max(map(len, narrow.splitlines())) <= 80
    assert not re.search(r"\w…", narrow.partition("published above")[0])
    monkeypatch.delenv("COLUMNS")
    wide = run("table", name, "--why").output.partition("published above")[0].replace("─", "")
    for word in set(wide.split()):
        assert word in narrow, word


def test_facts_and_the_summary_fit(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for words that are longer, such as paths and hashes."""
    monkeypatch.setenv("COLUMNS", "60")
    for words in (
        ["why", "embedded", "Bicubic", "embedded/2/psnr"],
        ["describe", "dncnn", "--no-measure"],
        ["datasets", "show", "set5"],
        ["report", "--summary"],
        ["doctor"],
        ["datasets", "fetch", "gopro-test", "--plan"],
    ):
        text = CliRunner().invoke(command, words).stdout
        for line in text.splitlines():
            assert len(line) <= 60 or len(line.split()[-1]) > 25, (words, line)
    narrow = run("report", "--summary", "--table", "embedded").stdout
    assert re.search(r"embedded +\d+ +6 match, \d+ not run", " ".join(narrow.split())), narrow


def advised() -> Iterator[tuple[str, str, str]]:
    """Every command with options that the pages and messages tell a user to run: where, command, option."""
    commands = sorted((name for name, _ in every()), key=len, reverse=True)
    pages = [*PROJECT.glob("docs/*.md"), *PROJECT.glob("*.md"), *(PROJECT / "harness").rglob("*.j2")]
    texts = [(str(page), line) for page in pages for line in page.read_text(encoding="utf-8").splitlines()]
    for file in (PROJECT / "harness").rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts += [(f"{file}:{node.lineno}", line) for line in node.value.splitlines()]
    for where, text in texts:
        for told in re.findall(r"(?<![\w/.-])harness ((?:[a-z-]+ ?)+(?:(?!, )[^`#|;])*)", text):
            name = next((name for name in commands if re.match(rf"{name}\b", told)), "")
            for option in re.findall(r"(?<!\S)--[a-z][a-z-]+", told) if name else ():
                yield where, name, option


def test_train_has_few_options() -> None:
    """What a recipe or a plan says goes through --set; a further option needs a better reason than a new idea."""
    assert len({option.name for name, _, option in options() if name == "train"}) <= 16


def test_options_that_pages_and_messages_name_exist() -> None:
    known = {(name, spelling) for name, _, option in options() for spelling in (*option.opts, *option.secondary_opts)}
    known |= {(name, "--help") for name, _ in every()}
    told = list(advised())
    assert len(told) > 100
    wrong = [(where, name, option) for where, name, option in told if (name, option) not in known]
    assert wrong == []
