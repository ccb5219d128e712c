"""Time and size of the site for the tables at hand: `python benchmarks/bench_report.py [FOLDER]`.

Processor time is told beside wall time, because the latter says little on a machine that others use.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from harness.report.site import build_site
from harness.tables.workspace import Workspace


def main() -> None:
    workspace = Workspace.find()
    with tempfile.TemporaryDirectory() as folder:
        target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "site"
        wall, processor = time.perf_counter(), time.process_time()
        made = build_site(workspace, target)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(f"{made.pages} pages, {made.images_shown} images of {made.scenes_shown} scenes, {made.bytes / 1e6:.1f} MB")
    print(f"{wall:.1f} s wall (promised: 10 s on two free cores), {processor:.1f} s of processor time")
    print(f"{made.bytes / 20e6:.0%} of the 20 MB promised")


if __name__ == "__main__":
    main()
