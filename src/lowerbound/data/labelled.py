"""Rows of which some have a label; every batch contains additional labelled rows.

With N_l labels among N rows a batch of B rows contains B N_l / N of them: one in three batches, for 100 labels of MNIST
and batches of 200. A classifier that learned from these alone would see each label once per epoch. Every batch
therefore comes with L additional labelled rows, for the terms of a loss that need labels. The B rows themselves remain
a random sample of the data without weights, so that the mean of a bound over them is unbiased.

The additional rows are drawn by a generator that is seeded from the row numbers of the batch. They thus depend on the
batch alone, as a `Source` requires, and are the same in a resumed run.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Int, Int64, Shaped
from torch import Tensor, nn

from lowerbound.data.errors import DataError
from lowerbound.randomness import derive_seed

__all__ = ["LabelledRows"]


class LabelledRows:
    """Rows and labels on the device: a batch is (x, y, x_labelled, y_labelled).

    >>> source = LabelledRows(torch.zeros(6, 2), torch.tensor([-1, 0, -1, 1, -1, -1]), num_labelled=2)
    >>> x, y, x_labelled, y_labelled = source.gather(torch.tensor([0, 1, 2]))
    >>> y, sorted(y_labelled.tolist())
    (tensor([-1,  0, -1]), [0, 1])

    Arguments:
        x: rows (N, *event).
        y: labels (N,), −1 where there is none.
        transform: from raw rows to what the loss takes; None passes them on.
        num_labelled: L; all labelled rows, if there are fewer.
        device: where rows are kept.

    Raises:
        DataError: labels of another length, no label at all, or one below −1.
    """

    def __init__(
        self,
        x: Shaped[Tensor, "row *event"],
        y: Int[Tensor, "..."],
        transform: Callable[[Tensor], Tensor] | None = None,
        *,
        num_labelled: int = 100,
        device: torch.device | str = "cpu",
    ):
        _check(y, len(x))
        if num_labelled < 1:
            raise ValueError(f"LabelledRows got num_labelled={num_labelled} and needs at least 1.")
        self.x, self.y = x.to(device), y.to(device)
        self.labelled = torch.nonzero(y >= 0)[:, 0]
        self.num_labelled = min(num_labelled, len(self.labelled))
        self.transform = _OnBoth(transform).to(device)

    def __len__(self) -> int:
        return len(self.x)

    def gather(self, rows: Int64[Tensor, " batch"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The raw rows with these numbers and their labels, and the labelled rows that come with them."""
        generator = torch.Generator().manual_seed(derive_seed(*rows[:8].tolist()))
        drawn = self.labelled[torch.randperm(len(self.labelled), generator=generator)[: self.num_labelled]]
        here, there = (index.to(self.x.device, non_blocking=True) for index in (rows, drawn))
        return (
            self.x.index_select(0, here),
            self.y.index_select(0, here),
            self.x.index_select(0, there),
            self.y.index_select(0, there),
        )


class _OnBoth(nn.Module):
    """A transform of both lots of rows; labels pass."""

    def __init__(self, transform: Callable[[Tensor], Tensor] | None):
        super().__init__()
        self.transform = transform

    def forward(self, x: Tensor, y: Tensor, x_labelled: Tensor, y_labelled: Tensor) -> tuple[Tensor, ...]:
        """What the loss takes."""
        if self.transform is None:
            return x, y, x_labelled, y_labelled
        return self.transform(x), y, self.transform(x_labelled), y_labelled


def _check(y: Tensor, num_rows: int) -> None:
    if y.shape != (num_rows,):
        raise DataError(
            f"the labels have shape {tuple(y.shape)}; expected one for each of the {num_rows} rows, "
            "and −1 where there is none."
        )
    if not bool((y >= 0).any()):
        raise DataError("no row has a label (all are −1); label some, or fit a model without labels, such as vae.")
    if int(y.min()) < -1:
        raise DataError(f"the labels hold {int(y.min())}; number classes from 0, and give −1 where there is no label.")
