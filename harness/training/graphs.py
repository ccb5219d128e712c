"""A training step as a CUDA graph: its kernels are recorded once, and then started together."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From a batch of inputs and targets to tensors on the device: the loss, and the gradient's norm."""

WARM_UP = 3
"""Steps of a new shape that are made as usual before one is recorded: libraries choose kernels and reserve memory."""


class CudaRecorder:
    """Runs and records steps on a CUDA device, on one stream of its own, as recording demands."""

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)

    def run(self, step: Step, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Make a step."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            found = step(inputs, targets)
        torch.cuda.current_stream().wait_stream(self.stream)
        return found

    def record(self, step: Step, inputs: Tensor, targets: Tensor) -> tuple[Callable[[], None], tuple[Tensor, Tensor]]:
        """Record a step, which computes nothing yet; return what makes it, and the tensors for its results."""
        graph = torch.cuda.CUDAGraph()
        # The thread that pins batches may reserve memory meanwhile.
        with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
            found = step(inputs, targets)
        return graph.replay, found


class RecordedStep:
    """A step that is recorded after `WARM_UP` steps of one shape, and from then on only started.

    Its kernels and their order are those of the step itself, so the results are, too. A batch of another shape begins
    anew.

    `step`: Everything between a batch and the gradients: it sets them to None, computes and bounds them. It depends on
        its arguments and on the network's state alone, and does not wait for the device.
    `recorder`: Or what stands for it in a test.
    """

    def __init__(self, step: Step, recorder: CudaRecorder, device: torch.device) -> None:
        self.step, self.recorder, self.device = step, recorder, device
        self._shapes: tuple[torch.Size, torch.Size] | None = None
        self._made = 0
        self._replay: Callable[[], None] | None = None
        self._batch: tuple[Tensor, Tensor] | None = None
        self._found: tuple[Tensor, Tensor] | None = None

    def __call__(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Make a step; the results are overwritten by the next one."""
        if (inputs.shape, targets.shape) != self._shapes:
            self._shapes, self._made = (inputs.shape, targets.shape), 0
            self._replay = self._found = None
            self._batch = torch.empty_like(inputs, device=self.device), torch.empty_like(targets, device=self.device)
        assert self._batch is not None
        for held, given in zip(self._batch, (inputs, targets), strict=True):
            held.copy_(given, non_blocking=True)
        if self._made < WARM_UP:
            self._made += 1
            return self.recorder.run(self.step, *self._batch)
        if self._replay is None:
            self._replay, self._found = self.recorder.record(self.step, *self._batch)
        self._replay()
        assert self._found is not None
        return self._found
