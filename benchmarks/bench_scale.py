"""Scale: side by side against one after another, the overhead of a cell, and planning thousands of cells.

    python benchmarks/bench_scale.py parallel      # 100 cells that compute for a second, -j 2 against -j 1, in turn
    python benchmarks/bench_scale.py overhead      # cells that compute nothing, against plain calls of the functions
    python benchmarks/bench_scale.py plan          # 500, 1,000, 2,000, 5,000 simulated cells: seconds and memory
    python benchmarks/bench_scale.py idle          # a table that is up to date
    python benchmarks/bench_scale.py start         # a light stage, forked as in a run against a process of its own

Everything is made in a temporary copy of the checkout; run it with nothing else on the machine.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent

# Methods for one task and the embedded gray image: four levels are four cells. `busy` seconds of one core a cell.
METHOD = """
import time
from harness.methods import method


@method("bench-{number}", tasks=["jpeg"], on="array")
def build(task, level):
    def restore(image):
        end = time.thread_time() + {busy}
        while time.thread_time() < end:
            sum(range(1000))
        return image

    return restore
"""


class Copy:
    """A copy of the checkout with its own data and DVC repository."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "copy"
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
        for name in listed.stdout.split("\0"):
            if name and (ROOT / name).is_file() and not name.startswith(("results/", "tests/", "docs/")):
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.root / name)
        subprocess.run(["git", "init", "-q"], cwd=self.root, check=True)
        (self.root / ".dvc/config.local").write_text(f"[cache]\n    dir = {folder}/cache\n")
        scripts = str(Path(sys.executable).parent)
        self.environment = {**os.environ, "PYTHONPATH": str(self.root), "OMP_NUM_THREADS": "1"}
        self.environment["PATH"] = f"{scripts}{os.pathsep}{os.environ['PATH']}"
        # The first run of a copy starts DVC and fetches; it is no part of what is measured.
        self.harness("repro", "embedded", "--row", "JPEG", "--dataset", "embedded-gray")

    def methods(self, count: int, busy: float) -> None:
        (self.root / "methods").mkdir(exist_ok=True)
        for number in range(count):
            text = METHOD.format(number=number, busy=busy)
            (self.root / f"methods/bench_{number}.py").write_text(text)
        (self.root / "params.yaml").write_text("methods: [methods]\ntables: [tables]\n")
        rows = "\n".join(f"      - {{name: M{number}, method: bench-{number}}}" for number in range(count))
        columns = "\n".join(
            f"      - {{dataset: embedded-gray, level: {level}, metric: psnr}}" for level in (10, 20, 30, 40)
        )
        (self.root / "tables").mkdir(exist_ok=True)
        head = "name: bench\ntitle: Benchmark\npaper: ''\nsource: simulated\nparts:\n"
        part = "  - task: jpeg\n    protocol: {psnr: psnr}\n"
        table = f"{head}{part}    columns:\n{columns}\n    rows:\n{rows}\n"
        (self.root / "tables/bench.yaml").write_text(table)
        self.harness("pipeline")
        self.harness("stage", "code")

    def harness(self, *arguments: str) -> float:
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "harness", *arguments],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"harness {' '.join(arguments)}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        return time.perf_counter() - start

    def clear(self) -> None:
        for name in ("restored", "rows", "timing", "partial", "inputs"):
            shutil.rmtree(self.root / "work" / name, ignore_errors=True)
        for lock in self.root.glob("pipelines/jpeg/**/dvc.lock"):
            lock.unlink()
        shutil.rmtree(self.root.parent / "cache", ignore_errors=True)


