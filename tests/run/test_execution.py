"""Stages side by side, on this machine and on a Dask cluster: real DVC, real processes, real kills."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import psutil
import pytest
from dvc_projects import DvcProject, Recorder, diamond, run

from harness.errors import HarnessError
from harness.run.clusters import job_script, read_cluster_file
from harness.run.resources import worker_shares

TWO_WORKERS = """
cluster: distributed.LocalCluster
options: {n_workers: 2, threads_per_worker: 1, dashboard_address: "127.0.0.1:0"}
"""


def test_side_by_side_as_with_plain_dvc(tmp_path: Path) -> None:
    """The same outputs and the same lock entries, byte by byte, as `dvc repro`; then nothing is left to do."""
    serial, jobs = DvcProject(tmp_path / "serial", diamond()), DvcProject(tmp_path / "jobs", diamond())
    run("dvc", "repro", "end/dvc.yaml:all", "-q", cwd=serial.root)
    watcher = Recorder()
    outcomes = jobs.make("end/dvc.yaml:all", jobs=3, watcher=watcher)
    assert {outcome.state for outcome in outcomes.values()} <= {"computed", "restored"}
    assert outcomes["sub/dvc.yaml:m1"].said == "made m1"
    assert set(watcher.begun) == set(watcher.ended) == set(outcomes)
    assert watcher.ended[0] == "a" and watcher.ended[-1] == "end/dvc.yaml:all"
    assert jobs.contents() == serial.contents()
    assert jobs.changed() == set()
    assert "didn't change" in run("dvc", "repro", "end/dvc.yaml:all", cwd=jobs.root).stdout


def test_a_dask_cluster_of_two_workers_as_serial(tmp_path: Path) -> None:
    serial, spread = DvcProject(tmp_path / "serial", diamond()), DvcProject(tmp_path / "spread", diamond())
    serial.make("end/dvc.yaml:all")
    (tmp_path / "two.yaml").write_text(TWO_WORKERS)
    outcomes = spread.make("end/dvc.yaml:all", cluster=tmp_path / "two.yaml")
    assert {outcome.state for outcome in outcomes.values()} <= {"computed", "restored"}, outcomes
    assert spread.contents() == serial.contents()


def test_only_what_follows_from_a_change_runs(tmp_path: Path) -> None:
    project = DvcProject(tmp_path, diamond())
    project.make(jobs=2)
    files = diamond()
    files["sub/dvc.yaml"]["m2"]["cmd"] = "(cat a; echo other) > m2; echo made m2 >&2"
    project.write(files)
    assert project.changed() == {"sub/dvc.yaml:m2", "end/dvc.yaml:all"}
    (project.root / "m1").write_text("damaged")
    assert project.changed() == {"sub/dvc.yaml:m1", "sub/dvc.yaml:m2", "end/dvc.yaml:all"}
    (project.root / "m1").unlink()
    assert "sub/dvc.yaml:m1" in project.changed()
    outcomes = project.make(jobs=2)
    # What DVC has in its cache of runs is not computed again.
    states = {address: outcome.state for address, outcome in outcomes.items()}
    assert states["sub/dvc.yaml:m1"] == "restored"
    assert states["sub/dvc.yaml:m2"] == "computed"
    assert states["a"] == "unchanged"


def failing(command: str) -> dict[str, dict[str, dict[str, object]]]:
    files = diamond(4)
    files["dvc.yaml"]["m0"]["cmd"] = command
    return files


def test_a_failure_stops_or_not(tmp_path: Path) -> None:
    command = "echo error: no weights >&2; exit 2"
    project = DvcProject(tmp_path / "going", failing(command))
    outcomes = project.make(keep_going=True)
    assert outcomes["m0"].state == "failed"
    assert (outcomes["m0"].message, outcomes["m0"].status) == ("no weights", 2)
    assert [outcomes[f"sub/dvc.yaml:m{i}"].state for i in (1, 2, 3)] == ["computed"] * 3
    assert outcomes["end/dvc.yaml:all"].state == "skipped"
    assert project.changed() == {"m0", "end/dvc.yaml:all"}
    # Without --keep-going nothing further begins, and what was finished is recorded.
    files = failing(command)
    # m1 goes on well after m0 has failed; what waits for m1 must not begin.
    wait_for_m0 = "touch m1-goes-on; while [ -e m0-goes-on ]; do sleep 0.05; done; sleep 2"
    files["sub/dvc.yaml"]["m1"]["cmd"] = f"{wait_for_m0}; cp a m1"
    files["sub/dvc.yaml"]["later"] = {"cmd": "cp m1 later", "deps": ["m1"], "outs": ["later"], "wdir": ".."}
    files["end/dvc.yaml"]["all"]["deps"].append("later")  # type: ignore[attr-defined]
    files["dvc.yaml"]["m0"]["cmd"] = (
        f"until [ -e m1-goes-on ] && [ -e m2 ] && [ -e m3 ]; do sleep 0.05; done; rm -f m0-goes-on; {command}"
    )
    project = DvcProject(tmp_path / "stopping", files)
    (project.root / "m0-goes-on").touch()
    watcher = Recorder()
    outcomes = project.make(jobs=4, watcher=watcher)
    assert outcomes["m0"].state == "failed"
    assert outcomes["sub/dvc.yaml:m1"].state == "computed"
    assert outcomes["sub/dvc.yaml:later"].state == "skipped"
    assert "sub/dvc.yaml:later" not in watcher.begun
    assert project.changed() == {"m0", "sub/dvc.yaml:later", "end/dvc.yaml:all"}


def test_memory_that_ran_out_is_tried_again_alone_with_less(tmp_path: Path) -> None:
    command = 'test "$HARNESS_SHRINK" = 2 && cp a m0 || { echo error: was killed >&2; exit 137; }'
    project = DvcProject(tmp_path, failing(command))
    watcher = Recorder()
    outcomes = project.make(jobs=3, watcher=watcher)
    assert outcomes["m0"].state == "computed"
    assert watcher.begun.count("m0") == 3
    assert project.changed() == set()
    # What fails at last is not cached: it is tried again by the next run.
    project = DvcProject(tmp_path / "never", failing("echo error: was killed >&2; exit 137"))
    outcomes = project.make()
    assert (outcomes["m0"].state, outcomes["m0"].message) == ("failed", "was killed")
    assert project.changed() == {"m0", "end/dvc.yaml:all"}


def test_a_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    """kill -9 of the process that runs DVC, in the middle of a stage."""
    command = "if test -f once; then cp a m0; else touch once; kill -9 $PPID; sleep 30; fi"
    project = DvcProject(tmp_path, failing(command))
    outcomes = project.make(jobs=2)
    assert {outcome.state for outcome in outcomes.values()} <= {"computed", "restored"}, outcomes
    assert project.changed() == set()


def test_a_stage_that_kills_every_worker_fails(tmp_path: Path) -> None:
    outcomes = DvcProject(tmp_path, failing("kill -9 $PPID")).make(jobs=2, keep_going=True)
    assert "was killed or crashed, 3 times in this stage" in outcomes["m0"].message
    assert outcomes["sub/dvc.yaml:m1"].state == "computed"


DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from dvc_projects import DvcProject, diamond
project = DvcProject.__new__(DvcProject)
project.root, project.files = Path({root!r}), {files!r}
project.make(jobs={jobs})
"""


