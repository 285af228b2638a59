"""Conformance of a gradient estimator: see `check_gradient`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.gradients.path_only import detach
from lowerbound.gradients.weighted import weighted_value
from lowerbound.model import LatentVariableModel
from lowerbound.protocols import Estimate, Gradient, Objective
from lowerbound.testing.cites import check_cites
from lowerbound.testing.require import require, require_close
from lowerbound.weights import weigh

__all__ = ["check_gradient", "flat_gradient"]


def check_gradient(
    estimator: Gradient,
    objective: Objective,
    model: LatentVariableModel,
    x: Tensor,
    num_samples: int = 4,
) -> bool:
    """Check an estimator on one objective and model.

    It states its works (`check_cites`). Either its `check` refuses the pair; or the surrogate has the value of the
    objective at its own weights and, for θ (the parameters of prior and likelihood alone), the gradient of the
    objective at the same latents, held fixed; and q gets a finite gradient.

    Arguments:
        estimator: what is checked.
        objective: what it differentiates.
        model: p and q.
        x: a batch.
        num_samples: S.

    Returns:
        Whether the pair was accepted.

    Raises:
        AssertionError: naming the first thing found wrong.
    """
    check_cites(estimator)
    name = f"{type(estimator).__name__} on {type(objective).__name__}"
    q = model.infer(x)
    try:
        estimator.check(objective, q, num_samples)
    except ValueError as refusal:
        require(bool(str(refusal)), f"{name}: refused without saying why.")
        return False
    estimate = estimator.estimate(objective, q, model.joint(x), num_samples)
    shape = tuple(estimate.surrogate.shape)
    require(shape == tuple(x.shape[:1]), f"{name}: surrogate has shape {shape}, not (batch,).")
    value = weighted_value(objective, estimate.weights)
    require_close(estimate.surrogate, value, f"{name}: its value is not that of the objective")
    _check_theta(objective, model, x, estimate, name)
    _check_phi(model, estimate, name)
    return True


def flat_gradient(value: Float[Tensor, ""], parameters: Iterable[Tensor]) -> Float[Tensor, "coordinate"]:
    """The gradient of a scalar for several tensors, as one vector; zero where it has none.

    >>> x = torch.ones(2, requires_grad=True)
    >>> flat_gradient((x**2).sum(), [x])
    tensor([2., 2.])
    """
    given = list(parameters)
    if not given or not value.requires_grad:
        return value.new_zeros(sum(p.numel() for p in given))
    gradients = torch.autograd.grad(value, given, retain_graph=True, allow_unused=True)
    pairs = zip(given, gradients, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in pairs])


def _check_theta(objective: Objective, model: LatentVariableModel, x: Tensor, estimate: Estimate, name: str) -> None:
    phi = {id(p) for p in _parameters(model.posterior)}
    parts = (model.prior, model.likelihood)
    theta = [p for part in parts for p in _parameters(part) if id(p) not in phi]
    z = detach(estimate.weights.z)
    share = estimate.weights.log_probability
    fixed = weigh(model.infer(x), model.joint(x), z, rate=objective.rate)
    fixed = dataclasses.replace(fixed, log_probability=None if share is None else share.detach())
    plain = flat_gradient(weighted_value(objective, fixed).sum(), theta)
    got = flat_gradient(estimate.surrogate.sum(), theta)
    require_close(got, plain, f"{name}: the gradient of p(x, z) is not that at fixed latents")


def _check_phi(model: LatentVariableModel, estimate: Estimate, name: str) -> None:
    phi = _parameters(model.posterior)
    gradient = flat_gradient(estimate.surrogate.sum(), phi)
    require(bool(gradient.isfinite().all()), f"{name}: the gradient of q is not finite.")
    require(not phi or bool((gradient != 0).any()), f"{name}: q receives no gradient at all.")


def _parameters(part: object) -> list[Tensor]:
    if not isinstance(part, nn.Module):
        return []
    return [p for p in part.parameters() if p.requires_grad]
