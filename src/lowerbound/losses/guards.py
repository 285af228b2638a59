"""Checks that every loss makes before the first step.

They find mistakes that would train without an error: values of x outside the support of the likelihood, a discrete
prior with a continuous posterior or the reverse, maximisation of an upper bound, and normalisation over a batch, which
makes log p(x | z) of a row depend on other rows, so that it is no density.
"""

from __future__ import annotations

from torch import nn
from torch.distributions import Distribution
from torch.nn.modules.batchnorm import _BatchNorm

from lowerbound.model import LatentVariableModel
from lowerbound.objectives import ChiDivergence
from lowerbound.protocols import Objective

__all__ = ["check_direction", "check_same_kind", "refuse_batch_norm"]


def check_direction(objective: Objective, model: LatentVariableModel) -> None:
    """Refuse to maximise what is no lower bound for the parameters that learn."""
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
    """Refuse a discrete prior with a continuous posterior, or the reverse: log w would be no bound."""
    kinds = [_is_discrete(q), _is_discrete(p)]
    if None not in kinds and kinds[0] != kinds[1]:
        words = ["a probability" if kind else "a density" for kind in kinds]
        raise ValueError(
            f"q(z | x) is {words[0]} and p(z) is {words[1]}, so log p(z) − log q(z | x) bounds nothing; choose a prior "
            "and a posterior over the same latents (both continuous, both Bernoulli, or both categorical)."
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
    """Whether the values of the distribution are discrete; None if it does not say."""
    try:
        support = distribution.support
    except NotImplementedError:
        return None
    return None if support is None else bool(support.is_discrete)
