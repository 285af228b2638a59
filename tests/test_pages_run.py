"""The Python of CONTRIBUTING.md and of the pages of docs runs, at toy size."""

from __future__ import annotations

import re
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from lowerbound.data import read_file
from lowerbound.data.reader import Reader
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO
from lowerbound.protocols import Gradient
from lowerbound.references import work_of
from lowerbound.testing import check_cites, check_likelihood, check_objective
from lowerbound.testing.matrix import KINDS, small_model

ROOT = Path(__file__).parents[1]
GIVEN = """
from __future__ import annotations
from dataclasses import dataclass
from typing import ClassVar
from jaxtyping import Float
from torch import Tensor, nn
from lowerbound.protocols import Bound, RateForm
from lowerbound.support import LikelihoodFacts, Support, positive, reals
from lowerbound.weights import LogWeights
"""
"""What a reader of a skeleton imports besides."""

FEW_CLASSES = "lb.fit(table, recipe='latent-classes', components=3, latent_dim=1, objective='elbo')"
SHORTER = {
    "load_digits().data": "load_digits().data[:60, ::4].copy()",
    "latent_dim=16).fit": "latent_dim=2).fit",
    "X[::7, 20]": "X[::7, 5]",
    "[0, 20]": "[0, 5]",
    "num_steps=100": "num_steps=2",
    "(300, 60)": "(60, 60)",
    "epochs=20": "epochs=1",
    "hidden=(500,)": "hidden=(8,)",
    "hidden=(300, 300, 500), event_shape=(28, 28)": "hidden=(8,), epochs=1, pretrain_epochs=1, event_shape=(8, 8)",
}


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize(
    "name",
    [
        "biva",
        "codes",
        "cvae",
        "directed",
        "draw",
        "layers",
        "linear",
        "pixels",
        "semi_supervised",
        "sequence",
        "topics",
        "text",
        "two-stage",
        "vade",
        "very-deep",
    ],
)
def test_pages_of_models(name: str) -> None:
    text = "\n".join(blocks(f"docs/models/{name}.md"))
    for long, short in SHORTER.items():
        text = text.replace(long, short)
    x, y = load_digits(return_X_y=True)
    torch.manual_seed(0)
    names = {"X": x[:300] / 16, "y": np.where(np.arange(300) % 3, y[:300], -1), "X_new": x[300:310] / 16}
    exec(text, names)
    assert len(names) > 4


def test_tables_with_gaps() -> None:
    names: dict = {}
    exec("\n".join(blocks("docs/tables-with-gaps.md")).replace("lb.fit(table)", FEW_CLASSES), names)
    table, filled, spoilt, fitted = (names[name] for name in ("table", "filled", "spoilt", "fitted"))
    assert filled.notna().all().all()
    assert filled.where(table.notna()).equals(table)
    assert 0.75 < names["inside"] < 1
    assert 0 < names["pooled"].fraction_missing < 0.5
    assert set(names["strong"]["alcohol"]) == {14.0}
    told, people, income = (names[name] for name in ("told", "people", "income"))
    blank = people["income"].isna()
    assert abs((told.impute(people)["income"] - income)[blank].mean()) < 0.25
    assert (fitted.score(spoilt).argmin(), fitted.score_cells(spoilt)["alcohol"].idxmin()) == (7, 7)


def test_your_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "patients.csv").write_text("height;weight\n" + "1.5;-\n2.5;3.5\n" * 10)
    (tmp_path / "pictures").mkdir()
    for i, mode in enumerate(("L", "RGB", "RGBA", "L", "RGB")):
        Image.linear_gradient("L").resize((20 + i, 30)).convert(mode).save(tmp_path / "pictures" / f"{i}.png")
    frame, series, pictures, arrays = blocks("docs/your-data.md")
    exec(frame, {})
    assert read_file(tmp_path / "clean.csv").schema.columns is not None
    lines = [f"p{i},{day},{i * 7 % 5 + day},{i % 3 - day}" for i in range(12) for day in range(3 + i % 3)]
    (tmp_path / "steps.csv").write_text("\n".join(["patient,day,temperature,lab", *lines]))
    names: dict = {}
    exec(series.replace('time="day"', 'time="day", recipe="hidden-markov:states=2"'), names)
    assert len(names["of_series"].forecast(names["steps"], 2).table()) == 24
    exec(pictures, {})
    assert read_file(tmp_path / "small").schema.event_shape == (32, 32)
    exec(arrays.replace("steps=50", "steps=2, hidden=[4]"), names)
    assert names["fitted"].sample(2).shape == (2, 6)


def test_contributing(monkeypatch: pytest.MonkeyPatch) -> None:
    from lowerbound import posteriors

    skeleton, likelihood, oracle, objective = blocks("CONTRIBUTING.md")
    names: dict[str, object] = {}
    exec(GIVEN + likelihood + objective, dict(names))
    exec(skeleton, names)
    monkeypatch.setattr(posteriors, "DiagonalLaplace", names["DiagonalLaplace"], raising=False)
    exec(oracle, names)
    test = names["test_log_prob_is_that_of_scipy"]
    assert isinstance(test, FunctionType)
    test()


def test_extending() -> None:
    recipe, cited, likelihood, objective, estimator, reader = blocks("docs/extending.md")
    names: dict[str, object] = {}
    exec(recipe, names)
    assert names["RECIPE"].option_defaults == {"latent_dim": 4, "hidden": [64]}  # type: ignore[attr-defined]
    exec(cited, names)
    check_cites(names["Weibull"])
    assert work_of(names["Weibull"].cites[0]).label == "Weibull, 1951"  # type: ignore[attr-defined]
    exec(reader, names)
    assert isinstance(names["DURATIONS"], Reader)
    exec(estimator, names)
    model, x = small_model(KINDS["normal"])
    antithetic: Gradient = names["Antithetic"]()  # type: ignore[operator]
    estimate = antithetic.estimate(ELBO(), model.infer(x), model.joint(x), 6)
    z = estimate.weights.z
    assert isinstance(z, torch.Tensor)
    assert torch.allclose(z[:3] + z[3:], 2 * model.infer(x).mean)
    assert estimate.surrogate.shape == (len(x),)
    exec(objective, names)
    check_objective(names["Median"]())  # type: ignore[operator]
    exec(GIVEN + likelihood, names)
    check_likelihood(names["Weibull"](MLP(3, [], 2), (2,)), torch.randn(4, 3))  # type: ignore[operator]
