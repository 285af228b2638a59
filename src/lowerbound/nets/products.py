"""Matrix products and tanh in float32 by oneDNN where the library that torch calls for them is slow.

torch multiplies float32 matrices on x86 by MKL, which on processors of AMD reaches half the speed of oneDNN, the other
library that torch brings (98 and 191 · 10⁹ operations a second on one core with AVX-512, 128 × 784 × 512). Both
accumulate in float32: results differ by rounding. Its tanh takes a quarter of the time and is as exact (8 · 10⁻⁸ of
the value). Elsewhere, and for small products, nothing is changed.

torch shows every operation to a dispatch mode, at some 5 µs each, and arithmetic has many. The mode is entered where
the large products are, around nets, flows and their gradients (`products_of_nets`), and nowhere else.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["by_onednn", "dense", "fast_products", "is_faster", "is_large", "products_of_nets"]

_LARGE = 2**21
"""Multiplications from which a product goes to oneDNN, whose call from here costs about 10 µs."""

_MANY = 2**15
"""Numbers from which tanh goes to oneDNN."""


class _Here(threading.local):
    """Of each thread: two that score at once would leave the mode of one to the other, weights laid out included."""

    mode: _Products | None = None
    """What `products_of_nets` enters within `fast_products`."""


_here = _Here()


@functools.cache
def is_faster() -> bool:
    """Whether this is a processor on which oneDNN is the faster one."""
    find = getattr(torch.cpu, "get_capabilities", dict)  # since torch 2.12
    is_amd = str(find().get("cpu_name", "")).startswith("AMD")
    return is_amd and torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()


@contextmanager
def fast_products() -> Iterator[None]:
    """Send large products and tanh of nets in eager code to oneDNN; do nothing where it is not faster.

    Parameters must keep their values within it.
    """
    before, _here.mode = _here.mode, _new_mode()
    try:
        yield
    finally:
        _here.mode = before


def products_of_nets() -> AbstractContextManager[object]:
    """What a net, a flow or a gradient through them is computed in: within `fast_products` by oneDNN."""
    if torch.compiler.is_compiling():  # `training.products_compiled` does it there
        return nullcontext()
    return _here.mode or nullcontext()


@torch.library.custom_op("lowerbound::product", mutates_args=(), schema="(Tensor a, Tensor b, Tensor? bias) -> Tensor")
def by_onednn(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    """a b + bias by oneDNN, for a (m, k), b (k, n) and bias (n,)."""
    return _linear(a, b.t(), bias)


@by_onednn.register_fake
def _(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    return a.new_empty(a.shape[0], b.shape[1])


class _Products(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self._laid_out: dict[int, tuple[nn.Parameter, Tensor]] = {}
        aten = torch.ops.aten
        self._by_onednn: dict[Any, Callable[..., Tensor | None]] = {
            aten.mm.default: _mm,
            aten.addmm.default: _addmm,
            aten.linear.default: self._whole_linear,
            aten.tanh.default: _tanh,
        }  # None from those that are not worth it; every operation of a net is looked up here

    def __torch_dispatch__(
        self, func: Any, types: Sequence[Any], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return self._computed(func, args, kwargs or {})

    def _computed(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if func in self._by_onednn and not kwargs:
            result = self._by_onednn[func](*args)
            if result is not None:
                return result
        return func(*args, **kwargs)

    def _whole_linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor | None:
        """In inference mode a linear layer is one operation."""
        if not _is_worth_a_call(x, weight, x.numel() * weight.shape[0]):
            return None
        return _pointwise(x, self._layout(weight), bias)

    def _layout(self, weight: Tensor) -> Tensor:
        """A parameter in the order in which oneDNN reads it, in which it is put once."""
        if not isinstance(weight, nn.Parameter):
            return dense(weight)
        if id(weight) not in self._laid_out:
            self._laid_out[id(weight)] = weight, torch.ops.mkldnn._reorder_linear_weight(dense(weight))
        return self._laid_out[id(weight)][1]


class _WithoutCompiler(_Products):
    """The same while torch's compiler is not loaded.

    torch wraps the method of a mode to keep it out of graphs, and loads the compiler for it: two seconds and more.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(
        self, func: Any, types: Sequence[Any], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return self._computed(func, args, kwargs or {})


def _new_mode() -> _Products | None:
    if not is_faster():
        return None
    return _Products() if "torch._dynamo" in sys.modules else _WithoutCompiler()


def _mm(a: Tensor, b: Tensor) -> Tensor | None:
    return _linear(a, b.t(), None) if is_large(a, b) else None


def _addmm(bias: Tensor, a: Tensor, b: Tensor) -> Tensor | None:
    return _linear(a, b.t(), bias) if bias.ndim == 1 and is_large(a, b) else None


def _tanh(x: Tensor) -> Tensor | None:
    return x.contiguous().to_mkldnn().tanh().to_dense() if _are_many(x) else None


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return _pointwise(x, dense(weight), bias)


def _pointwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def dense(weight: Tensor) -> Tensor:
    """A matrix whose rows, or columns, follow one another in memory: a part of a larger one takes oneDNN 700 times as
    long.
    """
    return weight if weight.is_contiguous() or weight.t().is_contiguous() else weight.contiguous()


def _are_many(x: Tensor) -> bool:
    return x.dtype == torch.float32 and x.device.type == "cpu" and x.layout == torch.strided and x.numel() >= _MANY


def is_large(a: Tensor, b: Tensor) -> bool:
    """Whether a product of float32 numbers on a CPU is worth a call of oneDNN."""
    return _is_worth_a_call(a, b, a.shape[0] * a.shape[1] * b.shape[1])


def _is_worth_a_call(a: Tensor, b: Tensor, multiplications: int) -> bool:
    return a.dtype == b.dtype == torch.float32 and a.device.type == "cpu" and multiplications >= _LARGE
