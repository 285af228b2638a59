import itertools

import pytest
import torch
from torch.distributions import Independent, OneHotCategorical, kl_divergence
from torch.nn.functional import one_hot

from lowerbound.priors.categorical import Categorical


def made():
    prior = Categorical(2, categories=3).double()
    with torch.no_grad():
        prior.logits.copy_(torch.tensor([[0.0, 1.0, -2.0], [3.0, 0.5, 0.5]]))
    return prior


def states():
    latents = torch.tensor(list(itertools.product(range(3), repeat=2)))
    return one_hot(latents, 3).double()


def test_log_prob_is_the_table_of_torch_and_sums_to_one():
    prior = made()
    reference = Independent(OneHotCategorical(logits=prior.logits), 1)
    log_p = prior().log_prob(states())
    torch.testing.assert_close(log_p, reference.log_prob(states()))
    assert log_p.exp().sum().item() == pytest.approx(1)


def test_it_is_linear_in_z_so_that_relaxed_latents_differentiate():
    prior = made()
    z = torch.full((2, 3), 1 / 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(prior().log_prob(z), z)
    torch.testing.assert_close(gradient, torch.log_softmax(prior.logits, -1).detach())


def test_gradients_of_the_logits_pass_gradcheck():
    prior = made()

    def log_p(logits):
        return torch.func.functional_call(prior, {"logits": logits}).log_prob(states())

    assert torch.autograd.gradcheck(log_p, prior.logits.detach().clone().requires_grad_())


def test_samples_are_one_hot_with_leading_axes():
    torch.manual_seed(0)
    z = made()().sample(torch.Size((500, 40)))
    assert z.shape == (500, 40, 2, 3)
    assert torch.equal(z.sum(-1), torch.ones(500, 40, 2, dtype=torch.float64))
    torch.testing.assert_close(z.mean((0, 1)), made()().mean.detach(), atol=0.02, rtol=0)


def test_the_closed_form_kl_is_that_of_one_hot_categoricals():
    q = Independent(OneHotCategorical(logits=torch.randn(2, 3, dtype=torch.float64)), 1)
    p = made()()
    log_q, log_p = q.log_prob(states()), p.log_prob(states())
    torch.testing.assert_close(kl_divergence(q, p), (log_q.exp() * (log_q - log_p)).sum())


def test_one_category_is_refused():
    with pytest.raises(ValueError, match="categories=1"):
        Categorical(2, categories=1)
