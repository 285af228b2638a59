"""log Γ(a) for a > 0 with a derivative by elementary functions, which a processor computes for many numbers at once.

    ψ(a) = ψ(a + 6) − Σ_{k < 6} 1/(a + k)
    ψ(w) = log w − 1/(2 w) − 1/(12 w²) + 1/(120 w⁴) − 1/(252 w⁶) + …         (Abramowitz & Stegun 1964, 6.3.6, 6.3.18)

The first term left out is below 3e-9 at w ≥ 6. With u = a (a + 5) the sum is (2 a + 5) (1/u + 1/(u + 4) + 1/(u + 6)).
torch's own derivative takes each number alone, a sixth of a step of a model of cells. Graphs that are compiled take it.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["digamma", "log_gamma"]


def log_gamma(a: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """log Γ(a) for a > 0, the same number as that of torch.

    >>> log_gamma(torch.tensor([1.0, 5.0])).exp()
    tensor([ 1., 24.])
    """
    return torch.lgamma(a) if torch.compiler.is_compiling() else cast(Tensor, _LogGamma.apply(a))


def digamma(a: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """ψ(a) for a > 0, within 3e-9 and rounding."""
    u, w = a * (a + 5), a + 6
    t = 1 / w**2
    series = torch.log(w) - 0.5 / w - t * (1 / 12 - t * (1 / 120 - t / 252))
    return series - (2 * a + 5) * (1 / u + 1 / (u + 4) + 1 / (u + 6))


class _LogGamma(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor) -> Tensor:
        return torch.lgamma(a)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        del output
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (a,) = ctx.saved_tensors
        return grads[0] * digamma(a)
