"""Binary latents: the log-probabilities of all of them sum to one; entropy by enumeration."""

from __future__ import annotations

import pytest
import torch

from lowerbound.gradients import Pathwise, ScoreFunction
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO
from lowerbound.posteriors.bernoulli import Bernoulli
from lowerbound.testing import check_conditional


def test_enumeration() -> None:
    posterior = Bernoulli(MLP(4, [], 3)).double()
    q = posterior(torch.randn(5, 4, dtype=torch.float64))
    every = torch.cartesian_prod(*[torch.arange(2.0, dtype=torch.float64)] * 3)[:, None]
    log_q = q.log_prob(every.expand(8, 5, 3))
    torch.testing.assert_close(log_q.exp().sum(0), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(q.entropy(), -(log_q.exp() * log_q).sum(0))


def test_conforms_and_is_not_reparameterised() -> None:
    posterior, x = Bernoulli(MLP(4, [], 3)).double(), torch.randn(5, 4, dtype=torch.float64)
    check_conditional(posterior, x)
    with pytest.raises(ValueError, match="use ScoreFunction"):
        Pathwise().check(ELBO(), posterior(x), 2)
    ScoreFunction().check(ELBO(), posterior(x), 2)


def test_saturated_logits_stay_finite() -> None:
    net = MLP(1, [], 2)
    with torch.no_grad():
        net.layers[0].bias.copy_(torch.tensor([80.0, -80.0]))
        net.layers[0].weight.zero_()
    q = Bernoulli(net)(torch.zeros(1, 1))
    log_q = q.log_prob(torch.tensor([[0.0, 1.0]]))
    log_q.sum().backward()
    assert log_q.item() == pytest.approx(-160)
    assert net.layers[0].bias.grad.tolist() == pytest.approx([-1, 1])
