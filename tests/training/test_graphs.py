"""Recorded steps, without a GPU: what is recorded when, and that the training is the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from test_training_loop import CPU, training, weights
from torch import Tensor
from training_workspace import Place

from harness.errors import HarnessError
from harness.records.training_runs import Options, TrainingPlan
from harness.training import loop
from harness.training.graphs import WARM_UP, RecordedStep, Step
from harness.training.world import World

GRAPH = Options(graph=True)


class Recorder:
    """Makes steps on a CPU as a graph does: always on the same batch, with the results in the same tensors."""

    def __init__(self, device: torch.device) -> None:
        self.log: list[str] = []

    def run(self, step: Step, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        self.log.append("run")
        return step(inputs, targets)

    def record(self, step: Step, inputs: Tensor, targets: Tensor) -> tuple[Callable[[], None], tuple[Tensor, Tensor]]:
        self.log.append("record")
        results = torch.zeros(()), torch.zeros(())

        def replay() -> None:
            self.log.append("replay")
            for held, found in zip(results, step(inputs, targets), strict=True):
                held.copy_(found)

        return replay, results


def test_a_step_is_recorded_after_some_and_again_for_another_shape() -> None:
    recorder = Recorder(CPU.device)
    step = RecordedStep(lambda x, y: (x.sum(), y.sum()), recorder, CPU.device)  # type: ignore[arg-type]
    seen = []
    for number in range(6):
        loss, norm = step(torch.full((2, 3), float(number)), torch.ones(2))
        seen.append((float(loss), float(norm)))
    assert seen == [(6.0 * number, 2.0) for number in range(6)]
    usual = ["run"] * WARM_UP + ["record"]
    assert recorder.log == [*usual, "replay", "replay", "replay"]
    recorder.log.clear()
    results = [float(step(torch.full((4, 3), float(number)), torch.ones(2))[0]) for number in range(4)]
    assert results == [12.0 * number for number in range(4)]
    assert recorder.log == [*usual, "replay"]


@pytest.mark.parametrize("recipe", [{}, {"sizes": "5:24:4,9:32:2"}])
def test_training_is_the_same_to_the_bit(
    place: Place, monkeypatch: pytest.MonkeyPatch, recipe: dict[str, str | int | float]
) -> None:
    options = Options(accumulate=2, clip=0.5, ema=0.9)
    plain = training(place, TrainingPlan(iterations=14, options=options, recipe=recipe)).finish()
    monkeypatch.setattr(loop, "CudaRecorder", Recorder)
    monkeypatch.setattr(loop.Training, "_check_graph", lambda self: None)
    graph = Options(accumulate=2, clip=0.5, ema=0.9, graph=True)
    recorded = training(place, TrainingPlan(iterations=14, options=graph, recipe=recipe)).finish()
    assert weights(recorded) == weights(plain) and recorded[1] != plain[1]
    assert recorded[0].options.graph and recorded[0].loss == plain[0].loss


def test_refused_where_it_cannot_be(place: Place) -> None:
    with pytest.raises(HarnessError, match=r"graph=true records .* on a CPU train without it"):
        training(place, TrainingPlan(iterations=3, options=GRAPH)).finish()
    cuda = torch.device("cuda")
    with pytest.raises(HarnessError, match="graph=true and torchrun were not tried together"):
        training(place, TrainingPlan(iterations=3, options=GRAPH), world=World(0, 2, cuda)).finish()
    both = Options(graph=True, compile=True)
    with pytest.raises(HarnessError, match="graph=true and compile=true were not tried together"):
        training(place, TrainingPlan(iterations=3, options=both), world=World(0, 1, cuda)).finish()
