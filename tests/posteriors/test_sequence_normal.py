"""The chain posterior: its density against its own draws, and against a Kalman filter and smoother."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from lowerbound import likelihoods, priors
from lowerbound.gradients import Pathwise
from lowerbound.losses import VariationalLoss
from lowerbound.models.directed import DirectedModel
from lowerbound.models.directed_graph import Node
from lowerbound.models.sequence_steps import EachStep
from lowerbound.nets import MLP
from lowerbound.nets.recurrent import BidirectionalGRU
from lowerbound.nets.softplus import positive
from lowerbound.objectives import ELBO
from lowerbound.posteriors.sequence_normal import SequenceNormal
from lowerbound.priors.markov_chain import MarkovChain
from lowerbound.testing.conditionals import check_conditional

LENGTH, DATA = 5, 3


class LinearGaussian:
    """z_1 ~ N(0, I), z_t = A z_{t−1} + b + q ε, x_t = C z_t + d + r ε, as a model and as matrices."""

    def __init__(self, state: int) -> None:
        self.state = state
        generator = torch.Generator().manual_seed(1)
        self.transition = likelihoods.Normal(MLP(state, [], state), scale="per-dimension").double()
        self.emission = likelihoods.Normal(MLP(state, [], DATA), scale="per-dimension").double()
        with torch.no_grad():
            for parameter in [*self.transition.parameters(), *self.emission.parameters()]:
                parameter.copy_(0.7 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        inner, outer = self.transition.net.layers[0], self.emission.net.layers[0]  # type: ignore[attr-defined]
        self.a, self.b, self.c, self.d = (p.detach() for p in (inner.weight, inner.bias, outer.weight, outer.bias))
        scales = [positive(part.raw_scale.detach(), part.min_scale) for part in (self.transition, self.emission)]
        self.q, self.r = (torch.diag(scale**2) for scale in scales)

    def model(self, posterior: nn.Module) -> DirectedModel:
        chain = MarkovChain(priors.StandardNormal(self.state).double(), self.transition, LENGTH)
        nodes = [Node("z", chain), Node("x", EachStep(self.emission, (LENGTH, DATA)), "z")]
        return DirectedModel(nodes, observed="x", posterior=posterior)

    def log_evidence(self, x: Tensor) -> Tensor:
        """Kalman (1960): predict, score, update."""
        mean, covariance = torch.zeros(len(x), self.state).double(), torch.eye(self.state).double()
        total = torch.zeros(len(x)).double()
        for t in range(LENGTH):
            if t > 0:
                mean, covariance = mean @ self.a.mT + self.b, self.a @ covariance @ self.a.mT + self.q
            innovation = self.c @ covariance @ self.c.mT + self.r
            predicted = mean @ self.c.mT + self.d
            total = total + MultivariateNormal(predicted, innovation).log_prob(x[:, t])
            gain = covariance @ self.c.mT @ torch.linalg.inv(innovation)
            mean = mean + (x[:, t] - predicted) @ gain.mT
            covariance = (torch.eye(self.state).double() - gain @ self.c) @ covariance
        return total


def affine(state: int) -> SequenceNormal:
    """Features h_t that are any affine function of x, and no hidden layer."""
    net = MLP((LENGTH, DATA), [], (LENGTH, 2 * state))
    return SequenceNormal(net, state, features=2 * state, hidden=0).double()


def test_it_is_a_posterior_like_others() -> None:
    q = SequenceNormal(BidirectionalGRU(DATA, 4), 2, hidden=6).double()
    check_conditional(q, torch.randn(5, LENGTH, DATA, dtype=torch.float64))


def test_density_at_all_times_at_once_is_that_of_the_steps() -> None:
    q_of = SequenceNormal(BidirectionalGRU(DATA, 4), 2, hidden=6).double()
    x = torch.randn(5, LENGTH, DATA, dtype=torch.float64)
    q, h = q_of(x), q_of.of_features(q_of.net(x))
    z = q.rsample((3,))
    before, total = torch.zeros(3, 5, 2).double(), torch.zeros(3, 5).double()
    for t in range(LENGTH):
        total = total + q_of.step(h[:, t], before).log_prob(z[..., t, :])
        before = z[..., t, :]
    torch.testing.assert_close(q.log_prob(z), total)
    assert (q_of.step(h[:, 1], before).mean - q_of.step(h[:, 1], 0 * before).mean).abs().max() > 0.01


def test_bounds_rise_to_the_evidence_of_the_kalman_filter() -> None:
    exact = LinearGaussian(state=2)
    model = exact.model(affine(2))
    x = model.sample(200)
    row, bounds = x[:1], []
    evidence = exact.log_evidence(row).item()
    fit(model, x, 60)
    for size in (1, 20, 2000):
        with torch.no_grad():
            log_w = model.log_weights(row.expand(60, -1, -1), size).log_w
        value = torch.logsumexp(log_w, 0) - math.log(size)
        bounds.append(value.mean().item())
        assert bounds[-1] < evidence + 6 * value.std().item() / 60**0.5
    assert bounds[0] < bounds[2]
    assert bounds[-1] == pytest.approx(evidence, abs=0.1)


@pytest.mark.slow
def test_the_right_family_reaches_the_evidence() -> None:
    """One number a state, of which the exact smoother is such a chain but for a gain that varies near the end."""
    exact = LinearGaussian(state=1)
    model = exact.model(affine(1))
    x = model.sample(200)
    before = gap(exact, model, x)
    fit(model, x, 800)
    assert before > 1
    assert gap(exact, model, x) < 0.05


def fit(model: DirectedModel, x: Tensor, steps: int) -> None:
    loss = VariationalLoss(model, ELBO(), Pathwise())
    optimizer = torch.optim.Adam(model.posterior.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(x).loss.backward()
        optimizer.step()
        schedule.step()


def gap(exact: LinearGaussian, model: DirectedModel, x: Tensor) -> float:
    with torch.no_grad():
        return (exact.log_evidence(x) - model.log_weights(x, 50).log_w.mean(0)).mean().item()


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="cannot tell the features of Linear; pass features="):
        SequenceNormal(nn.Linear(2, 3), 2)
    with pytest.raises(ValueError, match="latent_shape=0"):
        SequenceNormal(BidirectionalGRU(2, 3), 0)
    with pytest.raises(NotImplementedError, match="no mean in closed form"):
        _ = SequenceNormal(BidirectionalGRU(2, 3), 2)(torch.zeros(1, 4, 2)).mean
