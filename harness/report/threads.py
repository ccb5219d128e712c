"""Work on pictures in threads: reading and coding them leaves the interpreter free."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")

WORKERS = max(2, os.cpu_count() or 1)


def in_threads(make: Callable[[_Item], _Made], items: Iterable[_Item]) -> Iterator[tuple[_Item, _Made]]:
    """Give each item with what was made of it, in order; only a few are made ahead of those that were taken."""
    rest = iter(items)
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        ahead = deque((item, pool.submit(make, item)) for item in islice(rest, 2 * WORKERS))
        while ahead:
            item, made = ahead.popleft()
            ahead.extend((later, pool.submit(make, later)) for later in islice(rest, 1))
            yield item, made.result()
