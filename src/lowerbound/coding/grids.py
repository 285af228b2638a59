"""The values that latents can take, for p and q alike: `numbering.LatentCells` for real ones, all values of others."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.chain import StateChain
from lowerbound.coding.families import Family
from lowerbound.coding.flows import flow_of
from lowerbound.coding.numbering import LatentCells, Steps
from lowerbound.coding.turns import first_family, values_of
from lowerbound.randomness import forked

__all__ = ["LatentGrid", "grid_given", "grids_of_draws", "has_moments"]

_DRAWS, _DRAWS_OF_EACH_ROW = 4096, 256
_LEAST_SCALE = 1e-6
_LATENTS = {"numbers": "numbers", "bits": "bits", "one-hot": "one-hot vectors"}


class LatentGrid:
    """The values of the latents of one layer.

    Arguments:
        family: of p, which tells real numbers from bits and from one-hot vectors; None for a flow, of real numbers.
        event_shape: of the layer.
        loc: the centre of real latents (elements, size).
        scale: their standard deviation (elements, size).
    """

    def __init__(self, family: Family | None, event_shape: tuple[int, ...], loc: np.ndarray, scale: np.ndarray):
        self.event_shape, self.loc, self.scale, self._family = event_shape, loc, scale, family
        self._num_classes = 0 if family is None or family.values != "one-hot" else family.num_classes

    def __len__(self) -> int:
        elements = self.event_shape[:-1] if self._num_classes else self.event_shape
        return int(np.prod(elements, dtype=np.int64))

    def numbering(self, family: Family | None, places: np.ndarray) -> Steps | LatentCells:
        """The numbers of the values at some places.

        Raises:
            ValueError: latents of another kind than those of p.
        """
        own = "numbers" if self._family is None else self._family.values
        if family is not None and (family.values, family.num_classes) != (own, self._num_classes):
            raise ValueError(
                f"The posterior of this model gives {_LATENTS[family.values]} and its prior gives {_LATENTS[own]}, so "
                "that it has no ELBO to be coded in; fit a prior and a posterior of the same latents."
            )
        if own == "numbers":
            return LatentCells(self.loc[places], self.scale[places])
        return Steps.of(len(places), size=self._num_classes or 2)

    def values(self, k: np.ndarray) -> Tensor:
        """z (size, *event) of numbers (size, elements)."""
        numbering, numbers = self.numbering(None, np.arange(len(self))), np.ascontiguousarray(k.T)
        if self._family is None:
            z = torch.from_numpy(np.ascontiguousarray(numbering.value(numbers).T))
        else:
            z = values_of(numbers, self._family, numbering)
        return z.reshape(len(k), *self.event_shape)


def has_moments(p: Distribution) -> bool:
    """Whether a grid needs no draws of p: its mean and variance are known, or its values are few."""
    try:
        return p.mean is not None and p.variance is not None
    except NotImplementedError:
        return flow_of(p) is None and first_family(p, _size_of(p), "prior").values != "numbers"


def grid_given(p: Distribution, size: int) -> LatentGrid:
    """The grid of a layer of which p is given the layers before it; where it has no moments, that of N(0, I)."""
    family = None if flow_of(p) is not None else first_family(p, size, "prior")
    n = int(np.prod(p.event_shape, dtype=np.int64))
    if family is not None and family.values != "numbers":
        return LatentGrid(family, tuple(p.event_shape), np.empty(0), np.empty(0))
    try:
        moments = p.mean, p.variance.sqrt()
    except NotImplementedError:
        moments = torch.zeros(p.event_shape), torch.ones(p.event_shape)
    loc, scale = (torch.as_tensor(m).double().expand(size, *p.event_shape).reshape(size, n) for m in moments)
    return _grid(family, p, loc, scale)


def grids_of_draws(p: Distribution, size: int) -> list[LatentGrid]:
    """Grids at the mean and the standard deviation of draws of p, z_1 first.

    Raises:
        ValueError: a hierarchy that differs from row to row.
    """
    chain = isinstance(p, StateChain)
    if chain and p.batch_shape:
        raise ValueError(
            "Coding a hierarchy whose posterior goes from the data up takes a prior that is the same for all rows, and "
            "this one is given a context; fit the recipe ladder, or a model without labels."
        )
    with forked(torch.device("cpu"), "lossless"):
        draw = p.sample(torch.Size((_DRAWS_OF_EACH_ROW if p.batch_shape else _DRAWS,)))
    layers = p.layers_at(draw) if isinstance(p, StateChain) else (p,)
    grids = []
    for layer, z in zip(layers, draw if isinstance(draw, tuple) else (draw,), strict=True):
        family = None if flow_of(layer) is not None else first_family(layer, _size_of(layer), "prior")
        event = tuple(layer.event_shape)
        if family is not None and family.values != "numbers":
            grids.append(LatentGrid(family, event, np.empty(0), np.empty(0)))
            continue
        loc, scale = (m.double().expand(size, *event).reshape(size, -1) for m in (z.mean(0), z.std(0)))
        grids.append(_grid(family, layer, loc, scale))
    return grids


def _grid(family: Family | None, p: Distribution, loc: Tensor, scale: Tensor) -> LatentGrid:
    if not (bool(loc.isfinite().all()) and bool(scale.isfinite().all())):
        raise ValueError("The prior of this model has no finite mean and variance, which coding needs; choose another.")
    parts = (np.ascontiguousarray(m.numpy().T) for m in (loc, scale.clamp_min(_LEAST_SCALE)))
    return LatentGrid(family, tuple(p.event_shape), *parts)


def _size_of(p: Distribution) -> int:
    return p.batch_shape[0] if p.batch_shape else 1
