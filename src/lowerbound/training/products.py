"""Matrix products and tanh in float32 by oneDNN where the library that torch calls for them is slow.

torch multiplies float32 matrices on x86 by MKL, which on processors of AMD reaches half the speed of oneDNN, the other
library that torch brings (98 and 191 · 10⁹ operations a second on one core with AVX-512, 128 × 784 × 512). Both
accumulate in float32: results differ by rounding. Its tanh takes a quarter of the time and is as exact (8 · 10⁻⁸ of
the value). Elsewhere, and for small products, nothing is changed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["by_onednn", "dense", "fast_products", "is_faster", "is_large"]

_LARGE = 2**21
"""Multiplications from which a product goes to oneDNN, whose call from here costs about 10 µs."""

_MANY = 2**15
"""Numbers from which tanh goes to oneDNN."""


@functools.cache
def is_faster() -> bool:
    """Whether this is a processor on which oneDNN is the faster one."""
    find = getattr(torch.cpu, "get_capabilities", dict)  # since torch 2.12
    is_amd = str(find().get("cpu_name", "")).startswith("AMD")
    return is_amd and torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()


@contextmanager
def fast_products() -> Iterator[None]:
    """Send large products and tanh of eager code, gradients included, to oneDNN; do nothing where it is not faster."""
    if not is_faster():
        yield
        return
    with _Products():
        yield


@torch.library.custom_op("lowerbound::product", mutates_args=(), schema="(Tensor a, Tensor b, Tensor? bias) -> Tensor")
def by_onednn(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    """a b + bias by oneDNN, for a (m, k), b (k, n) and bias (n,)."""
    return _linear(a, b.t(), bias)


@by_onednn.register_fake
def _(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    return a.new_empty(a.shape[0], b.shape[1])


class _Products(TorchDispatchMode):
    def __torch_dispatch__(
        self, func: Any, types: Sequence[Any], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in _BY_ONEDNN and not kwargs:
            result = _BY_ONEDNN[func](*args)
            if result is not None:
                return result
        return func(*args, **(kwargs or {}))


def _mm(a: Tensor, b: Tensor) -> Tensor | None:
    return _linear(a, b.t(), None) if is_large(a, b) else None


def _addmm(bias: Tensor, a: Tensor, b: Tensor) -> Tensor | None:
    return _linear(a, b.t(), bias) if bias.ndim == 1 and is_large(a, b) else None


def _whole_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor | None:
    """In inference mode a linear layer is one operation."""
    return _linear(x, weight, bias) if is_large(x.reshape(-1, x.shape[-1]), weight.t()) else None


def _tanh(x: Tensor) -> Tensor | None:
    return x.contiguous().to_mkldnn().tanh().to_dense() if _are_many(x) else None


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, dense(weight), bias, "none", [], "")


def dense(weight: Tensor) -> Tensor:
    """A matrix whose rows, or columns, follow one another in memory: a part of a larger one takes oneDNN 700 times as
    long.
    """
    return weight if weight.is_contiguous() or weight.t().is_contiguous() else weight.contiguous()


_BY_ONEDNN: dict[Any, Callable[..., Tensor | None]] = {
    torch.ops.aten.mm.default: _mm,
    torch.ops.aten.addmm.default: _addmm,
    torch.ops.aten.linear.default: _whole_linear,
    torch.ops.aten.tanh.default: _tanh,
}
"""What is computed by oneDNN; None from those that are not worth it. Every operation of a model is looked up here."""


def _are_many(x: Tensor) -> bool:
    return x.dtype == torch.float32 and x.device.type == "cpu" and x.layout == torch.strided and x.numel() >= _MANY


def is_large(a: Tensor, b: Tensor) -> bool:
    """Whether a product of float32 numbers on a CPU is worth a call of oneDNN."""
    is_single = a.dtype == b.dtype == torch.float32 and a.device.type == "cpu"
    return is_single and a.shape[0] * a.shape[1] * b.shape[1] >= _LARGE
