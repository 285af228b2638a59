"""Where a number that is not finite arose: a parameter, rows of the data, or rows of a result."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lowerbound.data.numbered import Feed, Numbered
from lowerbound.losses.loss import Loss
from lowerbound.row_numbers import row_number
from lowerbound.support import Support
from lowerbound.training.history import NonFiniteError
from lowerbound.training.sharded_state import part_here

__all__ = ["require_finite_parameters", "require_finite_rows", "with_rows"]


def with_rows(error: NonFiniteError, loss: nn.Module, feed: Feed, *, kept: int) -> NonFiniteError:
    """The same error with the rows of its step, those of them that are not finite, and the last good step."""
    rows = feed.rows(error.step)
    if rows is None or not isinstance(feed, Numbered):
        return NonFiniteError(error.step, error.term, error.value, kept=kept)
    support = getattr(loss.model.likelihood, "support", None) if isinstance(loss, Loss) else None
    missing_is_fine = isinstance(support, Support) and support.allows_missing
    bad = [] if missing_is_fine else rows[_not_finite(feed.source.gather(rows)[0])].tolist()
    return NonFiniteError(error.step, error.term, error.value, rows=rows.tolist(), bad_rows=bad, kept=kept)


def _not_finite(x: Tensor) -> Tensor:
    """For each row (N, *event), on the CPU, whether it holds NaN or infinity."""
    return (~x.isfinite()).reshape(len(x), -1).any(1).cpu()


def require_finite_rows(values: Tensor, what: str, remedy: str = "fit again with a smaller learning rate") -> None:
    """Refuse results (N, *event) of a model that are not finite, as those of enormous weights are.

    Raises:
        ValueError: with the number of such rows, and the first.
    """
    lost = _not_finite(values).nonzero()[:, 0]
    if len(lost):
        raise ValueError(
            f"{what} of {len(lost):,} of {len(values):,} rows, row {row_number(int(lost[0]))} first, is not finite; "
            f"{remedy}."
        )


def require_finite_parameters(loss: nn.Module, step: int, mean: Callable[[Tensor], Tensor]) -> None:
    """Check the parameters, because the last gradient of an interval shows only in them.

    Arguments:
        loss: with the parameters, or those parts of them that lie here.
        step: steps taken.
        mean: averages a tensor over the processes, so that all of them see a bad parameter of each.

    Raises:
        NonFiniteError: naming the first.
    """
    named = [(name, p) for name, p in loss.named_parameters() if p.requires_grad]
    parts = [part_here(p.detach()) for _, p in named]
    sums = mean(torch.stack([p.abs().max() if p.numel() else p.new_zeros(()) for p in parts])).cpu()
    bad = (~sums.isfinite()).nonzero()
    if len(bad):
        index = int(bad[0])
        raise NonFiniteError(step - 1, f"parameter {named[index][0]}", sums[index].item())
