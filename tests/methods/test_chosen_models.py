"""Which released model makes a cell: by row, by level, and by set where the authors trained one for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.assets.datasets import fetch
from harness.assets.inputs import record_inputs
from harness.assets.weights import loading
from harness.assets.weights.registry import weight_set
from harness.cli.describing import describe_method
from harness.errors import HarnessError, NotAvailableError
from harness.methods import Method, build_method, get_method, methods
from harness.records.cells import Group, NoiseDraws
from harness.run.conformance import check_method
from harness.run.restore import restore
from harness.tables.published import own_tables, published_tables
from harness.tables.requests import requests


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note which files are asked for; none is here."""
    files: list[str] = []

    def load(name: str, file: str, data_root: object = None) -> Any:
        assert weight_set(name).file(file)
        files.append(f"{name}/{file}")
        raise NotAvailableError("not here")

    monkeypatch.setattr(loading, "load_weights", load)
    return files


def files_of(asked: list[str], name: str, task: str, level: int, dataset: str = "") -> tuple[str, ...]:
    asked.clear()
    with pytest.raises(NotAvailableError):
        build_method(get_method(name), task, level, dataset)
    return tuple(asked)


# Every choice that the tables make: (method, task) to the files by level, or by set. IRCNN's other files stand in for
# its first: all hold the same denoiser. Empty: nobody released a model for it.
IRCNN = {
    s: (
        f"ircnn/COLOUR-sigma{s}to{s + 2}.npz",
        f"ircnn-levels/COLOUR-sigma{s}to{s + 2}.params",
        "ircnn-release/COLOUR.mat",
    )
    for s in (10, 30, 50)
} | {70: ()}
BY_LEVEL: dict[tuple[str, str], dict[int, tuple[str, ...]]] = {
    ("dncnn", "denoise-rgb"): {
        10: ("dncnn/color-sigma10.mat",),
        30: ("dncnn/color-sigma20to30.mat",),
        50: ("dncnn/color-sigma50.mat",),
        70: ("dncnn/color-sigma60to70.mat",),
    },
    ("dncnn", "denoise-gray"): {s: (f"dncnn/gray-sigma{s}.mat",) for s in (10, 30, 50, 70)},
    ("dncnn", "jpeg"): dict.fromkeys((10, 20, 30, 40), ("dncnn/dncnn3.mat",)),
    ("ffdnet", "denoise-rgb"): dict.fromkeys((10, 30, 50, 70), ("ffdnet/color.mat",)),
    ("ffdnet", "denoise-gray"): dict.fromkeys((10, 30, 50, 70), ("ffdnet/gray.mat",)),
    ("ircnn", "denoise-rgb"): {s: tuple(f.replace("COLOUR", "color") for f in fs) for s, fs in IRCNN.items()},
    ("ircnn", "denoise-gray"): {s: tuple(f.replace("COLOUR", "gray") for f in fs) for s, fs in IRCNN.items()},
    ("ircnn", "demosaic"): {0: ("ircnn-levels/color-sigma0to4.params", "ircnn-release/color.mat")},
    ("tnrd", "denoise-rgb"): {10: (), 30: (), 50: ("tnrd/gray-sigma50.mat",), 70: ()},
    ("tnrd", "denoise-gray"): {10: (), 30: (), 50: ("tnrd/gray-sigma50.mat",), 70: ()},
    ("tnrd", "jpeg"): {q: (f"tnrd/deblock-q{q}.mat",) for q in (10, 20, 30)} | {40: ()},
    ("arcnn", "jpeg"): {q: (f"arcnn/q{q}.mat",) for q in (10, 20, 30, 40)},
    ("lapsrn", "sr"): {2: ("lapsrn/x2.mat",), 3: ("lapsrn/x4.mat",), 4: ("lapsrn/x4.mat",)},
    ("srmdnf", "sr"): {s: (f"srmdnf/x{s}.mat",) for s in (2, 3, 4)},
    ("dbpn", "sr"): {s: (f"dbpn/x{s}.pth",) for s in (2, 4)},
    ("san", "sr"): {s: (f"san/x{s}.pt",) for s in (2, 3, 4)},
    ("oisr", "sr"): {s: (f"oisr/rk3-x{s}.pt",) for s in (2, 3, 4)},
    ("nlrn", "sr"): dict.fromkeys((2, 3, 4), ("nlrn/sr.index",)),
    ("pa-edsr", "sr"): {s: (f"pa-edsr/sr-x{s}.pt",) for s in (2, 3, 4)},
    ("csnln", "sr"): {s: (f"csnln/sr-x{s}.pt",) for s in (2, 3, 4)},
    ("rnan", "sr"): {s: (f"rnan/sr-x{s}.pt",) for s in (2, 4)},
    **{
        (name, task): {level: (f"{name}/{stem.format(level)}.pt",) for level in levels}
        for name in ("rnan", "panet")
        for task, stem, levels in (
            ("denoise-rgb", "denoise-rgb-sigma{}", (10, 30, 50, 70)),
            ("denoise-gray", "denoise-gray-sigma{}", (10, 30, 50, 70)),
            ("jpeg", "jpeg-q{}", (10, 20, 30, 40)),
            ("demosaic", "demosaic", (0,)),
        )
        if (name, task) != ("panet", "denoise-gray")
    },
    ("mprnet", "derain"): {0: ("mprnet/deraining.pth",)},
    ("mprnet", "deblur"): {0: ("mprnet/deblurring.pth",)},
    ("deepdeblur", "deblur"): {0: ("deepdeblur/gopro-l1.pt",)},
    ("srn", "deblur"): {0: ("srn/lstm.index",)},
    ("pss-nsc", "deblur"): {0: ("pss-nsc/default.index",)},
    ("dmphn", "deblur"): {0: ("dmphn/encoder_s1_lv1.pkl",)},  # asked for first, of 24
    ("mt-rnn", "deblur"): {0: ("mt-rnn/model_best.pt",)},
    ("mimo-unet-plusplus", "deblur"): {0: ("mimo-unet/mimo-unet-plus.pkl",)},
    ("mprnet", "denoise-real"): {0: ("mprnet/denoising.pth",)},
    ("mirnet", "denoise-real"): {0: ("mirnet/denoising.pth",)},
    ("uformer", "denoise-real"): {0: ("uformer/sidd-b.pth",)},
    ("cbdnet", "denoise-real"): {0: ("cbdnet/cbdnet.mat",)},
    ("ridnet", "denoise-real"): {0: ("ridnet/ridnet.pt",)},
    ("aindnet", "denoise-real"): {0: ("aindnet/sidd-transfer.index",)},
    ("vdn", "denoise-real"): {0: ("vdn/sidd.pth",)},
    ("sadnet", "denoise-real"): {0: ("sadnet/real.pth",)},
    ("danet-plus", "denoise-real"): {0: ("danet/danet-plus.pt",)},
    ("cycleisp", "denoise-real"): {0: ("cycleisp/sidd-rgb.pth",)},
    ("nbnet", "denoise-real"): {0: ("nbnet/sidd.pkl",)},
    ("dagl", "denoise-real"): {0: ("dagl/real.pt",)},
    ("edsr", "sr"): {s: (f"edsr/x{s}.pt",) for s in (2, 3, 4)},
    ("rcan", "sr"): {s: (f"rcan/x{s}.pt",) for s in (2, 3, 4)},
    ("rdn", "sr"): {s: (f"rdn/x{s}.t7",) for s in (2, 3, 4)},
    ("srfbn", "sr"): {s: (f"srfbn/x{s}.pth",) for s in (2, 3, 4)},
    ("memnet", "sr"): dict.fromkeys((2, 3, 4), ("memnet/m6r6-sr.params",)),
    **{
        ("memnet", task): {10: ()} | dict.fromkeys((30, 50, 70), ("memnet/m6r6-denoise.params",))
        for task in ("denoise-gray", "denoise-rgb")
    },
    **{
        ("red", task): {s: (f"red/sigma{s}.caffemodel",) for s in (10, 30, 50, 70)}
        for task in ("denoise-gray", "denoise-rgb")
    },
    ("mlp", "denoise-real"): {0: ("mlp/sigma10.mat",)},
    ("dncnn-blind", "denoise-real"): {0: ("dncnn-blind/color.mat",)},
    ("derainnet", "derain"): {0: ("derainnet/model.index",)},
    ("didmdn", "derain"): {0: ("didmdn/derain.pth",)},
    ("mspfn", "derain"): {0: ("mspfn/epoch50.index",)},
    ("rescan", "derain"): {0: ("rescan/rescan.pth",)},
    ("semi", "derain"): {0: ("semi/model.index",)},
}
BY_SET: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {
    ("prenet", "derain"): {
        "rain100l": ("prenet/rain100l.pth",),
        "rain100h": ("prenet/rain100h.pth",),
        "test2800": ("prenet/rain1400.pth",),
        "test100": (),
        "test1200": (),
    },
    ("umrl", "derain"): {
        "rain100l": ("umrl/jorder.pth",),
        "rain100h": (),
        "test100": ("umrl/rain800.pth",),
        "test1200": ("umrl/didmdn.pth",),
        "test2800": (),
    },
}


