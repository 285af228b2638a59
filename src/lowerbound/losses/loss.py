"""What a loss is, and what it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from lowerbound.losses.guards import refuse_batch_norm
from lowerbound.model import LatentVariableModel
from lowerbound.protocols import Context
from lowerbound.support import require_support

__all__ = ["Loss", "LossOutput"]


class LossOutput(NamedTuple):
    """A scalar to minimise, and named scalars to log, detached.

    By convention `terms["bound"]` is the bound per datum in nats, which is used to compare runs.
    """

    loss: Tensor
    terms: dict[str, Tensor]


class Loss(nn.Module, ABC):
    """Maps the tensors of a batch to a `LossOutput`, which is all that the loop needs; the facades also use the model.

    Attributes:
        model: p(x, z) and q(z | x).
        every_parameter_learns: whether every parameter has a gradient in every step. If not, the loss must say so:
            several processes would otherwise wait for the missing gradients.
    """

    model: LatentVariableModel
    every_parameter_learns: bool = True

    @abstractmethod
    def forward(self, x: Tensor, context: Context | None = None) -> LossOutput:
        """The loss of one batch x (B, *event)."""
        ...

    @abstractmethod
    def check(self, x: Tensor, context: Context | None = None) -> None:
        """Raise a `ValueError` if the choices do not go together, before any training."""
        ...

    def check_rows(self, x: Tensor) -> None:
        """Refuse rows outside the support of the likelihood, and nets that mix rows. This is a part of `check`."""
        require_support(self.model.likelihood, x)
        refuse_batch_norm(self.model)
