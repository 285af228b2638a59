"""The auxiliary factorised likelihood: what it adds, what it leaves alone, what it refuses."""

from __future__ import annotations

import pytest
import torch

from lowerbound.gradients import Pathwise, ScoreFunction
from lowerbound.losses import Auxiliary, VariationalLoss
from lowerbound.models import pixel_vae, vae
from lowerbound.objectives import ELBO

X = torch.bernoulli(torch.full((6, 3, 4), 0.4), generator=torch.Generator().manual_seed(0))


def model(**options):
    torch.manual_seed(0)
    return pixel_vae((3, 4), latent_dim=2, hidden=[8], channels=4, layers=2, **options)


def test_it_is_the_variational_loss_less_the_mean_log_probability_of_x_given_z_alone():
    m = model().double()
    loss, x = Auxiliary(m, ELBO("kl"), Pathwise(), weight=0.3, hidden=[5]).double(), X.double()
    loss(x)  # checked once
    torch.manual_seed(1)
    value, terms = loss(x)
    torch.manual_seed(1)
    plain, of_plain = VariationalLoss(m, ELBO("kl"), Pathwise())(x)
    z = m.infer(x).rsample()
    expected = loss.auxiliary(z).log_prob(x).mean()
    torch.testing.assert_close(value, plain - 0.3 * expected)
    torch.testing.assert_close(terms.pop("auxiliary"), expected.detach())
    assert terms == of_plain
    assert not any("auxiliary" in name for name, _ in m.named_parameters())


def test_the_encoder_learns_from_it_where_p_ignores_z():
    m = model()
    for layer in m.likelihood.causal.trunk.layers:
        torch.nn.init.zeros_(layer.context.weight)
    loss = Auxiliary(m, ELBO("kl"), Pathwise())
    with torch.no_grad():  # q at the prior, so that the rate has no gradient
        m.posterior.net.layers[-1].weight.zero_()
        m.posterior.net.layers[-1].bias.zero_()
    loss.weight = 0.0
    loss(X).loss.backward()
    still = m.posterior.net.layers[-1].weight.grad.clone()
    m.zero_grad()
    loss.weight = 1.0
    loss(X).loss.backward()
    assert m.posterior.net.layers[-1].weight.grad.abs().max() > 10 * still.abs().max()


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: Auxiliary(vae((3, 4), hidden=[4]), ELBO(), Pathwise()), "autoregressive, given z, and got Bernoulli"),
        (lambda: Auxiliary(model(), ELBO(), Pathwise(), weight=-1.0), "weight=-1 and needs 0 or more"),
        (
            lambda: Auxiliary(
                model(prior="bernoulli", posterior="bernoulli"), ELBO(), ScoreFunction(), num_samples=2
            ).check(X),
            "whose draws differentiate and Independent has none",
        ),
    ],
)
def test_mistakes_are_named(make, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        make()
    assert len(str(error.value)) <= 300
