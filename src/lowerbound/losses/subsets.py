"""The bound of all blocks, of each alone and of random ones: the training of a product of experts.

    ELBO(x_1, …, x_M) + Σ_m ELBO(x_m) + Σ_{k ≤ K} ELBO(x_{A_k})          (Wu & Goodman 2018, arXiv:1802.05335, sec. 2.2)

From whole rows alone a product learns no expert by itself, and q(z | x_m) of one block is then arbitrary. Each term is
a lower bound of log p of the blocks in it, so that their mean, which is what is maximised here, is a bound of the mean
of these. A random A holds each block with probability 1/2, for each row by itself. Blocks that a row lacks stay absent.
"""

from __future__ import annotations

from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.inference import InferenceScheme
from lowerbound.losses.loss import LossOutput
from lowerbound.losses.variational import VariationalLoss
from lowerbound.model import LatentVariableModel
from lowerbound.protocols import Context, Gradient, Objective

__all__ = ["Subsets"]


@runtime_checkable
class _HasBlocks(Protocol):
    """A posterior that takes rows without some of their blocks."""

    block_of_column: Tensor


class Subsets(VariationalLoss):
    """Minus the mean of the bounds of subsets of the blocks.

    Arguments:
        model: a model of blocks (`models.multimodal`).
        objective: from log w to a bound per datum.
        gradient: how the bound differentiates.
        num_samples: S, latents drawn per datum.
        random: K, random subsets a row and step, beside all blocks and each alone.
        inference: how q(z | x) is computed, if not by the encoders alone.

    Returns (when called with a batch x (B, D)):
        The loss in nats per datum and the terms of `VariationalLoss`: in training their means over the subsets, and
        otherwise those of whole rows, so that runs are compared by the bound of log p(x).

    Raises:
        ValueError: a negative number of subsets; (when checked) a model without blocks.
    """

    cites: ClassVar[tuple[str, ...]] = ("wu2018multimodal",)

    def __init__(
        self,
        model: LatentVariableModel,
        objective: Objective,
        gradient: Gradient,
        num_samples: int = 1,
        random: int = 1,
        inference: InferenceScheme | None = None,
    ):
        super().__init__(model, objective, gradient, num_samples, inference=inference)
        if random < 0:
            raise ValueError(f"Subsets got random={random} and needs at least 0.")
        self.random = random

    def forward(self, x: Tensor, context: Context | None = None) -> LossOutput:
        """The loss of one batch."""
        if not self.training:
            return super().forward(x, context)
        if not torch.compiler.is_compiling():
            self._check_once(x, context)
        every = self.subsets(x)
        return self.of(self.model.infer(every), self.model.joint(every))

    def subsets(self, x: Float[Tensor, "row column"]) -> Float[Tensor, "more column"]:
        """The rows whole, then with each block alone, then with random blocks: ((1 + M + K) B, D)."""
        posterior = self.model.posterior
        assert isinstance(posterior, _HasBlocks)
        owner = posterior.block_of_column
        count, rows = int(owner.max()) + 1, len(x)
        alone = torch.eye(count, dtype=torch.bool, device=x.device).repeat_interleave(rows, 0)
        drawn = torch.rand(self.random * rows, count, device=x.device) < 0.5
        keep = torch.cat([torch.ones(rows, count, dtype=torch.bool, device=x.device), alone, drawn])
        return torch.where(keep[:, owner], x.repeat(1 + count + self.random, 1), torch.nan)

    def check(self, x: Tensor, context: Context | None = None) -> None:
        """Raise a `ValueError` if the choices do not go together. Draws no random number."""
        if not isinstance(self.model.posterior, _HasBlocks) or context is not None:
            raise ValueError(
                f"Subsets got a model with the posterior {type(self.model.posterior).__name__}, which has no blocks; "
                "use the recipe multimodal, or the variational loss."
            )
        super().check(x, context)
