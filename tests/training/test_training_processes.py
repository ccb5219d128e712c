"""Real processes: killed at any moment, several at once, a full disk."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import psutil
import pytest
from safetensors.torch import load
from training_workspace import Place

Places = Callable[[str], Place]


def test_kill_9_at_any_moment_costs_no_bit(places: Places) -> None:
    whole, killed = places("whole"), places("killed")
    length = ("--iterations", "200")
    assert whole.train(*length)[0] == 0
    kills = killed.kill_until_done(*length, minutes="0.002", times=6, pause=0.4)
    assert kills >= 1
    assert killed.train(*length)[0] == 0
    assert killed.weights() == whole.weights()


def test_an_interrupt_keeps_the_last_step(places: Places) -> None:
    whole, stopped = places("whole"), places("stopped")
    process = stopped.start("--iterations", "400", "--set", "checkpoint_minutes=1000")
    # Once there are lines in the log, steps are being made.
    while process.poll() is None and not any(
        len(log.read_text().splitlines()) > 1 for log in stopped.root.glob("work/training/runs/**/log.csv")
    ):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, "go on" in said) == (130, True)
    assert stopped.checkpoints()
    assert stopped.train("--iterations", "400")[0] == whole.train("--iterations", "400")[0] == 0
    assert stopped.weights() == whole.weights()


def test_two_processes_equal_one(places: Places) -> None:
    one, two, parts = places("one"), places("two"), places("parts")
    length = ("--iterations", "20")
    assert one.train(*length)[0] == 0
    assert parts.train(*length, "--set", "accumulate=2")[0] == 0
    # A port that the system chooses: tests run side by side.
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"),
        *("-m", "harness", "train", two.method, "--level", "50", *length, "--device", "cpu"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, cwd=two.root, env=environment, capture_output=True, text=True, timeout=240)
    assert ran.returncode == 0, ran.stderr
    single, double = load(one.weights()), load(two.weights())
    difference = max(float((single[key] - double[key]).abs().max()) for key in single)
    assert difference < 1e-6
    # One process that computes the batch in the same two parts: the same sums, the same bits.
    assert parts.weights() == two.weights()
    # What the first process refuses ends the others, too: none waits for one that is gone.
    shorter = [*command[: command.index("--iterations")], "--iterations", "19", "--device", "cpu"]
    ran = subprocess.run(shorter, cwd=two.root, env=environment, capture_output=True, text=True, timeout=240)
    assert ran.returncode != 0 and "weights of 20 iterations" in ran.stderr


def test_a_killed_worker_is_started_again_and_costs_no_bit(places: Places) -> None:
    one, group = places("one"), places("group")
    assert one.train("--iterations", "200", "--set", "accumulate=2")[0] == 0
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "2"),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"),
        *("-m", "harness", "train", group.method, "--level", "50", "--iterations", "200", "--device", "cpu"),
        *("--set", "checkpoint_minutes=0.0005"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    log = group.root / "said.txt"
    with open(log, "w") as said:
        running = subprocess.Popen(command, cwd=group.root, env=environment, stdout=said, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 120
        while running.poll() is None and time.monotonic() < deadline and not group.checkpoints():
            time.sleep(0.01)
        assert running.poll() is None, log.read_text()
        # The second process, which writes nothing: the first one waits for it in the middle of a step.
        workers = psutil.Process(running.pid).children(recursive=True)
        (second,) = (worker for worker in workers if worker.environ().get("RANK") == "1")
        second.kill()
        assert running.wait(timeout=240) == 0, log.read_text()
    assert group.weights() == one.weights()


def _process(place: Place, rank: int, port: int, *arguments: str) -> subprocess.Popen[str]:
    """One of two processes, each on a machine of its own as far as files go."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
    environment |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    command = [sys.executable, "-m", "harness", "train", place.method, "--level", "50", *arguments, "--device", "cpu"]
    return subprocess.Popen(
        command, cwd=place.root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])


def test_two_machines_with_disks_of_their_own_go_on_from_the_firsts_checkpoint(places: Places) -> None:
    whole, first, second = places("whole"), places("first"), places("second")
    split = ("--set", "accumulate=2")
    assert whole.train("--iterations", "20", *split)[0] == 0
    assert first.train("--iterations", "7", *split)[0] == 0
    # The second machine has nothing, and knows the method by the same name.
    shutil.rmtree(second.root)
    shutil.copytree(first.root, second.root, ignore=shutil.ignore_patterns("work"))
    second.method = first.method
    port = _port()
    running = [_process(place, rank, port, "--iterations", "20") for rank, place in enumerate((first, second))]
    said = [process.communicate(timeout=240)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    assert first.weights() == whole.weights()
    assert not second.checkpoints()
    # Once more: the first has the result, and the second does not begin to train without it.
    port = _port()
    running = [_process(place, rank, port, "--iterations", "20") for rank, place in enumerate((first, second))]
    said = [process.communicate(timeout=240)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], said


def test_a_damaged_checkpoint_stops_both(places: Places) -> None:
    first = places("first")
    assert first.train("--iterations", "7", "--set", "accumulate=2")[0] == 0
    first.checkpoints()[0].write_bytes(b"no checkpoint")
    port = _port()
    running = [_process(first, rank, port, "--iterations", "20") for rank in range(2)]
    said = [process.communicate(timeout=240)[0] for process in running]
    assert [process.returncode for process in running] == [2, 2], said
    assert all("damaged" in words and "Traceback" not in words for words in said)


def test_a_full_disk_ends_with_one_sentence_and_a_checkpoint(place: Place) -> None:
    assert place.train("--iterations", "5")[0] == 0
    before = place.checkpoints()[0].read_bytes()

    def small_disk() -> None:
        # A checkpoint of the tiny network has about 20 kB; nothing that large can be written any more.
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, 8_000))

    # The store is there already, so the checkpoint is the first large file.
    process = place.start("--iterations", "50", preexec_fn=small_disk)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 2, said
    errors = [line for line in said.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and "Traceback" not in said
    assert "cannot be written (File too large)" in errors[0]
    assert place.checkpoints()[0].read_bytes() == before
    assert place.train("--iterations", "50")[0] == 0


def test_mistakes_on_the_command_line(place: Place) -> None:
    for arguments, words in (
        (("--budget", "huge"), "unknown budget 'huge'"),
        ((), "say how long"),
        (("--budget", "smoke", "--iterations", "5"), "give one of budget"),
        (("--iterations", "5", "--data", "bsd4000"), "unknown dataset 'bsd4000'"),
        (("--iterations", "5", "--data", "div2k-train"), "div2k-train"),
        (("--iterations", "5", "--set", "ema=2"), "ema lies in [0, 1)"),
    ):
        code, said = place.train(*arguments)
        assert code == 2 and words in said and "Traceback" not in said, said


@pytest.mark.parametrize("name", ["ffdnet", "pannet"])
def test_targets_that_cannot_be_trained(place: Place, name: str) -> None:
    command = [sys.executable, "-m", "harness", "train", name, "--budget", "smoke"]
    ran = subprocess.run(command, cwd=place.root, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 2
    assert ("has no recipe" if name == "ffdnet" else "did you mean 'panet") in ran.stderr
