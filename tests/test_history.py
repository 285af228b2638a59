from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lowerbound.training.history import History, NonFiniteError

TERMS = ["bound", "likelihood", "prior", "posterior"]
NAN, INF = float("nan"), float("inf")


def one_process(value: Tensor) -> Tensor:
    return value


def history(rows: list[list[float]], *, length: int = 10, first_step: int = 0) -> History:
    made = History(TERMS, ["a.weight", "b.bias"], length, torch.device("cpu"))
    made.begin(first_step)
    for row in rows:
        made.write(torch.tensor(row))
    return made


def test_means_over_the_rows_that_were_written() -> None:
    terms, norm = history([[1, 2, 3, 4, 3, 4], [3, 2, 1, 0, 0, 1]]).read(one_process)
    assert terms == {"bound": 2.0, "likelihood": 2.0, "prior": 2.0, "posterior": 2.0}
    assert norm == pytest.approx((5 + 1) / 2)


def test_a_second_interval_forgets_the_first() -> None:
    made = history([[1, 1, 1, 1, 1, 1]] * 5)
    made.begin(5)
    made.write(torch.full((6,), 7.0))
    terms, _ = made.read(one_process)
    assert terms["bound"] == 7.0


@pytest.mark.parametrize(
    "row, words",
    [
        ([NAN, NAN, 1, 1, 1, 1], r"likelihood term, log p\(x \| z\), became nan"),
        ([-INF, 1, -INF, 1, 1, 1], r"prior term, log p\(z\), became -inf"),
        ([NAN, 1, 1, NAN, 1, 1], r"posterior term, log q\(z \| x\), became nan"),
        ([INF, 1, 1, 1, 1, 1], r"bound term became inf"),
        ([1, 1, 1, 1, 1, NAN], r"gradient of b\.bias became nan"),
        ([NAN, NAN, NAN, NAN, NAN, NAN], "likelihood term"),
    ],
)
def test_the_first_bad_term_is_named(row: list[float], words: str) -> None:
    good = [1.0] * 6
    with pytest.raises(NonFiniteError, match=words) as caught:
        history([good, good, row, [NAN] * 6], first_step=40).read(one_process)
    assert caught.value.step == 42


def test_a_gradient_scaler_may_overflow_gradients_but_not_terms() -> None:
    good, overflow = [1.0, 1, 1, 1, 3, 4], [1.0, 1, 1, 1, INF, 4]
    _, norm = history([good, overflow]).read(one_process, gradients_may_overflow=True)
    assert norm == pytest.approx(5)
    with pytest.raises(NonFiniteError, match="likelihood"):
        history([[NAN, NAN, 1, 1, 1, 1]]).read(one_process, gradients_may_overflow=True)


def test_a_bad_row_of_another_process_is_seen_here() -> None:
    """All processes read the mean of their rows, in which one NaN is a NaN."""
    other = torch.tensor([[1.0, 1, 1, 1, 1, 1], [1, NAN, 1, 1, 1, 1]])
    with pytest.raises(NonFiniteError, match="likelihood"):
        history([[1.0] * 6] * 2).read(lambda mine: (mine + other) / 2)
