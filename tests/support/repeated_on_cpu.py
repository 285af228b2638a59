"""What a CUDA graph does, on a CPU: operations are recorded with their tensors, and repeated on the same ones.

As there, the call that is recorded computes nothing; a repetition reads and writes the memory that the recorded one
had, also where a tensor lies elsewhere since, draws random numbers anew, and asks nothing of the host.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

__all__ = ["OnCpu"]


class OnCpu:
    """A `training.recorded.Recorder` that counts what it does."""

    def __init__(self) -> None:
        self.rehearsed = self.recorded = self.repeated = 0

    def rehearse(self, call: Callable[[], Tensor]) -> Tensor:
        """The call itself."""
        self.rehearsed += 1
        return call()

    def record(self, call: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        """The operations of a call, whose changes are undone, and what repeats them."""
        self.recorded += 1
        recording = _Recording()
        random = torch.get_rng_state()
        with recording:
            result = call()
        torch.set_rng_state(random)
        for tensor, before in reversed(recording.before):
            tensor.copy_(before)

        def repeat() -> None:
            self.repeated += 1
            for func, args, kwargs, results in recording.done:
                for old, new in zip(results, tree_leaves(func(*args, **kwargs)), strict=True):
                    if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)

        return repeat, result


class _Recording(TorchDispatchMode):
    """Operations and their tensors, and copies of what was there before and is changed."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Any, Any, Any, list[Any]]] = []
        self.before: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = zip(func._schema.arguments, args, strict=False)
        changed = [tensor for argument, value in named if argument.is_write for tensor in tree_leaves(value)]
        self.before.extend((tensor, tensor.clone()) for tensor in changed)
        results = func(*args, **(kwargs or {}))
        self.done.append((func, _memory(args), _memory(kwargs or {}), tree_leaves(_memory(results))))
        return results


def _memory(given: Any) -> Any:
    """The same, of tensors that stay where these are now."""
    return tree_map_only(Tensor, Tensor.detach, given)
