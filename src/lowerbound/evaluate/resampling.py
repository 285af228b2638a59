"""Systematic resampling: samples with weights become samples without (Kitagawa 1996).

    index m is the first s with Σ_{t ≤ s} w_t > (m + u)/M,      u ~ U(0, 1), one for each column

so that sample s is taken M w_s times, rounded up or down.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lowerbound.protocols import Latents

__all__ = ["resampled_latents", "systematic_resampling"]


def systematic_resampling(weight: Float[Tensor, "sample batch"], num_draws: int) -> Int[Tensor, "draw batch"]:
    """Indices of samples in ascending order; equal weights take each sample once if there are as many draws.

    Arguments:
        weight: w_s, which sum to 1 over the samples.
        num_draws: M.
    """
    cumulative = weight.double().cumsum(0)
    u = torch.rand(weight.shape[1], dtype=torch.float64, device=weight.device)
    at = (torch.arange(num_draws, device=weight.device)[:, None] + u) / num_draws * cumulative[-1]
    index = torch.searchsorted(cumulative.T.contiguous(), at.T.contiguous(), right=True)
    return index.clamp_max(len(weight) - 1).T


def resampled_latents(z: Latents, weight: Float[Tensor, "sample batch"], num_draws: int) -> Latents:
    """M of the samples (S, B, *event) of each row, as often as their weights say, in random order, so that draws of
    several rows with one number are independent of each other.
    """
    index = systematic_resampling(weight, num_draws)
    order = torch.rand(index.shape, device=index.device).argsort(0)
    return _chosen(z, index.gather(0, order))


def _chosen(z: Latents, index: Int[Tensor, "draw batch"]) -> Latents:
    if isinstance(z, tuple):
        return tuple(_chosen(part, index) for part in z)  # type: ignore[misc]
    return z[index, torch.arange(index.shape[1], device=index.device)]
