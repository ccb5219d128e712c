"""Coverage-guided fuzzing of one parser: `python fuzz/fuzz_parsers.py "matlab 5" -max_total_time=600`.

Anything but a result or a HarnessError is a finding; atheris writes the input that made it to crash-<hash>. The names
are those of `fuzz/parsers.py`; without one they are listed.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["harness", "scipy.io", "PIL"]):
    from parsers import attempt, parsers


def main() -> None:
    warnings.simplefilter("ignore")
    with atheris.instrument_imports(include=["harness", "scipy.io", "PIL"]):
        known = parsers()
    if len(sys.argv) < 2 or sys.argv[1] not in known:
        sys.exit("name one of: " + ", ".join(known))
    parse, seeds = known[sys.argv[1]]
    # Most modules are imported where they are used: once here, so that their branches are seen.
    with atheris.instrument_imports(include=["harness", "scipy.io", "PIL"]):
        for seed in seeds:
            attempt(parse, seed)
    corpus = tempfile.mkdtemp(prefix="fuzz-")
    for number, seed in enumerate(seeds):
        (Path(corpus) / str(number)).write_bytes(seed)
    atheris.Setup([sys.argv[0], *sys.argv[2:], corpus], lambda data: attempt(parse, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
