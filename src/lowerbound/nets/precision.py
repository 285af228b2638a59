"""Nets in low precision, densities in float32.

Autocast computes every matrix product in bfloat16 or half precision, also those of distributions: draws of a full
Gaussian, flows, and therefore log q(z | x), which above 64 nats then has steps of half a nat. A loss of this library
turns autocast off, and on again for the nets of its conditionals, which are most of the work; their output is float32.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from lowerbound.nets.products import products_of_nets

__all__ = ["call_net", "multiplies_bf16", "nets_alone_autocast"]

_P = ParamSpec("_P")
_R = TypeVar("_R")

_of_nets: tuple[str, torch.dtype] | None = None
"""The device and the numbers of nets, while autocast is off around them."""


def nets_alone_autocast(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Run a function with autocast turned off, if it was on, for all but the nets of conditionals."""

    @functools.wraps(function)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        device = _autocast_device()
        if device is None:
            return function(*args, **kwargs)
        global _of_nets
        before, _of_nets = _of_nets, (device, torch.get_autocast_dtype(device))
        try:
            with torch.autocast(device, enabled=False):
                return function(*args, **kwargs)
        finally:
            _of_nets = before

    return run


def call_net(net: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> Tensor:
    """The output of a net, computed in the precision of nets and by their products, in float32 or better."""
    with products_of_nets():
        if _of_nets is None:
            out = net(*inputs)
        else:
            with torch.autocast(_of_nets[0], dtype=_of_nets[1]):
                out = net(*inputs)
    return out.float() if out.dtype in (torch.bfloat16, torch.float16) else out


def multiplies_bf16() -> bool:
    """Whether this processor has instructions for products in bfloat16."""
    questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # not in every version of torch
    return any(getattr(torch.cpu, name, bool)() for name in questions)


def _autocast_device() -> str | None:
    """The kind of device for which autocast is on."""
    return next((device for device in ("cuda", "cpu", "mps") if torch.is_autocast_enabled(device)), None)
