"""Ordinals are filled by their median, whatever is asked of numbers, or by their mode."""

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


def test_the_mode_of_ordinals_is_the_likeliest_and_not_the_one_between():
    """Nearly half of the rows are at either end, so that the middle is their median and hardly ever right."""
    g = np.random.default_rng(0)
    codes = g.permutation(np.repeat([-1, 0, 1, 2], [20, 84, 8, 88]))
    order = pd.Categorical.from_codes(codes, ["low", "mid", "high"], ordered=True)
    table = pd.DataFrame({"a": g.normal(size=200), "o": order})
    fitted = lb.fit(table, "latent-classes", components=1, latent_dim=0, hold_out=False, device="cpu")
    gaps = table["o"].isna()
    assert set(fitted.impute(table, statistic="median")["o"][gaps]) == {"mid"}
    assert set(fitted.impute(table, statistic="mode")["o"][gaps]) == {"high"}