def released_cells() -> Iterator[tuple[str, str, int, str]]:
    known = methods()
    for table in published_tables().values():
        for request in requests(table, known):
            method = known.get(request.method)
            if request.group is not None and method is not None and method.origin == "released" and method.weights:
                yield method.name, request.task, request.level, request.dataset
    # Of some sets the tables are measured on released images instead; one's own table may ask all the same.
    for (name, task), of_sets in BY_SET.items():
        for dataset in of_sets:
            yield name, task, 0, dataset


def test_every_cell_is_made_by_the_model_that_was_released_for_it(asked: list[str]) -> None:
    chosen: dict[tuple[str, str], dict[int | str, tuple[str, ...]]] = {}
    for name, task, level, dataset in sorted(set(released_cells())):
        what = dataset if get_method(name).weights_for else level
        chosen.setdefault((name, task), {})[what] = files_of(asked, name, task, level, dataset)
    assert chosen == BY_LEVEL | BY_SET


def test_ffdnet_takes_its_clip_model_under_its_own_name_alone(asked: list[str]) -> None:
    assert files_of(asked, "ffdnet-clip", "denoise-rgb", 50) == ("ffdnet/color-clip.mat",)
    known = methods()
    for table in published_tables().values():
        for request in requests(table, known):
            if request.group is not None and request.method.startswith("ffdnet"):
                assert request.method == "ffdnet" and "float" in request.group.degradation, request


