"""Computing tiles side by side on a CPU, each on one thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor


def side_by_side(function: Callable[[Tensor], Tensor], tiles: Iterable[Tensor], lanes: int) -> Iterator[Tensor]:
    """Apply a function to tensors in threads of one core each; yield the results in order.

    A layer of a small tile is too short to be worth sharing among cores, and a sum that is shared among cores may be
    rounded in another order. So this is faster than giving every core to each tile in turn, and the result does not
    depend on how many cores there are.

    Parameters
    ----------
    function : callable
        Is called in several threads at once and must keep nothing between its layers.
    tiles : iterable of Tensor
        Taken as they are needed, one ahead.
    lanes : int
        Threads.
    """
    inference, gradients, threads = (
        torch.is_inference_mode_enabled(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
    )

    def one(tile: Tensor) -> Tensor:
        # Both modes belong to a thread; a new one starts without them.
        with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
            # A copy: the result waits while the function is called again, and may be a buffer that it uses again.
            return function(tile).clone()

    running: deque[Future[Tensor]] = deque()
    try:
        with ThreadPoolExecutor(lanes, "tile", initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for tile in tiles:
                running.append(pool.submit(one, tile))
                if len(running) > lanes:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
    finally:
        # Threads that start later take over the number that was set last, wherever it was set.
        torch.set_num_threads(threads)
