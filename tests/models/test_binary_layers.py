"""Layers of bits, and the discrete model of a relaxed one, against sums over all states by the nets themselves."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

import lowerbound as lb
from lowerbound.evaluate import log_evidence
from lowerbound.models import binary_layers, concrete_layers, discretised, vae

X = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])


def spread(model):
    torch.manual_seed(0)
    for p in model.parameters():
        nn.init.normal_(p)
    return model.eval()


def by_hand(model):
    """log Σ_b p(b_2) p(b_1 | b_2) p(x | b_1) of two bits below one, from the outputs of the nets."""
    below, top = model.prior.conditionals
    total = []
    for state in itertools.product([0.0, 1.0], repeat=3):
        b_1, b_2 = torch.tensor([state[:2]]), torch.tensor([state[2:]])
        logits = [(top.logits[None], b_2), (below.net(b_2), b_1)]
        log_p = [(b * a - nn.functional.softplus(a)).sum() for a, b in logits]
        pixels = model.likelihood.net(b_1, b_2)
        total.append(sum(log_p) + (X * pixels - nn.functional.softplus(pixels)).sum(-1))
    return torch.logsumexp(torch.stack(total), 0)


@pytest.mark.parametrize("make", [binary_layers, concrete_layers])
def test_log_p_of_the_discrete_model_is_the_sum_over_all_states(make):
    relaxed = spread(make((3,), latent_dims=[2, 1]))
    model = relaxed if make is binary_layers else discretised(relaxed)
    found = log_evidence(model, X, num_samples=4000, seed=0)
    torch.testing.assert_close(found.log_evidence, by_hand(relaxed).detach().double(), atol=0.05, rtol=0)


def test_a_discretised_model_shares_the_parameters_and_is_the_limit_of_low_temperatures():
    relaxed = spread(concrete_layers((3,), latent_dims=[2, 1], temperature=1e-3, prior_temperature=1e-3))
    discrete = discretised(relaxed)
    assert {id(p) for p in discrete.parameters()} == {id(p) for p in relaxed.parameters()}
    for part in ("prior", "posterior"):
        means = []
        for model in (relaxed, discrete):
            d = model.prior() if part == "prior" else model.infer(X[:1])
            means.append(torch.cat([b.reshape(20_000, -1).mean(0) for b in d.sample((20_000,))]))
        torch.testing.assert_close(means[0], means[1], atol=0.02, rtol=0)


def test_one_relaxed_layer_of_categories_becomes_one_hot():
    words = {"prior": "relaxed-categorical:categories=3", "posterior": "relaxed-categorical:categories=3"}
    model = discretised(vae((3,), latent_dim=2, hidden=[4], **words))
    for d in (model.prior(), model.infer(X)):
        assert d.sample((5,)).sort(-1).values.reshape(-1, 3).unique(dim=0).tolist() == [[0.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    "model, told",
    [
        (vae((3,), latent_dim=2, hidden=[4]), "are not relaxed; evaluate it as it is"),
        (
            vae(
                (3,), latent_dim=2, hidden=[4],
                prior="relaxed-bernoulli:space=logit", posterior="relaxed-bernoulli:space=logit",
            ),
            "fit it with the default space",
        ),
    ],
)  # fmt: skip
def test_what_has_no_discrete_form_is_refused(model, told):
    with pytest.raises(ValueError, match=told):
        discretised(model)


def test_a_fitted_model_is_scored_as_the_discrete_one():
    x = (torch.rand(40, 3) < 0.5).float().numpy()
    fitted = lb.Fitted(spread(concrete_layers((3,), latent_dims=[2, 1])), data=x)
    scores = fitted.evaluate(discretise=True, num_samples=2000)
    exact = log_evidence(discretised(fitted.model), torch.as_tensor(fitted.test_rows().x), num_samples=2000).mean
    assert scores["discretised"]
    assert scores["log_evidence"] == pytest.approx(exact, abs=0.02)
    assert scores["log_evidence"] != pytest.approx(fitted.evaluate(num_samples=2000)["log_evidence"], abs=0.02)


def test_relax_trains_layers_by_words():
    fitted = lb.fit(
        "digits", "binary-layers", latent_dims=[4, 2], gradient="relax:hidden=3", num_samples=1, steps=2, compile=False
    )
    assert {"rate_1", "rate_2"} <= fitted.records[-1]["terms"].keys()
    with pytest.raises(ValueError, match=r"RELAX takes several layers level by level.*got IWAE"):
        lb.fit(
            "digits", "binary-layers", latent_dims=[4, 2], gradient="relax", objective="iwae", num_samples=5, steps=2
        )
