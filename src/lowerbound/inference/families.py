"""Variational families with free parameters: λ_i for each datum i, as one tensor λ (B, …), and λ ↦ q(z; λ).

    own        what the posterior's net would output: every family of `posteriors` (λ in the units of its net)
    diagonal   N(μ, diag σ²),                       λ = (μ, log σ)
    full       N(μ, L Lᵀ), L = diag(σ) (I + N),     λ = (μ, log σ on the diagonal and N below it)

If a posterior has no net, "own" is "diagonal" or "full", according to its distribution. λ starts from q(z | x) (from
its moments, except for "own") or from the moments of the prior (for "own": from the zero output of a net, which is N(0,
I) or near it).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Literal, TypeAlias, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal, constraints

from lowerbound.called import name_of
from lowerbound.hooks import PointMass
from lowerbound.model import LatentVariableModel, with_context
from lowerbound.protocols import Context
from lowerbound.weights import latents_of

__all__ = ["Family", "Head", "InitialPosterior", "check_support", "expanded", "free_parameters", "is_real", "moments"]

Family: TypeAlias = Literal["own", "diagonal", "full"]
InitialPosterior: TypeAlias = Literal["encoder", "prior"]
Head: TypeAlias = Callable[[Tensor], Distribution]
"""From λ (B, …) to q(z; λ), a distribution with `batch_shape` (B,)."""

_DRAWS_FOR_MOMENTS = 256


def free_parameters(
    model: LatentVariableModel, x: Tensor, context: Context | None, family: Family, start: InitialPosterior
) -> tuple[Tensor, Head]:
    """The λ of each datum at which refinement starts, and the map from λ to q(z; λ).

    Differentiable along φ if it starts from the encoder.

    Raises:
        ValueError: the family does not fit the latents, or a name that is not known.
    """
    if family not in ("own", "diagonal", "full"):
        raise ValueError(f"family is {family!r}; choose own, diagonal or full.")
    if start not in ("encoder", "prior"):
        raise ValueError(f"start is {start!r}; choose encoder or prior.")
    net = getattr(model.posterior, "net", None)
    if family == "own" and isinstance(net, nn.Module):
        first, head = _own(cast(nn.Module, model.posterior), net, with_context(x, context), start)
        _refuse_point_mass(head(first))
        return first, head
    q = model.infer(x, context)
    _refuse_point_mass(q)
    family = _family_of(q) if family == "own" else family
    origin = q if start == "encoder" else expanded(model.prior(context), q)
    return (_diagonal if family == "diagonal" else _full)(origin)


def moments(q: Distribution) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of z under q, each (B, *event); from 256 draws if q has none in closed form.

    Differentiable where q is reparameterised.
    """
    try:
        return q.mean, q.stddev
    except NotImplementedError:
        draw = q.rsample if q.has_rsample else q.sample
        z = cast(Tensor, latents_of(q, draw(torch.Size((_DRAWS_FOR_MOMENTS,)))))
        return z.mean(0), z.std(0)


def _own(posterior: nn.Module, net: nn.Module, context: Context, start: InitialPosterior) -> tuple[Tensor, Head]:
    output = net(*context) if isinstance(context, tuple) else net(context)
    head = copy.copy(posterior)
    head.__dict__["_modules"] = {**posterior._modules, "net": nn.Identity()}
    return output if start == "encoder" else torch.zeros_like(output), head


def _family_of(q: Distribution) -> Literal["diagonal", "full"]:
    if isinstance(q, MultivariateNormal):
        return "full"
    if isinstance(q, Independent) and isinstance(q.base_dist, Normal):
        return "diagonal"
    raise ValueError(
        f"The family of q itself needs a posterior with a net, or a Gaussian, and got {name_of(q)}; "
        "use family='diagonal' or family='full'."
    )


def expanded(p: Distribution, like: Distribution) -> Distribution:
    """The prior, one copy for each datum."""
    return p if p.batch_shape == like.batch_shape else p.expand(like.batch_shape)


def _diagonal(origin: Distribution) -> tuple[Tensor, Head]:
    loc, scale = _real_moments(origin)

    def head(parameters: Float[Tensor, "batch 2 *event"]) -> Distribution:
        mean, log_scale = parameters.unbind(1)
        return Independent(Normal(mean, log_scale.exp(), validate_args=False), mean.ndim - 1, validate_args=False)

    return torch.stack([loc, scale.log()], 1), head


def _full(origin: Distribution) -> tuple[Tensor, Head]:
    loc, scale = _real_moments(origin)
    if loc.ndim != 2:
        raise ValueError(f"family='full' needs z to be a vector and its shape is {tuple(loc.shape[1:])}; use diagonal.")
    below = torch.zeros_like(torch.diag_embed(scale))
    if isinstance(origin, MultivariateNormal):
        scale = origin.scale_tril.diagonal(dim1=-2, dim2=-1)
        below = (origin.scale_tril / scale[..., None]).tril(-1)

    def head(parameters: Float[Tensor, "batch rows latent"]) -> Distribution:
        mean, matrix = parameters[:, 0], parameters[:, 1:]
        sigma = matrix.diagonal(dim1=-2, dim2=-1).exp()
        scale_tril = sigma[..., None] * matrix.tril(-1) + torch.diag_embed(sigma)
        return MultivariateNormal(mean, scale_tril=scale_tril, validate_args=False)

    return torch.cat([loc[:, None], below + torch.diag_embed(scale.log())], 1), head


def _real_moments(origin: Distribution) -> tuple[Tensor, Tensor]:
    """The moments of latents that a Gaussian can represent."""
    if not is_real(origin):
        raise ValueError(
            f"A Gaussian family needs latents on the real line, in one vector, and {name_of(origin)} has others; "
            "use family='own' for discrete ones, Amortised() for several layers."
        )
    return moments(origin)


def _refuse_point_mass(q: Distribution) -> None:
    """Refuse to optimise a q of one value, along whose parameters the bound has no derivative."""
    if isinstance(q, PointMass):
        raise ValueError(
            "To optimise q(z | x) takes parameters of it and codes have none: they are the nearest to what the encoder "
            "gives; leave the refinement out."
        )


def check_support(q: Distribution, p: Distribution) -> None:
    """Refuse a q on the real line with a prior that is not: log p(z) has no value at most draws.

    Raises:
        ValueError: they are such.
    """
    if not is_real(p) and _is_said_real(q):
        raise ValueError(
            "q(z | x) is over all real numbers and p(z) is not, so that log p(z) has no value at most draws; choose a "
            "posterior over the latents of the prior, such as relaxed-bernoulli for relaxed-bernoulli."
        )


def _is_said_real(q: Distribution) -> bool:
    try:
        return q.support is not None and is_real(q)
    except NotImplementedError:
        return False


def is_real(distribution: Distribution) -> bool:
    """Whether the values are real vectors, or the distribution does not say."""
    try:
        support = distribution.support
    except NotImplementedError:
        return True
    while (base := getattr(support, "base_constraint", None)) is not None:  # a product, or a mixture of products
        support = base
    return support is None or support in (constraints.real, constraints.real_vector)
