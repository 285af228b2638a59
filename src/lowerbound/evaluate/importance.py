"""How far to trust an importance-sampling estimate of log p(x) from S weights w_s = p(x, z_s) / q(z_s | x).

    log p̂(x) = log (1/S) Σ_s w_s          a lower bound in expectation (Burda et al. 2016), → log p(x)
    s.e. ≈ sd(w) / (√S mean(w))           the delta method on the logarithm of the mean
    ESS = (Σ w)² / Σ w²                   between 1 and S
    k̂                                     the shape of the tail of the weights

The largest weights of any sampler follow a generalised Pareto law with shape k, whose moments of order 1/k and above
are infinite: with k̂ > 0.7 the other three numbers are unreliable, and a larger S helps little (Vehtari, Simpson,
Gelman, Yao & Gabry 2024, arXiv:1507.02646). k̂ is the empirical-Bayes estimate of Zhang & Stephens (2009).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.cited import cited

__all__ = ["FEWEST_WEIGHTS", "effective_sample_size", "log_mean_weight", "pareto_k"]

FEWEST_WEIGHTS = 21
"""For fewer weights than this k̂ is not defined: it is NaN."""

_FEWEST_IN_TAIL, _TOO_LITTLE = 5, 1e-3


def log_mean_weight(
    log_w: Float[Tensor, "sample batch"],
) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch"]]:
    """log (1/S) Σ_s w_s and its standard error, both (batch,), nats; the error of a single sample is NaN."""
    size = log_w.shape[0]
    value = torch.logsumexp(log_w, 0) - math.log(size)
    relative = (log_w - value).exp()  # w / mean(w)
    return value, (relative.var(0) / size).sqrt() if size > 1 else torch.full_like(value, math.nan)


def effective_sample_size(log_w: Float[Tensor, "sample batch"]) -> Float[Tensor, "batch"]:
    """(Σ w)² / Σ w²: the number of exact posterior samples of the same value, between 1 and S.

    >>> effective_sample_size(torch.zeros(8, 1))
    tensor([8.])
    """
    return 1 / torch.softmax(log_w, 0).square().sum(0)


@cited("vehtari2024pareto", "zhang2009new")
def pareto_k(log_w: Float[Tensor, "sample batch"]) -> Float[Tensor, "batch"]:
    """The shape k̂ of the tail of the weights; above 0.7 importance sampling is unreliable.

    The tail consists of the min(S/5, 3√S) largest weights, minus the next smaller one. Constant weights have no tail:
    −∞; as such count weights of which the largest is within a thousandth of those below the tail, for what they differ
    by is rounding, or too little to matter. With fewer than `FEWEST_WEIGHTS` weights the tail has fewer than five and
    k̂ is NaN.

    Arguments:
        log_w: log weights, nats, up to a constant.

    References:
        Zhang & Stephens (2009), with the prior of Vehtari et al. (2024, arXiv:1507.02646, appendix C).
    """
    size = math.ceil(min(log_w.shape[0] / 5, 3 * math.sqrt(log_w.shape[0])))
    if size < _FEWEST_IN_TAIL:
        return log_w.new_full(log_w.shape[1:], math.nan)
    top = log_w.double().topk(size + 1, 0).values.flip(0)  # ascending
    excess = (top[1:] - top[-1]).exp() - (top[:1] - top[-1]).exp()
    largest = excess[-1]
    tiny = torch.finfo(excess.dtype).eps
    constant = largest <= _TOO_LITTLE  # an exact q: what is left is the rounding of log w
    scaled = (excess / largest.where(~constant, torch.ones_like(largest))).clamp_min(tiny)
    k = _generalised_pareto_shape(scaled)
    return k.masked_fill(constant, -math.inf).to(log_w.dtype)


def _generalised_pareto_shape(x: Float[Tensor, "tail batch"]) -> Float[Tensor, "batch"]:
    """k̂ from positive exceedances in ascending order: the posterior mean of b = −k/σ over a grid, then k(b).

    k(b) = mean log(1 − b x) maximises the likelihood for given b; the profile is n (log(−b / k(b)) − k(b) − 1).
    """
    n = x.shape[0]
    m = 30 + math.isqrt(n)
    j = torch.arange(1, m + 1, dtype=x.dtype, device=x.device)[:, None]
    quartile = x[math.floor(n / 4 + 0.5) - 1]
    b = 1 / x[-1] + (1 - (m / (j - 0.5)).sqrt()) / (3 * quartile)  # (m, batch)
    k = torch.log1p(-b[:, None] * x).mean(1)
    log_likelihood = n * (torch.log(-b / k) - k - 1)
    b = (torch.softmax(log_likelihood, 0) * b).sum(0)
    k = torch.log1p(-b * x).mean(0)
    return (n * k + 10 * 0.5) / (n + 10)  # a weak prior at ½ that keeps short tails from alarming
