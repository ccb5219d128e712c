"""What would make a wrong row while every command ends well: injected into the real stage, each run as DVC runs it."""

from __future__ import annotations

import json
import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

import forked
import numpy as np
import pytest

from harness.images import write_png

RNG = np.random.default_rng(0)
NAMES = ("a", "b", "c", "d", "e")

METHOD = """
import os, sys
from pathlib import Path
import numpy as np
from harness.methods import method
{first}

@method("{name}", tasks=["deblur"], {options})
def build(task, level):
    {build}
    calls = []

    def restore(image):
        calls.append(1)
        if len(calls) == 3 and os.path.exists("stop"):
            os._exit(1)
        {body}
        return image

    return restore
"""


class Project:
    """A workspace with five small pairs of the user's own, and methods as plugins."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("methods", "datasets"):
            (root / folder).mkdir()
        (root / "params.yaml").write_text("methods: [methods]\n")
        record = {
            "name": "own", "title": "Own", "kind": "pairs", "count": len(NAMES), "supply": "user",
            "description": "Five.", "licence": "none", "licence_note": "None.", "homepage": "https://example.org",
            "citation": "none", "layouts": [{"target": "target/{id}.*", "input": "input/{id}.*"}],
        }  # fmt: skip
        (root / "datasets/own.json").write_text(json.dumps(record))
        self.pairs()

    def pairs(self, strength: int = 20) -> None:
        """Make pairs, under the same names each time; the inputs are another ones with another strength."""
        for number, name in enumerate(NAMES):
            target = np.random.default_rng(number).integers(60, 200, (24, 40, 3), dtype=np.uint8)
            write_png(self.root / f"own/target/{name}.png", target)
            write_png(self.root / f"own/input/{name}.png", target + np.uint8(strength))
        self.harness("datasets", "fetch", "own", "--from", "own")
        self.harness("stage", "inputs", *WHERE, "--levels", "0")

    def method(
        self,
        body: str,
        *,
        name: str = "bad",
        on: str = "array",
        first: str = "",
        build: str = "pass",
        options: str = "",
    ) -> None:
        options = f'on="{on}", {options}'
        text = METHOD.format(name=name, first=first, build=build, body=body, options=options)
        (self.root / f"methods/{name}.py").write_text(text)

    def harness(self, *arguments: str, code: int = 0, **environment: str) -> str:
        known = {name: value for name, value in os.environ.items() if name != "HARNESS_PLUGINS_TRIED"}
        done = forked.harness(*arguments, cwd=self.root, env={**known, **environment}, timeout=100)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def restore(self, name: str = "bad", policy: str = "whole", code: int = 0, **environment: str) -> str:
        where = (*WHERE, "--method", name, "--policy", policy, "--levels", "0")
        return self.harness("stage", "restore", *where, code=code, **environment)

    def pixels(self, name: str = "bad", policy: str = "whole") -> dict[str, str]:
        """Hashes of the restored pixels."""
        record = self.root / f"work/restored/deblur/own/pairs/{name}--{policy}/restored.json"
        found: dict[str, str] = json.loads(record.read_text())["images"]
        return found

    def interrupted(self, **environment: str) -> None:
        """Restore two images, and then be stopped."""
        (self.root / "stop").touch()
        self.restore(code=1, HARNESS_CORES="1", **environment)
        (self.root / "stop").unlink()
        assert list((self.root / "work/partial").rglob("*.png"))

    def from_nothing(self, **environment: str) -> dict[str, str]:
        """What a run without any unfinished work restores."""
        shutil.rmtree(self.root / "work/partial")
        self.restore(**environment)
        return self.pixels()


WHERE = ("--task", "deblur", "--dataset", "own", "--degradation", "pairs")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("project"))


@pytest.fixture
def project(made: Project) -> Project:
    """The one project of these tests, without methods and results."""
    for folder in ("methods", "work/partial", "work/restored"):
        shutil.rmtree(made.root / folder, ignore_errors=True)
    (made.root / "methods").mkdir()
    return made


# Unfinished work of other circumstances -------------------------------------------------------------------------------


@pytest.mark.parametrize("depends", ["methods/net.txt", "methods/net"])
def test_a_file_that_a_method_depends_on_is_replaced(project: Project, depends: str) -> None:
    """The tutorial's own form, a file; and a folder."""
    path = project.root / depends
    file = path if path.suffix else path / "deep/net.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("0.9")
    read = f"factor = float(Path({str(file)!r}).read_text())"
    project.method("return image * factor", build=read, options=f"depends=[{depends!r}]")
    project.interrupted()
    file.write_text("0.5")
    project.restore()
    found = project.pixels()
    assert found == project.from_nothing()


