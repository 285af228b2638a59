"""Code that a GPU is told once and repeats: its kernels are recorded as a CUDA graph and launched as one.

A step of a small net is a hundred kernels of some microseconds each, and Python takes longer to launch one than the
device to compute it. A CUDA graph holds what was launched, with the addresses of all tensors: rows of a batch are
copied to where those of the first lay, and the state of training stays where it is. Random numbers are those that
torch's generator has at each launch, the same as without a recording. Nothing is done again on the host: what is
recorded must be a function of tensors on the device alone, which `graphs` sees to.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

__all__ = ["CannotRecord", "CudaGraphs", "Recorded", "Recorder", "recorder_on"]

_Code: TypeAlias = Callable[..., Sequence[Tensor]]


class CannotRecord(ValueError):
    """Code that a GPU does not record, in one sentence."""


@runtime_checkable
class Recorder(Protocol):
    """How calls are recorded."""

    def rehearse(self, call: Callable[[], Tensor]) -> Tensor:
        """The result of a call, made as it will be recorded later: what libraries set up at first is then there."""
        ...

    def record(self, call: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        """What repeats a call, which is not made now, and the tensor in which its result lies after each repetition."""
        ...


class CudaGraphs:
    """CUDA graphs of torch on a device, which need not be the present one; recording waits for it once."""

    def __init__(self, device: torch.device):
        self._device, self._stream = device, torch.cuda.Stream(device)

    def rehearse(self, call: Callable[[], Tensor]) -> Tensor:
        """See `Recorder`."""
        before = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(before)
        with torch.cuda.stream(self._stream):
            result = call()
        before.wait_stream(self._stream)
        return result

    def record(self, call: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        """See `Recorder`. A thread that reads rows ahead may go on meanwhile.

        Raises:
            CannotRecord: something in the call waits for the device, or needs the host.
        """
        before, graph = torch.cuda.current_stream(self._device), torch.cuda.CUDAGraph()
        try:
            with (
                torch.cuda.device(self._device),
                _nothing_collected(),
                _workspaces_apart(),
                torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"),
            ):
                result = call()
        except RuntimeError as error:  # torch's generator counts on a recording from here on: nothing can be drawn
            raise CannotRecord(
                f"The steps cannot be recorded as a CUDA graph ({str(error).strip().splitlines()[0]}); train without "
                "compiling: --no-compile, or compile=False."
            ) from error
        finally:
            torch.cuda.set_stream(before)  # torch leaves its own in place where a recording fails
        return graph.replay, result


def recorder_on(device: torch.device) -> Recorder | None:
    """How calls are recorded on a device; None where launching one costs nothing."""
    return CudaGraphs(device) if device.type == "cuda" else None


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Collect garbage now and not within this context: CUDA refuses to destroy a graph while one is recorded."""
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def _workspaces_apart() -> Iterator[None]:
    """Within this context cuBLAS works in memory of the graph that is recorded. torch would share one workspace among
    all graphs of a stream, and free it with the first of them (pytorch issue 193402).
    """
    torch._C._cuda_clearCublasWorkspaces()  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        torch._C._cuda_clearCublasWorkspaces()  # pyright: ignore[reportAttributeAccessIssue]


class Recorded:
    """Code with one result, whose first call is a rehearsal and whose second one is recorded.

    It is recorded anew where the state of training lies elsewhere than before, be it in the same tensors.

    Arguments:
        code: of tensors, which it may change.
        given: places of the arguments that hold rows; the others are the state of training.
        recorder: how it is recorded.
    """

    def __init__(self, code: _Code, given: Collection[int], recorder: Recorder):
        self._code, self._given, self._recorder = code, given, recorder
        self._is_rehearsed = False
        self._arguments: list[Tensor] = []
        self._addresses: list[int] = []
        self._repeat: Callable[[], object] = _nothing
        self._result: Tensor | None = None

    def is_of(self, code: _Code, given: Collection[int]) -> bool:
        """Whether this is that code, with rows at these places."""
        return code is self._code and given == self._given

    def __call__(self, *arguments: Tensor) -> Sequence[Tensor]:
        """The result, which the next call overwrites. Rows have the shapes of former ones."""
        if not self._is_rehearsed:
            self._is_rehearsed = True
            return [self._recorder.rehearse(lambda: self._code(*arguments)[0])]
        if not self._fits(arguments):
            self._record(arguments)
        assert self._result is not None
        for place in self._given:
            self._arguments[place].copy_(arguments[place], non_blocking=True)
        self._repeat()
        return [self._result]

    def _fits(self, arguments: Sequence[Tensor]) -> bool:
        return bool(self._arguments) and self._addresses_of(arguments) == self._addresses

    def _addresses_of(self, arguments: Sequence[Tensor]) -> list[int]:
        return [argument.data_ptr() for i, argument in enumerate(arguments) if i not in self._given]

    def _record(self, arguments: Sequence[Tensor]) -> None:
        self._repeat, self._result, self._arguments = _nothing, None, []  # what is held there is free before
        places = [a.clone() if i in self._given else a for i, a in enumerate(arguments)]
        self._repeat, self._result = self._recorder.record(lambda: self._code(*places)[0])
        self._arguments, self._addresses = places, self._addresses_of(places)


def _nothing() -> None:
    pass
