"""The auxiliary factorised likelihood: what it adds, what it leaves alone, what it refuses."""

from __future__ import annotations

import itertools

import pytest
import torch

from lowerbound.gradients import Pathwise, ScoreFunction
from lowerbound.likelihoods.unrolled_tokens import UnrolledTokens
from lowerbound.losses import Auxiliary, VariationalLoss
from lowerbound.models import pixel_vae, vae
from lowerbound.models.sentence_autoencoder import sentence_vae
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


def texts(**options):
    torch.manual_seed(0)
    sizes = {"likelihood": "tokens:num_symbols=4", "latent_dim": 2, "embedding_dim": 8, "width": 8, "dropout": 0.0}
    return sentence_vae((5,), **{"decoder": "hybrid", **sizes, **options})


TEXTS = torch.tensor([[*text, *[0] * (5 - n)] for n in range(5) for text in itertools.product((1, 2, 3), repeat=n)])


def test_of_a_hybrid_net_it_is_a_distribution_of_words_that_are_independent_given_z():
    model = texts().double()
    with torch.no_grad():
        model.likelihood.causal.embedding.mul_(20)
    loss = Auxiliary(model, ELBO("kl"), Pathwise(), weight=0.2, hidden=[6]).double()
    r, x = loss.auxiliary(torch.randn(3, 2).double()), TEXTS.double()
    torch.testing.assert_close(r.log_prob(x[:, None]).exp().sum(0), torch.ones(3).double())
    one, two, both, none = (
        r.log_prob(torch.tensor(row).double())
        for row in ([1, 2, 3, 0, 0], [2, 1, 3, 0, 0], [2, 2, 3, 0, 0], [1, 1, 3, 0, 0])
    )
    torch.testing.assert_close(one + two, both + none)  # the words at two places do not depend on one another
    assert not torch.allclose(r.log_prob(x[40]), r.log_prob(x[40])[0])  # z is read


def test_of_a_hybrid_net_it_is_logged_apart_from_the_bound_and_is_no_part_of_the_model():
    model, x = texts().double(), TEXTS[-6:].double()
    loss = Auxiliary(model, ELBO("kl"), Pathwise(), weight=0.2, hidden=[6]).double()
    loss(x)  # checked once
    torch.manual_seed(1)
    value, terms = loss(x)
    torch.manual_seed(1)
    plain, of_plain = VariationalLoss(model, ELBO("kl"), Pathwise())(x)
    expected = loss.auxiliary(model.infer(x).rsample()).log_prob(x).mean()
    torch.testing.assert_close(terms.pop("auxiliary"), expected.detach())
    torch.testing.assert_close(value, plain - 0.2 * expected)
    assert terms == of_plain
    own = set(loss.parameters()) - set(model.parameters())
    assert own == set(loss.auxiliary.parameters())
    assert len(own) == 4
    assert loss.works == ("semeniuta2017hybrid",)
    value.backward()
    slopes = [layer.weight.grad.abs().max() for layer in model.likelihood.causal.trunk.unroll.layers]
    assert all(slope > 0 for slope in slopes)
    assert UnrolledTokens.fits(model.likelihood)
    assert not UnrolledTokens.fits(texts(decoder="lstm").likelihood)


def test_a_hybrid_net_is_given_covariates_by_the_auxiliary_loss_too():
    model, c = texts(covariate_sizes=[1]), torch.randn(6, 1)
    loss, x = Auxiliary(model, ELBO("kl"), Pathwise()), TEXTS[-6:].float()
    loss(x, c)
    torch.manual_seed(1)
    one = loss(x, c).terms["auxiliary"]
    torch.manual_seed(1)
    assert one != loss(x, c + 1).terms["auxiliary"]


@pytest.mark.parametrize(
    "make, sentence",
    [
        (
            lambda: Auxiliary(vae((3, 4), hidden=[4]), ELBO(), Pathwise()),
            "autoregressive, given z, or .* and got Bernoulli",
        ),
        (lambda: Auxiliary(texts(decoder="lstm"), ELBO(), Pathwise()), "for texts with decoder=hybrid, and got Tokens"),
        (lambda: Auxiliary(model(), ELBO(), Pathwise(), weight=-1.0), "weight=-1 and needs 0 or more"),
        (
            lambda: Auxiliary(
                model(prior="bernoulli", posterior="bernoulli"), ELBO(), ScoreFunction(), num_samples=2
            ).check(X),
            "whose draws differentiate and Bernoulli has none",
        ),
    ],
)
def test_mistakes_are_named(make, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        make()
    assert len(str(error.value)) <= 300