def test_a_link_to_a_folder_in_a_folder_of_depends(project: Project) -> None:
    """DVC does not look behind it: rows of other weights would stand."""
    (project.root / "elsewhere").mkdir(exist_ok=True)
    (project.root / "methods/net").mkdir()
    (project.root / "methods/net/best").symlink_to(project.root / "elsewhere")
    project.method("return image", options='depends=["methods/net"]')
    assert "is a link to a folder, in which nobody would notice a change" in project.restore(code=2)


def test_it_is_replaced_while_the_method_runs(project: Project) -> None:
    """DVC hashes dependencies when a stage has ended: it would take the new file for the one that made the images."""
    project.root.joinpath("methods/net.txt").write_text("0.9")
    write = "Path('methods/net.txt').write_text('0.5'); return image * factor"
    read = "factor = float(Path('methods/net.txt').read_text())"
    project.method(write, build=read, options="depends=['methods/net.txt']")
    said = project.restore(code=2)
    assert "methods/net.txt: was changed while 'bad', which depends on it, ran; run it again" in said
    assert not list((project.root / "work/restored").rglob("restored.json"))


def test_the_users_own_images_are_replaced(project: Project) -> None:
    project.method("return image")
    project.interrupted()
    project.pairs(strength=50)
    try:
        project.restore()
        found = project.pixels()
        assert found == project.from_nothing()
    finally:
        project.pairs()


def test_images_restored_elsewhere_are_replaced(project: Project) -> None:
    """Nothing says what they were when they were read, so they are read again."""
    shutil.copytree(project.root / "own/input", project.root / "results")
    (project.root / "methods/bad.py").write_text(
        "import os\nfrom harness.methods import method\n\n\n"
        "@method('bad', tasks=['deblur'], on='images', depends=['results'])\ndef build(task, level):\n"
        "    def find(dataset, image):\n"
        "        if image == 'c' and os.path.exists('stop'):\n            os._exit(1)\n"
        "        return f'results/{image}.png'\n    return find\n"
    )
    project.interrupted()
    for name in NAMES:
        shutil.copy(project.root / f"own/target/{name}.png", project.root / f"results/{name}.png")
    project.restore()
    found = project.pixels()
    assert found == project.from_nothing()


def test_images_that_a_method_finds_and_does_not_name(project: Project) -> None:
    """Nobody would notice that they were replaced: the old rows would stand."""
    shutil.copytree(project.root / "own/input", project.root / "unnamed")
    project.method("", on="images", build="return lambda dataset, image: f'unnamed/{image}.png'")
    told = project.restore(code=2)
    assert "finds unnamed/a.png, which it does not name" in told and "depends=['unnamed']" in told
    assert not list((project.root / "work/restored").rglob("restored.json"))
    # A folder further up will do, and so will another name of the file.
    (project.root / "named").symlink_to(project.root / "unnamed")
    build = "return lambda dataset, image: f'named/{image}.png'"
    project.method("", on="images", build=build, options="depends=['unnamed']")
    project.restore()


def test_another_version_of_a_package_that_a_method_imports(project: Project) -> None:
    package = project.root / "site/my_package"
    package.mkdir(parents=True)

    def install(version: str, factor: str) -> None:
        for old in package.parent.glob("*.dist-info"):
            shutil.rmtree(old)
        about = package.parent / f"my_package-{version}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: my-package\nVersion: {version}\n")
        (about / "top_level.txt").write_text("my_package\n")
        (package / "__init__.py").write_text(f"FACTOR = {factor}\n")
        shutil.rmtree(package / "__pycache__", ignore_errors=True)

    path = os.pathsep.join([str(package.parent), os.environ.get("PYTHONPATH", "")])
    project.method("return image * my_package.FACTOR", build="import my_package")
    install("1.0", "0.9")
    project.interrupted(PYTHONPATH=path)
    install("2.0", "0.5")
    project.restore(PYTHONPATH=path)
    found = project.pixels()
    assert found == project.from_nothing(PYTHONPATH=path)


