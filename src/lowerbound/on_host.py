"""What the host knows of tensors on a device, so that a step need not ask the device.

Some models compute as much as their rows hold: the tokens of each text, the atoms of each molecule. How many these are
is a shape, which the host must know. To read it back is to wait until the device has done all that it was told before.
But rows come from the host: who sends them says what they hold (`remember`), and who computes by them asks (`on_host`).

What is remembered belongs to one tensor: it is found for that tensor and for views of it (a part of its rows, rows that
are expanded over draws), and forgotten when the tensor goes or is changed in place. Of any other tensor `on_host` reads
the device, which is right and waits.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

__all__ = ["carried", "has_memory", "on_host", "remember", "to_device"]

_CPU = torch.device("cpu")
_Held: TypeAlias = Tensor | Callable[[], Tensor] | None  # None: what is remembered lies on the host itself


@dataclass
class _Known:
    tensor: weakref.ref[Tensor]
    version: int
    held: _Held


_known: dict[tuple[torch.device, int], _Known] = {}  # by the memory of a tensor, which its views share


def remember(x: Shaped[Tensor, "..."], held: Tensor | Callable[[], Tensor]) -> None:
    """Say what a tensor holds.

    Arguments:
        x: on any device; one on the CPU is read itself, so that it is right after whatever change.
        held: the same numbers in the same shape, on the CPU and of any type; or a function that gives them, which is
            called when they are asked for, and does not refer to x.
    """
    _keep(x, None if _lies_on_host(x) else held)


def carried(x: Shaped[Tensor, "..."], same: Shaped[Tensor, "..."]) -> Tensor:
    """Say of a tensor what is known of `x`, because it holds the same numbers; returns it."""
    if same is not x and not torch.compiler.is_compiling():
        known = _find(x)
        if known is not None and known.tensor() is x:
            remember(same, x if known.held is None else known.held)
    return same


def on_host(x: Shaped[Tensor, "..."]) -> np.ndarray:
    """The numbers of a tensor, in its shape; it waits for the device where they are not known. Not to be written to."""
    known = _find(x)
    if known is None:
        return _array(x.detach().to(_CPU, copy=True))
    if known.held is None:
        return _array(x.detach())
    whole = known.tensor()
    if callable(known.held):
        known.held = known.held()
    assert whole is not None
    assert known.held.shape == whole.shape, (known.held.shape, whole.shape)
    start = x.storage_offset() - whole.storage_offset()
    return _array(known.held.detach().contiguous().as_strided(x.shape, x.stride(), start))


def has_memory(x: Shaped[Tensor, "..."]) -> bool:
    """Whether a tensor has memory of its own; one that `torch.func` wraps has none."""
    return _place(x) is not None


def to_device(held: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """A tensor of what is held on the host, on a device, which does not wait for it."""
    held = torch.from_numpy(held) if isinstance(held, np.ndarray) else held
    return (held.pin_memory() if device.type == "cuda" else held).to(device, non_blocking=True)


def _keep(x: Tensor, held: _Held) -> None:
    if torch.compiler.is_compiling() or x.is_inference() or not x.numel() or not x.is_contiguous():
        return
    place = _place(x)
    if place is None:
        return

    def forget(gone: weakref.ref[Tensor]) -> None:
        known = _known.get(place)
        if known is not None and known.tensor is gone:
            _known.pop(place, None)

    _known[place] = _Known(weakref.ref(x, forget), x._version, held)


def _find(x: Tensor) -> _Known | None:
    """What is known of a tensor or of one whose view it is."""
    place = _place(x)
    known = None if place is None else _known.get(place)
    whole = None if known is None else known.tensor()
    if known is None or whole is None or whole._version != known.version or x.dtype != whole.dtype:
        return None
    if _place(whole) != place:  # its memory was exchanged for another (`x.data = …`), and may belong to any tensor now
        return None
    first = x.storage_offset() - whole.storage_offset()
    last = first + sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))
    return known if x.numel() and first >= 0 and last < whole.numel() else None


def _place(x: Tensor) -> tuple[torch.device, int] | None:
    """The memory of a tensor; None of one that `torch.func` wraps, which has none of its own."""
    try:
        return x.device, x.untyped_storage().data_ptr()
    except NotImplementedError:
        return None


def _lies_on_host(x: Tensor) -> bool:
    return x.device.type == "cpu"


def _array(x: Tensor) -> np.ndarray:
    if not has_memory(x):
        return np.array(x.tolist()).reshape(x.shape)
    return (x.float() if x.dtype == torch.bfloat16 else x).numpy()
