"""The device in words, and why there is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import harness.records.devices as devices
from harness.records.devices import DeviceFacts, device_facts, driver_version, why_no_gpu

torch = pytest.importorskip("torch")


@pytest.fixture
def built_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> object:
    """Make torch look as if built for a CUDA that finds no GPU, beside a driver of some version (empty: none)."""

    def build(cuda: str, driver: str) -> None:
        monkeypatch.setattr(torch.version, "cuda", cuda or None)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        file = tmp_path / "version"
        # As the driver writes it; an open kernel module has other words before the number.
        file.write_text(f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {driver}  Release Build\n")
        monkeypatch.setattr(devices, "_DRIVER", file if driver else tmp_path / "none")
        monkeypatch.setenv("PATH", os.fspath(tmp_path))

    return build


def test_the_driver_that_is_needed_is_named(built_for: object) -> None:
    built_for("12.4", "470.82.01")  # type: ignore[operator]
    assert driver_version() == "470.82.01"
    assert "driver 470.82.01 is too old" in why_no_gpu() and "CUDA 12.4 needs 525.60.13 or newer" in why_no_gpu()
    built_for("13.0", "550.54.15")  # type: ignore[operator]
    assert "CUDA 13.0 needs 580.65.06 or newer" in why_no_gpu()
    # A number is compared as a number: 99 is older than 450.
    built_for("11.8", "99.10")  # type: ignore[operator]
    assert "too old" in why_no_gpu()
    built_for("12.4", "535.129.03")  # type: ignore[operator]
    assert "finds no GPU although the NVIDIA driver 535.129.03 is loaded" in why_no_gpu()
    built_for("12.4", "")  # type: ignore[operator]
    assert "no NVIDIA driver is loaded (525.60.13 or newer is needed)" in why_no_gpu()
    # A later CUDA than is known here: nothing is made up.
    built_for("14.0", "")  # type: ignore[operator]
    assert why_no_gpu().endswith("no NVIDIA driver is loaded")
    built_for("", "470.82.01")  # type: ignore[operator]
    assert why_no_gpu() == ""


def test_the_other_form_of_the_drivers_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19\nGCC 12.3\n"
    )
    monkeypatch.setattr(devices, "_DRIVER", tmp_path / "version")
    assert driver_version() == "535.129.03"


def test_a_device_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = DeviceFacts("NVIDIA H100 80GB HBM3", "550.54.15", "12.4", "9.1.0")
    assert gpu.text == "NVIDIA H100 80GB HBM3, driver 550.54.15, CUDA 12.4, cuDNN 9.1.0"
    assert device_facts("cpu") == DeviceFacts("cpu") and "core" in device_facts("cpu").text
    for number, words in ((90100, "9.1.0"), (8907, "8.9.7"), (91002, "9.10.2"), (None, "")):
        monkeypatch.setattr(torch.backends.cudnn, "version", lambda found=number: found)
        assert devices.cudnn_version() == words