def test_a_helper_beside_a_plugin_is_its_code(project: Project) -> None:
    helper = project.root / "methods/_net.py"
    helper.write_text("FACTOR = 0.9\n")
    first = "sys.path.insert(0, os.path.dirname(__file__))\nfrom _net import FACTOR\n"
    project.method("return image * FACTOR", first=first)
    project.interrupted()
    helper.write_text("FACTOR = 0.50\n")
    project.restore()
    found = project.pixels()
    assert found == project.from_nothing()


@pytest.mark.parametrize("file", ["bad", "_net"])
def test_a_compiled_file_of_another_source_of_one_size_and_time(project: Project, file: str) -> None:
    """Python takes such a file for that of its source, however the two came by their times."""
    helper = project.root / "methods/_net.py"
    helper.write_text("FACTOR = 0.9\n")
    edited = project.root / f"methods/{file}.py"
    first = "sys.path.insert(0, os.path.dirname(__file__))\nfrom _net import FACTOR\n"
    project.method("return image * FACTOR * 0.9", first=first)
    py_compile.compile(str(edited), doraise=True)
    before = edited.stat()
    edited.write_text(edited.read_text().replace("0.9", "0.5"))
    os.utime(edited, ns=(before.st_atime_ns, before.st_mtime_ns))
    project.restore()
    found = project.pixels()
    shutil.rmtree(project.root / "methods/__pycache__")
    assert found == project.from_nothing()


def test_a_helper_that_is_edited_before_a_method_imports_it(project: Project) -> None:
    """The run has looked at it, and the method imports it at the first image; finished images would be kept as its."""
    helper = project.root / "methods/_late.py"
    helper.write_text("FACTOR = 0.9\n")
    first = "sys.path.insert(0, os.path.dirname(__file__))\n"
    late = "Path('methods/_late.py').write_text('FACTOR = {}\\n'); import _late; return image * _late.FACTOR"
    project.method(late.format(0.5), first=first)
    assert "_late.py: was edited after this run had looked at it" in project.restore(code=2, HARNESS_CORES="1")
    assert not list((project.root / "work").rglob("*.png"))
    project.method(late.format(0.9), first=first)
    helper.write_text("FACTOR = 0.9\n")
    project.restore(HARNESS_CORES="1")


NETWORK = """
import torch
from harness.methods import method

@method("counted", tasks=["jpeg"], network=lambda task, level: torch.nn.Conv2d(1, 1, {side}))
def build(task, level):
    return lambda image: image
"""


def test_a_network_or_the_report_that_is_edited_while_a_run_is_under_way(project: Project) -> None:
    code = project.root / "work/code"
    try:
        (project.root / "methods/counted.py").write_text(NETWORK.format(side=3))
        project.harness("stage", "code")
        (project.root / "methods/counted.py").write_text(NETWORK.format(side=5))
        told = project.harness("stage", "cost", "counted", code=2)
        assert "the code of 'counted' was edited after this run had looked at it" in told
        assert not list((project.root / "work").rglob("counted.json"))
        project.harness("stage", "code")
        project.harness("stage", "cost", "counted")
        # As if the package had been written since.
        (code / "render.json").write_text('["other code"]')
        os.utime(code / "render.json", (0, 0))
        before = {path: path.read_bytes() for path in (project.root / "results").rglob("*") if path.is_file()}
        told = project.harness("stage", "render", "embedded", code=2)
        assert "the code of 'render' was edited after this run had looked at it" in told
        after = {path: path.read_bytes() for path in (project.root / "results").rglob("*") if path.is_file()}
        assert after == before
    finally:
        (project.root / "methods/counted.py").unlink()
        for folder in ("work/code", "work/cost"):
            shutil.rmtree(project.root / folder, ignore_errors=True)


