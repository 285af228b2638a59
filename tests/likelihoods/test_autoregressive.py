"""The autoregressive likelihood: its sites, its facts, its limits, and a model whose log p(x) is a quadrature."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lowerbound import likelihoods, posteriors, priors
from lowerbound.data import load
from lowerbound.evaluate import independent_elements, log_evidence
from lowerbound.fitting.defaults import facts_of
from lowerbound.fitting.planning import plan
from lowerbound.gradients import DReG, Pathwise
from lowerbound.likelihoods import Autoregressive
from lowerbound.losses import VariationalLoss
from lowerbound.model import LatentVariableModel
from lowerbound.models import DirectedModel, Node, vae
from lowerbound.models.parts import of_one_element, view_of
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO, IWAE
from lowerbound.support import require_support
from lowerbound.testing import check_likelihood

SITES = {
    "bernoulli": (2, 3),
    "categorical(num_classes=3)": (2, 2),
    "categorical(num_classes=3,unit_interval=true)": (2, 1, 2),
    "discretized-logistic(num_levels=4)": (2, 2),
    "discretized-logistic-mixture(num_levels=3,num_components=2)": (3, 1, 2),
    "poisson": (2, 2),
    "normal(scale=heteroscedastic)": (2, 2),
}


def made(site: str = "bernoulli", event: tuple[int, ...] = (2, 3), **options: Any) -> Autoregressive:
    torch.manual_seed(0)
    options = {"channels": 8, "layers": 2, **options}
    return Autoregressive(MLP(3, [8], Autoregressive.parameter_shape(event)), event, site, **options).double()


@pytest.mark.parametrize("site, event", SITES.items())
@pytest.mark.parametrize("network", ["convolution", "transformer"])
def test_every_kind_of_site_conforms(site, event, network):
    """Discrete ones sum to one over all x (`check_likelihood`)."""
    check_likelihood(made(site, event, network=network), torch.randn(3, 3).double())


@pytest.mark.parametrize("site, event", [(site, event) for site, event in SITES.items() if "mixture" not in site])
def test_with_nothing_seen_of_x_it_is_the_factorised_likelihood(site, event):
    """The parameters then come from the context and the offsets alone, which the other one is given by its net.

    But for the mixture: in the factorised one the channels of a pixel share a component.
    """
    p = made(site, event)
    trunk = p.causal.trunk
    for layer in trunk.layers:
        for part in (layer.vertical, layer.horizontal):
            nn.init.zeros_(part.weight)
    for part in p.causal.head.earlier:
        nn.init.zeros_(part.weight)
    nn.init.normal_(p.causal.offset)
    z = torch.randn(4, 3).double()
    x = p(z).sample()
    parameters = p.causal(x.reshape(4, *event, 1, 1), p.net(z))  # (4, *event, P)

    class Fixed(nn.Module):
        takes_leading_axes = True

        def __init__(self, shape):
            super().__init__()
            self.out_shape = shape

        def forward(self, _):
            return parameters.movedim(-1, 1).reshape(4, *self.out_shape)

    torch.testing.assert_close(p(z).log_prob(x), p.factorised(Fixed)(z).log_prob(x))


def test_without_a_net_there_is_no_context_and_log_p_is_exact():
    x = torch.tensor(list(itertools.product([0.0, 1.0], repeat=6))).view(-1, 2, 3)
    model = DirectedModel([Node("x", Autoregressive(None, (2, 3), channels=8, layers=2))], observed="x")
    assert model.log_prob(x).exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert model.sample(5).shape == (5, 2, 3)


def test_where_the_context_has_no_weight_z_is_ignored():
    p = made()
    for layer in p.causal.trunk.layers:
        nn.init.zeros_(layer.context.weight)
    x = torch.bernoulli(torch.full((4, 2, 3), 0.5)).double()
    torch.testing.assert_close(p(torch.randn(4, 3).double()).log_prob(x), p(torch.zeros(4, 3).double()).log_prob(x))


def pixel_vae() -> LatentVariableModel:
    """z is one number; weights large enough for it to matter."""
    torch.manual_seed(0)
    model = LatentVariableModel(
        prior=priors.StandardNormal(1),
        likelihood=Autoregressive(MLP(1, [8], (4, 2, 2)), channels=8, layers=2),
        posterior=posteriors.DiagonalNormal(MLP((2, 2), [8], (2, 1))),
    ).double()
    with torch.no_grad():
        for part in model.likelihood.parameters():
            part.mul_(2)
    return model


def test_the_evidence_of_a_pixel_vae_is_its_quadrature():
    model = pixel_vae()
    x = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).double().view(-1, 2, 2)
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    z = torch.as_tensor(nodes)[:, None, None]
    log_weights = torch.as_tensor(np.log(weights / weights.sum()))[:, None]
    with torch.no_grad():
        exact = (model.decode(z.expand(-1, 16, 1)).log_prob(x) + log_weights).logsumexp(0)
        estimate = log_evidence(model, x, num_samples=4000, seed=0)
        elbo = model.log_weights(x, 500).log_w.mean(0)
    assert exact.exp().sum().item() == pytest.approx(1, abs=1e-9)
    assert (model.decode(z.expand(-1, 16, 1)).log_prob(x).std(0) > 0.05).all()  # z matters
    assert ((estimate.log_evidence - exact).abs() < 0.05).all()
    assert (elbo < exact + 0.05).all()


@pytest.mark.parametrize("objective, gradient, samples", [(ELBO("kl"), Pathwise(), 1), (IWAE(), DReG(), 3)])
def test_gradients_reach_every_part_and_what_is_shown_is_said(objective, gradient, samples):
    model = pixel_vae()
    x = torch.bernoulli(torch.full((6, 2, 2), 0.4)).double()
    loss = VariationalLoss(model, objective, gradient, samples)
    loss.check(x)
    loss(x).loss.backward()
    silent = [name for name, part in model.named_parameters() if part.grad is None or not (part.grad != 0).any()]
    assert silent == []
    for picture in (model.sample_mean(3), model.draw(3)[1], model.reconstruct(x)):
        assert ((picture > 0) & (picture < 1)).all()
    assert model.draw(3)[0].unique().tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    "site, expected",
    [
        ("bernoulli", lambda x: x.mean(0).clamp(0.01, 0.99).logit()[..., None]),
        ("discretized-logistic(num_levels=2)", lambda x: torch.stack([2 * x.mean(0) - 1, torch.zeros(2, 3)], -1)),
    ],
)
def test_sites_start_at_the_data(site, expected):
    p = made(site).float()
    x = (torch.rand(200, 2, 3) < torch.tensor([0.1, 0.5, 0.9])).float()
    p.initialize(x)
    torch.testing.assert_close(p.causal.offset.detach(), expected(x))


def test_facts_are_those_of_a_site():
    for site in ("bernoulli", "categorical", "discretized-logistic", "poisson"):
        words = f"autoregressive:site={site}"
        facts, own = facts_of(words), facts_of(site)
        assert (facts.domain, facts.discrete, facts.encoder_view) == (own.domain, own.discrete, own.encoder_view)
        assert made(site).facts.domain == own.domain
    assert view_of("autoregressive:site=categorical(num_classes=5)", (2, 2)).out_shape == (5, 2, 2)
    with pytest.raises(ValueError, match=r"x holds 0\.5 .*Autoregressive takes 0 and 1"):
        require_support(made(), torch.full((4, 2, 3), 0.5))


def test_a_plan_prepares_data_as_for_a_site():
    digits = load("digits")
    for site, binarization in (("bernoulli", "dynamic"), ("discretized-logistic(num_levels=17)", "none")):
        found = plan(digits, likelihood=f"autoregressive:site={site},channels=4,layers=1", steps=10)
        assert found.binarization == binarization


def test_the_baseline_is_the_family_of_a_site_without_order():
    x = torch.bernoulli(torch.full((50, 2, 3), 0.3))
    torch.testing.assert_close(
        independent_elements(made().float(), x, x),
        independent_elements(likelihoods.Bernoulli(MLP(3, [], (2, 3))), x, x),
    )


def test_words_choose_it():
    model = vae((3, 4, 5), latent_dim=2, hidden=[8], likelihood="autoregressive:channels=4,layers=2,context_channels=3")
    assert model.likelihood.net.out_shape == (3, 4, 5)
    assert model.sample(2).shape == (2, 3, 4, 5)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: made("discretized-logistic(num_levels=1)"), "num_levels=1 and expected at least 2"),
        (lambda: made("categorical(num_classes=1)"), "num_classes=1 and expected at least 2"),
        (lambda: made("bernouli"), "no likelihood named 'bernouli'; the nearest of its"),
        (lambda: made("mixed(columns=2*count)"), r"site='mixed:columns=2\*count', which is no likelihood of single"),
        (
            lambda: vae((8, 8), likelihood="autoregressive:site=mixed(columns=64*count)"),
            "no likelihood of single numbers",
        ),
        (lambda: of_one_element("autoregressive:site=1e308"), "no likelihood named '1e"),
        (lambda: made("autoregressive"), "site='autoregressive', which is no likelihood of single numbers"),
        (lambda: made(event=(2, 2), kernel=5), r"kernel=5 for a map of 2 × 2"),
        (
            lambda: Autoregressive(MLP(3, [], (8, 5, 5)), (3, 4, 4)),
            r"context of shape \(8, 5, 5\) and expected a vector or a map \(M, 4, 4\)",
        ),
        (lambda: Autoregressive(MLP(3, [], 8)), r"from a context of shape \(8,\); pass event_shape="),
        (lambda: made()(None), "got no context and has a net that reads one"),
        (
            lambda: made(event=(3, 2, 2))(torch.zeros(1, 3).double()).log_prob(torch.zeros(1, 1, 2, 2)),
            r"\(1, 1, 2, 2\)",
        ),
    ],
)
def test_mistakes_are_named(make, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        make()
    assert len(str(error.value)) <= 300
