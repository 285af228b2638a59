"""Ordinals are filled by their median, whatever is asked of numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd

import lowerbound as lb


def test_a_quantile_is_asked_of_numbers_and_not_of_ordinals():
    g = np.random.default_rng(0)
    names = ["low", "mid", "high", "top"]
    codes = g.integers(0, 4, 120)
    codes[:20] = -1
    order = pd.Categorical.from_codes(codes, names, ordered=True)
    table = pd.DataFrame({"a": np.round(codes + g.normal(size=120), 2), "o": order})
    fitted = lb.fit(table, "vae", steps=10, device="cpu")
    median, low, high = (fitted.impute(table, statistic=each) for each in ("mean", 0.05, 0.95))
    assert low["o"].tolist() == median["o"].tolist() == high["o"].tolist()
