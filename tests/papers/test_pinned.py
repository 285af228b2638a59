"""What a script leaves open is what its results were made with, whatever the library decides today."""

from __future__ import annotations

import runpy
from pathlib import Path

from lowerbound.data import load
from lowerbound.fitting import defaults

RECIPES = Path(__file__).parents[2] / "papers"


def test_a_default_of_the_library_does_not_reach_a_script(monkeypatch):
    monkeypatch.setitem(defaults.GENERAL, "lr", 0.5)
    monkeypatch.setitem(defaults.GENERAL, "objective", "iwae")
    monkeypatch.setitem(defaults.GENERAL, "clip_norm", 9.0)
    monkeypatch.setitem(defaults.GENERAL, "patience", 3)
    monkeypatch.setitem(defaults.GENERAL, "ema", 0.9)
    pinned = runpy.run_path(str(RECIPES / "pinned.py"))["pinned"]
    plan = pinned(load("digits"), {"latent_dim": 2, "hidden": [8]}, epochs=2)
    assert (plan.objective, plan.gradient, plan.num_samples, plan.lr) == ("elbo", "pathwise", 1, 1e-3)
    assert (plan.clip_norm, plan.patience, plan.batch_size, plan.lr_schedule) == (None, None, 128, "cosine")
    assert (plan.optimizer, plan.accumulate, plan.ema) == ("adam", 1, None)
    assert plan.model["activation"] == "relu"
    given = pinned(load("digits"), {"latent_dim": 2, "hidden": [8]}, epochs=2, clip_norm=100.0, lr=3e-3)
    assert (given.clip_norm, given.lr) == (100.0, 3e-3)
