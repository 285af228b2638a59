"""The base of the distributions written here that treat every element of their parameters alone.

A torch distribution with `batch_shape` the broadcast shape of its parameters and `event_shape` (); `Independent` makes
the trailing axes an event. Parameters are never validated, because that would wait for the device.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.types import _size

__all__ = ["ElementwiseDistribution"]


class ElementwiseDistribution(Distribution):
    """A distribution of one number per element of its parameters.

    Arguments:
        parameters: tensors that broadcast against each other.

    A subclass unpacks `self.parameters`, in the given order, and overrides `_like` if it has other settings.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, *parameters: Tensor):
        self.parameters = tuple(torch.broadcast_tensors(*parameters))
        super().__init__(self.parameters[0].shape, validate_args=False)

    @abstractmethod
    def log_prob(self, value: Tensor) -> Tensor:
        """log p(value) per element, nats."""

    def expand(self, batch_shape: _size, _instance: Distribution | None = None) -> Distribution:
        """The same distribution with its parameters expanded to a larger batch shape."""
        return self._like(*(parameter.expand(batch_shape) for parameter in self.parameters))

    def _like(self, *parameters: Tensor) -> Distribution:
        return type(self)(*parameters)
