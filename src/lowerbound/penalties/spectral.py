"""Spectral regularisation of the layers of a model (Vahdat & Kautz 2020, arXiv:2007.03898, §3.2).

    λ Σ_l s_l,      s_l = uᵀ W_l v,    u, v the first singular vectors of the matrix W_l (outputs × inputs)

The largest singular value bounds how much a layer can enlarge a difference, so that neighbouring x keep neighbouring
q(z | x), and KL does not leap. u and v are followed by one step of the power method before every step of training
(Yoshida & Miyato 2017, arXiv:1705.10941), and are constants for gradients: the gradient of s_l is u vᵀ.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import normalize

from lowerbound.penalties.latents import check_weight

__all__ = ["Spectral"]

_FIRST_ITERATIONS = 20


class Spectral(nn.Module):
    """weight · the sum of the largest singular values of all dense and convolutional layers, whatever the latents.

    Arguments:
        model: whose layers; the penalty refers to it and does not own it.
        weight: λ; 0.01 in the paper.

    Gradient: exact for the u and v at hand, which lag behind the weights by a step of the power method.

    Raises:
        ValueError: a negative weight, or a model without layers.
    """

    cites: ClassVar[tuple[str, ...]] = ("vahdat2020nvae", "yoshida2017spectral")

    def __init__(self, model: nn.Module, weight: float = 1e-2):
        super().__init__()
        check_weight(weight, "Spectral")
        layers = [part for part in model.modules() if isinstance(part, nn.Linear | nn.modules.conv._ConvNd)]
        if not layers:
            raise ValueError(
                f"Spectral got a {type(model).__name__} without dense or convolutional layers; leave it out."
            )
        # Into __dict__, or nn.Module would register them and list their parameters a second time.
        self.__dict__["_layers"] = layers
        self.weight = weight
        for i, layer in enumerate(layers):
            self.register_buffer(f"u_{i}", normalize(torch.randn_like(layer.weight.detach().flatten(1)[:, 0]), dim=0))
        self._iterate(_FIRST_ITERATIONS)

    def forward(self, posterior: Distribution, prior: Distribution) -> Float[Tensor, ""]:
        """See `protocols.Penalty`."""
        values = []
        for i, layer in enumerate(self.__dict__["_layers"]):
            matrix, u = layer.weight.flatten(1), self.get_buffer(f"u_{i}")
            v = normalize(matrix.detach().mT @ u, dim=0)
            values.append(u @ matrix @ v)
        return self.weight * torch.stack(values).sum()

    def at_step(self, step: int) -> None:
        """Follow the weights by one step of the power method."""
        self._iterate(1)

    def check(self, posterior: Distribution, prior: Distribution) -> None:
        """Nothing: it does not look at latents."""

    @torch.no_grad()
    def _iterate(self, times: int) -> None:
        """u ← W Wᵀ u, normalised."""
        for i, layer in enumerate(self.__dict__["_layers"]):
            matrix, u = layer.weight.flatten(1), self.get_buffer(f"u_{i}")
            for _ in range(times):
                u.copy_(normalize(matrix @ (matrix.mT @ u), dim=0))