def test_killing_the_driver_ends_everything_and_the_next_run_completes(tmp_path: Path) -> None:
    files = failing("echo $$ > pid; test -f go && cp a m0 || sleep 300")
    project = DvcProject(tmp_path, files)
    script = tmp_path / "driver.py"  # without `if __name__ == "__main__"`: no worker runs it again
    script.write_text(DRIVER.format(tests=str(Path(__file__).parent), root=str(tmp_path), files=files, jobs=2))
    driver = subprocess.Popen([sys.executable, str(script)])
    deadline = time.monotonic() + 120
    lock = tmp_path / "sub/dvc.lock"
    while not (tmp_path / "pid").is_file() or not (lock.is_file() and lock.read_text().count("cmd:") == 3):
        assert time.monotonic() < deadline and driver.poll() is None
        time.sleep(0.05)
    family = psutil.Process(driver.pid).children(recursive=True)
    assert len(family) >= 2
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    _gone, alive = psutil.wait_procs(family, timeout=15)
    assert not alive
    (tmp_path / "go").touch()
    outcomes = project.make(jobs=2)
    assert outcomes["m0"].state == "computed"
    assert outcomes["sub/dvc.yaml:m1"].state == "unchanged"
    assert project.changed() == set()


@pytest.mark.parametrize("jobs", [1, 2])
def test_interrupting_ends_the_stages_and_gives_back_the_locks(tmp_path: Path, jobs: int) -> None:
    """Ctrl-C: the stage is told, DVC's locks are given back, nothing is left running, and the next run completes."""
    command = (
        "test -f go && cp a m0 || { trap 'echo told > told; exit 130' INT; touch begun; while :; do sleep 0.1; done; }"
    )
    files = failing(command)
    project = DvcProject(tmp_path, files)
    code = DRIVER.format(tests=str(Path(__file__).parent), root=str(tmp_path), files=files, jobs=jobs)
    driver = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "begun").is_file():
        assert time.monotonic() < deadline and driver.poll() is None
        time.sleep(0.05)
    family = psutil.Process(driver.pid).children(recursive=True)
    os.killpg(driver.pid, signal.SIGINT)  # as a terminal does
    assert driver.wait(timeout=60) != 0
    assert not psutil.wait_procs(family, timeout=15)[1]
    assert (tmp_path / "told").read_text() == "told\n"
    assert json.loads((tmp_path / ".dvc/tmp/rwlock").read_text()) == {}
    assert not list((tmp_path / "work/logs").glob(".run-*"))
    (tmp_path / "go").touch()
    assert project.make()["m0"].state == "computed"
    assert project.changed() == set()


