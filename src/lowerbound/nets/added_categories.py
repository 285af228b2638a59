"""Weights for categories that came after a fit, beside those of the fit, which stay as they are.

    y = W x + b + Σ_k 1[the category is the new one k] (w̄ + δ_k)

W, b belong to the inputs that the fit knew, w̄ is the mean of the columns of W of its categories, and δ_k, which is zero
at the start, is all that is learned of a new category (Lotfollahi et al. 2022, Nature Biotechnology 40, "architectural
surgery", doi:10.1038/s41587-021-01001-7). The products with W have the inputs that they had, so that rows of known
categories get the same bits as before.

Parameters of this kind stand in lists named `added`, one for each new category, so that those of an earlier mapping are
told apart from those of a later one.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.nets.mlp import MLP

__all__ = ["LinearWithAdded", "add_to_first_layer", "added_differences", "is_added", "with_added"]


class LinearWithAdded(nn.Linear):
    """A linear map of the inputs that a fit knew, and of categories that came after it.

    Arguments:
        in_features: all inputs, the new categories among them.
        out_features: outputs.
        categories: the inputs that say the category, as (first, one after the last); the new ones are its last.
        num_added: how many are new.
    """

    cites: ClassVar[tuple[str, ...]] = ("lotfollahi2022mapping",)

    def __init__(self, in_features: int, out_features: int, categories: tuple[int, int], num_added: int):
        super().__init__(in_features - num_added, out_features)
        first, end = categories
        self.known, self.new = slice(first, end - num_added), slice(end - num_added, end)
        self.added = added_differences(num_added, (out_features,))

    def forward(self, input: Tensor) -> Tensor:
        """Map inputs (..., in_features) to (..., out_features)."""
        before, after = input[..., : self.new.start], input[..., self.new.stop :]
        y = super().forward(torch.cat([before, after], -1))
        rows = with_added(self.weight[:, self.known].T, self.added)
        return y + input[..., self.new] @ rows[-len(self.added) :]


def add_to_first_layer(net: MLP, categories: tuple[int, int], num_added: int) -> None:
    """Give the first layer of a perceptron weights for new categories; see `LinearWithAdded` for the arguments."""
    first = net.layers[0]
    assert isinstance(first, nn.Linear)
    net.layers[0] = LinearWithAdded(first.in_features, first.out_features, categories, num_added)


def added_differences(num_added: int, shape: tuple[int, ...]) -> nn.ParameterList:
    """δ_k = 0 of each new category."""
    return nn.ParameterList(nn.Parameter(torch.zeros(shape)) for _ in range(num_added))


def with_added(known: Float[Tensor, "known *shape"], added: nn.ParameterList) -> Float[Tensor, "category *shape"]:
    """The rows of a table of categories, and after them those of the new ones: the mean of the known plus δ_k."""
    if not len(added):
        return known
    return torch.cat([known, known.mean(0) + torch.stack(list(added))])


def is_added(name: str) -> bool:
    """Whether a parameter of this name belongs to a category that came after a fit."""
    return "added" in name.split(".")
