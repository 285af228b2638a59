"""Weights whose rate is estimated by a discriminator: what `DensityRatio` and `AggregateRatio` share."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.gradients.pathwise import require_differentiable
from lowerbound.hooks import GivenContext, WithoutDensity
from lowerbound.protocols import JointDensity, Objective
from lowerbound.weights import LogWeights

__all__ = ["check_estimated", "estimated_weights", "require_told_nothing"]


def estimated_weights(joint: JointDensity, z: Tensor, log_q: Float[Tensor, "sample batch"]) -> LogWeights:
    """The terms of log w at latents z (S, B, latent) with an estimate of log q, marked as such."""
    log_likelihood, log_prior = joint(z)
    return LogWeights(
        log_likelihood=log_likelihood,
        log_prior=log_prior.expand_as(log_likelihood),
        log_q=log_q.expand_as(log_likelihood),
        z=z,
        form="estimated",
    )


def check_estimated(
    objective: Objective, posterior: Distribution, latent_dim: int, owner: str, *, needs_noise: bool
) -> None:
    """Refuse what an estimated rate cannot serve.

    Raises:
        ValueError: an objective that is no mean of sampled log w; latents of several layers or of another shape; draws
            without a derivative; or draws that are constant, whose rate is infinite, where there must be noise.
    """
    if not objective.linear or objective.rate != "sampled":
        raise ValueError(
            f"{owner} estimates the mean of log w, and {objective} needs log w itself or a closed form; use "
            "elbo:rate=sampled or beta-elbo."
        )
    require_differentiable(posterior, owner)
    z = posterior.sample()
    if not isinstance(z, Tensor) or tuple(z.shape[1:]) != (latent_dim,):
        shape = tuple(z.shape[1:]) if isinstance(z, Tensor) else "several layers"
        raise ValueError(
            f"{owner} has a discriminator of latents ({latent_dim},) and got latents {shape}; give it their latent_dim."
        )
    if needs_noise and isinstance(posterior, WithoutDensity) and posterior.is_constant():
        raise ValueError(
            f"{owner} got a q(z | x) without noise, whose rate is infinite; give it noise_dim, or use AggregateRatio()."
        )


def require_told_nothing(joint: JointDensity, owner: str) -> None:
    """Refuse a model with a context, which the discriminator would not see.

    Raises:
        ValueError: it has one.
    """
    if isinstance(joint, GivenContext) and joint.context is not None:
        raise ValueError(
            f"{owner} has a discriminator of x and z and the model is conditional; use a posterior with a density."
        )
