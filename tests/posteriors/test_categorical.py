"""One-hot latents: the log-probabilities of all of them sum to one; entropy by enumeration."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lowerbound.gradients import Pathwise
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO
from lowerbound.posteriors.categorical import Categorical
from lowerbound.testing import check_conditional


def test_enumeration() -> None:
    posterior = Categorical(MLP(4, [], Categorical.parameter_shape(2, 3)), categories=3).double()
    assert posterior.latent_shape == (2,)
    q = posterior(torch.randn(5, 4, dtype=torch.float64))
    one_hot = torch.eye(3, dtype=torch.float64)
    every = torch.stack([torch.stack([a, b]) for a in one_hot for b in one_hot])[:, None]
    log_q = q.log_prob(every.expand(9, 5, 2, 3))
    torch.testing.assert_close(log_q.exp().sum(0), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(q.entropy(), -(log_q.exp() * log_q).sum(0))


def test_conforms_and_draws_are_one_hot() -> None:
    posterior = Categorical(MLP(4, [], (2, 3)), categories=3).double()
    x = torch.randn(5, 4, dtype=torch.float64)
    check_conditional(posterior, x)
    z = posterior(x).sample((7,))
    assert z.shape == (7, 5, 2, 3)
    assert torch.equal(z.sum(-1), torch.ones(7, 5, 2, dtype=torch.float64))
    with pytest.raises(ValueError, match="use ScoreFunction"):
        Pathwise().check(ELBO(), posterior(x), 2)


def test_one_category_is_refused() -> None:
    with pytest.raises(ValueError, match="categories=1 and needs at least 2"):
        Categorical(nn.Linear(2, 2), categories=1, latent_shape=2)


def test_a_net_of_other_categories_is_refused() -> None:
    with pytest.raises(ValueError, match=r"output shape \(2, 3\), but latent_shape needs \(\*latent_shape, 10\)"):
        Categorical(MLP(4, [], (2, 3)))