METRIC = """
import harness

@harness.metric("gap", version=1, better="lower")
def gap(reference, restored):
    return abs(reference.astype(float) - restored).mean() * {factor}
"""


def test_code_that_is_edited_while_a_run_is_under_way(project: Project) -> None:
    """DVC would record what the new code makes as the old code's: with the edit undone that row would come back."""
    (project.root / "plugins").mkdir()
    (project.root / "params.yaml").write_text("methods: [methods]\nplugins: [plugins]\n")
    (project.root / "plugins/gap.py").write_text(METRIC.format(factor=1))
    measure = ("stage", "measure", *WHERE, "--method", "bad", "--policy", "whole", "--protocols", "psnr,gap-crop2")
    try:
        project.method("return image * 0.9")
        project.harness("stage", "code")  # as a run begins
        project.method("return image * 0.5")
        assert "the code of 'bad' was edited after this run had looked at it" in project.restore(code=2)
        assert not list((project.root / "work").rglob("*.png"))
        project.method("return image * 0.9  # a comment is no code")
        project.restore()
        (project.root / "plugins/gap.py").write_text(METRIC.format(factor=2))
        assert "the code of 'gap' was edited after this run had looked at it" in project.harness(*measure, code=2)
        assert not list((project.root / "work").rglob("bad--whole.csv"))
        project.harness("stage", "code")
        project.harness(*measure)
    finally:
        for folder in ("plugins", "work/code", "work/rows"):
            shutil.rmtree(project.root / folder, ignore_errors=True)
        (project.root / "params.yaml").write_text("methods: [methods]\n")


# Buffers that a method uses again -------------------------------------------------------------------------------------

AGAIN = {
    "array": "result = buffers.setdefault(image.shape, np.empty_like(image)); result[:] = {made}; return result",
    "tensor": "result = buffers.setdefault(tuple(image.shape), image.clone()); result.copy_({made}); return result",
}


@pytest.mark.parametrize(("on", "random"), [("array", True), ("tensor", False)])
def test_a_method_that_returns_the_same_buffer(project: Project, on: str, random: bool) -> None:
    """As CUDA graphs and TensorRT do: every orientation must count, not eight times the last one."""
    made = "image * 0.9 + 0.1 * np.roll(image, 1, 0)" if on == "array" else "image * 0.9 + 0.1 * image.roll(1, 2)"
    options = f"random={random}"
    project.method(AGAIN[on].format(made=made), on=on, build="buffers = {}", options=options)
    project.restore(policy="x8", HARNESS_CORES="1")
    found = project.pixels(policy="x8")
    project.method(f"return {made}", on=on, options=options)
    project.restore(policy="x8", HARNESS_CORES="1")
    assert found == project.pixels(policy="x8")


def test_a_buffer_in_two_threads_is_refused(project: Project) -> None:
    """Methods on arrays are called in several threads: nothing that was mixed is kept."""
    # The first call of each thread waits for the other's, or one thread might take all five of these small images.
    body = f"len(calls) <= 2 and both.wait(60); {AGAIN['array'].format(made='image * 0.9')}"
    project.method(body, first="import threading", build="buffers, both = {}, threading.Barrier(2)")
    told = project.restore(code=2, HARNESS_CORES="2")
    assert "returned the same array in two threads; a method on arrays is called in several" in told
    assert not list((project.root / "work").rglob("*.png"))


# What a method returns ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on", "result", "said"),
    [
        ("array", "(image * 255).astype(np.uint8)", "returned samples of dtype uint8; real floating-point samples in"),
        ("array", "image.mean(2)", "returned (24, 40) for an input of (24, 40, 3)"),
        ("tensor", "image * 255", "(as if in 0..255); real floating-point samples in [0, 1] were expected"),
        ("tensor", "image.mean(1, keepdim=True)", "returned (24, 40) for an input of (24, 40, 3)"),
        (
            "images",
            "np.full((24, 40, 3), 0.5)",
            "returned values from 0 to 0.5 (as if in [0, 1]); the path",
        ),
    ],
)
def test_what_is_no_image_is_refused(project: Project, on: str, result: str, said: str) -> None:
    """All kinds are in tests/run/test_apply.py; here they end a stage."""
    if on == "images":
        project.method("", build=f"return lambda dataset, image: {result}", on=on)
    else:
        project.method(f"return {result}", on=on)
    told = project.restore(code=2)
    assert said in told
    assert "method 'bad' on own/" in told
    assert not list((project.root / "work").rglob("*.png"))


