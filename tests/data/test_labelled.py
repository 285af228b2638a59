from __future__ import annotations

import pytest
import torch

from lowerbound.data import DataError
from lowerbound.data.labelled import LabelledRows

Y = torch.where(torch.arange(40) % 4 == 0, torch.arange(40) % 3, -1)


def source(**changes) -> LabelledRows:
    return LabelledRows(torch.arange(40.0)[:, None], Y, **{"num_labelled": 6, **changes})


def test_a_batch_is_its_rows_and_some_labelled_ones() -> None:
    rows = torch.tensor([3, 8, 1])
    x, y, x_labelled, y_labelled = source().gather(rows)
    assert x[:, 0].tolist() == rows.tolist()
    assert torch.equal(y, Y[rows])
    assert len(set(x_labelled[:, 0].tolist())) == 6
    assert torch.equal(y_labelled, Y[x_labelled[:, 0].long()])
    assert torch.all(y_labelled >= 0)


def test_the_labelled_rows_depend_on_the_batch_alone() -> None:
    """Not on what was gathered before, or a resumed run would see others; and not on torch's generator."""
    ours, rows = source(), torch.tensor([3, 8, 1])
    first = ours.gather(rows)[2]
    ours.gather(torch.tensor([5]))
    torch.manual_seed(12)
    torch.testing.assert_close(ours.gather(rows)[2], first)
    torch.testing.assert_close(source().gather(rows)[2], first)
    assert len({tuple(ours.gather(torch.tensor([i]))[2][:, 0].tolist()) for i in range(10)}) == 10


def test_all_labelled_rows_are_seen_alike() -> None:
    ours = source(num_labelled=3)
    seen = torch.cat([ours.gather(torch.tensor([i % 40, i // 40]))[2][:, 0] for i in range(1000)])
    counts = torch.bincount(seen.long(), minlength=40)[Y >= 0]
    assert counts.sum() == 3000
    assert torch.all((counts - 300).abs() < 6 * (1000 * 0.3 * 0.7) ** 0.5)


def test_few_labels_come_all() -> None:
    assert source(num_labelled=100).gather(torch.tensor([0]))[3].shape == (10,)


def test_the_transform_sees_both_lots_and_no_label() -> None:
    ours = source(transform=lambda x: x + 100)
    x, y, x_labelled, y_labelled = ours.transform(*ours.gather(torch.tensor([4, 5])))
    assert x.min() >= 100
    assert x_labelled.min() >= 100
    assert y.max() < 100
    assert y_labelled.max() < 100


@pytest.mark.parametrize(
    "y, match",
    [
        (torch.zeros(39, dtype=torch.long), "one for each of the 40 rows"),
        (torch.full((40,), -1), "no row has a label"),
        (Y - 1, "give −1 where there is no label"),
    ],
)
def test_bad_labels_are_refused(y: torch.Tensor, match: str) -> None:
    with pytest.raises(DataError, match=match):
        LabelledRows(torch.zeros(40, 1), y)


def test_at_least_one_labelled_row() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        source(num_labelled=0)
