import copy

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from torch import nn
from torch.distributions import Independent, Normal

from lowerbound.likelihoods import Bernoulli as BernoulliLikelihood
from lowerbound.model import LatentVariableModel
from lowerbound.nets import MLP
from lowerbound.posteriors import DiagonalNormal
from lowerbound.priors.bernoulli import Bernoulli
from lowerbound.priors.boltzmann import RBM
from lowerbound.priors.flow_prior import FlowPrior
from lowerbound.priors.mixture_normal import MixtureNormal
from lowerbound.priors.standard_normal import StandardNormal
from lowerbound.priors.two_stage import fit_prior_to_latents
from lowerbound.priors.vamp_prior import VampPrior


class Identity(nn.Module):
    """q(z | x) = N(x, 0.1²): the latents are the data, nearly."""

    def __init__(self, prior, noise=0.1):
        super().__init__()
        self.prior, self.noise = prior, noise

    def infer(self, x, context=None):
        return Independent(Normal(x, self.noise), 1)


class Copy(nn.Module):
    """q(z | x) = δ(z − x) for binary data."""

    def __init__(self, prior):
        super().__init__()
        self.prior = prior

    def infer(self, x, context=None):
        return Independent(torch.distributions.Bernoulli(probs=x), 1)


def two_blobs(size=600):
    torch.manual_seed(0)
    side = torch.randint(2, (size, 1)).float() * 8 - 4
    return torch.cat([side, torch.zeros(size, 1)], 1) + 0.3 * torch.randn(size, 2)


@pytest.fixture(scope="module")
def digit_latents():
    """Ten whitened principal components of the digits, in place of the latents of a trained model."""
    x = load_digits().data
    return torch.as_tensor(PCA(10, whiten=True, random_state=0).fit_transform(x), dtype=torch.float32)


@pytest.mark.parametrize("kind", ["mixture", "flow"])
def test_it_raises_the_held_out_density_of_the_latents_of_digits(digit_latents, kind):
    torch.manual_seed(0)
    prior = MixtureNormal(10, components=20) if kind == "mixture" else FlowPrior(10, "affine", hidden=64)
    fit = fit_prior_to_latents(prior, Identity(StandardNormal(10)), digit_latents, max_epochs=25, learning_rate=5e-3)
    assert fit.gain > 5 * fit.gain_error
    assert fit.gain > 0.5
    assert fit.gain == pytest.approx(fit.after - fit.before, abs=1e-9)


def test_it_finds_the_entropy_of_a_known_aggregate_posterior():
    x = two_blobs(2000)
    prior = MixtureNormal(2, components=2)
    fit = fit_prior_to_latents(prior, Identity(StandardNormal(2)), x, max_epochs=30, learning_rate=1e-2)
    variance = 0.3**2 + 0.1**2
    entropy = torch.log(torch.tensor(2.0)) + torch.log(torch.tensor(2 * torch.pi * torch.e * variance))
    assert abs(fit.after + float(entropy)) < 5 * fit.after_error
    loc = prior().loc.detach()
    torch.testing.assert_close(loc[:, 0].sort().values, torch.tensor([-4.0, 4.0]), atol=0.1, rtol=0)


def test_a_machine_learns_which_binary_latents_go_together():
    torch.manual_seed(0)
    half = torch.randint(2, (1500, 3)).float()
    x = torch.cat([half, half], 1)  # 3 bits, written twice
    fit = fit_prior_to_latents(RBM(6), Copy(Bernoulli(6)), x, max_epochs=40, learning_rate=1e-1)
    log2 = 0.6931
    assert fit.before == pytest.approx(-6 * log2, abs=1e-3)
    assert -3 * log2 >= fit.after > -3.3 * log2


def test_the_same_seed_gives_the_same_prior_and_leaves_the_random_state_alone():
    x = two_blobs(200)
    model = Identity(StandardNormal(2))
    fits, states = [], []
    for _ in range(2):
        torch.manual_seed(0)
        prior = MixtureNormal(2, components=3)
        before = torch.get_rng_state()
        fits.append(fit_prior_to_latents(prior, model, x, max_epochs=3, seed=5))
        assert torch.equal(torch.get_rng_state(), before)
        states.append(prior.state_dict())
    assert fits[0] == fits[1]
    assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True))