# What all methods of a process share ----------------------------------------------------------------------------------

TORCH = "__import__('torch')"
CHANGES = [
    (f"{TORCH}.set_default_dtype({TORCH}.float64)", "torch's default dtype (torch.float32 -> torch.float64)"),
    (f"{TORCH}.set_default_device('meta')", "torch's default device (cpu -> meta)"),
    (f"{TORCH}.set_num_threads(3)", "torch's number of threads"),
    (f"{TORCH}.set_grad_enabled(False)", "whether torch keeps gradients (True -> False)"),
    (f"{TORCH}.use_deterministic_algorithms(True)", "torch's deterministic algorithms"),
    (f"{TORCH}.set_float32_matmul_precision('medium')", "torch's float32 matmul precision (highest -> medium)"),
    (f"setattr({TORCH}.backends.cudnn, 'benchmark', True)", "torch.backends.cudnn.benchmark (False -> True)"),
    (f"setattr({TORCH}.backends.mkldnn, 'enabled', False)", "torch.backends.mkldnn.enabled (True -> False)"),
    (f"{TORCH}.set_flush_denormal(True)", "denormals"),
    ("os.chdir('/')", "the current folder"),
    ("np.seterr(all='raise')", "numpy's handling of floating-point errors"),
    ("sys.stdout.close()", "the standard streams"),
    ("os.close(1)", "the standard streams"),
    ("__import__('signal').signal(15, __import__('signal').SIG_IGN)", "the handlers of signals"),
    (
        "setattr(__import__('PIL.ImageFile').ImageFile, 'LOAD_TRUNCATED_IMAGES', True)",
        "PIL.ImageFile.LOAD_TRUNCATED_IMAGES (False -> True)",
    ),
]


def test_plugins_that_change_it_while_they_are_imported_are_left_out(project: Project) -> None:
    """Every one is named, and none reaches the other methods or the command."""
    project.method("return image", name="good")
    imports = project.root / "imports"
    for number, (change, _) in enumerate(CHANGES):
        note = f"open({str(imports)!r}, 'a').write('{number} ')"
        project.method("return image", name=f"bad{number}", first=f"{note}\n{change}")
    told = project.harness("list", "methods", "--task", "deblur", "--format", "json")
    assert '"good"' in told and '"bad' not in told
    for number, (_, said) in enumerate(CHANGES):
        what = f"plugin methods/bad{number}.py: its import changes what every method of this process shares: "
        (line,) = (line for line in told.splitlines() if what in line)
        assert said in line
    assert told.count("its import changes") == len(CHANGES)
    # In the process that tries them, and never in the command's own.
    assert sorted(map(int, imports.read_text().split())) == list(range(len(CHANGES)))


@pytest.mark.parametrize("where", ["build", "body"])
def test_methods_that_change_it_when_built_or_called_are_named(project: Project, where: str) -> None:
    """One after another in one process, as audits and revalidations run them: none sees what the one before did."""
    for number, (change, _) in enumerate(CHANGES):
        given = {"build": change} if where == "build" else {}
        body = "return image" if where == "build" else f"{change}; return image"
        project.method(body, name=f"bad{number}", on="tensor", **given)
    script = f"""if True:
        import numpy as np, torch
        from harness.methods import build_method
        from harness.run.apply import tensor_restorer
        from harness.tables.workspace import Workspace
        found = Workspace.find().methods()
        image = np.zeros((4, 4, 3))
        for number in range({len(CHANGES)}):
            try:
                tensor_restorer(build_method(found[f"bad{{number}}"], "deblur", 0), "whole")(image)
                print(number, "nothing was told", flush=True)
            except Exception as error:
                print(number, error, flush=True)
        before = {{torch.get_default_dtype(), torch.get_default_device(), torch.backends.mkldnn.enabled}}
        print(before == {{torch.float32, torch.device("cpu"), True}}, (torch.rand(3) + 1).dtype)
    """
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=project.root, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.splitlines()
    assert last == "True torch.float32"
    assert len(lines) == len(CHANGES)
    for number, (line, (change, said)) in enumerate(zip(lines, CHANGES, strict=True)):
        if where == "body" and "set_grad_enabled" in change:
            # A method is called in torch's inference mode, which puts gradients back itself.
            assert line == f"{number} nothing was told"
            continue
        assert line.startswith(f"{number} ") and "changes what every method of this process shares: " in line
        assert said in line


