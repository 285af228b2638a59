"""The state of a module of which some parameters are divided among processes: what lies here, and back from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

__all__ = ["load_state_here", "part_here", "part_of", "state_here", "whole"]


@torch.no_grad()
def part_here(tensor: Tensor) -> Tensor:
    """The part of a divided tensor that lies in this process, in the same memory; any other tensor itself."""
    to_local: Any = getattr(tensor, "to_local", None)
    return tensor if to_local is None else to_local()


def state_here(module: nn.Module) -> dict[str, Tensor]:
    """The state of a module, as far as it lies in this process."""
    return {name: part_here(tensor) for name, tensor in module.state_dict().items()}


@torch.no_grad()
def load_state_here(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load what `state_here` gave."""
    like = module.state_dict()
    divided = {n: _divided(tensors[n], t) for n, t in like.items() if n in tensors and part_here(t) is not t}
    module.load_state_dict({**tensors, **divided})


@torch.no_grad()
def whole(part: Tensor, like: DTensor) -> Tensor:
    """The tensor of which every process gives the part that a parameter has there; all of them must call this."""
    return _divided(part, like).full_tensor()


@torch.no_grad()
def part_of(tensor: Tensor, like: DTensor) -> Tensor:
    """The part of a whole tensor that a parameter has here.

    Raises:
        ValueError: a tensor of another shape.
    """
    from torch.distributed.tensor import distribute_tensor

    if tensor.shape != like.shape:
        raise ValueError(f"A parameter of shape {tuple(like.shape)} got {tuple(tensor.shape)}.")
    own = distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
    return own.to_local().clone()


def _divided(part: Tensor, like: Any) -> DTensor:
    from torch.distributed.tensor import DTensor

    part = part.to(like.device)
    return DTensor.from_local(
        part, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )
