"""What notebooks show is a small table in which every text is escaped; draws go to other programs as arrays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas
import pytest
import torch

import lowerbound as lb
from lowerbound.diagnosis import Diagnosis
from lowerbound.diagnosis.finding import Finding
from lowerbound.exact import LinearGaussian
from lowerbound.html_tables import html_table
from lowerbound.inference import HMC
from lowerbound.nets import MLP
from lowerbound.posteriors import DiagonalNormal


def test_texts_are_escaped_and_cut() -> None:
    page = html_table("<script>", [("<b>", "x" * 500), *[(i, i) for i in range(60)]])
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "<b>" not in page
    assert "x" * 301 not in page
    assert "… 21 more" in page
    assert len(page) < 3000


def test_a_fitted_model_shows_how_it_was_made() -> None:
    fitted = lb.fit(
        np.random.default_rng(0).normal(size=(40, 3)), "vae", steps=2, hidden=[4], latent_dim=2, compile=False
    )
    fitted.scores = {"elbo": -3.25}
    page = fitted._repr_html_()
    for words in ("vae model", "table, 3", "<th>steps</th><td>2</td>", "<th>latent dim</th><td>2</td>", "-3.25"):
        assert words in page
    one, two, three, *_, last = repr(fitted).splitlines()
    assert (one, two) == ("vae model", "  data     table, 3")
    assert three.startswith("  choices  objective iwae, gradient dreg, loss variational, steps 2, seed 0, ")
    assert "latent dim 2" in repr(fitted)
    assert last == "  score    elbo, nats -3.25"
    assert fitted.plan is not None
    fitted.plan = replace(fitted.plan, model={**fitted.plan.model, "likelihood": "mixed:columns=" + "count+" * 200})
    assert len(repr(fitted)) < 1000
    assert "mixed:columns=count+" in repr(fitted)


def test_scores_are_kept_for_what_is_printed() -> None:
    frame = pandas.DataFrame(np.random.default_rng(0).normal(size=(40, 5)), columns=list("abcde"))
    fitted = lb.fit(frame, "probabilistic-pca", latent_dim=1)
    assert repr(fitted).endswith("score    not evaluated: evaluate() scores its test rows")
    assert "data     table, 5 (a, b, c, d, …)" in repr(fitted)
    fitted.evaluate(frame.head(10), num_samples=2)
    assert fitted.scores is None
    found = fitted.evaluate(num_samples=2)
    assert f"log evidence, nats {found['log_evidence']:.4g} ± " in repr(fitted)
    assert "built by hand" in repr(lb.Fitted(fitted.model, schema=fitted.schema))


def test_columns_that_were_left_out_are_named() -> None:
    g = np.random.default_rng(0)
    frame = pandas.DataFrame({"a": g.normal(size=40), "b": g.normal(size=40), "who": [f"p{i}" for i in range(40)]})
    fitted = lb.fit(frame.assign(**{f"c{i}": 1.0 for i in range(9)}), "probabilistic-pca", latent_dim=1)
    lines = repr(fitted).splitlines()
    assert lines[2].startswith("  left out who (a text for each row), c0 (one value only (1)), c1 ")
    assert "2 more" in repr(fitted)
    assert "<th>left out</th><td>who (a text for each row), " in fitted._repr_html_()


def test_a_diagnosis_shows_its_findings() -> None:
    finding = Finding(name="holes", present=True, sentence="a < b", remedy="lowerbound fit")
    other = Finding(name="blindness", present=None, sentence="There are no other data.")
    page = Diagnosis(title="run", findings=(finding, other), num_held_out=3, num_train=3)._repr_html_()
    assert "<th>holes</th><td>present</td><td>a &lt; b</td><td>lowerbound fit</td>" in page
    assert "<th>blindness</th><td>does not apply</td>" in page
    assert "a &lt; b" in finding._repr_html_()


@pytest.fixture(scope="module")
def model() -> tuple[lb.LatentVariableModel, torch.Tensor]:
    exact = LinearGaussian.random(3, 2)
    return exact.model(DiagonalNormal(MLP(3, [], (2, 2)))), exact.sample(5)


@pytest.mark.filterwarnings("ignore::lowerbound.inference.InferenceWarning")
def test_chains_are_the_draws_by_chain_and_draw(model: tuple[lb.LatentVariableModel, torch.Tensor]) -> None:
    found = lb.infer(*model, scheme=HMC(num_chains=2, num_warmup=20, num_samples=10))
    values = found.chains("z")["z"]
    assert values.shape == (2, 10, 5, 2)
    assert np.array_equal(values[1, 3], found.posterior.values[3, 1].numpy())  # type: ignore[attr-defined]
    assert "<th>scheme</th><td>HMC(" in found._repr_html_()


def test_draws_of_an_encoder_are_one_chain(model: tuple[lb.LatentVariableModel, torch.Tensor]) -> None:
    found = lb.infer(*model)
    assert np.array_equal(found.chains()["z"][0], found.draws.numpy())
    assert "nats a row, on average" in found._repr_html_()


def test_arviz_takes_the_draws_and_agrees_on_r_hat(model: tuple[lb.LatentVariableModel, torch.Tensor]) -> None:
    arviz = pytest.importorskip("arviz", reason="arviz is not installed")
    found = lb.infer(*model, scheme=HMC(num_chains=4, num_warmup=200, num_samples=300))
    found = lb.infer(*model, scheme=HMC(num_chains=4, num_warmup=200, num_samples=300))
    draws = found.chains()
    data = (
        arviz.from_dict(posterior=draws)
        if int(arviz.__version__.split(".")[0]) < 1
        else arviz.from_dict({"posterior": draws})
    )
    rhat = arviz.rhat(data, method="split")["z"].values
    assert found.r_hat is not None
    np.testing.assert_allclose(rhat, found.r_hat.numpy(), atol=0.02)
