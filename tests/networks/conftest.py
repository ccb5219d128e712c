from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _quiet_torch() -> Iterator[None]:
    """Few threads, one where several test processes share the cores, and a known generator."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else min(threads, 2))
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
