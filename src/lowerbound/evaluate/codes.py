"""Which codes of a quantised model the data use: over all rows that are given, and not over a batch.

    p̂(k) = (1/M) Σ 1[code of a position = k]        effective number = exp(−Σ_k p̂(k) log p̂(k)), the perplexity

M is the number of rows times positions. The effective number is between 1 and the number of codes; a batch has too few
positions to show more than a part of a large codebook.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lowerbound.evaluate.batches import check_rows, context_rows, row_blocks
from lowerbound.hooks import Embeds, PointMass
from lowerbound.model import LatentVariableModel
from lowerbound.protocols import Context

__all__ = ["CodeUsage", "code_usage", "codes_of_rows"]

_ROWS = 512


@dataclass(frozen=True, kw_only=True)
class CodeUsage:
    """How codes are used.

    Attributes:
        num_codes: of each stage.
        used: (stage,) how many of them some position has.
        effective: (stage,) how many there would be if all were used alike.
        information: (row, stage) −log p̂(k), the mean over the positions of a row, nats; its mean is log `effective`.
        counts: (used,) how often each code that is used was chosen, the most frequent first; of the first stage.
        num_positions: M.
    """

    num_codes: int
    used: Int[Tensor, "stage"]
    effective: Float[Tensor, "stage"]
    information: Float[Tensor, "row stage"]
    counts: Int[Tensor, "code"]
    num_positions: int

    @property
    def effective_share(self) -> float:
        """The effective number over the number of codes, the mean over stages."""
        return self.effective.mean().item() / self.num_codes

    @property
    def share_error(self) -> float:
        """Its standard error, from the spread over rows."""
        errors = self.information.std(0) / math.sqrt(len(self.information))
        return (self.effective * errors).mean().item() / self.num_codes


@torch.no_grad()
def codes_of_rows(
    model: LatentVariableModel, x: Float[Tensor, "row *event"], context: Context | None = None
) -> Int[Tensor, "row stage position"]:
    """The numbers of the codes of rows.

    Arguments:
        model: of which the posterior is used, a quantised one.
        x: rows as the likelihood scores them.
        context: of the model, one row for each of x.

    Raises:
        ValueError: no rows, or a posterior without codes.
    """
    check_rows(model, x, context, 1, owner="codes_of_rows")
    parts = []
    for rows in row_blocks(len(x), _ROWS):
        q = model.infer(x[rows], context_rows(context, rows))
        if not isinstance(q, PointMass) or not isinstance(model.posterior, Embeds):
            raise ValueError(
                f"Codes are asked for and q(z | x) is a {type(q).__name__}; fit the recipe fsq or vq for them."
            )
        parts.append(cast(Embeds, model.posterior).numbers(q.point()))
    return torch.cat(parts)


def code_usage(model: LatentVariableModel, x: Float[Tensor, "row *event"], context: Context | None = None) -> CodeUsage:
    """Count the codes of rows. Arguments and errors: see `codes_of_rows`."""
    numbers = codes_of_rows(model, x, context)
    used, effective, information, counts = [], [], [], []
    for stage in numbers.unbind(1):
        _, which, count = stage.unique(return_inverse=True, return_counts=True)
        log_share = torch.log(count.double() / count.sum())
        information.append(-log_share[which].mean(1))
        effective.append(torch.exp(-(log_share.exp() * log_share).sum()))
        used.append(len(count))
        counts.append(count.sort(descending=True).values)
    return CodeUsage(
        num_codes=cast(Embeds, model.posterior).num_codes,
        used=torch.tensor(used),
        effective=torch.stack(effective).cpu(),
        information=torch.stack(information, 1).cpu(),
        counts=counts[0].cpu(),
        num_positions=numbers[:, 0].numel(),
    )
