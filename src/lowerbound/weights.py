"""The tensor in which a joint model and an inference model meet.

    log w = log p(x | z) + log p(z) − log q(z | x)
    distortion = −log p(x | z)        rate = log q(z | x) − log p(z)        log w = −distortion − rate

E_q[log w] is the ELBO and log (1/S) Σ w the importance-weighted bound. *Sampled* terms give both. An objective that is
linear in log w may ask for part of the rate in closed form. The weights then say so in `form`, and objectives that are
not linear refuse them.

A hierarchy has a rate for each layer. Where q and p draw their layers in the same order, "kl" is a sum over layers: the
KL of each layer in closed form, given the drawn layers before it (`factors.kl_per_layer`). This sum varies with the
sample, and its expectation is KL(q ‖ p).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from lowerbound.called import name_of
from lowerbound.factors import factor_of, has_layers, is_product, kl_per_layer, rate_per_layer
from lowerbound.has_hook import has
from lowerbound.hooks import Augmented, IsExact, JointDensity, Latents, Lends, ScoresData

__all__ = [
    "JointDensity",
    "Latents",
    "LogWeights",
    "NoDensityError",
    "RateForm",
    "WeightsForm",
    "closed_form_rate",
    "is_exact",
    "joint_over",
    "latents_of",
    "log_density",
    "log_reverse",
    "weigh",
]

RateForm: TypeAlias = Literal["sampled", "entropy", "kl"]
"""How the rate was computed: from the samples, with the entropy of q in closed form, or as KL(q ‖ p) in closed form."""

WeightsForm: TypeAlias = RateForm | Literal["estimated"]
"""The same, or by a learned ratio of densities: the mean of log w is then near the ELBO, on either side: no bound."""


class NoDensityError(ValueError):
    """A bound was asked for of a posterior that has no density."""

    def __init__(self, posterior: Distribution):
        super().__init__(
            f"log w needs log q(z | x) and {type(posterior).__name__} has no density, so that there is no bound; "
            "evaluate its model by annealed importance sampling (evaluate --annealed 1000), which needs none."
        )


@dataclass(frozen=True, kw_only=True)
class LogWeights:
    """The terms of log w, each (sample, batch) in nats, never reduced over the batch.

    Attributes:
        log_likelihood: log p(x | z).
        log_prior: log p(z); −KL(q ‖ p) where `form` is "kl".
        log_q: log q(z | x); −H(q) where `form` is "entropy", 0 where it is "kl", an estimate where it is "estimated".
        z: the latents they were evaluated at.
        form: how the rate was computed.
        log_probability: the logarithm of the weight of each row in a mean over rows; the weights sum to 1. None where
            rows are draws from q, which have equal weights.
        rate_per_factor: KL(q(z_d | x) ‖ p(z_d)) where `form` is "kl" and both are products; in a hierarchy, for each
            layer given the drawn layers before it.
        rate_per_group: what each layer of a hierarchy adds to the rate; None for one latent. It has gradients where
            `form` is "kl", and none otherwise.
    """

    log_likelihood: Float[Tensor, "sample batch"]
    log_prior: Float[Tensor, "sample batch"]
    log_q: Float[Tensor, "sample batch"]
    z: Latents
    form: WeightsForm = "sampled"
    log_probability: Float[Tensor, "sample batch"] | None = None
    rate_per_factor: Float[Tensor, "*sample batch factor"] | None = None
    rate_per_group: Float[Tensor, "sample batch group"] | None = None

    def average(self, term: Float[Tensor, "sample batch"]) -> Float[Tensor, "batch"]:
        """The mean of a term over the rows, weighted by `log_probability`."""
        return term.mean(0) if self.log_probability is None else (self.log_probability.exp() * term).sum(0)

    def mean(self, term: Float[Tensor, "sample batch"]) -> Float[Tensor, ""]:
        """The mean of a term over rows, as `average` weighs them, and over the batch."""
        return term.mean() if self.log_probability is None else self.average(term).mean()

    @property
    def log_w(self) -> Float[Tensor, "sample batch"]:
        """log p(x, z) − log q(z | x)."""
        return self.log_likelihood + self.log_prior - self.log_q

    @property
    def rate(self) -> Float[Tensor, "sample batch"]:
        """log q(z | x) − log p(z): nats spent on the latent."""
        return self.log_q - self.log_prior

    @property
    def distortion(self) -> Float[Tensor, "sample batch"]:
        """−log p(x | z): nats spent on the datum given its latent."""
        return -self.log_likelihood


def is_exact(model: Any) -> bool:
    """Whether q(z | x) is p(z | x) of a model, so that log w is log p(x) for every z and one draw is enough."""
    return isinstance(model.posterior, IsExact) and model.posterior.is_exact_for(model)


def weigh(
    posterior: Distribution,
    joint: JointDensity,
    z: Latents,
    *,
    rate: RateForm = "sampled",
    log_q: Float[Tensor, "sample batch"] | None = None,
) -> LogWeights:
    """Evaluate the terms of log w at latents z.

    Arguments:
        posterior: q(z | x) of the batch.
        joint: z ↦ (log p(x | z), log p(z)), nats.
        z: latents (S, B, *event), or a tuple of them.
        rate: which form of the rate to use.
        log_q: log q(z | x) if the caller has it already (an estimator may differentiate it in its own way).

    Raises:
        ValueError: this pair of distributions has no closed form of the rate that was asked for.
    """
    joint = joint_over(posterior, joint)
    per_factor = per_group = None
    if rate == "kl":
        log_likelihood = joint.log_likelihood(z) if has(joint, ScoresData) else joint(z)[0]
        kl, per_factor, per_group = _closed_form_kl(posterior, joint.prior, z)
        log_prior = -kl
        log_q = kl.new_zeros(()).expand_as(log_likelihood)
    else:
        log_likelihood, log_prior = joint(z)
        if rate == "entropy":
            log_q = -_closed_form_entropy(posterior).expand_as(log_likelihood)
        elif log_q is None:
            log_q = log_density(posterior, z)
    if per_group is None and has_layers(posterior) and has_layers(joint.prior):
        with torch.no_grad():
            per_group = rate_per_layer(posterior, joint.prior, cast(tuple[Tensor, ...], z))
    return LogWeights(
        log_likelihood=log_likelihood,
        log_prior=log_prior.expand_as(log_likelihood),
        log_q=log_q,
        z=z,
        form=rate,
        rate_per_factor=per_factor,
        rate_per_group=None if per_group is None else per_group.expand(*log_likelihood.shape, -1),
    )


def log_density(posterior: Distribution, z: Latents) -> Float[Tensor, "sample batch"]:
    """log q(z | x), nats.

    Raises:
        NoDensityError: q can be sampled but has no density.
    """
    try:
        return posterior.log_prob(z)  # type: ignore[arg-type]  # a hierarchy takes its tuple of latents
    except NotImplementedError:
        raise NoDensityError(posterior) from None


def joint_over(posterior: Distribution, joint: JointDensity) -> JointDensity:
    """The joint density of everything that q draws: where q draws auxiliary variables λ, it includes r(λ | z, x).

    A posterior that evaluates p(z) while drawing (a ladder) hands these results to the prior, which need not compute
    them again.
    """
    if has(posterior, Lends):
        posterior.lend(joint.prior)
    return posterior.augment(joint) if has(posterior, Augmented) else joint


def latents_of(posterior: Distribution, draw: Latents) -> Latents:
    """The part z of a draw that the likelihood reads: the draw without the auxiliary variables of q."""
    return posterior.split(cast(Tensor, draw))[0] if isinstance(posterior, Augmented) else draw


def log_reverse(posterior: Distribution, draw: Latents) -> Tensor | float:
    """log r(λ | z, x) (S, B) of the auxiliary variables in a draw, nats, which `joint_over` adds; 0 without any."""
    return posterior.log_reverse(cast(Tensor, draw)) if isinstance(posterior, Augmented) else 0.0


@torch.no_grad()
def closed_form_rate(posterior: Distribution, prior: Distribution, z: Latents) -> RateForm:
    """The form of the rate with the least noise that a pair has: "kl" where KL(q ‖ p) is known, else "sampled".

    "entropy" would not help under a mixture or flow prior: where z is reparameterised its gradient equals that of
    "sampled", because log q(z(ε) | x) depends on φ through the entropy alone.

    Arguments:
        posterior: q(z | x).
        prior: p(z).
        z: a draw (S, B, *event) of q, at which the layers of a hierarchy are evaluated.
    """
    try:
        _closed_form_kl(posterior, prior, z)
    except ValueError:
        return "sampled"
    return "kl"


def _closed_form_kl(q: Distribution, p: Distribution, z: Latents) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """KL(q ‖ p) (B,), its terms (B, factor) where both are products, and its terms by layer, given the draw z."""
    if has_layers(q) or has_layers(p):
        return _layered_kl(q, p, cast(tuple[Tensor, ...], z))
    try:
        if is_product(q) and is_product(p) and q.event_shape == p.event_shape:
            one, other = factor_of(q), factor_of(p)
            per_factor = kl_divergence(one, other.expand(one.batch_shape)).flatten(1)
            return per_factor.sum(-1), per_factor, None
        return kl_divergence(q, p if p.batch_shape == q.batch_shape else p.expand(q.batch_shape)), None, None
    except NotImplementedError:
        raise ValueError(
            f"The rate kl needs a closed form of KL({name_of(q)} ‖ {name_of(p)}) and there is none; use "
            "ELBO(rate='sampled') for any pair, or ELBO(rate='entropy') for any q with an entropy."
        ) from None


def _layered_kl(q: Distribution, p: Distribution, z: tuple[Tensor, ...]) -> tuple[Tensor, Tensor | None, Tensor]:
    """The KL given the draw (S, B), by factor (S, B, factor) where all are products, and by layer (S, B, layer)."""
    layers = kl_per_layer(q, p, z)
    lead = torch.broadcast_shapes(*(layer.shape[:-1] for layer in layers))
    layers = [layer.expand(*lead, -1) for layer in layers]
    per_group = torch.stack([layer.sum(-1) for layer in layers], -1)
    products = all(is_product(layer) for d in (q, p) for layer in d.layers_at(z))  # type: ignore[attr-defined]
    return per_group.sum(-1), torch.cat(layers, -1) if products else None, per_group


def _closed_form_entropy(q: Distribution) -> Tensor:
    try:
        return q.entropy()
    except NotImplementedError:
        raise ValueError(
            f"The rate entropy needs a closed form of the entropy of {name_of(q)} and there is none; use "
            "ELBO(rate='sampled')."
        ) from None
