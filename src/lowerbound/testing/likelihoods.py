"""Conformance of a likelihood: see `check_likelihood`."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from lowerbound.protocols import Context, InitializedFromData
from lowerbound.support import LikelihoodFacts, Support
from lowerbound.testing.cites import check_cites
from lowerbound.testing.conditionals import check_conditional
from lowerbound.testing.require import require

__all__ = ["check_likelihood"]

_DRAWS, _ROWS, _MOST_VALUES = 50, 200, 100_000
_DISCRETE_DOMAINS = ("levels", "counts", "classes", "tokens")


def check_likelihood(likelihood: nn.Module, context: Context, value: Tensor | None = None) -> None:
    """Check a likelihood: all that `check_conditional` checks, and its own statements.

    It must state `facts`, a `support` and its works (`check_cites`). Samples lie in the support. log p of an entry that
    is NaN is NaN, or finite where the support allows missing entries. `facts.discrete` agrees with the sum of p over
    the support, where there are at most 100,000 values. `initialize`, if it has one, costs at most a nat per element on
    data of its own.

    Arguments:
        likelihood: the module; it is not changed.
        context: what it is called with, B rows.
        value: a value (B, *event) to score; its own samples unless given.

    Raises:
        AssertionError: naming the first thing found wrong, and the remedy.
    """
    name = type(likelihood).__name__
    facts, support = _facts(likelihood, name), _support(likelihood, name)
    check_conditional(likelihood, context, value=value)
    p = likelihood(context)
    x = p.sample(torch.Size((_DRAWS,)))
    _check_inside(x, support, f"{name}: samples")
    if value is not None:
        _check_inside(value, support, f"{name}: the given value")
    _check_missing(likelihood, context, x[0] if value is None else value, support, name)
    _check_discrete(likelihood, context, facts, support, name)
    if isinstance(likelihood, InitializedFromData):
        _check_initialize(likelihood, context, name)
    check_cites(likelihood)


def _facts(likelihood: nn.Module, name: str) -> LikelihoodFacts:
    stated = isinstance(getattr(type(likelihood), "facts", None), LikelihoodFacts)
    require(
        stated,
        f'{name} states no facts; add to the class: facts: ClassVar[LikelihoodFacts] = LikelihoodFacts(domain="reals", '
        "discrete=False), with the domain of its x (see lowerbound.support).",
    )
    facts = likelihood.facts
    assert isinstance(facts, LikelihoodFacts)
    if facts.domain in ("reals", *_DISCRETE_DOMAINS):
        discrete = facts.domain in _DISCRETE_DOMAINS
        require(
            facts.discrete == discrete,
            f"{name}: facts say domain={facts.domain!r} and discrete={facts.discrete}; one of them is wrong.",
        )
    return facts


def _support(likelihood: nn.Module, name: str) -> Support:
    support = getattr(likelihood, "support", None)
    require(
        isinstance(support, Support),
        f"{name} states no support; add to the class: @property def support(self) -> Support: return reals, or another "
        "set of lowerbound.support.",
    )
    assert isinstance(support, Support)
    return support


def _check_inside(x: Tensor, support: Support, what: str) -> None:
    inside = support.check(x)
    require(tuple(inside.shape) == tuple(x.shape), f"{what}: support.check gives another shape than that of x.")
    outside = x[~inside][:1].tolist()
    require(not outside, f"{what} hold {outside}, which is not in the support: {support.description}.")


def _check_missing(likelihood: nn.Module, context: Context, x: Tensor, support: Support, name: str) -> None:
    """Check without gradients too, where a distribution may compute differently."""
    x = x.clone()
    x.flatten(1)[:, 0] = math.nan
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            log_prob = likelihood(context).log_prob(x)
        if support.allows_missing:
            require(bool(log_prob.isfinite().all()), f"{name}: log_prob with a missing entry is not finite.")
        else:
            require(bool(log_prob.isnan().all()), f"{name}: log_prob of NaN is {log_prob[0].item():g} and must be NaN.")


@torch.no_grad()
def _check_discrete(
    likelihood: nn.Module, context: Context, facts: LikelihoodFacts, support: Support, name: str
) -> None:
    p = likelihood(context)
    values = _every_value(support, p.event_shape, p.sample())
    if values is None:
        return
    total = p.log_prob(values.unsqueeze(1)).double().logsumexp(0).exp()
    sums = bool(((total - 1).abs() < 1e-3).all())
    require(
        sums == facts.discrete,
        f"{name}: facts.discrete is {facts.discrete} and p sums to {total.flatten()[0].item():.4g} over the support.",
    )


def _every_value(support: Support, event_shape: torch.Size, like: Tensor) -> Tensor | None:
    """Every x on the grid of the support (J, *event), if it has one for each element and they are few."""
    size = event_shape.numel()
    sets = support.columns or (support,) * size
    grids = [one.grid for one in sets if one.grid is not None]
    if len(grids) < size or math.prod(len(grid) for grid in grids) > _MOST_VALUES:
        return None
    product = torch.cartesian_prod(*[like.new_tensor(grid) for grid in grids])
    return product.view(-1, *event_shape)


@torch.no_grad()
def _check_initialize(likelihood: nn.Module, context: Context, name: str) -> None:
    rows = _first_row(context)
    x = likelihood(rows).sample()
    started = copy.deepcopy(likelihood)
    assert isinstance(started, InitializedFromData)
    started.initialize(x)
    before, after = likelihood(rows).log_prob(x).mean().item(), started(rows).log_prob(x).mean().item()
    require(
        after > before - x[0].numel(),
        f"{name}: initialize takes the mean log p of its data from {before:.4g} to {after:.4g} nats.",
    )


def _first_row(context: Context) -> Context:
    """The first row of a context, many times over."""
    if isinstance(context, tuple):
        return tuple(part[:1].expand(_ROWS, *part.shape[1:]) for part in context)
    return context[:1].expand(_ROWS, *context.shape[1:])