@pytest.mark.parametrize(("where", "number"), [("first", 0), ("build", 7), ("body", 7)])
def test_a_stage_ends_that_changes_it(project: Project, where: str, number: int) -> None:
    """Nothing is restored, and the message names the method or plugin."""
    change, said = CHANGES[number]
    given = {} if where == "body" else {where: change}
    project.method(f"{change}; return image" if where == "body" else "return image", on="tensor", **given)
    told = project.restore(code=2)
    assert said in told and "bad" in told
    assert not list((project.root / "work").rglob("*.png"))


def test_other_plugins_do_not_reach_a_methods_process(project: Project) -> None:
    """Whatever a plugin does, also what no list names: the process that restores with another one never imports it."""
    project.method("return np.clip(image * 1.5, 0, 1)", name="good")
    project.restore("good")
    found = project.pixels("good")
    first = "Path('imported').write_text('')\nnp.clip = lambda image, *limits: image * 0\nimport harness.images\n"
    project.method("return image", name="bad", first=first)
    project.harness("list", "methods")  # names what it defines, in a process of its own
    (project.root / "imported").unlink()
    # As a stage of DVC is run: what was tried is known.
    tried = (
        "import os, subprocess, sys; from harness.tables.workspace import Workspace; Workspace.find().try_plugins(); "
        "os.path.exists('imported') and os.unlink('imported'); "
        f"subprocess.run([sys.executable, '-m', 'harness', 'stage', 'restore', *{WHERE!r}, '--method', 'good', "
        "'--policy', 'whole', '--levels', '0'], check=True); assert not os.path.exists('imported')"
    )
    subprocess.run([sys.executable, "-c", tried], cwd=project.root, check=True, timeout=100)
    assert project.pixels("good") == found


def test_environment_variables_hold_for_their_own_method(project: Project) -> None:
    """They are there while a plugin is imported and its method built; not for other methods, nor for stages."""
    seen = "Path(f'seen-{task}-' + {name!r}).write_text(os.environ.get('MINE', 'none'))"
    project.method(
        "return image", name="aaa", first="os.environ['MINE'] = '1'", build=seen.replace("{name!r}", "'aaa'")
    )
    project.method("return image", name="zzz", build=seen.replace("{name!r}", "'zzz'"))
    script = (
        "import os; from harness.methods import build_method; from harness.tables.workspace import Workspace; "
        "found = Workspace.find().methods(); assert 'MINE' not in os.environ; "
        "[build_method(found[name], 'deblur', 0) for name in ('aaa', 'zzz')]; assert 'MINE' not in os.environ"
    )
    subprocess.run([sys.executable, "-c", script], cwd=project.root, check=True, timeout=100)
    assert (project.root / "seen-deblur-aaa").read_text() == "1"
    assert (project.root / "seen-deblur-zzz").read_text() == "none"


# harness check -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return image.mean(1, keepdim=True)", "returned (64, 48), (64, 48, 3) was expected"),
        ("os.chdir('/'); return image", "changes what every method of this process shares: the current folder"),
    ],
)
def test_check_method_fails(project: Project, body: str, said: str) -> None:
    """What it finds is in tests/methods/test_conformance.py; here the command ends with its status."""
    project.method(body, on="tensor")
    told = project.harness("check", "bad", code=1)
    assert said in told and "conforms" not in told


def test_nothing_tried_is_not_conforming(project: Project) -> None:
    missing = "raise __import__('harness.errors').errors.NotAvailableError('no weights were released')"
    project.method("return image", build=missing)
    told = project.harness("check", "bad", code=1)
    assert "skip  deblur: no weights were released" in told
    assert "nothing of 'bad' could be tried, so it is not known whether it conforms" in told
