"""BIVA's posterior against exact marginals, its order of drawing, and what it shares with the prior."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

from lowerbound.evaluate import log_evidence
from lowerbound.gradients import Pathwise
from lowerbound.losses import VariationalLoss
from lowerbound.models import biva
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO
from lowerbound.posteriors import Bidirectional
from lowerbound.posteriors.bidirectional import drawing_order
from lowerbound.priors import PairedGroup, Path, residual_group
from lowerbound.testing import flat_gradient
from lowerbound.weights import weigh

LEVELS, LATENT, WIDTH, DATA = 3, 2, 6, 3
LAYERS = 2 * LEVELS - 1


class Affine(nn.Module):
    """Means that are affine in the state, and everything that scales depend on constant."""

    def __init__(self, pieces):
        super().__init__()
        self.pieces = nn.ModuleList([MLP(WIDTH, [], size) for size, constant in pieces if not constant])
        self.constants = nn.ParameterList([0.3 * torch.randn(size) for size, constant in pieces if constant])
        self.order = [constant for _, constant in pieces]

    def forward(self, h):
        of_state, fixed = iter(self.pieces), iter(self.constants)
        parts = [next(fixed).expand(*h.shape[:-1], -1) if constant else next(of_state)(h) for constant in self.order]
        return torch.cat(parts, -1)


def linear_model():
    """p(z, x) is Gaussian; the posterior has nets of its own."""
    torch.manual_seed(3)
    model = biva((DATA,), levels=[LEVELS], latent_channels=LATENT, width=WIDTH, hidden=8, likelihood="normal:scale=0.7")
    top, *pairs = model.prior.parts
    top.prior_net = Affine([(LATENT, False), (LATENT, True), (WIDTH, False)])
    for pair in pairs:
        pair.prior_net = Affine([*[(LATENT, False), (LATENT, True)] * 2, (WIDTH, False)])
    for group in (top, *pairs):
        group.mixing_net = MLP(WIDTH, [], WIDTH)
    model.likelihood.net = MLP(WIDTH, [], DATA)
    return model.double()


def marginal(model):
    """p(x) from the images of the unit vectors of the noise."""
    p, size = model.prior(), LAYERS * LATENT

    def mean_of(noise):
        state = p.start
        for step, e in zip(p.steps, noise.view(LAYERS, LATENT), strict=True):
            d, carry = step.at(state)
            state = step.advance(state, carry, d.mean + d.stddev * e)
        return model.likelihood(state).mean

    zero = mean_of(torch.zeros(size).double())
    columns = torch.stack([mean_of(e) - zero for e in torch.eye(size).double()], -1)
    noise = 0.49 * torch.eye(DATA).double()
    return MultivariateNormal(zero.detach(), (columns @ columns.mT + noise).detach())


@pytest.fixture(scope="module")
def linear():
    model = linear_model()
    exact = marginal(model)
    loss = VariationalLoss(model, ELBO(), Pathwise())
    optimizer = torch.optim.Adam(model.posterior.parameters(), 0.02)
    for _ in range(80):
        optimizer.zero_grad()
        loss(exact.sample((64,))).loss.backward()
        optimizer.step()
    return model, exact


def test_the_evidence_is_that_of_one_gaussian(linear):
    """A latent that were scored twice or left out, on either way, would miss log p(x) by nats."""
    model, exact = linear
    x = exact.sample((6,))
    found, log_p = log_evidence(model, x, num_samples=5_000), exact.log_prob(x)
    assert (found.standard_error < 0.1).all()
    assert (abs(found.log_evidence - log_p) < 4 * found.standard_error).all()


def test_the_weights_of_the_prior_have_mean_one(linear):
    """E_q[p(z) / q(z | x)] = 1 for the latents alone, with a q as wide as the prior."""
    model, _ = linear
    with torch.no_grad():
        for net in (*model.posterior.bottom_up, *model.posterior.top_down):
            last = net.net.layers[-1]
            last.weight.mul_(0.1)
            last.bias.copy_(torch.tensor([0.0] * LATENT + [1.5] * LATENT))
        w = model.log_weights(torch.zeros(1, DATA).double(), 100_000)
        ratio = (w.log_prior - w.log_q).exp()
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / len(ratio) ** 0.5 < 0.2


def test_the_order_of_drawing():
    """z_1^BU sees the datum alone, each z^BU those below it, the top all of them, z_l^TD all but those below it."""
    model, x = linear_model(), torch.randn(2, DATA).double()
    q = model.infer(x)
    assert q.drawing_order() == drawing_order(LEVELS) == (0, 2, 4, 3, 1)
    drawn = q.sample()
    seen_by = {0: set(), 2: {0}, 4: {0, 2}, 3: {0, 2, 4}, 1: {0, 2, 3, 4}}
    for place, seen in seen_by.items():
        for other in range(LAYERS):
            moved = tuple(z + 1.0 if i == other else z.clone() for i, z in enumerate(drawn))
            changed = not torch.equal(q.layers_at(moved)[place].mean, q.layers_at(drawn)[place].mean)
            assert changed == (other in seen), (place, other)


def test_the_latents_of_a_pair_are_independent_given_those_above():
    p = linear_model().prior()
    drawn = p.sample()
    seen_by = {4: set(), 3: {4}, 2: {4}, 1: {2, 3, 4}, 0: {2, 3, 4}}
    for place, seen in seen_by.items():
        for other in range(LAYERS):
            moved = tuple(z + 1.0 if i == other else z.clone() for i, z in enumerate(drawn))
            changed = not torch.equal(p.layers_at(moved)[place].mean, p.layers_at(drawn)[place].mean)
            assert changed == (other in seen), (place, other)


def test_remembered_is_recomputed():
    """Values and gradients of every parameter; the nets of the prior run once, or once more."""
    model, x = linear_model(), torch.randn(4, DATA).double()
    parameters, values, gradients, calls = [*model.parameters()], [], [], []
    model.prior.parts[1].prior_net.register_forward_hook(lambda *_: calls.append(1))
    q, joint = model.infer(x), model.joint(x)
    z = q.rsample((5,))
    for latents in (z, tuple(layer.view_as(layer) for layer in z)):
        before = len(calls)
        w = weigh(q, joint, latents)
        values.append(torch.stack([w.log_prior, w.log_q, w.log_likelihood]))
        gradients.append(flat_gradient((w.log_w * torch.linspace(1, 2, 20).view(5, 4)).sum(), parameters))
        assert (len(calls) == before) == (latents is z)
    torch.testing.assert_close(*values, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


def test_the_divergence_of_one_layer_is_refused():
    model = linear_model()
    with pytest.raises(ValueError, match="drawn in the same order, and these are not; use rate='sampled'"):
        VariationalLoss(model, ELBO(rate="kl"), Pathwise()).check(torch.randn(2, DATA).double())


def test_mistakes_are_named():
    prior = Path([residual_group(4, 1, 2, depth=1)], start=4)
    with pytest.raises(ValueError, match="got 1 level and needs two or more"):
        Bidirectional(prior, nn.Identity(), [4], 1, 2)
    with pytest.raises(ValueError, match=r"of 2 levels needs a priors\.Path of 3 steps"):
        Bidirectional(prior, nn.Identity(), [4, 4], 1, 2)(torch.zeros(1, 4))


def test_a_pair_is_listed_and_saved_once():
    pair = PairedGroup(4, 1, 2, depth=2)
    prior = Path([residual_group(4, 1, 2, depth=2), pair, pair.second], start=4)
    names = [name for name, _ in prior.named_parameters()]
    assert len(names) == len(set(names)) == len(prior.state_dict())
