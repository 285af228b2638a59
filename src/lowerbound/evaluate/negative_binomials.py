"""Independent negative binomials in closed steps: means of columns, and the likeliest dispersion on a grid.

    x_g ~ NB(m_g, r_g)            or, given the size l of the row,            x_g ~ NB(l π_g, r_g),     l = Σ_g x_g

π_g is the share of column g in all training counts, each with half a count more. The second has the same conditioning
as a model of cells that is given l (`models.cell_autoencoder`): log p(x | l) of both can be compared.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from lowerbound.likelihoods.negative_binomial import NegativeBinomialDistribution, best_dispersion
from lowerbound.models.cell_likelihood import library_of, shares_of

__all__ = ["negative_binomials", "negative_binomials_given_library"]

_PSEUDO_COUNT, _MOST_COUNTS = 0.5, 10_000_000


def negative_binomials(
    train: Float[Tensor, "row column"], test: Float[Tensor, "batch column"], *, seed: int = 0
) -> Float[Tensor, "batch"]:
    """log p(x) of test rows under independent negative binomials fitted to training rows, nats."""
    del seed
    mean = (train.sum(0) + _PSEUDO_COUNT) / len(train)
    return _scored(train, mean.expand_as(train), test, mean.expand_as(test))


def negative_binomials_given_library(
    train: Float[Tensor, "row column"], test: Float[Tensor, "batch column"], *, seed: int = 0
) -> Float[Tensor, "batch"]:
    """log p(x | l) of test rows under independent negative binomials of given size, fitted to training rows, nats."""
    del seed
    share = shares_of(train)
    return _scored(train, library_of(train)[:, None] * share, test, library_of(test)[:, None] * share)


def _scored(train: Tensor, mean: Tensor, test: Tensor, mean_of_test: Tensor) -> Float[Tensor, "batch"]:
    step = max(1, train.numel() // _MOST_COUNTS)
    r = best_dispersion(train[::step].double(), mean[::step].double())
    p = NegativeBinomialDistribution(mean_of_test.double(), r.expand_as(mean_of_test))
    return p.log_prob(test.double()).sum(-1)