def test_interrupting_a_run_that_waits_for_another(tmp_path: Path) -> None:
    files = failing("touch begun; until test -f go; do sleep 0.1; done; cp a m0")
    project = DvcProject(tmp_path, files)
    code = DRIVER.format(tests=str(Path(__file__).parent), root=str(tmp_path), files=files, jobs=1)
    first = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 120
    while not (tmp_path / "begun").is_file():
        assert time.monotonic() < deadline and first.poll() is None
        time.sleep(0.05)
    second = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert second.stderr is not None
    assert "another run works on the same files" in second.stderr.readline()
    second.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in second.communicate(timeout=20)[1]
    (tmp_path / "go").touch()
    assert first.wait(timeout=60) == 0
    assert project.changed() == set()


@pytest.mark.parametrize("says", ["; echo made m0 >&2", ""])
def test_two_runs_at_once_wait_for_each_other(tmp_path: Path, capfd: pytest.CaptureFixture[str], says: str) -> None:
    """A second run of the same stages waits, says for whom, and finds the work done; also where nothing is printed."""
    files = failing(f"until test -f go; do sleep 0.1; done; cp a m0; date +%N >> times{says}")
    project = DvcProject(tmp_path, files)
    project.make("a")
    code = DRIVER.format(tests=str(Path(__file__).parent), root=str(tmp_path), files=files, jobs=2)
    other = subprocess.Popen([sys.executable, "-c", code])
    rwlock = tmp_path / ".dvc/tmp/rwlock"
    deadline = time.monotonic() + 120
    while not (rwlock.is_file() and f"{tmp_path}/m0" in rwlock.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(project.make, "end/dvc.yaml:all", jobs=2)
        said = ""
        while "another run works on the same files" not in said and time.monotonic() < deadline:
            time.sleep(0.05)
            said += capfd.readouterr().err
        (tmp_path / "go").touch()
        outcomes = second.result(timeout=120)
    assert other.wait(timeout=120) == 0
    assert re.search(r"another run works on the same files \(process(es)? \d+", said)
    assert (outcomes["m0"].state, outcomes["m0"].message) == ("unchanged", "")
    assert len((tmp_path / "times").read_text().splitlines()) == 1
    assert project.changed() == set()


def test_a_lock_file_cut_off_by_a_kill_costs_no_computing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    project = DvcProject(tmp_path, diamond())
    project.make()
    lock = tmp_path / "sub/dvc.lock"
    lock.write_text(lock.read_text().partition("md5")[0] + "m")
    assert project.changed() == {"sub/dvc.yaml:m1", "sub/dvc.yaml:m2", "end/dvc.yaml:all"}
    assert "put aside as dvc.lock.damaged" in capfd.readouterr().err
    outcomes = project.make()
    assert {outcomes[f"sub/dvc.yaml:m{i}"].state for i in (1, 2)} == {"restored"}
    assert project.changed() == set()


@pytest.mark.parametrize("harmed", ["m0", "folder/b.txt"])
def test_a_damaged_file_in_the_cache_is_made_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], harmed: str
) -> None:
    """DVC trusts its write-protected files; what comes out of them is compared before it is used."""
    files = diamond()
    folder = {"cmd": "mkdir -p folder && echo a > folder/a.txt && echo b > folder/b.txt", "outs": ["folder"]}
    files["dvc.yaml"]["folder"] = {**folder, "deps": ["a"]}
    project = DvcProject(tmp_path, files)
    project.make()
    content = (tmp_path / harmed).read_bytes()
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    cached = tmp_path / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    cached.chmod(0o644)
    cached.write_bytes(content[:-2] + b"?\n")
    cached.chmod(0o444)
    stage = harmed.split("/")[0]
    shutil.rmtree(tmp_path / stage) if "/" in harmed else (tmp_path / stage).unlink()
    outcomes = project.make()
    assert outcomes[stage].state == "computed"
    assert f"DVC's cache holds a damaged {harmed}; dropped" in capfd.readouterr().err
    assert (tmp_path / harmed).read_bytes() == content
    assert cached.read_bytes() == content
    assert project.changed() == set()


