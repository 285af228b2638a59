"""`exact.EnumerableCategorical` against loops, its evidence against one, and two categories against a bit."""

from __future__ import annotations

import itertools

import pytest
import torch

from lowerbound.exact import EnumerableBernoulli, EnumerableCategorical
from lowerbound.objectives import ELBO, IWAE


def test_enumeration_against_loops():
    exact = EnumerableCategorical.random(2, 3, 4, [5], seed=3)
    model, x = exact.model(), torch.tensor([[1.0, 0.0, 1.0, 1.0]], dtype=torch.float64)
    q, joint = model.infer(x), model.joint(x)
    states = [torch.eye(3, dtype=torch.float64)[list(i)][None, None] for i in itertools.product(range(3), repeat=2)]
    p = [q.log_prob(z).exp().item() for z in states]
    f = [(sum(joint(z)) - q.log_prob(z)).item() for z in states]
    assert sum(p) == pytest.approx(1)
    pairs = list(itertools.product(range(9), repeat=2))
    bounds = {
        ELBO(): lambda a, b: (a + b) / 2,
        IWAE(): lambda a, b: torch.tensor([a, b]).logsumexp(0).item() - 0.6931472,
    }
    for objective, reduce in bounds.items():
        expected = sum(p[i] * p[j] * reduce(f[i], f[j]) for i, j in pairs)
        assert exact.bound(objective, x, 2).item() == pytest.approx(expected, rel=1e-6)
    assert exact.log_evidence(x).item() == pytest.approx(
        torch.logsumexp(torch.cat([sum(joint(z)) for z in states]), 0).item()
    )
    assert exact.elbo(x) < exact.iwae(x, 2) < exact.log_evidence(x)


def test_the_evidence_sums_to_one_over_every_datum():
    x = torch.cartesian_prod(*[torch.arange(2.0, dtype=torch.float64)] * 3)
    total = EnumerableCategorical.random(3, 2, 3, seed=1).log_evidence(x).exp().sum()
    torch.testing.assert_close(total, torch.ones((), dtype=torch.float64))


def test_two_categories_are_a_bit():
    one_hot, bits = EnumerableCategorical.random(2, 2, 3, seed=2), EnumerableBernoulli.random(2, 3, seed=2)
    a, b = one_hot.model(), bits.model()
    with torch.no_grad():
        b.prior.logits.copy_(a.prior.logits[:, 1] - a.prior.logits[:, 0])
        for part in ("posterior", "likelihood"):
            of, to = (_last_linear(getattr(model, part)) for model in (a, b))
            if part == "posterior":
                to.weight.copy_(of.weight.reshape(2, 2, 3).diff(dim=1).squeeze(1))
                to.bias.copy_(of.bias.reshape(2, 2).diff(dim=1).squeeze(1))
            else:
                to.weight.copy_(of.weight.reshape(3, 2, 2).diff(dim=2).squeeze(2))
                to.bias.copy_(of.bias + of.weight.reshape(3, 2, 2)[:, :, 0].sum(1))
    x = torch.cartesian_prod(*[torch.arange(2.0, dtype=torch.float64)] * 3)
    torch.testing.assert_close(one_hot.log_evidence(x), bits.log_evidence(x))
    torch.testing.assert_close(one_hot.iwae(x, 2), bits.iwae(x, 2))


def _last_linear(module):
    return [m for m in module.modules() if isinstance(m, torch.nn.Linear)][-1]


@pytest.mark.parametrize("latent_dim, categories", [(0, 3), (2, 1), (7, 3)])
def test_what_cannot_be_enumerated_is_refused(latent_dim, categories):
    with pytest.raises(ValueError, match="can enumerate 2 to 1024 states"):
        EnumerableCategorical(EnumerableCategorical.random(1, 2, 3).model(), latent_dim, categories)
