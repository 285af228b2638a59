"""What a loss is, and what it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lowerbound.criterion import Criterion
from lowerbound.losses.guards import refuse_batch_norm, refuse_squashed_logits
from lowerbound.losses.rows_apart import rows_kept_apart
from lowerbound.losses.shapes import check_shapes
from lowerbound.model import LatentVariableModel
from lowerbound.protocols import Context
from lowerbound.randomness import forked
from lowerbound.support import require_support

__all__ = ["Loss", "LossOutput", "first_two", "require_rows"]


class LossOutput(NamedTuple):
    """A scalar to minimise, and named scalars to log, detached.

    By convention `terms["bound"]` is the bound per datum in nats, by which runs are compared; a loss without a bound
    has another criterion in its place (`criterion`).
    """

    loss: Tensor
    terms: dict[str, Tensor]


class Loss(nn.Module, ABC):
    """Maps the tensors of a batch to a `LossOutput`, which is all that the loop needs; the facades also use the model.

    Attributes:
        model: p(x, z) and q(z | x).
        criterion: the name of the term by which its runs are read.
        every_parameter_learns: whether every parameter has a gradient in every step. If not, the loss must say so:
            several processes would otherwise wait for the missing gradients.
        compiles: whether its step may be compiled.
        compares_means: whether E[x | z] is compared with x, so that x must not be drawn anew at each visit.
    """

    model: LatentVariableModel
    criterion: Criterion = "bound"
    every_parameter_learns: bool = True
    compiles: bool = True
    compares_means: bool = False

    @abstractmethod
    def forward(self, x: Tensor, context: Context | None = None) -> LossOutput:
        """The loss of one batch x (B, *event)."""
        ...

    @abstractmethod
    def check(self, x: Tensor, context: Context | None = None) -> None:
        """Raise a `ValueError` if the choices do not go together, before any training."""
        ...

    def check_rows(self, x: Tensor, context: Context | None = None) -> None:
        """Refuse rows outside the support of the likelihood, nets that mix rows, parts whose shapes do not fit, and
        nets that give probabilities where logits are expected. This is a part of `check`.
        """
        require_rows(self.model, x, type(self).__name__)
        require_support(self.model.likelihood, x)
        refuse_batch_norm(self.model)
        with forked(x.device, 0):
            with rows_kept_apart(self.model):
                z = check_shapes(self.model, *first_two(x, context))
            if z is not None:
                refuse_squashed_logits(self.model, z, first_two(x, context)[1])


def require_rows(model: nn.Module, x: object, owner: str) -> None:
    """Refuse what is no batch of rows, and numbers of another precision than the model's.

    Raises:
        ValueError: saying what to give.
    """
    if not isinstance(x, Tensor):
        told = "; take the rows out of it, as in `x, y = batch`" if isinstance(x, tuple | list) else ""
        raise ValueError(f"{owner} got a {type(x).__name__} and expected a tensor of rows (B, *event){told}.")
    if x.ndim == 0 or len(x) == 0:
        raise ValueError(f"{owner} got x of shape {tuple(x.shape)} and needs at least one row.")
    own = next((p.dtype for p in model.parameters() if p.is_floating_point()), x.dtype)
    if x.is_floating_point() and x.dtype != own and x.dtype == torch.float64:
        raise ValueError(
            f"{owner} got x in float64 and the model computes in {str(own)[6:]}; give x.to(torch.{str(own)[6:]})."
        )


def first_two(x: Tensor, context: Context | None) -> tuple[Tensor, Context | None]:
    """Two rows are enough to see whether the parts go together."""
    if context is None:
        return x[:2], None
    return x[:2], tuple(c[:2] for c in context) if isinstance(context, tuple) else context[:2]
