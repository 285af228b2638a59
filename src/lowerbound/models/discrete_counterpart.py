"""A relaxed model read as the discrete one: the same nets, with bits in place of relaxed bits.

A model of Concrete latents (Maddison, Mnih & Teh 2017, arXiv:1611.00712) has a bound of its own log p(x), which is no
bound for the model of discrete latents that it stands for, and may lie above or below it. Published numbers are those
of the discrete model: the logits of every layer are kept, and each Concrete becomes the Bernoulli or categorical
distribution whose rounding it is.
"""

from __future__ import annotations

from typing import cast

from torch import nn

from lowerbound import posteriors, priors
from lowerbound.model import LatentVariableModel
from lowerbound.protocols import Conditional

__all__ = ["discretised"]

_RELAXED = (
    posteriors.RelaxedBernoulli,
    posteriors.RelaxedCategorical,
    priors.RelaxedBernoulli,
    priors.RelaxedCategorical,
)


def discretised(model: LatentVariableModel) -> LatentVariableModel:
    """The discrete model with the nets of a relaxed one, which both share.

    Arguments:
        model: its prior and posterior are relaxed, or chains of relaxed layers (`Hierarchical`, `BottomUp`).

    Raises:
        ValueError: a model without relaxed latents, one whose nets read logits of them, or a part that holds relaxed
            latents in a way of its own.

    >>> from lowerbound.models import concrete_layers
    >>> model = concrete_layers((4,), latent_dims=[3, 2])
    >>> sorted(discretised(model).prior().sample((50,))[0].unique().tolist())
    [0.0, 1.0]
    """
    p, q = cast(nn.Module, model.prior), cast(nn.Module, model.posterior)
    if not any(isinstance(part, _RELAXED) for part in (*p.modules(), *q.modules())):
        raise ValueError(
            f"discretised got a model with the prior {type(p).__name__} and the posterior {type(q).__name__}, which "
            "are not relaxed; evaluate it as it is."
        )
    discrete = LatentVariableModel(
        prior=cast(Conditional, _of(p)), likelihood=model.likelihood, posterior=cast(Conditional, _of(q))
    )
    return discrete.train(model.training)


def _of(part: nn.Module) -> nn.Module:
    """The discrete counterpart of a prior, a posterior or a layer."""
    if isinstance(part, posteriors.BottomUp | priors.Hierarchical):
        return type(part)([cast(Conditional, _of(layer)) for layer in part.conditionals])
    if isinstance(part, _RELAXED):
        if part.space in ("logit", "log"):
            raise ValueError(
                f"discretised got {type(part).__name__} with space={part.space!r}, whose nets read logarithms, which "
                "bits do not have; fit it with the default space."
            )
        return _rounded(part)
    raise ValueError(
        f"discretised got {type(part).__name__}, of which it knows no discrete counterpart; build the discrete model "
        "from its nets in Python."
    )


def _rounded(part: nn.Module) -> nn.Module:
    match part:
        case posteriors.RelaxedBernoulli():
            return posteriors.Bernoulli(part.net, part.latent_shape)
        case posteriors.RelaxedCategorical():
            return posteriors.Categorical(part.net, part.categories, part.latent_shape)
        case priors.RelaxedBernoulli():
            discrete = priors.Bernoulli(part.latent_shape)
        case priors.RelaxedCategorical():
            discrete = priors.Categorical(part.event_shape[:-1], part.event_shape[-1])
        case _:
            raise AssertionError(type(part).__name__)
    discrete.logits = part.logits  # shared, so that it goes on with the relaxed model
    return discrete
