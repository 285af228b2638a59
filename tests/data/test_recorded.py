"""Columns that are mostly written with fewer digits than their finest value, and draws of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import lowerbound as lb
from lowerbound.data.recorded import usual_digits
from lowerbound.data.schema import Schema

ROWS = 400


def _table() -> pd.DataFrame:
    """Widths to whole numbers in nine rows of ten and to a tenth in the others; lengths to a tenth in all."""
    g = np.random.default_rng(0)
    width, length = 57 + 2 * g.normal(size=ROWS), 5 + g.normal(size=ROWS)
    return pd.DataFrame(
        {"width": np.where(g.random(ROWS) < 0.9, width.round(), width.round(1)), "length": length.round(1)}
    )


def _whole(column: Any) -> float:
    return float((column == column.round()).mean())


@pytest.fixture(scope="module")
def fitted():
    return lb.fit(_table(), "mixture-of-factor-analysers:components=1", hold_out=False)


def test_the_share_is_that_of_what_was_recorded_so_and_not_of_chance() -> None:
    found = usual_digits(_table()["width"].to_numpy(), 1)
    assert found is not None
    assert found[0] == 0
    assert found[1] == pytest.approx(0.9, abs=0.06)
    assert usual_digits(_table()["length"].to_numpy(), 1) is None
    assert usual_digits(np.array([1.0, 2.0]), None) is None
    assert usual_digits(np.array([1.5, 2.25, 7.1, 3.3, np.nan]), 2) == (1, pytest.approx(0.722, abs=1e-3))


def test_draws_are_recorded_like_the_data(fitted) -> None:
    drawn = fitted.sample(2000)
    assert _whole(drawn["width"]) == pytest.approx(_whole(_table()["width"]), abs=0.04)
    assert _whole(drawn["length"]) < 0.2
    given = fitted.sample(500, given={"length": 5.0})
    assert _whole(given["width"]) == pytest.approx(_whole(_table()["width"]), abs=0.06)
    assert drawn["width"].mean() == pytest.approx(57, abs=0.3)
    again = fitted.sample(2000)
    assert again.equals(drawn)
    x, mean, _ = fitted.draw(2000)
    assert fitted.render(x).equals(drawn)
    assert not torch.equal(mean, x)


def test_draws_in_gaps_are_too_and_means_are_not(fitted) -> None:
    table = _table().assign(width=np.nan)
    (copy,) = fitted.imputations(table, 1, num_samples=50)
    assert _whole(copy["width"]) == pytest.approx(_whole(_table()["width"]), abs=0.06)
    assert _whole(fitted.impute(table, num_samples=50)["width"]) < 0.3


def test_the_schema_keeps_it_and_refuses_what_cannot_be(fitted) -> None:
    content = fitted.schema.to_json()
    assert Schema.from_json(content) == fitted.schema
    content["columns"][0]["usual_decimals"] = 3
    with pytest.raises(ValueError, match="usual decimals"):
        Schema.from_json(content)
