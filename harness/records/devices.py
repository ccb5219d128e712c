"""The device that networks run on, in words: its name, driver, CUDA and cuDNN, and why there is none."""

from __future__ import annotations

import re
import subprocess
from contextlib import suppress
from pathlib import Path

import msgspec

from harness.process_state import core_count

# The oldest driver for Linux that runs programs of a major version of CUDA (NVIDIA's table of minor compatibility).
OLDEST_DRIVER = {"11": "450.80.02", "12": "525.60.13", "13": "580.65.06"}

_DRIVER = Path("/proc/driver/nvidia/version")


class DeviceFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a computation runs on.

    `name`: Name of the GPU, or ``cpu``.
    `driver`, `cuda`, `cudnn`: Versions of NVIDIA's driver, and of the CUDA and cuDNN that torch was built with; empty
        on a CPU.
    """

    name: str
    driver: str = ""
    cuda: str = ""
    cudnn: str = ""

    @property
    def text(self) -> str:
        """In words: ``NVIDIA H100 80GB HBM3, driver 550.54.15, CUDA 12.4, cuDNN 9.1.0``."""
        if self.name == "cpu":
            from harness.records.runs import processor

            cores = core_count()
            return f"the CPU ({processor()}, {cores} core{'s' * (cores != 1)})"
        versions = (("driver", self.driver), ("CUDA", self.cuda), ("cuDNN", self.cudnn))
        return ", ".join([self.name, *(f"{what} {version}" for what, version in versions if version)])


def device_facts(kind: str = "") -> DeviceFacts:
    """Describe the device that torch uses, or with ``cpu`` the processor.

    `kind`: ``cpu``, ``cuda``; empty: the GPU where there is one.
    """
    import torch

    if kind == "cpu" or not torch.cuda.is_available():
        return DeviceFacts("cpu")
    return DeviceFacts(
        str(torch.cuda.get_device_name()), driver_version(), str(torch.version.cuda or ""), cudnn_version()
    )


def cudnn_version() -> str:
    """Version of cuDNN that torch was built with, such as ``9.1.0``; empty where it has none."""
    import torch

    number: int | None = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    if number is None:
        return ""
    major = 10000 if number >= 90000 else 1000
    return f"{number // major}.{number % major // 100}.{number % 100}"


def driver_version() -> str:
    """Version of the NVIDIA driver that is loaded; empty where none is."""
    with suppress(OSError):
        if found := re.search(r"Module\s+(?:for \S+\s+)?([0-9]+(?:\.[0-9]+)+)", _DRIVER.read_text(errors="replace")):
            return found[1]
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    with suppress(OSError, subprocess.SubprocessError):
        listed = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout.split()
        return listed[0] if listed else ""
    return ""


def why_no_gpu() -> str:
    """Say why a torch that was built for CUDA finds no GPU, and what it needs; empty where it finds one or is for CPUs.

    Returns: A sentence.
    """
    import torch

    cuda = str(torch.version.cuda or "")
    if not cuda or torch.cuda.is_available():
        return ""
    oldest = OLDEST_DRIVER.get(cuda.partition(".")[0], "")
    driver = driver_version()
    if not driver:
        needed = f" ({oldest} or newer is needed)" if oldest else ""
        return f"torch {torch.__version__} is built for CUDA {cuda}, and no NVIDIA driver is loaded{needed}"
    if oldest and _numbers(driver) < _numbers(oldest):
        return (
            f"the NVIDIA driver {driver} is too old for torch {torch.__version__}: CUDA {cuda} needs {oldest} or newer;"
            " renew the driver, or install a torch for an older CUDA (docs/installation.md)"
        )
    return (
        f"torch {torch.__version__} (CUDA {cuda}) finds no GPU although the NVIDIA driver {driver} is loaded; is "
        "CUDA_VISIBLE_DEVICES empty, or the device hidden from this container?"
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
