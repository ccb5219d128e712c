"""The loop in this process: lengths, resumption, options, and what goes wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch
from training_workspace import Place

from harness.errors import HarnessError, NotAvailableError
from harness.networks.checkpoints import require_ready
from harness.records.in_use import loading_from
from harness.records.training_runs import Options, TrainedRecord, TrainingPlan, TrainingRun, check_training_plan
from harness.training.checkpoints import export
from harness.training.logs import FIELDS, read_log
from harness.training.loop import Training, result_folder
from harness.training.world import World

CPU = World(0, 1, torch.device("cpu"))


def training(place: Place, plan: TrainingPlan, **changes: object) -> Training:
    workspace = place.workspace
    return Training(
        TrainingRun("denoise-rgb", place.method, 50),
        plan,
        workspace.method(place.method),
        data=workspace.data,
        work=workspace.work,
        **{"world": CPU, **changes},  # type: ignore[arg-type]
    )


def weights(found: tuple[TrainedRecord, Path]) -> bytes:
    return (result_folder(found[1], found[0]) / "weights.safetensors").read_bytes()


def test_a_short_run_is_the_beginning_of_a_longer_one(places: object) -> None:
    stepwise, at_once = places("a"), places("b")  # type: ignore[operator]
    first = training(stepwise, TrainingPlan(budget="smoke")).finish()
    assert (first[0].iterations, first[0].recipe_iterations, first[0].budget) == (20, 400, "smoke")
    second = training(stepwise, TrainingPlan(iterations=35)).finish()
    third = training(stepwise, TrainingPlan(budget="short")).finish()
    whole = training(at_once, TrainingPlan(iterations=40)).finish()
    assert weights(third) == weights(whole) != weights(second) != weights(first)
    assert [row.iteration for row in read_log(result_folder(third[1], third[0]) / "log.csv")] == list(range(1, 41))
    # The length that is there already is not trained again, whatever it is called.
    again = training(stepwise, TrainingPlan(iterations=20), report=lambda *_: pytest.fail("trained again")).finish()
    assert weights(again) == weights(first) and again[0].budget == "20 iterations"
    # Nor is it where the command line gives the defaults, as other objects of equal value.
    given = Options(ema=float("0"), clip=float("0.0"))
    same = training(
        stepwise, TrainingPlan(iterations=20, options=given), report=lambda *_: pytest.fail("trained again")
    )
    assert same.finish()[0] == again[0]
    # A length that was passed and not kept is made anew, and equals what it would have been.
    between = training(stepwise, TrainingPlan(iterations=30)).finish()
    assert weights(between) == weights(training(at_once, TrainingPlan(iterations=30)).finish())


def test_the_loss_falls_and_psnr_rises(place: Place) -> None:
    record, folder = training(place, TrainingPlan(iterations=60)).finish()
    rows = read_log(result_folder(folder, record) / "log.csv")
    assert rows[-1].loss < 0.6 * rows[0].loss
    psnr = [row.psnr for row in rows if row.psnr is not None]
    assert len(psnr) >= 6 and psnr[-1] > psnr[0] + 2
    assert record.validation is not None and record.validation.psnr == pytest.approx(psnr[-1], abs=1e-4)
    assert record.samples == 240 and record.parameters == sum(p.numel() for p in _network(place).parameters())
    # The rate halves where the recipe says so, whatever the length.
    assert {row.rate for row in rows[:30]} == {1e-3} and {row.rate for row in rows[30:]} == {5e-4}


def test_tensorboard_reads_the_log(place: Place) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, folder = training(place, TrainingPlan(iterations=6)).finish()
    events = EventAccumulator(str(folder / "events"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [row.iteration for row in read_log(folder / "log.csv")]
    assert {"loss", "psnr", "rate"} <= set(events.Tags()["scalars"])


@pytest.mark.parametrize(
    "options",
    [
        Options(ema=0.9),
        Options(clip=1e-3),
        Options(amp="bfloat16"),
        Options(seed=7),
        Options(channels_last=True),
        Options(accumulate=2),
    ],
    ids=str,
)
def test_options_that_change_bits_are_recorded_and_resume(places: object, options: Options) -> None:
    plain = training(places("p"), TrainingPlan(iterations=6)).finish()  # type: ignore[operator]
    plan = TrainingPlan(iterations=6, options=options)
    a, b = places("a"), places("b")  # type: ignore[operator]
    training(a, msgspec.structs.replace(plan, iterations=3)).finish()
    resumed, whole = training(a, plan).finish(), training(b, plan).finish()
    assert weights(resumed) == weights(whole)
    assert resumed[0].options == options
    if options.accumulate == 1 and not options.channels_last:
        assert weights(whole) != weights(plain)


def test_options_do_not_share_a_checkpoint(place: Place) -> None:
    folders = {
        training(place, TrainingPlan(iterations=1, options=options)).finish()[1]
        for options in (Options(), Options(ema=0.5), Options(seed=2), Options(clip=1.0))
    }
    assert len(folders) == 4


def test_nan_stops_with_a_diagnosis_and_keeps_the_checkpoint(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    good, folder = training(place, TrainingPlan(iterations=4)).finish()
    before = (folder / "checkpoint.safetensors").read_bytes()
    calls = iter(range(100))

    def poisoned(self: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        return inputs * (float("nan") if self.training and next(calls) == 3 else 1.0)

    monkeypatch.setattr(torch.nn.ReLU, "forward", poisoned)
    with pytest.raises(HarnessError) as caught:
        training(place, TrainingPlan(iterations=12), checkpoint_minutes=0.0).finish()
    said = str(caught.value)
    assert "the loss is nan at iteration 8" in said and "learning rate 0.001" in said and "the gradient" in said
    assert str(folder / "checkpoint.safetensors") in said and "--set clip=1" in said
    monkeypatch.undo()
    # Three good steps were made after the fourth, and the file holds them whole.
    assert (folder / "checkpoint.safetensors").read_bytes() != before
    assert training(place, TrainingPlan(iterations=12)).finish()[0].iterations == 12
    assert good.iterations == 4


def test_infinite_gradients_stop_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: torch.tensor(float("inf")))
    with pytest.raises(HarnessError, match=r"gradient.s norm is inf at iteration 1 .*no checkpoint was written yet"):
        training(place, TrainingPlan(iterations=3)).finish()


def test_a_damaged_checkpoint_is_told(place: Place) -> None:
    _, folder = training(place, TrainingPlan(iterations=2)).finish()
    path = folder / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(HarnessError, match=r"checkpoint\.safetensors: damaged .*delete it"):
        training(place, TrainingPlan(iterations=5)).finish()


def test_what_cannot_be_trained(place: Place) -> None:
    with pytest.raises(HarnessError, match="denoise-rgb has the levels 10, 30, 50, 70"):
        training(place, TrainingPlan(iterations=1)).__class__(
            TrainingRun("denoise-rgb", place.method, 33),
            TrainingPlan(iterations=1),
            place.workspace.method(place.method),
            data=place.workspace.data,
            work=place.workspace.work,
            world=CPU,
        )
    with pytest.raises(HarnessError, match="a batch of 4 cannot be split evenly over 1 processes in 3 parts"):
        training(place, TrainingPlan(iterations=1, options=Options(accumulate=3)))
    with pytest.raises(NotAvailableError, match=r"'div2k-train'.*; or, to try it, .* --dataset embedded$"):
        training(place, TrainingPlan(iterations=1, data="div2k-train")).finish()


@pytest.mark.parametrize(
    ("name", "task", "hint"),
    [("umrl-trained", "derain", " with --dataset rain100l"), ("srn-trained", "deblur", "")],
)
def test_a_set_of_pairs_that_anybody_can_have_is_named(place: Place, name: str, task: str, hint: str) -> None:
    """Of blurred images none is public but in archives of gigabytes, which the sentence names."""
    run = TrainingRun(task, name, 0)
    method = place.workspace.method(name)
    data, work = place.workspace.data, place.workspace.work
    made = Training(run, TrainingPlan(iterations=1), method, data=data, work=work, world=CPU)
    with pytest.raises(NotAvailableError) as error:
        made.finish()
    assert str(error.value).endswith(hint) and ("to try it" in str(error.value)) == bool(hint)


def test_no_validation_set_is_no_obstacle(place: Place) -> None:
    recipe = place.root / "tiny.yaml"
    recipe.write_text(recipe.read_text().replace("datasets: [embedded]", "datasets: [div2k-valid]"))
    from harness.training.recipe import recipe as find

    find.cache_clear()
    record, folder = training(place, TrainingPlan(iterations=3)).finish()
    assert record.validation is None
    assert all(row.psnr is None for row in read_log(folder / "log.csv"))


def test_minutes_end_a_run(place: Place) -> None:
    recipe = place.root / "tiny.yaml"
    recipe.write_text(recipe.read_text().replace("iterations: 400", "iterations: 400000000"))
    from harness.training.recipe import recipe as find

    find.cache_clear()
    record, _ = training(place, TrainingPlan(minutes=0.02)).finish()
    assert 1 <= record.iterations < 400000000 and record.budget == "0.02 minutes"


def test_torchs_settings_are_put_back(place: Place) -> None:
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    training(place, TrainingPlan(iterations=1)).finish()
    assert (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark) == before


def test_exported_weights_are_held_to_their_record(place: Place) -> None:
    with loading_from(place.root):
        exported_weights_are_held(place)


def exported_weights_are_held(place: Place) -> None:
    from harness.methods import build_method
    from harness.records.training_runs import write_training_plans

    method = place.workspace.method(place.method)
    with pytest.raises(NotAvailableError, match=rf"is not trained .*harness train {place.method} --task denoise-rgb"):
        build_method(method, "denoise-rgb", 50)
    plan = TrainingPlan(iterations=2)
    write_training_plans(place.root, {TrainingRun("denoise-rgb", place.method, 50): plan})
    record, folder = training(place, plan).finish()
    export(record, result_folder(folder, record), place.trained)
    network = build_method(method, "denoise-rgb", 50)
    origin = require_ready(network)  # type: ignore[arg-type]
    assert origin.kind == "trained" and origin.source.startswith("trained: 0.5 % of the paper's iterations")
    about = place.trained / "training.json"
    text = about.read_text()
    about.write_text(text.replace('"rgb_range": 1.0', '"rgb_range": 255.0'))
    with pytest.raises(HarnessError, match=r"was trained on samples up to 255, the network of .* works in 0\.\.1"):
        build_method(method, "denoise-rgb", 50)
    about.write_text(text)
    file = place.trained / "weights.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(HarnessError, match=r"has the SHA-256 .* instead of .* of its record"):
        build_method(method, "denoise-rgb", 50)


def test_a_network_is_trained_in_its_own_range(place: Place) -> None:
    from harness.networks.rnan import RNAN

    def unchanged(task: str, level: int) -> torch.nn.Module:
        network = RNAN(n_resgroups=2, n_feats=4)
        torch.nn.init.zeros_(network.tail[0].weight)
        torch.nn.init.zeros_(network.tail[0].bias)
        return network

    def in_0_1(task: str, level: int) -> torch.nn.Module:
        network = unchanged(task, level)
        network.rgb_range = 1.0
        return network

    losses, folders = [], []
    for make in (unchanged, in_0_1):
        run = training(place, TrainingPlan(iterations=1))
        run.method = replace(run.method, network=make)
        record, folder = run.finish()
        losses.append(record.loss)
        folders.append(folder)
        assert record.rgb_range == make("denoise-rgb", 50).rgb_range
    # The first output is the input, so the first loss is the mean of the clipped noise, about 40 gray levels less.
    assert 25 < losses[0] < 40 and losses[0] == pytest.approx(255 * losses[1], rel=1e-4)
    assert folders[0] != folders[1], "weights of one range would go on as those of the other"


def test_log_fields_are_those_of_the_file(place: Place) -> None:
    _, folder = training(place, TrainingPlan(iterations=1)).finish()
    assert (folder / "log.csv").read_text().splitlines()[0] == ",".join(FIELDS)


def _network(place: Place) -> torch.nn.Module:
    method = place.workspace.method(place.method)
    assert method.network is not None
    return method.network("denoise-rgb", 50)  # type: ignore[no-any-return]


def test_a_batch_that_does_not_fit_is_computed_in_parts(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    small, whole = training(place, TrainingPlan(iterations=4)), torch.nn.Conv2d.forward

    def forward(self: torch.nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return whole(self, x)

    said: list[str] = []
    small.notice = said.append
    monkeypatch.setattr(torch.nn.Conv2d, "forward", forward)
    record, folder = small.finish()
    assert record.options.accumulate == 2
    assert said == ["does not fit into the GPU's memory; a batch is now computed in 2 parts"]
    monkeypatch.undo()
    asked = training(place, TrainingPlan(iterations=4, options=Options(accumulate=2))).finish()
    assert asked == (record, folder)


def test_a_run_that_begins_anew_has_the_layout_and_memory_of_the_first(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a longer run is there, a second network is made for the shorter one."""
    options = Options(channels_last=True)
    training(place, TrainingPlan(iterations=6, options=options)).finish()
    shorter = training(place, TrainingPlan(iterations=4, options=options))
    shorter._less_memory = 4
    network, seen = shorter.method.network, []

    def budgeted(task: str, level: int) -> torch.nn.Module:
        assert network is not None
        made: torch.nn.Module = network(task, level)
        made[0].memory_budget = 1000  # type: ignore[index, union-attr]
        return made

    steps = Training._steps

    def looked(self: Training, made: torch.nn.Module, *rest: object) -> object:
        seen.append((made[0].memory_budget, made[0].weight.is_contiguous(memory_format=torch.channels_last)))  # type: ignore[index, union-attr]
        return steps(self, made, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Training, "_steps", looked)
    shorter.method = replace(shorter.method, network=budgeted)
    record, folder = shorter.finish()
    assert result_folder(folder, record).parent.parent.name == "only-4" and seen == [(250, True)]


def test_a_single_sample_that_does_not_fit_is_one_sentence(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: torch.nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.nn.Conv2d, "forward", forward)
    with pytest.raises(HarnessError, match=r"memory is not enough .* take a GPU with more memory"):
        training(place, TrainingPlan(iterations=4)).finish()


def test_precision_and_fused_are_other_runs_and_recorded(place: Place) -> None:
    plain = training(place, TrainingPlan(iterations=3)).finish()
    options = Options(precision="high", fused=True, ema=0.9)
    before = torch.get_float32_matmul_precision()
    other = training(place, TrainingPlan(iterations=3, options=options)).finish()
    assert torch.get_float32_matmul_precision() == before
    assert other[0].options == options and other[1] != plain[1]
    with pytest.raises(HarnessError, match="unknown precision 'hight'; did you mean 'high'"):
        check_training_plan(TrainingPlan(iterations=3, options=Options(precision="hight")), "here")
