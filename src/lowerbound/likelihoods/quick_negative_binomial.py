"""log NB(x; μ, r) in log μ and log r, with its derivatives written out: for training, where most of a step is this.

    log p(x) = log Γ(x + r) − log Γ(r) − log x! + x (log μ − log(r + μ)) + r (log r − log(r + μ))
    ∂ log p / ∂ log μ = x − q μ                     q = (x + r)/(r + μ)
    ∂ log p / ∂ log r = r (ψ(x + r) − ψ(r) + 1 − q + log r − log(r + μ))

    ψ(a) = ψ(a + 6) − Σ_{k < 6} 1/(a + k)
    ψ(w) = log w − 1/(2 w) − 1/(12 w²) + 1/(120 w⁴) − 1/(252 w⁶) + …         (Abramowitz & Stegun 1964, 6.3.6, 6.3.18)

The first term left out is below 3e-9 at w ≥ 6. With u = a (a + 5) the sum is (2 a + 5) (1/u + 1/(u + 4) + 1/(u + 6)).
torch's own ψ takes each number alone, and its graph makes a derivative of each of these terms. Values are rounded in
float32 by about 1e-7 r and 1e-7 x nats; `NegativeBinomialDistribution` is exact in both limits of r.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["digamma", "log_negative_binomial"]


def log_negative_binomial(
    x: Float[Tensor, "*#shape"], log_mean: Float[Tensor, "*#shape"], log_dispersion: Float[Tensor, "*#shape"]
) -> Float[Tensor, "*shape"]:
    """log p of each count, nats; once differentiable in log μ and log r, and not in x.

    >>> log_negative_binomial(torch.tensor([0.0]), torch.tensor([0.0]), torch.tensor([0.0])).exp()
    tensor([0.5000])
    """
    if torch.compiler.is_compiling():
        return _forward(x, log_mean, log_dispersion)[0]
    return cast(tuple[Tensor, ...], _LogProb.apply(x, log_mean, log_dispersion))[0]


def digamma(a: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """ψ(a) for a > 0, within 3e-9 and rounding."""
    u, w = a * (a + 5), a + 6
    t = 1 / w**2
    series = torch.log(w) - 0.5 / w - t * (1 / 12 - t * (1 / 120 - t / 252))
    return series - (2 * a + 5) * (1 / u + 1 / (u + 4) + 1 / (u + 6))


def _forward(x: Tensor, log_mean: Tensor, log_r: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log p, μ and log(r + μ)."""
    mean, r = log_mean.exp(), log_r.exp()
    log_sum = torch.log(r + mean)
    volume = torch.lgamma(x + r) - torch.lgamma(r) - torch.lgamma(x + 1)
    return volume + x * (log_mean - log_sum) + r * (log_r - log_sum), mean, log_sum


class _LogProb(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, log_mean: Tensor, log_r: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return _forward(x, log_mean, log_r)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: tuple[Tensor, Tensor, Tensor]) -> None:
        x, log_mean, log_r = inputs
        _, mean, log_sum = output
        ctx.mark_non_differentiable(mean, log_sum)
        ctx.save_for_backward(x, log_mean, log_r, mean, log_sum)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, Tensor]:
        x, log_mean, log_r, mean, log_sum = ctx.saved_tensors
        r, g = log_r.exp(), grads[0]
        above = x + r
        q = above / (r + mean)
        of_mean = g * (x - q * mean)
        of_r = g * (digamma(above) - q - log_sum)
        rest = r * (1 + log_r - digamma(r))
        return None, of_mean.sum_to_size(log_mean.shape), (of_r * r + g * rest).sum_to_size(log_r.shape)
