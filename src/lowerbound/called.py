"""What a distribution is called in messages."""

from __future__ import annotations

from torch.distributions import Distribution, Independent

__all__ = ["name_of"]


def name_of(distribution: Distribution) -> str:
    """The name of its class, within `Independent` and above private subclasses.

    >>> import torch
    >>> name_of(Independent(torch.distributions.Normal(torch.zeros(2), 1.0), 1))
    'Normal'
    """
    while isinstance(distribution, Independent):
        distribution = distribution.base_dist
    return next(kind.__name__ for kind in type(distribution).__mro__ if not kind.__name__.startswith("_"))
