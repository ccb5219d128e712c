"""The list behind `make mutations` is that of today's code: guards and tests move."""

from __future__ import annotations

import re

from mutations import GUARDS, ROOT


def test_every_guard_and_its_test_stand_where_the_list_says() -> None:
    gone = []
    for guard in GUARDS:
        file, _, name = guard.test.partition("::")
        tests = (ROOT / "tests" / file).read_text(encoding="utf-8")
        there = (ROOT / "harness" / guard.file).read_text(encoding="utf-8").count(guard.code)
        if not there or (name and not re.search(rf"def {re.escape(name.partition('[')[0])}\(", tests)):
            gone.append(guard.fault)
    assert len(GUARDS) >= 80
    assert not gone


def test_no_fault_is_listed_twice() -> None:
    assert len({guard.fault for guard in GUARDS}) == len({(guard.code, guard.test) for guard in GUARDS}) == len(GUARDS)
