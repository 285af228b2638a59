"""Separate parameters of q for every datum of a data set: a table λ_1, …, λ_N, trained with the model.

    q(z | x_i) = N(z; μ_i, diag σ_i²),      (μ_i, log σ_i) the i-th row of the table

This is variational inference without an encoder, as before amortisation (local parameters in Hoffman et al. 2013,
arXiv:1206.7051, §2.2): the bound of each datum can be the best of the
family, the table grows with the data, and a new datum has no row (refine it with `Local(start="prior")`). The last
tensor of the context gives the row of each datum, as integers (B,), which p(x, z) does not see. Adam moves all rows at
every step; those not in the batch move by their momentum.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from lowerbound.model import LatentVariableModel
from lowerbound.protocols import Context

__all__ = ["NonAmortised"]


class NonAmortised(nn.Module):
    """A factorised Gaussian of its own for each row of a data set, starting at N(0, I).

    Arguments:
        num_data: N.
        latent_dim: length of z.

    It is called with a context whose last tensor is the row of each datum: train on
    `InMemory((x, torch.arange(len(x))))`.

    Gradient: that of the bound for the rows in the batch; none for the encoder, which is not used.

    Raises:
        ValueError: a context without rows.
    """

    cites: ClassVar[tuple[str, ...]] = ("hoffman2013stochastic",)

    def __init__(self, num_data: int, latent_dim: int):
        super().__init__()
        self.table = nn.Parameter(torch.zeros(num_data, 2, latent_dim))

    def forward(self, model: LatentVariableModel, x: Tensor, context: Context | None = None) -> Distribution:
        """See `InferenceScheme`."""
        rows = _split(context)[1]
        if rows is None:
            raise ValueError(
                "NonAmortised needs the row of each datum, integers (B,), as the last tensor of the context; "
                "train on InMemory((x, torch.arange(len(x))))."
            )
        loc, log_scale = self.table[rows].unbind(1)
        return Independent(Normal(loc, log_scale.exp(), validate_args=False), 1, validate_args=False)

    def context_of_model(self, context: Context | None) -> Context | None:
        """The context without the rows."""
        return _split(context)[0]


def _split(context: Context | None) -> tuple[Context | None, Tensor | None]:
    """The context of the model, and the rows, which are integers and come last."""
    parts = context if isinstance(context, tuple) else () if context is None else (context,)
    if not parts or parts[-1].is_floating_point():
        return context, None
    rest = parts[:-1]
    return (None if not rest else rest[0] if len(rest) == 1 else rest), parts[-1]
