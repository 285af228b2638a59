"""By how much does one latent predict a factor better than all others? Two scores of latents against known factors.

    MIG     mean_k [I(z_(1); v_k) − I(z_(2); v_k)] / H(v_k), for the two latents with most information about v_k
            (Chen et al. 2018, arXiv:1802.04942, eq. 6)
    SAP     mean_k of the gap between the two latents that predict v_k best (Kumar et al. 2018, arXiv:1711.00848, §3):
            of an ordered v_k by the squared correlation, of an unordered one with C classes by C − 1 thresholds, whose
            balanced accuracy a counts as (a − 1/C) / (1 − 1/C), so that chance is 0 (or little more, of few rows:
            the thresholds are chosen on the same ones)

For MIG z is cut into 20 bins of equal width, the practice of Locatello et al. (2019, arXiv:1811.12359), once outliers
are brought in (`known_factors`): with one row far out all others would share a bin. Bins of equal counts need no such
rule, but split the classes of perfect latents.

The latents should be the means of q(z | x), for data whose factors were drawn independently. Both scores are near 0 for
latents without information about the factors. Standard errors come from a jackknife over ten groups of rows
(`known_factors`).
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor

from lowerbound.cited import cited
from lowerbound.evaluate.estimates import Score
from lowerbound.evaluate.known_factors import checked, jackknife

__all__ = ["mutual_information_gap", "separated_attribute_predictability"]

_NUM_BINS = 20


@cited("chen2018isolating", "locatello2019challenging")
def mutual_information_gap(latents: Float[Tensor, "row latent"], factors: Int64[Tensor, "label factor"]) -> Score:
    """MIG: 1 if each factor is a function of one latent that no other latent shares, 0 if no latent knows a factor.

    A constant latent has no information.

    Arguments:
        latents: z of each datum; two latents or more.
        factors: the class of each factor of each datum.

    Raises:
        ValueError: fewer than two latents, or as `known_factors.checked`.

    >>> factors = torch.cartesian_prod(torch.arange(4), torch.arange(5)).repeat(10, 1)
    >>> round(mutual_information_gap(factors.float(), factors).value, 6)
    1.0
    """
    z, v = checked(latents, factors, fewest_latents=2)
    bins = _bins(z)
    in_bin = torch.nn.functional.one_hot(bins, _NUM_BINS).double()
    in_class = [torch.nn.functional.one_hot(each).double() for each in v.unbind(1)]
    return jackknife(lambda rows: _mig([in_bin[rows], *(each[rows] for each in in_class)]), len(z))


@cited("kumar2018variational")
def separated_attribute_predictability(
    latents: Float[Tensor, "row latent"], factors: Int64[Tensor, "label factor"], *, unordered: Collection[int] = ()
) -> Score:
    """SAP: the lead of the latent that predicts a factor best, averaged over factors.

    Arguments:
        latents: z of each datum; two latents or more.
        factors: the class of each factor of each datum.
        unordered: the columns of factors whose classes have no order, such as shapes: their numbers are names. Of a
            table of factors `Schema.unordered` knows them, of the generated pictures `data.shapes.UNORDERED`.

    Raises:
        ValueError: a column that is not there, or as `mutual_information_gap`.

    >>> factors = torch.cartesian_prod(torch.arange(4), torch.arange(5)).repeat(10, 1)
    >>> renamed = torch.tensor([2, 0, 3, 1])[factors[:, 0]].float()  # a function of the first factor
    >>> latents = torch.stack([renamed, factors[:, 1].float()], 1)
    >>> round(separated_attribute_predictability(latents, factors).value, 3)
    0.5
    >>> round(separated_attribute_predictability(latents, factors, unordered=[0]).value, 3)
    1.0
    """
    z, v = checked(latents, factors, fewest_latents=2)
    strange = sorted(set(unordered) - set(range(v.shape[1])))
    if strange:
        raise ValueError(f"unordered names column {strange[0]} and factors have the columns 0 to {v.shape[1] - 1}.")
    return jackknife(lambda rows: _sap(z[rows], v[rows], unordered), len(z))


def _bins(z: Float64[Tensor, "row latent"]) -> Int64[Tensor, "row latent"]:
    """The bin of each value, of equal widths between the smallest and the largest."""
    low, high = z.amin(0), z.amax(0)
    width = (high - low).where(high > low, 1.0)
    return ((z - low) / width * _NUM_BINS).long().clamp(max=_NUM_BINS - 1)


def _mig(one_hot: list[Tensor]) -> Tensor:
    in_bin, *in_class = one_hot
    gaps = []
    for member in in_class:
        joint = torch.einsum("nlb,nc->lbc", in_bin, member) / len(member)
        of_factor = _entropy(joint[0].sum(0), 0)
        information = _entropy(joint.sum(2), 1) + of_factor - _entropy(joint.flatten(1), 1)
        gaps.append(_lead(information) / of_factor)
    return torch.stack(gaps).mean()


def _sap(z: Tensor, v: Tensor, unordered: Collection[int]) -> Tensor:
    columns = [
        _thresholded(z, each) if k in unordered else _squared_correlation(z, each.double())
        for k, each in enumerate(v.unbind(1))
    ]
    return torch.stack([_lead(each) for each in columns]).mean()


def _squared_correlation(z: Float64[Tensor, "row latent"], v: Float64[Tensor, "row"]) -> Float64[Tensor, "latent"]:
    z, v = z - z.mean(0), v - v.mean()
    squares = z.square().sum(0) * v.square().sum()
    return (z.mT @ v).square() / squares.where(squares > 0, torch.ones_like(squares))


def _thresholded(z: Float64[Tensor, "row latent"], v: Int64[Tensor, "row"]) -> Float64[Tensor, "latent"]:
    """How well thresholds on each latent alone separate the classes of v: 0 by chance, 1 at best."""
    classes, truth = np.unique(v.numpy(), return_inverse=True)
    if len(classes) == 1:
        return torch.zeros(z.shape[1], dtype=z.dtype)
    found = []
    for latent in z.mT.numpy():
        tree = DecisionTreeClassifier(max_leaf_nodes=len(classes), class_weight="balanced", random_state=0)
        right = tree.fit(latent[:, None], truth).predict(latent[:, None]) == truth
        balanced = np.mean([right[truth == c].mean() for c in range(len(classes))])
        found.append((balanced - 1 / len(classes)) / (1 - 1 / len(classes)))
    return torch.tensor(found, dtype=z.dtype)


def _lead(values: Tensor) -> Tensor:
    first, second = values.topk(2).values
    return first - second


def _entropy(p: Tensor, dim: int) -> Tensor:
    return -torch.xlogy(p, p).sum(dim)