def test_no_stage_waits_for_ever_for_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage that is thought to need more than the machine has runs all the same, alone."""
    monkeypatch.setattr("harness.run.execution.free_memory", lambda: 1000)
    outcomes = DvcProject(tmp_path, diamond()).make(jobs=3)
    assert {outcome.state for outcome in outcomes.values()} <= {"computed", "restored"}


@pytest.mark.parametrize(
    ("needs", "memory", "jobs", "shares"),
    [
        ([1, 1, 1, 1], 10, 2, [1, 1]),  # no more than the jobs
        ([2, 5], 10, 8, [5, 2]),  # nor than the stages
        ([6, 6, 6, 1, 1], 8, 4, [6, 1, 1]),  # the memory is short: small stages run beside a large one
        ([8, 8], 8, 4, [8]),
    ],
)
def test_workers_share_the_memory(needs: list[int], memory: int, jobs: int, shares: list[int]) -> None:
    assert worker_shares(needs, memory, jobs) == shares


def test_gpus_are_slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four stages, two GPUs: each sees one of them, and never the same at the same time."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    files = diamond(4)
    for stages in files.values():
        for name, stage in stages.items():
            if name.startswith("m"):
                two = "until [ $(grep -c + log) -ge 2 ]; do sleep 0.1; done"
                log = f"echo + $CUDA_VISIBLE_DEVICES >> log; {two}; sleep 0.3; echo - $CUDA_VISIBLE_DEVICES >> log"
                stage["cmd"] = f"{log}; cp a {name}"
    project = DvcProject(tmp_path, files)
    from harness.run.execution import RunSettings, run_stages
    from harness.run.graph import Step

    nodes = {
        address: msgspec.structs.replace(node, step=Step(node.step.command, gpu=node.name.startswith("m")))
        for address, node in project.nodes().items()
    }
    outcomes = run_stages(tmp_path, nodes, RunSettings(jobs=4), Recorder())
    assert {outcome.state for outcome in outcomes.values()} <= {"computed", "restored"}
    held: set[str] = set()
    used = set()
    for line in (tmp_path / "log").read_text().splitlines():
        sign, device = line.split()
        assert device in ("3", "5")
        used.add(device)
        assert (device in held) == (sign == "-")
        held ^= {device}
    assert used == {"3", "5"}


def documented_clusters() -> list[str]:
    text = (Path(__file__).parents[2] / "docs/scale.md").read_text()
    return [
        block for block in re.findall("```yaml\n(.*?)```", text, re.DOTALL) if "cluster" in block or "sched" in block
    ]


def test_the_documented_cluster_files_are_accepted(tmp_path: Path) -> None:
    """Every file of docs/scale.md is read; those of job queues make the script that they promise."""
    file = tmp_path / "cluster.yaml"
    scripts = {}
    for text in documented_clusters():
        file.write_text(text)
        found = read_cluster_file(file)
        if found.cluster.startswith("dask_jobqueue"):
            need_dask_jobqueue()
            scripts[found.cluster.rpartition(".")[2]] = job_script(file)
        else:
            with pytest.raises(HarnessError, match=r"pip install dask-kubernetes|names a scheduler"):
                job_script(file)
    assert sorted(scripts) == ["PBSCluster", "SLURMCluster"]
    for line in ("#SBATCH -p gpu", "#SBATCH --cpus-per-task=4", "#SBATCH -t 08:00:00", "#SBATCH --gres=gpu:1"):
        assert line in scripts["SLURMCluster"].splitlines()
    for line in ("#PBS -q gpu", "#PBS -l select=1:ncpus=4:ngpus=1:mem=32GB", "#PBS -l walltime=08:00:00"):
        assert line in scripts["PBSCluster"].splitlines()
    for script in scripts.values():
        assert "--resources gpu=1,memory=30e9" in script
        assert "--nthreads 4" in script


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("jobs: 2", "give either cluster"),
        ("cluster: os.system\noptions: {command: ls}", r"'os\.system' is in none of distributed, dask_jobqueue"),
        ("cluster: distributed.LocalCluster\nresources: [disk]", "resources are 'memory' and 'gpu', not 'disk'"),
        ("cluster: distributed.LocalCluster\njobs: 0", "at least one job"),
        ("cluster: distributed.LocalCluster\nworkers: 3", "unknown key 'workers'"),
    ],
)
def test_cluster_files_are_checked(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    with pytest.raises(HarnessError, match=said):
        read_cluster_file(path)


FAKE_SBATCH = """#!/bin/sh
grep -v '^#SBATCH' "$1" > {root}/job.sh
sh {root}/job.sh > {root}/job.log 2>&1 &
echo $! >> {root}/pids
echo "Submitted batch job $!"
"""


def need_dask_jobqueue() -> None:
    """Skip without it; loading it here would do to Ctrl-C what a cluster file must not do."""
    if importlib.util.find_spec("dask_jobqueue") is None:
        pytest.skip("dask_jobqueue is not installed")


def test_jobs_of_a_batch_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """dask-jobqueue's SLURM jobs through an `sbatch` that starts the job script at once."""
    need_dask_jobqueue()
    handler = signal.getsignal(signal.SIGINT)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "sbatch").write_text(FAKE_SBATCH.format(root=tmp_path))
    (programs / "scancel").write_text('#!/bin/sh\nkill "$1" 2>/dev/null; pkill -P "$1" 2>/dev/null; true\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    options = "{cores: 2, processes: 1, memory: 1GB, interface: lo, worker_extra_args: ['--resources', 'memory=9e9']}"
    cluster = tmp_path / "slurm.yaml"
    cluster.write_text(
        f"cluster: dask_jobqueue.SLURMCluster\noptions: {options}\njobs: 1\nresources: [memory]\nwait_seconds: 60\n"
    )
    serial, spread = DvcProject(tmp_path / "serial", diamond()), DvcProject(tmp_path / "spread", diamond())
    serial.make("end/dvc.yaml:all")
    outcomes = spread.make("end/dvc.yaml:all", cluster=cluster)
    assert {outcome.state for outcome in outcomes.values()} <= {"computed", "restored"}, outcomes
    assert spread.contents() == serial.contents()
    assert signal.getsignal(signal.SIGINT) is handler
