"""Random series of faults over a small table: whatever happens, in whatever order, no wrong row and no lost image.

The other tests of faults inject each kind where somebody thought of it. This one draws kind, moment and order, and
compares with numbers that were computed without any pipeline. ``HARNESS_FAULT_SECONDS`` makes it go on for longer, and
``HARNESS_FAULT_SEED`` repeats a series that failed: its message names the seed.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import forked
import numpy as np
import pytest
from PIL import Image

import harness

METHOD = """
import time
from pathlib import Path
from harness.methods import method

HERE = Path(__file__).parent.parent


@method("dim", tasks=["jpeg"], on="array", depends=["gain.txt"])
def build(task, level):
    gain = float((HERE / "gain.txt").read_text())

    def restore(image):
        time.sleep(0.3)
        with open(HERE / "computed.txt", "a") as log:
            log.write(f"{gain}\\n")
        return image * gain

    return restore
"""

COUNT = 4
# Without products that end in a half, which two ways of computing may round apart.
GAINS = ("0.7321", "0.9173")
SETS = ("day", "night")


class Series:
    """A workspace to which things happen, and what its table must say."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.rng = random.Random(seed)
        self.told: list[str] = [f"seed {seed}"]
        root.mkdir()
        pixels = np.random.default_rng(seed)
        for name in SETS:
            (root / name).mkdir()
            for number in range(COUNT):
                image = Image.fromarray(pixels.integers(0, 256, (24, 32), dtype=np.uint8))
                image.save(root / name / f"{number}.png")
        shutil.copytree(root / SETS[0], root / "images")
        self.gain, self.images = GAINS[0], SETS[0]
        (root / "gain.txt").write_text(self.gain)
        self.command("init")
        (root / "methods" / "dim.py").write_text(METHOD)
        self.command("datasets", "add", "mine", "--from", "images")
        self.command("new", "table", "small", "--dataset", "mine", "--level", "10", "--method", "dim", "--task", "jpeg")
        # Attempts that only a signal ended, since something else happened; and what was computed before them.
        self.killed = 0
        self.before = 0

    def start(self, *arguments: str, limit: int = 0) -> subprocess.Popen[str]:
        def limited() -> None:
            if limit:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        return subprocess.Popen(
            [sys.executable, "-m", "harness", *arguments],
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=limited,
        )

    def command(self, *arguments: str, limit: int = 0) -> int:
        """Run to the end; no program shows a traceback, however it ends."""
        if limit:
            process = self.start(*arguments, limit=limit)
            said, _ = process.communicate(timeout=120)
            status = process.returncode
        else:
            done = forked.harness(*arguments, cwd=self.root, timeout=120)
            said, status = done.stdout + done.stderr, done.returncode
        assert "Traceback" not in said, self.story(said)
        self.said = said
        return status

    def story(self, said: str = "") -> str:
        return "\n".join([*self.told, said or self.said])

    @property
    def computed(self) -> int:
        log = self.root / "computed.txt"
        return len(log.read_text().splitlines()) if log.is_file() else 0

    def expected(self) -> float:
        values = []
        for number in range(COUNT):
            reference = np.asarray(Image.open(self.root / self.images / f"{number}.png"))
            restored = harness.degrade(reference, "jpeg-y8", 10) / 255 * float(self.gain)
            values.append(harness.measure(reference, np.clip(np.rint(restored * 255), 0, 255).astype(np.uint8)))
        return float(np.mean(values))

    def check(self) -> None:
        """Run to the end; the table is that of the images and the weights that lie there now."""
        assert self.command("repro", "small") == 0, self.story()
        found = json.loads((self.root / "results" / "small.json").read_text())
        measured = next(cell["measured"] for cell in cells(found) if cell["metric"] == "psnr")
        assert measured == pytest.approx(self.expected(), abs=1e-9), self.story()
        assert self.computed - self.before <= COUNT + self.killed, self.story()
        self.settle()

    def settle(self) -> None:
        self.killed, self.before = 0, self.computed

    def end(self, number: signal.Signals) -> None:
        """End a run at any moment."""
        process = self.start("repro", "small")
        seconds = self.rng.uniform(0.5, 8)
        self.told.append(f"{number.name} after {seconds:.2f} s")
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number) if number is signal.SIGKILL else process.send_signal(number)
            said, _ = process.communicate(timeout=60)
        assert "Traceback" not in said, self.story(said)
        self.killed += 1

    def fill(self) -> None:
        """Run where no file may become larger than some size: a full disk, or a quota."""
        limit = self.rng.choice((100, 1_000, 3_000, 10_000, 30_000))
        self.told.append(f"no file beyond {limit} bytes")
        self.command("repro", "small", limit=limit)
        self.killed += 1

    def other_weights(self) -> None:
        self.gain = GAINS[GAINS.index(self.gain) - 1]
        (self.root / "gain.txt").write_text(self.gain)
        self.told.append(f"gain {self.gain}")
        self.settle()

    def other_images(self) -> None:
        self.images = SETS[SETS.index(self.images) - 1]
        for file in (self.root / self.images).iterdir():
            shutil.copyfile(file, self.root / "images" / file.name)
        self.told.append(f"images of the {self.images}")
        self.settle()

    def damage(self) -> None:
        """Cut off, change or remove a file that was computed."""
        kept = [f for place in ("work", "results", ".dvc/cache") for f in sorted((self.root / place).rglob("*"))]
        files = [file for file in kept if file.is_file()]
        if not files:
            return
        file, way = self.rng.choice(files), self.rng.choice(("cut", "change", "remove"))
        self.told.append(f"{way} {file.relative_to(self.root)}")
        content = file.read_bytes()
        file.unlink()
        if way == "cut":
            file.write_bytes(content[: len(content) // 2])
        elif way == "change" and content:
            place = self.rng.randrange(len(content))
            file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        self.settle()

    def step(self) -> None:
        happening: Callable[[], None] = self.rng.choice(
            (
                lambda: self.end(signal.SIGKILL),
                lambda: self.end(signal.SIGKILL),
                lambda: self.end(signal.SIGTERM),
                lambda: self.end(signal.SIGINT),
                self.fill,
                self.other_weights,
                self.other_images,
                self.damage,
                self.damage,
            )
        )
        happening()
        if self.rng.random() < 0.3:
            self.check()


def cells(found: object) -> list[dict[str, object]]:
    """Find the cells of a rendered table."""
    if isinstance(found, dict):
        own = [found] if "measured" in found and "metric" in found else []
        return own + [cell for value in found.values() for cell in cells(value)]
    return [cell for value in found for cell in cells(value)] if isinstance(found, list) else []


def test_no_series_of_faults_makes_a_wrong_row(tmp_path: Path) -> None:
    end = time.monotonic() + float(os.environ.get("HARNESS_FAULT_SECONDS", "40"))
    seed = int(os.environ.get("HARNESS_FAULT_SEED", time.time_ns() % 1_000_000))
    series = Series(tmp_path / "workspace", seed)
    while time.monotonic() < end:
        series.step()
    series.check()


def test_no_room_for_dvcs_own_files(tmp_path: Path) -> None:
    """DVC's database of file hashes cannot grow: SQLite tells of it in its own way. Nothing is lost, and it goes on."""
    series = Series(tmp_path / "workspace", 0)
    assert series.command("repro", "small", limit=30_000) == 2
    assert "DVC's database of file hashes: disk I/O error; is the disk full?" in series.said
    series.check()
