"""What a choice needs of the others: found by asking the code, as `testing.matrix` does."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from lowerbound import baselines, gradients, objectives, posteriors, priors
from lowerbound.nets import MLP
from lowerbound.randomness import forked
from lowerbound.spelling import choices, construct, outputs_of
from lowerbound.support import LikelihoodFacts
from lowerbound.testing.matrix import KINDS, cells_of

__all__ = ["needs_of"]

_SIZE, _CONTEXT, _FEW, _MAP = 2, 3, 40, (2, 2)
_GIVEN = {"geco": "target=1.0"}  # an argument without a default


def needs_of(axis: str, name: str, cls: Any) -> dict[str, Any]:
    """Plain values by what they say; nothing where the code says nothing.

    Arguments:
        axis: the plural name, "gradients".
        name: of the choice.
        cls: its class, or the function of a recipe.
    """
    asked: dict[str, Callable[[], dict[str, Any]]] = {
        "likelihoods": lambda: _of_likelihood(cls),
        "objectives": lambda: _of_objective(name, cls),
        "gradients": lambda: _of_gradient(name, cls),
        "posteriors": lambda: _of_posterior(name),
        "priors": lambda: _of_prior(name),
        "baselines": lambda: _of_samples(construct(baselines, name, latent_dim=_SIZE, event_shape=(_SIZE,))),
    }
    if axis not in asked:
        return {}
    try:
        with forked(torch.device("cpu"), 0):
            return asked[axis]()
    except ValueError as refusal:  # of a choice of another package, which must be given more
        return {"not asked": str(refusal)}


def _of_likelihood(cls: type) -> dict[str, Any]:
    """Its facts."""
    facts = getattr(cls, "facts", None)
    if not isinstance(facts, LikelihoodFacts):
        return {}
    return {
        "one element of x": facts.domain,
        "log p of": "probabilities" if facts.discrete else "densities",
        "mean in closed form": facts.has_mean,
        "baselines": list(facts.baselines),
        "options that the data decide": list(facts.from_data),
    }


def _of_objective(name: str, cls: type) -> dict[str, Any]:
    made = construct(objectives, f"{name}:{_GIVEN[name]}" if name in _GIVEN else name)
    return {
        "bound of log p(x)": made.bound,
        "rate": made.rate,
        "linear in log w": made.linear,
        **_of_samples(made),
        "estimators by latents": _pairs(cls.__name__, column=True),
    }


def _of_gradient(name: str, cls: type) -> dict[str, Any]:
    made = construct(gradients, name, latent_dim=_SIZE, event_shape=(_SIZE,))
    return {
        "gradient of q": made.kind,
        **_of_samples(made),
        "baselines": sorted(choices(baselines)) if "baseline" in inspect.signature(cls).parameters else [],
        "objectives by latents": _pairs(cls.__name__, column=False),
    }


def _of_samples(made: object) -> dict[str, Any]:
    """The fewest samples."""
    return {"fewest samples": getattr(made, "fewest_samples", 1)}


def _pairs(label: str, *, column: bool) -> dict[str, list[str]]:
    """What it goes with, by the kind of latents; none where it is refused with all."""
    found = {}
    for kind, of_kind in KINDS.items():
        taken = cells_of(of_kind, label, column=column).items()
        found[kind] = [f"{other} ({cell.status})" for other, cell in taken if cell.status != "refused"]
    return found


def _of_posterior(name: str) -> dict[str, Any]:
    net = MLP(_CONTEXT, [], outputs_of(posteriors, name, _SIZE))
    made = construct(posteriors, name, net=net, latent_dim=_SIZE, latent_shape=_SIZE)
    return _of_latents(made, torch.zeros(_FEW, _CONTEXT))


def _of_prior(name: str) -> dict[str, Any]:
    """Of a vector; of a map where it is over maps."""
    q = posteriors.DiagonalNormal(MLP(_SIZE, [], (2, _SIZE)))
    given = {"latent_dim": _SIZE, "event_shape": (_SIZE,), "posterior": q}
    shape = _MAP if name == "autoregressive-map" else _SIZE
    return _of_latents(construct(priors, name, latent_shape=shape, **given), None)


def _of_latents(made: nn.Module, context: torch.Tensor | None) -> dict[str, Any]:
    """What its draws are, and whether a gradient passes through them."""
    with torch.no_grad():
        p = made(context)
        z = p.sample(torch.Size((_FEW,)))
    whole = bool(((z == 0) | (z == 1)).all())
    one_hot = whole and p.event_shape[-1:] != p.event_shape and bool((z.sum(-1) == 1).all())
    return {
        "latents": "one-hot vectors" if one_hot else "bits" if whole else "continuous",
        "draws carry a gradient": bool(p.has_rsample),
    }
