"""Adversarial variational Bayes: Mescheder, Nowozin & Geiger (2017, arXiv:1701.04722, eqs. 3.3, 3.7 and Algorithm 2).

For a q(z | x) without a density, a discriminator of pairs (x, z) learns its log ratio to a reference r(z | x)

    T(x, z) → log q(z | x) − log r(z | x)
    estimate = E_q[log p(x | z) + log p(z) − log r(z | x) − T(x, z)]  ≈  ELBO

Where T is optimal, E_q[∇_φ T] = 0 (proposition 2), so that φ learns through z alone, with T and r held fixed.

Adaptive contrast: r is the Gaussian with the means and standard deviations of q(z | x), measured from draws, and T
reads z in units of them. Then T must learn how q differs from a Gaussian, in place of KL(q ‖ p), which may be tens of
nats. r enters log r and the units of z as one and the same distribution.

The estimate lies on either side of the ELBO and of log p(x). While T lags behind q it is too high, and the noise of the
moments, which T does not see, raises it by about latent_dim / contrast nats. It is no bound, and the weights say so
(form "estimated").
"""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from lowerbound.gradients.estimated import check_estimated, estimated_weights, require_told_nothing
from lowerbound.nets.discriminator import Discriminator
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.protocols import Estimate, JointDensity, Kind, Objective

__all__ = ["DensityRatio"]

_SMALLEST_SCALE = 1e-3


class DensityRatio(nn.Module):
    """The rate of a posterior without a density, by a discriminator that is trained in the same steps.

    Arguments:
        latent_dim: length of z.
        event_shape: shape of one datum x.
        contrast: draws from which the moments of q(z | x) are measured for adaptive contrast; 0 takes the prior for r.
        hidden: width of the hidden layers of the discriminator.
        depth: number of them.
        lr_factor: its learning rate, as a multiple of that of the model.
        beta1: its decay of the first moment under Adam.

    Gradient: biased for θ and φ only as far as T is not optimal, for the ELBO (any objective linear in sampled log w)
    of every posterior that is reparameterised. The discriminator has the gradient of its cross-entropy.

    Raises:
        ValueError: a size or a rate out of range.
    """

    cites: ClassVar[tuple[str, ...]] = ("mescheder2017adversarial",)

    kind: Kind = "biased"
    estimates_rate: ClassVar[bool] = True

    def __init__(
        self,
        latent_dim: int,
        event_shape: Shape,
        contrast: int = 64,
        hidden: int = 128,
        depth: int = 3,
        lr_factor: float = 2.0,
        beta1: float = 0.5,
    ):
        super().__init__()
        if contrast < 0 or contrast == 1:
            raise ValueError(f"DensityRatio got contrast={contrast} and needs 2 or more draws, or 0 for none.")
        self.latent_dim, self.event_shape, self.contrast = latent_dim, as_shape(event_shape), contrast
        self.discriminator = Discriminator(
            [self.event_shape, latent_dim],
            hidden,
            depth,
            lr_factor=lr_factor,
            optimizer_beta1=beta1,
            owner="DensityRatio",
        )
        self.discriminator.start_at_zero()

    def estimate(
        self, objective: Objective, posterior: Distribution, joint: JointDensity, num_samples: int
    ) -> Estimate:
        """See `protocols.Gradient`."""
        require_told_nothing(joint, "DensityRatio")
        z = posterior.rsample(torch.Size((num_samples,)))
        x = joint.x.to(z.dtype)
        _require_no_gaps(x)
        r = self.reference(posterior, joint.prior)
        ratio = self.discriminator.log_ratio(x, self._in_units(z, r))
        log_q = r.log_prob(z) + ratio
        w = estimated_weights(joint, z, log_q)
        others = r.sample(z.shape[: z.ndim - len(r.batch_shape) - 1])
        pairs = ((x, self._in_units(v, r)) for v in (z, others))
        mistakes = self.discriminator.cross_entropy(*pairs).mean(0)
        value = objective.reduce(objective.signal(w))
        return Estimate(
            surrogate=value - (mistakes - mistakes.detach()),
            weights=w,
            terms={"cross_entropy": mistakes.detach()},
        )

    def check(self, objective: Objective, posterior: Distribution, num_samples: int) -> None:
        """Refuse objectives that are no mean of log w, and posteriors without noise or of another shape."""
        check_estimated(objective, posterior, self.latent_dim, "DensityRatio", needs_noise=True)

    @torch.no_grad()
    def reference(self, posterior: Distribution, prior: Distribution) -> Distribution:
        """r(z | x), a constant: the Gaussian with the moments of q(z | x), or the prior."""
        if not self.contrast:
            return prior
        z = posterior.sample(torch.Size((self.contrast,)))
        scale = z.std(0).clamp_min(_SMALLEST_SCALE)
        return Independent(Normal(z.mean(0), scale, validate_args=False), 1, validate_args=False)

    def _in_units(self, z: Tensor, r: Distribution) -> Tensor:
        """z in standard deviations from the mean of r, where r is measured."""
        if not self.contrast:
            return z
        base = cast(Independent, r).base_dist
        return (z - base.mean) / base.stddev


def _require_no_gaps(x: Tensor) -> None:
    """Refuse gaps, which the discriminator cannot read: in checks and evaluations, where waiting for the device costs
    little.
    """
    if not torch.is_grad_enabled() and bool(x.isnan().any()):
        raise ValueError(
            "DensityRatio has a discriminator of x and got rows with gaps; fill them first, or use a posterior with a "
            "density."
        )
