"""What makes a program wait for a device that computes by itself: a number or a shape is read back from a tensor."""

from __future__ import annotations

import traceback
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Waits"]

_READS = {
    "_local_scalar_dense",  # item(), float(), bool()
    "_linalg_check_errors",  # of a factorisation whose name does not end in _ex
    "_unique2",
    "bincount",
    "equal",
    "masked_select",
    "nonzero",
    "unique_consecutive",
    "unique_dim",
}


class Waits(TorchDispatchMode):
    """Notes such operations within this context, and the line of the program that asks for each, in a list.

    Left out is what is read on a CPU alone: `one_hot` looks at its numbers there, torch's own optimisers keep their
    counts of steps there, and its loaders draw their seeds there.
    """

    def __init__(self, seen: list[str]) -> None:
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if _reads(func, args, kwargs or {}):
            self._note(func._schema.name)
        return func(*args, **(kwargs or {}))

    def _note(self, name: str) -> None:
        stack = traceback.extract_stack()
        if any(_is_of_cpu(frame) for frame in stack):
            return
        asks = next((frame for frame in reversed(stack) if "/lowerbound/" in frame.filename), stack[0])
        self.seen.append(f"{name} in {asks.filename}:{asks.lineno}")


def _is_of_cpu(frame: traceback.FrameSummary) -> bool:
    return any(part in frame.filename for part in ("/torch/optim/", "/torch/utils/data/")) or "one_hot(" in (
        frame.line or ""
    )


def _reads(func: Any, args: Any, kwargs: Any) -> bool:
    name = func._schema.name.removeprefix("aten::")
    if name == "_to_copy" and kwargs.get("dtype") in (None, args[0].dtype):
        return kwargs.get("device") == torch.device("cpu")  # of what `on_host` was not told
    if name in ("index", "index_put", "index_put_"):
        return any(index is not None and index.dtype == torch.bool for index in args[1])
    return name in _READS or func is torch.ops.aten.repeat_interleave.Tensor
