"""`harness check` of metrics, degradations, tasks and datasets: each broken promise is found and named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.main import harness as command
from harness.methods.definitions import registry_of
from harness.registries import REGISTRIES, added, take_out
from harness.run.definitions_conformance import check_definition, defining_kinds

METRIC = "@harness.metric('tried', version=1, {})\ndef tried(reference, restored):\n    {}\n"
ONE_IMAGE = "@harness.metric('tried', version=1, reference=False, {})\ndef tried(restored):\n    {}\n"
DEGRADATION = "@harness.degradation('tried', version=1, {})\ndef tried(reference, level{}):\n    {}\n"
TASK = "harness.task('tried', {})\n"
DATASET = "@harness.dataset('tried')\ndef tried():\n    {}\n"
ERROR = "np.abs(reference.astype(float) - restored).mean()"


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    for kind in ("task", "degradation", "metric", "dataset"):
        registry_of(kind)
    before = added()
    yield
    take_out(name for name in added() if name not in before)


def defined(source: str) -> str:
    exec(f"import harness\nimport numpy as np\n{source}", {"__file__": "tried.py"})
    (kind,) = defining_kinds("tried")
    return kind


@pytest.mark.parametrize(
    "source",
    [
        METRIC.format("better='lower', range=(0, 255), unit='levels'", f"return {ERROR}"),
        METRIC.format("better='higher'", f"return 1 / (1 + {ERROR})"),
        METRIC.format("better='lower', of='set'", "return 3").replace("(reference, restored)", "(pairs)").replace(
            "return 3", "return max(abs(a.astype(float) - b).mean() for a, b in pairs)"
        ),
        ONE_IMAGE.format("better='higher'", "return restored.std()"),
        ONE_IMAGE.format("better='higher', of='set'", "return sum(i.mean() for i in restored)"),
        DEGRADATION.format("random=True", ", rng", "return rng.integers(0, 255, reference.shape, dtype=np.uint8)"),
        DEGRADATION.format("shrinks=True, levels=(2, 3)", "", "return reference[::level, ::level].copy()"),
        TASK.format("degradation='awgn-8bit', level_name='sigma', levels=[25]"),
        TASK.format("degradation='awgn-8bit-gray', level_name='sigma', levels=[25], channels=1"),
        TASK.format("degradation='bicubic-replicate', level_name='scale', levels=[8], metrics=['psnr-y-crop']"),
        TASK.format("degradation='pairs'"),
        DATASET.format("yield 'a', np.zeros((8, 8), np.uint8)"),
    ],
)  # fmt: skip
def test_what_keeps_its_promises_conforms(source: str) -> None:
    checks = list(check_definition(defined(source), "tried"))
    assert [check.found for check in checks if check.held is False] == []
    assert checks[-1].what == "what the process shares" and checks[-1].held


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (METRIC.format("better='higher'", f"return {ERROR}"), "'higher' is not the better direction"),
        (METRIC.format("better='lower', range=(0, 1)", f"return {ERROR}"), "outside the declared 0 to 1"),
        (METRIC.format("better='lower'", f"return {ERROR} + np.random.rand()"), "a second call gave"),
        (METRIC.format("better='lower'", f"v = {ERROR}; restored[:] = 0; return v"), "writes into what it is given"),
        (METRIC.format("better='lower'", "return 'much'"), "returned str, not a number"),
        (METRIC.format("better='lower'", "return float('nan')"), "returned NaN"),
        (METRIC.format("better='lower'", "return reference.shape[2]"), "failed: IndexError"),
        (METRIC.format("better='lower'", f"np.seterr(all='raise'); return {ERROR}"), "handling of floating-point"),
        (DEGRADATION.format("output='float64'", "", "return reference / 255"), "as if in 0..1"),
        (DEGRADATION.format("random=True", ", rng", "return reference"), "made no other input"),
        (
            DEGRADATION.format("", "", "return np.random.randint(0, 255, reference.shape).astype(np.uint8)"),
            "declare random=True",
        ),
        (DEGRADATION.format("", "", "reference[:] = 0; return reference"), "writes into what it is given"),
        (DEGRADATION.format("", "", "return reference[::2]"), "with shrinks=True"),
        (DEGRADATION.format("", "", "return reference.astype(float)"), "must be an array of uint8"),
        (TASK.format("degradation='nowhere'"), "'nowhere' is not known"),
        (TASK.format("degradation='awgn-8bit', metrics=['pnsr']"), "pnsr"),
        (TASK.format("degradation='bicubic-replicate', levels=[2]"), "whose level_name is 'scale'"),
        (TASK.format("degradation='awgn-8bit-gray', levels=[25]"), "has 1 channel, the task 3"),
        (DATASET.format("yield 'a', np.random.randint(0, 255, (8, 8)).astype(np.uint8)"), "gave another 'a'"),
        (DATASET.format("yield 'a', np.zeros((8, 8))"), "give an array of uint8"),
    ],
)
def test_a_broken_promise_is_a_sentence(source: str, reason: str) -> None:
    checks = list(check_definition(defined(source), "tried"))
    broken = [check.found for check in checks if check.held is False]
    assert any(reason in text for text in broken), checks
    assert not any("\n" in text for text in broken)


def test_what_lacks_something_is_not_said_to_conform() -> None:
    kind = defined(METRIC.format("better='lower'", "import no_such_package"))
    checks = list(check_definition(kind, "tried"))
    assert [check.held for check in checks] == [None] and "no_such_package" in checks[0].found


DRAWN = """
import random
import numpy as np
import harness
NOISE = {drawn}
@harness.degradation("drawn", version=1)
def drawn(reference, level):
    return np.roll(reference, NOISE % 10007, (0, 1))
"""


@pytest.mark.parametrize(
    ("drawn", "held"),
    [("random.getrandbits(30)", False), ("hash('a seed')", False), ("random.Random(3).getrandbits(30)", True)],
)
def test_what_is_the_same_only_within_a_process(
    drawn: str, held: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "params.yaml").write_text("plugins: [plugins]\n")
    (tmp_path / "plugins" / "drawn.py").write_text(DRAWN.format(drawn=drawn))
    monkeypatch.chdir(tmp_path)
    given = CliRunner().invoke(command, ["check", "drawn", "--format", "json"])
    outcomes = {check["check"]: check["outcome"] for check in json.loads(given.stdout)}
    assert outcomes["degradation: another process"] == ("ok" if held else "fail")
    assert not [what for what, outcome in outcomes.items() if outcome == "fail" and "another process" not in what]


def test_the_command_tries_what_a_workspace_defines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "params.yaml").write_text("plugins: [plugins]\n")
    source = METRIC.format("better='higher'", f"return {ERROR}") + TASK.format("degradation='pairs'")
    (tmp_path / "plugins" / "mine.py").write_text(f"import harness\nimport numpy as np\n{source}")
    monkeypatch.chdir(tmp_path)
    given = CliRunner().invoke(command, ["check", "tried", "--format", "json"])
    found = {(check["check"].partition(":")[0], check["outcome"]) for check in json.loads(given.stdout)}
    assert {("metric", "fail"), ("task", "ok")} <= found and "failed" in str(given.exception)
    for kind in ("metric", "task", "degradation"):
        given = CliRunner().invoke(command, ["list", f"{kind}s", "--format", "json"])
        listed = {record[kind]: record["from"] for record in json.loads(given.stdout)}
        assert listed.get("tried", "plugins/mine.py") == "plugins/mine.py"
        assert set(listed) >= set(REGISTRIES[kind].built_in) and "built in" in listed.values()