def parallel(folder: Path, cells: int, seconds: float) -> None:
    copy = Copy(folder)
    copy.methods(cells // 4, seconds)
    taken = {}
    for jobs in ("1", "2"):
        copy.clear()
        # One core a stage in both runs, so that the ratio is that of the side-by-side alone.
        copy.environment["HARNESS_CORES"] = "1"
        taken[jobs] = copy.harness("repro", "bench", "-j", jobs)
        print(f"{cells} cells of {seconds:g} s, -j {jobs}: {taken[jobs]:.1f} s", flush=True)
    print(f"ratio {taken['1'] / taken['2']:.2f}")


def overhead(folder: Path, cells: int) -> None:
    copy = Copy(folder)
    copy.methods(cells // 4, 0)
    copy.clear()
    whole = copy.harness("repro", "bench", "-j", "2")
    idle = copy.harness("repro", "bench", "-j", "2")
    code = (
        "import time\n"
        "from harness.assets.datasets.reading import open_dataset\n"
        "from harness.degradations import degradation\n"
        "from harness.run.measure import measure_pair\n"
        "start = time.perf_counter()\n"
        "fetched, made = open_dataset('embedded-gray', 'data'), degradation('jpeg-y8')\n"
        f"for level in (10, 20, 30, 40) * {cells // 4}:\n"
        "    reference = made.reference(fetched.read('camera'), level)\n"
        "    measure_pair(reference, made.degrade(reference, level, None), 'jpeg', level, ('psnr', 'ssim-gauss'))\n"
        "print(time.perf_counter() - start)\n"
    )
    plain = subprocess.run(
        [sys.executable, "-c", code], cwd=copy.root, env=copy.environment, capture_output=True, text=True, check=True
    )
    calls = float(plain.stdout)
    print(f"{cells} cells that compute nothing, -j 2: {whole:.1f} s; the plain calls: {calls:.2f} s")
    print(f"overhead a cell: {(whole - calls) / cells:.3f} s; nothing to do: {idle:.1f} s")


def start(folder: Path) -> None:
    """One light stage, in turn as a run starts it and as plain `dvc repro` does."""
    from harness.run.warm import Warm

    copy, server = Copy(folder), Warm()
    command = "harness stage inputs --task jpeg --dataset embedded-gray --degradation jpeg-y8 --levels 10,20,30,40"
    taken: dict[str, list[float]] = {"forked": [], "alone": []}
    with open(folder / "log", "wb") as log:
        for _ in range(16):
            for how, times in taken.items():
                begun = time.perf_counter()
                stage: Any = server.start(command, str(copy.root), copy.environment, log) if how == "forked" else None
                if stage is None:
                    stage = subprocess.Popen(["sh", "-c", command], cwd=copy.root, env=copy.environment, stderr=log)
                stage.communicate()
                if stage.returncode:
                    sys.exit(f"{command}: {stage.returncode}")
                times.append(time.perf_counter() - begun)
    forked, alone = (statistics.median(times[1:]) for times in taken.values())
    print(f"a stage forked: {forked:.3f} s (the first {taken['forked'][0]:.2f} s), a process of its own: {alone:.3f} s")
    print(f"ratio {alone / forked:.1f}")


def plan(counts: list[int]) -> None:
    """Plan in a process of its own each, so that each has its own peak of memory."""
    for cells in counts:
        done = subprocess.run([sys.executable, __file__, "plan-one", str(cells)], check=True, text=True)
        del done


def plan_one(cells: int) -> None:
    sys.path.insert(0, str(ROOT))
    from harness.assets.datasets import dataset_names
    from harness.methods import Method
    from harness.run.graph import needed, stage_graph, stage_of
    from harness.run.pipeline import pipeline_stages, stage_files
    from harness.run.project import Project
    from harness.tables.published import Column, Row, Table, TablePart
    from harness.tables.workspace import Workspace

    per_row = 40  # ten datasets, four levels
    names = [name for name in dataset_names() if name not in ("embedded", "embedded-gray")][:10]
    columns = tuple(Column(dataset=name, level=level, metric="psnr") for name in names for level in (10, 30, 50, 70))
    count = -(-cells // per_row)
    rows = tuple(Row(name=f"M{number}", method=f"sim-{number}") for number in range(count))
    table = Table(
        name="simulated",
        title="",
        paper="",
        source="",
        parts=(TablePart(task="denoise-rgb", columns=columns, rows=rows),),
    )

    class Simulated(Workspace):
        def tables(self) -> dict[str, Table]:
            return {"simulated": table}

        def methods(self) -> dict[str, Method]:
            made = lambda task, level: lambda image: image  # noqa: E731
            return {f"sim-{i}": Method(f"sim-{i}", ("denoise-rgb",), made, on="array") for i in range(count)}

    Simulated.table_files = {"simulated": ROOT / "tables" / "simulated.yaml"}  # type: ignore[assignment]
    start = time.perf_counter()
    os.chdir(ROOT)
    workspace = Simulated(ROOT)
    stages = pipeline_stages(workspace)
    size = sum(map(len, stage_files(workspace).values()))
    graph = stage_graph(stages)
    nodes = needed(graph, [stage_of(graph, "render", "simulated")])
    changed = Project(ROOT).changed(nodes.values())
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{count * per_row} cells: {len(nodes)} stages in {len(stages)} files ({size / 2**20:.1f} MiB), "
        f"{len(changed)} to run; planned in {seconds:.2f} s (CPU {time.process_time():.2f} s), {memory:.0f} MiB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["parallel", "overhead", "plan", "plan-one", "idle", "start"])
    parser.add_argument("counts", nargs="*", type=int)
    parser.add_argument("--cells", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU seconds a cell")
    arguments = parser.parse_args()
    if arguments.what == "plan":
        plan(arguments.counts or [500, 1000, 2000, 5000])
        return
    if arguments.what == "plan-one":
        plan_one(arguments.counts[0])
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        if arguments.what == "parallel":
            parallel(Path(folder), arguments.cells, arguments.seconds)
        elif arguments.what == "overhead":
            overhead(Path(folder), arguments.cells)
        elif arguments.what == "start":
            start(Path(folder))
        else:
            copy = Copy(Path(folder))
            copy.harness("repro", "embedded", "-j", "2")
            times = sorted(copy.harness("repro", "embedded") for _ in range(5))
            print(f"nothing to do: median {times[2]:.2f} s of {[round(t, 2) for t in times]}")


if __name__ == "__main__":
    main()
