"""What a loss asks of its choices before the first step, whichever loss it is.

These are the mistakes that train without complaint: values of x to which the likelihood gives no probability, a prior
and a posterior of different kinds, an upper bound that training would raise, and normalisation over a batch, with which
log p(x | z) of a row depends on the rows beside it and is no density.
"""

from __future__ import annotations

from torch import nn
from torch.distributions import Distribution
from torch.nn.modules.batchnorm import _BatchNorm

from lowerbound.hooks import Layered
from lowerbound.model import LatentVariableModel
from lowerbound.objectives import ChiDivergence
from lowerbound.protocols import Objective

__all__ = ["check_direction", "check_same_kind", "refuse_batch_norm"]


def check_direction(objective: Objective, model: LatentVariableModel) -> None:
    """What is maximised must be worth raising, for every parameter that learns."""
    name = type(objective).__name__
    if objective.bound == "upper":
        raise ValueError(
            f"{name} is an upper bound of log p(x), which training would raise; read it after training, and train on "
            "ELBO() or IWAE()."
        )
    parts = [part for part in (model.prior, model.likelihood) if isinstance(part, nn.Module)]
    if isinstance(objective, ChiDivergence) and any(p.requires_grad for part in parts for p in part.parameters()):
        raise ValueError(
            f"{name} fits q to a p that is held fixed, and would lower log p(x); freeze the parameters of prior and "
            "likelihood (requires_grad_(False)), or train on ELBO() or IWAE()."
        )


def check_same_kind(q: Distribution, p: Distribution) -> None:
    """A probability cannot be set against a density: their ratio bounds nothing."""
    kinds = [_is_discrete(q), _is_discrete(p)]
    if None not in kinds and kinds[0] != kinds[1]:
        words = ["a probability" if kind else "a density" for kind in kinds]
        raise ValueError(
            f"q(z | x) is {words[0]} and p(z) is {words[1]}, so log p(z) − log q(z | x) bounds nothing; choose a prior "
            "and a posterior over the same latents (both continuous, both Bernoulli, or both categorical)."
        )
    if not isinstance(q, Layered) and not isinstance(p, Layered) and len(q.event_shape) != len(p.event_shape):
        raise ValueError(
            f"q(z | x) is over latents of shape {tuple(q.event_shape)} and p(z) over {tuple(p.event_shape)}; choose a "
            "prior and a posterior over the same latents."
        )


def refuse_batch_norm(model: nn.Module) -> None:
    """Raise a `ValueError` if a part of the model normalises over the batch, as BatchNorm in training mode does."""
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and (module.training or module.running_mean is None):
            raise ValueError(
                f"{name} is a {type(module).__name__}, with which the density of one row depends on the other rows of "
                "its batch, so that there is no bound; use GroupNorm or LayerNorm, or keep it in eval mode."
            )


def _is_discrete(distribution: Distribution) -> bool | None:
    """Whether its values are discrete; None where it does not say."""
    try:
        support = distribution.support
    except NotImplementedError:
        return None
    return None if support is None else bool(support.is_discrete)