@pytest.mark.parametrize("dataset", ["test100", "test1200", ""])
def test_no_model_of_another_set_stands_in(dataset: str) -> None:
    with pytest.raises(NotAvailableError, match=r"rain100h \(rain100h.pth\).* and none for (test1|a set without)"):
        build_method(get_method("prenet"), "derain", 0, dataset)


def test_rows_of_one_model_say_which() -> None:
    rows = [row for table in own_tables().values() for part in table.parts for row in part.rows]
    assert [row.name for row in rows if row.method == "prenet-heavy"] == ["PReNet, trained on Rain100H"]
    assert all("trained on" not in row.name for row in rows if row.method == "prenet")


def test_describe_tells_the_model_of_each_set() -> None:
    facts = dict(describe_method(get_method("prenet"), "derain", (16, 16), measure=False))
    assert facts["on rain100h"] == "rain100h.pth" and facts["on test2800"] == "rain1400.pth"


def by_set(built: list[str], **options: Any) -> Method:
    """A method that multiplies by another factor on each set."""
    factors = {"embedded-gray": 0.5, "set5": 0.25}

    def build(task: str, level: int, dataset: str) -> Callable[[Any], Any]:
        built.append(dataset)
        return lambda image: image * factors[dataset]

    models = {name: f"{factor}.pth" for name, factor in factors.items()}
    return Method("by-set", ("jpeg",), build, on="array", weights_for=models, **options)


def test_a_stage_builds_the_model_of_its_set(tmp_path: Path) -> None:
    built: list[str] = []
    data, noise = tmp_path / "data", NoiseDraws(0, 0)
    for name in ("embedded", "embedded-gray"):
        assert fetch(name, data).complete
    inputs = record_inputs(data, "embedded-gray", "jpeg-y8", (10,), noise)

    def run(method: Method) -> str:
        record, _ = restore(
            Group("jpeg", "embedded-gray", "jpeg-y8", "by-set", "whole"),
            method,
            (10,),
            inputs,
            data=data,
            partial=tmp_path / "partial",
            target=tmp_path / "restored",
            noise=noise,
            code="c0",
        )
        return record.levels[10].reason

    assert run(by_set(built)) == "" and built == ["embedded-gray"]
    assert "none for embedded-gray" in run(replace(by_set(built), weights_for={"set5": "a.pth"}))


def test_a_check_tries_every_model() -> None:
    built: list[str] = []
    found = list(check_method(by_set(built)))
    assert built == ["embedded-gray"] * 2 + ["set5"] * 2
    assert all(check.held is not False for check in found)
    assert any("set5: 48x64" in check.what for check in found)


def test_an_audit_builds_a_model_for_each_set(tmp_path: Path) -> None:
    from harness.audit.images import Bench
    from harness.audit.variants import Making, NoiseDraw
    from harness.tables.workspace import Workspace

    built: list[str] = []
    bench = Bench(Workspace(tmp_path))
    bench.methods = {"by-set": by_set(built)}
    making = Making("jpeg-y8", "by-set", "whole", NoiseDraw(), ())
    image = np.full((8, 8), 100.0)
    results = [
        bench.restorer("jpeg", name, 10, making)[0](name, "x", image).mean() for name in ("embedded-gray", "set5")
    ]
    assert results == pytest.approx([50, 25])
    assert bench.restorer("jpeg", "set5", 10, making) is bench.restorer("jpeg", "set5", 10, making)
    assert built == ["embedded-gray", "set5"]


def test_plugins_of_two_arguments_stay_as_they_are() -> None:
    method = Method("plain", ("jpeg",), lambda task, level: lambda image: image, on="array")
    assert build_method(method, "jpeg", 10, "set5")(1) == 1
    with pytest.raises(HarnessError, match="could not be built"):
        build_method(replace(method, weights_for={"set5": "a.pth"}), "jpeg", 10, "set5")
