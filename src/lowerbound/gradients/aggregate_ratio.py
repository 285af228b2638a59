"""The adversarial autoencoder: Makhzani et al. (2015, arXiv:1511.05644, §2), by a ratio of densities.

A discriminator of latents alone tells q(z) = E_data q(z | x), the aggregate posterior, from the prior,

    T(z) → log q(z) − log p(z)
    estimate = E_data E_q(z|x)[log p(x | z) − T(z)]  ≈  E[log p(x | z)] − KL(q(z) ‖ p(z))  =  ELBO + I(x; z)

with I the mutual information of x and z under q, up to the logarithm of the number of data. It matches the latents of
all data to the prior and sets no price on what one latent says about its datum, so that q(z | x) may be anything: a
Gaussian, a sampler or a deterministic encoder. The estimate is above the ELBO by I and bounds nothing.

The paper lets the encoder deceive the discriminator, which lowers the Jensen-Shannon divergence. Here it lowers
KL(q(z) ‖ p(z)), the divergence in the ELBO, by the same discriminator.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn
from torch.distributions import Distribution

from lowerbound.gradients.estimated import check_estimated, estimated_weights
from lowerbound.nets.discriminator import Discriminator
from lowerbound.protocols import Estimate, JointDensity, Kind, Objective

__all__ = ["AggregateRatio"]


class AggregateRatio(nn.Module):
    """KL(q(z) ‖ p(z)) of the aggregate posterior in place of the rate, by a discriminator trained in the same steps.

    Arguments:
        latent_dim: length of z.
        hidden: width of the hidden layers of the discriminator.
        depth: number of them.
        lr_factor: its learning rate, as a multiple of that of the model.
        beta1: its decay of the first moment under Adam.

    Gradient: that of E[log p(x | z)] − KL(q(z) ‖ p(z)), biased as far as T is not optimal; `BetaELBO` weighs the
    divergence. The prior must have no parameters to learn.

    Raises:
        ValueError: a size or a rate out of range.
    """

    cites: ClassVar[tuple[str, ...]] = ("makhzani2015adversarial",)

    kind: Kind = "biased"
    estimates_rate: ClassVar[bool] = True

    def __init__(self, latent_dim: int, hidden: int = 128, depth: int = 2, lr_factor: float = 2.0, beta1: float = 0.5):
        super().__init__()
        self.latent_dim = latent_dim
        self.discriminator = Discriminator(
            latent_dim, hidden, depth, lr_factor=lr_factor, optimizer_beta1=beta1, owner="AggregateRatio"
        )
        self.discriminator.start_at_zero()

    def estimate(
        self, objective: Objective, posterior: Distribution, joint: JointDensity, num_samples: int
    ) -> Estimate:
        """See `protocols.Gradient`."""
        z = posterior.rsample(torch.Size((num_samples,)))
        prior = joint.prior
        _require_fixed(prior, z)
        w = estimated_weights(joint, z, prior.log_prob(z) + self.discriminator.log_ratio(z))
        others = prior.sample(z.shape[: z.ndim - len(prior.batch_shape) - 1])
        mistakes = self.discriminator.cross_entropy([z], [others]).mean(0)
        return Estimate(
            surrogate=objective.reduce(objective.signal(w)) - (mistakes - mistakes.detach()),
            weights=w,
            terms={"cross_entropy": mistakes.detach()},
        )

    def check(self, objective: Objective, posterior: Distribution, num_samples: int) -> None:
        """Refuse objectives that are no mean of log w, and latents of another shape."""
        check_estimated(objective, posterior, self.latent_dim, "AggregateRatio", needs_noise=False)


def _require_fixed(prior: Distribution, z: torch.Tensor) -> None:
    """Refuse a prior that learns: its log p(z) cancels in the estimate, so that it would rest."""
    if torch.is_grad_enabled():
        return  # looked at before the first step, when `check` estimates without gradients
    with torch.enable_grad():
        learns = prior.log_prob(z.detach()).requires_grad
    if learns:
        raise ValueError(
            "AggregateRatio matches the latents to the prior and gives the prior no gradient; take a prior without "
            "parameters, such as standard-normal, or freeze it."
        )
