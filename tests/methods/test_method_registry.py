"""Finding methods: decorator, folders, broken plugins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import harness.methods as registry
from harness.errors import HarnessError, NotAvailableError
from harness.methods import Method, broken_plugins, build_method, get_method, method, methods

PLUGIN = """
from harness.methods import method

@method("{name}", tasks=["denoise-rgb"], paper="Doe et al., 2026")
def build(task, level):
    return lambda batch: batch
"""


@pytest.fixture(autouse=True)
def unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    methods()
    for name in ("_registry", "_loaded", "_in_folders"):
        value = getattr(registry, name)
        monkeypatch.setattr(registry, name, type(value)(value))
    # What other tests loaded in this process is not asked here.
    monkeypatch.setattr(registry, "_broken", {})


def test_identity_rows_are_built_in() -> None:
    assert {"jpeg", "noisy", "mosaiced", "bicubic", "blurry", "rainy"} <= set(methods())


def test_a_plugin_that_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "methods").mkdir()
    (tmp_path / "elsewhere/linked.py").write_text(PLUGIN.format(name="my-net"))
    (tmp_path / "methods/linked.py").symlink_to(tmp_path / "elsewhere/linked.py")
    assert get_method("my-net", [tmp_path / "methods"]).name == "my-net"


def test_plugin_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN.format(name="my-net"))
    found = get_method("my-net", [tmp_path])
    assert found.tasks == ("denoise-rgb",)
    assert found.source_file == tmp_path / "mine.py"
    assert build_method(found, "denoise-rgb", 30)("x") == "x"


def test_a_plugin_belongs_to_the_projects_that_name_its_folder(tmp_path: Path) -> None:
    """Two projects in one process: a method of one is none of the other."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    (tmp_path / "a/mine.py").write_text(PLUGIN.format(name="my-net"))
    assert "my-net" in methods([tmp_path / "a"])
    assert not {"my-net"} & {*methods(), *methods([tmp_path / "b"])}
    with pytest.raises(HarnessError, match="unknown method 'my-net'"):
        get_method("my-net", [tmp_path / "b"])
    # The other may give the name to a method of its own; a second file of the same project may not.
    (tmp_path / "b/other.py").write_text(PLUGIN.format(name="my-net"))
    for folder, file in (("a", "mine.py"), ("b", "other.py")):
        assert get_method("my-net", [tmp_path / folder]).source_file == tmp_path / folder / file
    (tmp_path / "b/twice.py").write_text(PLUGIN.format(name="my-net"))
    assert methods([tmp_path / "b"])["my-net"].source_file == tmp_path / "b/other.py"
    assert any("twice.py" in what and "my-net" in why for what, why in broken_plugins().items())


def test_how_numpy_prints_is_put_back(tmp_path: Path) -> None:
    """Well-kept packages set it when they are loaded (colour does): no fault, and no trace."""
    build = "    import numpy; numpy.set_printoptions(legacy='1.13', precision=1)\n    return"
    (tmp_path / "mine.py").write_text(PLUGIN.format(name="my-net").replace("    return", build))
    before = np.get_printoptions()
    build_method(get_method("my-net", [tmp_path]), "denoise-rgb", 30)
    assert np.get_printoptions() == before


def test_a_broken_plugin_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import nothing_of_this_name\n")
    (tmp_path / "exits.py").write_text("raise SystemExit(3)\n")
    (tmp_path / "good.py").write_text(PLUGIN.format(name="my-net"))
    assert "my-net" in methods([tmp_path])
    assert sorted(Path(what.split()[1]).name for what in broken_plugins()) == ["bad.py", "exits.py"]
    with pytest.raises(HarnessError, match="nothing_of_this_name"):
        get_method("my-met", [tmp_path])


def test_a_taken_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN.format(name="jpeg"))
    methods([tmp_path])
    assert "'jpeg'" in next(iter(broken_plugins().values()))
    assert get_method("jpeg").module == "harness.methods.identity"


@pytest.mark.parametrize("name", ["", "My Net", "a/b", "../x", "-x", "x_y", "é"])
def test_names_are_plain(name: str) -> None:
    with pytest.raises(HarnessError, match="lower-case letters"):
        method(name, tasks=["jpeg"])


def test_tasks_are_checked() -> None:
    with pytest.raises(HarnessError, match="did you mean 'denoise-rgb'"):
        method("my-net", tasks=["denoise-rbg"])
    with pytest.raises(HarnessError, match="must be a list"):
        method("my-net", tasks=[])
    with pytest.raises(HarnessError, match="does not do 'sr'"):
        build_method(get_method("jpeg"), "sr", 2)


def test_errors_of_build_are_one_sentence() -> None:
    def failing(task: str, level: int) -> None:
        raise RuntimeError("no such layer")

    with pytest.raises(HarnessError, match="could not be built for jpeg at level 10: RuntimeError: no such layer"):
        build_method(Method("x", ("jpeg",), failing), "jpeg", 10)  # type: ignore[arg-type]
    with pytest.raises(HarnessError, match="must return a callable"):
        build_method(Method("x", ("jpeg",), lambda task, level: None), "jpeg", 10)  # type: ignore[arg-type,return-value]

    def needs(task: str, level: int) -> None:
        import a_package_that_is_not_here  # noqa: F401

    with pytest.raises(NotAvailableError, match=r"restoration-harness\[bm3d\]"):
        build_method(Method("x", ("jpeg",), needs, extra="bm3d"), "jpeg", 10)  # type: ignore[arg-type]


def test_unknown_method_names_near_ones() -> None:
    with pytest.raises(HarnessError, match="did you mean 'bicubic'"):
        get_method("bicubik")