def test_held_out_rows_never_reach_the_fit():
    """Rows that are far from all others, but in the tenth that is reported, must not be explained."""
    x = two_blobs(400)
    torch.manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(11)
        rows = torch.randperm(400)
    x[rows[:40]] = 100.0
    fit = fit_prior_to_latents(MixtureNormal(2, components=3), Identity(StandardNormal(2)), x, max_epochs=3, seed=11)
    assert fit.after < -1000


def test_the_best_state_is_kept_when_training_goes_wrong():
    x = two_blobs(400)
    prior = MixtureNormal(2, components=2)
    fit = fit_prior_to_latents(prior, Identity(StandardNormal(2)), x, max_epochs=50, patience=2, learning_rate=30.0)
    assert fit.num_epochs < 50
    assert fit.after > -4  # the start from k-means, not where a step of 30 led


def test_the_rate_falls_to_a_hundredth_over_all_epochs(monkeypatch):
    rates, step = [], torch.optim.Adam.step
    watched = lambda self: (rates.append(self.param_groups[0]["lr"]), step(self))  # noqa: E731
    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    fit = fit_prior_to_latents(
        MixtureNormal(2, components=2), Identity(StandardNormal(2)), two_blobs(100), max_epochs=4, patience=9,
        batch_size=30, learning_rate=0.2,
    )  # fmt: skip
    assert len(rates) == 4 * 3  # 80 rows in batches of 30
    assert rates[0] == 0.2
    assert rates[6] == pytest.approx((0.2 + 0.002) / 2)
    assert rates == sorted(rates, reverse=True)
    assert fit.last_learning_rate == rates[-1] == pytest.approx(0.002, rel=2)
    none = fit_prior_to_latents(
        MixtureNormal(2, components=2), Identity(StandardNormal(2)), two_blobs(100), max_epochs=0, learning_rate=0.2
    )
    assert none.last_learning_rate == 0.2


def test_a_model_is_left_as_it_was():
    torch.manual_seed(0)
    q = DiagonalNormal(MLP(5, [8], (2, 2)))
    prior = VampPrior(q, 5, components=4)
    model = LatentVariableModel(prior=StandardNormal(2), likelihood=BernoulliLikelihood(MLP(2, [8], 5)), posterior=q)
    model.posterior.eval()
    before = copy.deepcopy(model.state_dict())
    start = prior.raw_pseudo_inputs.detach().clone()
    fit_prior_to_latents(prior, model, torch.rand(100, 5).round(), max_epochs=2, learning_rate=1e-2)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert model.training
    assert not model.posterior.training
    assert not torch.equal(prior.raw_pseudo_inputs, start)


def test_a_prior_that_is_already_fitted_can_go_on():
    x = two_blobs(400)
    prior = MixtureNormal(2, components=2)
    model = Identity(prior)
    fit_prior_to_latents(prior, model, x, max_epochs=20, learning_rate=1e-2)
    again = fit_prior_to_latents(prior, model, x, initialize=False, max_epochs=0)
    assert again.gain == 0
    assert again.num_epochs == 0


def test_a_context_follows_its_rows():
    class Conditioned(nn.Module):
        def __init__(self):
            super().__init__()
            self.slope = nn.Parameter(torch.zeros(()))

        def forward(self, context=None):
            return Independent(Normal(self.slope * context, 0.5), 1)

    class Shifted(Identity):
        def infer(self, x, context=None):
            return Independent(Normal(x + context, 0.1), 1)

    torch.manual_seed(0)
    c = torch.randn(300, 2)
    prior = Conditioned()
    fit_prior_to_latents(
        prior, Shifted(Conditioned()), torch.zeros(300, 2), context=c, max_epochs=60, learning_rate=5e-2
    )
    assert prior.slope.item() == pytest.approx(1.0, abs=0.05)


def test_errors_say_what_to_do():
    model = Identity(StandardNormal(2))
    with pytest.raises(ValueError, match="got 5 rows"):
        fit_prior_to_latents(MixtureNormal(2), model, torch.zeros(5, 2))
    with pytest.raises(ValueError, match="without trainable parameters"):
        fit_prior_to_latents(StandardNormal(2), model, torch.zeros(50, 2))
    with pytest.raises(ValueError, match=r"got patience=0; give 1 or more"):
        fit_prior_to_latents(MixtureNormal(2), model, torch.zeros(50, 2), patience=0)
