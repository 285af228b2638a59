from __future__ import annotations

import math

import numpy as np
import pytest

from lowerbound.evaluate import pool


def test_rubins_rules_by_hand():
    pooled = pool(np.array([10.0, 12.0, 11.0, 13.0]), np.array([4.0, 5.0, 3.0, 4.0]))
    between = 5 / 3  # Σ (Q − 11.5)² / 3
    assert (pooled.estimate, pooled.within) == (11.5, 4.0)
    assert pooled.between == pytest.approx(between)
    assert pooled.total == pytest.approx(4 + 1.25 * between)
    assert pooled.degrees_of_freedom == pytest.approx(3 * (1 + 4 / (1.25 * between)) ** 2)
    assert pooled.standard_error == pytest.approx(math.sqrt(pooled.total))
    assert pooled.fraction_missing == pytest.approx(1.25 * between / pooled.total)


def test_tables_that_agree_leave_the_variance_within():
    pooled = pool(np.array([2.0, 2.0]), np.array([0.25, 0.25]))
    assert (pooled.total, pooled.degrees_of_freedom, pooled.fraction_missing) == (0.25, math.inf, 0.0)


@pytest.mark.parametrize(
    "q, u", [([1.0], [1.0]), ([1.0, 2.0], [1.0]), ([1.0, 2.0], [1.0, -1.0]), ([1, np.nan], [1, 1])]
)
def test_what_cannot_be_pooled_is_refused(q, u):
    with pytest.raises(ValueError, match="one finite estimate and one variance"):
        pool(np.array(q), np.array(u))
