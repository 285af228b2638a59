"""Iterative amortised inference: Marino, Yue & Mandt (2018, arXiv:1807.09356, eq. 7).

    λ_{k+1} = λ_k + f_ψ(λ_k, ∇_λ ELBO(λ_k; x)),      k = 0, …, K − 1

A small network replaces the learning rate and learns how to use the gradient. ψ is trained with the model, on the bound
at λ_K, through the sequence of λ; the gradient that f reads is a constant, so that there are no second derivatives. λ =
(μ, log σ) of a factorised Gaussian. The gradient enters as asinh ∇, which keeps its sign and compresses its many orders
of magnitude. The last layer of f starts at zero, so that an untrained f does not change λ.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from lowerbound.gradients import Pathwise
from lowerbound.inference.families import InitialPosterior, check_support, free_parameters
from lowerbound.inference.local import require_steps
from lowerbound.inference.scheme import gradients_enabled, recordable
from lowerbound.model import LatentVariableModel
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO
from lowerbound.protocols import Context

__all__ = ["IterativeAmortised"]


class IterativeAmortised(nn.Module):
    """A learned update of a factorised Gaussian, applied a few times.

    Arguments:
        latent_dim: length of z.
        num_steps: K.
        hidden: width of the two hidden layers of f.
        num_samples: latents drawn per datum and step for ∇_λ ELBO.
        start: "encoder" (from the moments of q(z | x)) or "prior" (the paper's; the encoder is then not used).

    Gradient: that of the bound at λ_K for ψ, θ and (from the encoder) φ, with ∇_λ ELBO a constant, as published.

    Raises:
        ValueError: no steps or samples, or latents that are not real vectors of this length.
    """

    cites: ClassVar[tuple[str, ...]] = ("marino2018iterative",)

    def __init__(
        self,
        latent_dim: int,
        num_steps: int = 5,
        hidden: int = 64,
        num_samples: int = 1,
        start: InitialPosterior = "encoder",
    ):
        super().__init__()
        require_steps("IterativeAmortised", num_steps, num_samples)
        self.latent_dim, self.num_steps, self.num_samples = latent_dim, num_steps, num_samples
        self.start: InitialPosterior = start
        self.update = MLP((4, latent_dim), [hidden, hidden], (2, latent_dim), nn.ELU)
        last = self.update.layers[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, model: LatentVariableModel, x: Tensor, context: Context | None = None) -> Distribution:
        """See `InferenceScheme`."""
        trained = torch.is_grad_enabled()
        with gradients_enabled():
            x, context = recordable(x, context)
            with torch.set_grad_enabled(trained):
                free, head = free_parameters(model, x, context, "diagonal", self.start)
            with torch.no_grad():
                joint = model.joint(x, context)
            self._check(free)
            check_support(head(free), joint.prior)
            for _ in range(self.num_steps):
                at = free.detach().requires_grad_()
                value = Pathwise().estimate(ELBO(), head(at), joint, self.num_samples).surrogate
                (gradient,) = torch.autograd.grad(value.sum(), at)
                with torch.set_grad_enabled(trained):
                    free = free + self.update(torch.cat([free, gradient.asinh()], 1))
        return head(free)

    def _check(self, free: Tensor) -> None:
        if tuple(free.shape[1:]) != (2, self.latent_dim):
            raise ValueError(
                f"IterativeAmortised was built for latent_dim={self.latent_dim} and the latents of this model have "
                f"shape {tuple(free.shape[2:])}; give it their length."
            )
