"""Deep paths against their exact marginal: linear-Gaussian groups, and groups that copy binary pixels."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Distribution, Independent, MultivariateNormal, Normal
from torch.nn import functional

from lowerbound import likelihoods
from lowerbound.evaluate import log_evidence
from lowerbound.gradients import Pathwise, StickTheLanding
from lowerbound.losses import VariationalLoss
from lowerbound.model import LatentVariableModel
from lowerbound.nets import MLP, PerDatum
from lowerbound.objectives import ELBO, IWAE, FreeBits
from lowerbound.posteriors import DiagonalNormal, TopDownPath
from lowerbound.posteriors.top_down import MergedNormal
from lowerbound.posteriors.top_down_path import residual
from lowerbound.priors import StandardNormal
from lowerbound.priors.path import Path, PathGroup, residual_group
from lowerbound.testing import flat_gradient
from lowerbound.weights import weigh

WIDTH, LATENT, DATA, GROUPS = 5, 2, 3, 8


def affine(in_shape, out_shape, scale=0.4):
    net = MLP(in_shape, [], out_shape)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(scale * torch.randn(p.shape))
    return net


class FixedScale(nn.Module):
    """The parameters of a group whose scale does not depend on the state."""

    def __init__(self):
        super().__init__()
        self.loc, self.change = affine(WIDTH, LATENT), affine(WIDTH, WIDTH, 0.1)
        self.raw = nn.Parameter(0.3 * torch.randn(LATENT))

    def forward(self, h):
        loc = self.loc(h)
        return torch.cat([loc, self.raw.expand_as(loc), self.change(h)], -1)


def linear_path(num_groups=GROUPS, merge=None):
    """Every net affine, every scale free of the state: (z, x) is Gaussian."""
    torch.manual_seed(1)
    groups = [
        PathGroup(LATENT, FixedScale(), affine(LATENT, WIDTH), affine(WIDTH, WIDTH, 0.1)) for _ in range(num_groups)
    ]
    prior = Path(groups, start=WIDTH)
    q = TopDownPath(prior, nn.Identity(), [Seen() for _ in range(num_groups)], merge)
    likelihood = likelihoods.Normal(affine(WIDTH, DATA), scale=0.7)
    return LatentVariableModel(prior=prior, likelihood=likelihood, posterior=q).double()


class Seen(DiagonalNormal):
    """N(B (h, a) + b, s²)."""

    def __init__(self):
        super().__init__(affine([WIDTH, DATA], (2, LATENT), 0.2))


class OfNoise(nn.Module):
    """The mean of x as an affine function of the noise of all groups, by unit vectors."""

    def moments(self, model):
        p = model.prior()
        size = GROUPS * LATENT

        def mean_of(noise):
            state = p.start
            for step, e in zip(p.steps, noise.view(GROUPS, LATENT), strict=True):
                d, carry = step.at(state)
                state = step.advance(state, carry, d.mean + d.stddev * e)
            return model.likelihood(state).mean

        zero = mean_of(torch.zeros(size).double())
        columns = torch.stack([mean_of(e) - zero for e in torch.eye(size).double()], -1)
        noise = model.likelihood(p.start).variance
        return MultivariateNormal(zero, columns @ columns.mT + torch.diag(noise))


def case(merge=None):
    model = linear_path(merge=merge)
    exact = OfNoise().moments(model)
    return model, exact, exact.sample((6,)).detach()


@pytest.mark.parametrize(
    "merge", [None, *(pytest.param(merge, marks=pytest.mark.slow) for merge in (MergedNormal, residual))]
)
def test_the_evidence_is_that_of_one_gaussian(merge):
    """A path that forgot a group, or a likelihood that read another state, would miss log p(x) by nats."""
    model, exact, x = case(merge)
    loss = VariationalLoss(model, ELBO(rate="kl"), Pathwise())
    optimizer = torch.optim.Adam(model.posterior.parameters(), 0.03)
    for _ in range(150):
        optimizer.zero_grad()
        loss(exact.sample((64,)).detach()).loss.backward()
        optimizer.step()
    found, log_p = log_evidence(model, x, num_samples=5_000), exact.log_prob(x).detach()
    assert (found.standard_error < 0.2).all()
    assert ((found.log_evidence - log_p).abs() < 6 * found.standard_error).all()
    assert (found.elbo < log_p).all()


def test_draws_have_the_moments_of_the_marginal():
    model, exact, _ = case()
    x = model.sample(40_000)
    assert torch.allclose(x.mean(0), exact.mean.detach(), atol=0.1)
    assert torch.allclose(torch.cov(x.mT), exact.covariance_matrix.detach(), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("rate", ["sampled", "kl"])
@pytest.mark.parametrize("merge", [None, MergedNormal, residual])
def test_remembered_is_recomputed(merge, rate):
    model, _, x = case(merge)
    parameters, values, gradients = [*model.parameters()], [], []
    q, joint = model.infer(x), model.joint(x)
    z = q.rsample((4,))
    for latents in (z, tuple(layer.view_as(layer) for layer in z)):
        w = weigh(q, joint, latents, rate=rate)
        values.append(torch.stack([w.log_prior, w.log_q, w.log_likelihood]))
        gradients.append(flat_gradient((w.log_w * torch.linspace(1, 2, 24).view(4, 6)).sum(), parameters))
        assert torch.allclose(w.rate_per_group.sum(-1), w.rate)
    assert torch.allclose(*values, rtol=1e-10, atol=1e-10)
    assert torch.allclose(*gradients, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "objective", [ELBO(), ELBO(rate="kl"), IWAE(), FreeBits(per="group")], ids=["sampled", "kl", "iwae", "free"]
)
def test_a_training_step_evaluates_every_net_once(objective):
    model, _, x = case()
    loss = VariationalLoss(model, objective, Pathwise(), num_samples=2)
    loss.check(x)  # which the first batch does otherwise, and which tries the nets too
    calls = counted(model)
    loss(x).loss.backward()
    assert set(calls.values()) == {1}


@pytest.mark.parametrize("method", ["sample", "sample_mean", "draw"])
def test_a_sample_walks_once(method):
    model, _, _ = case()
    calls = counted(model)
    getattr(model, method)(5)
    posterior = {name: times for name, times in calls.items() if name.startswith("posterior")}
    assert set(posterior.values()) == {0}
    assert {times for name, times in calls.items() if name not in posterior} == {1}


def test_a_reconstruction_walks_once_and_is_read_from_the_end_state():
    model, _, x = case()
    calls = counted(model)
    torch.manual_seed(0)
    got = model.reconstruct(x)
    assert set(calls.values()) == {1}
    torch.manual_seed(0)
    z = model.infer(x).sample()
    assert torch.allclose(got, model.likelihood(model.prior.end_state(z)).mean)
    assert torch.allclose(got, model.decode(z).mean)


def counted(model):
    """How often each net of the model is called, by name."""
    nets = {name: part for name, part in model.named_modules() if isinstance(part, MLP)}
    calls = dict.fromkeys(nets, 0)
    for name, net in nets.items():
        net.register_forward_hook(lambda *_, name=name: calls.__setitem__(name, calls[name] + 1))
    return calls


def test_sticking_the_landing_has_the_value_and_the_mean_gradient():
    model, _, x = case()
    for gradient in (StickTheLanding(), Pathwise()):
        torch.manual_seed(0)
        loss = VariationalLoss(model, ELBO(), gradient, num_samples=3)
        value = loss(x).loss.item()
        torch.manual_seed(0)
        assert value == pytest.approx(-model.log_weights(x, 3).log_w.mean().item(), rel=1e-10)


class Pixel:
    """p(x_l | x_<l): the state is the pixels drawn so far, the others zero."""

    def __init__(self, weight, site):
        self.weight, self.site = weight, site

    def at(self, state):
        logit = state @ self.weight[self.site] + self.weight[self.site, self.site]
        return Independent(Bernoulli(logits=logit[..., None]), 1), None

    def advance(self, state, carry, z):
        return state + functional.one_hot(torch.tensor(self.site), state.shape[-1]) * z


class Delta(Distribution):
    """All probability at one value."""

    arg_constraints = {}  # noqa: RUF012
    has_rsample = False

    def __init__(self, value):
        self.value = value
        super().__init__(value.shape[:-1], value.shape[-1:], validate_args=False)

    def sample(self, sample_shape=()):
        return self.value.expand(*sample_shape, *self.value.shape)

    def log_prob(self, value):
        return torch.where((value == self.value).all(-1), 0.0, -torch.inf).double()


class Copies(nn.Module):
    def forward(self, context):
        return Delta(context[-1])


class Read(nn.Module):
    """p(x | h) with all probability at the pixels that were drawn."""

    def forward(self, h):
        return Delta(h)


def test_a_very_deep_path_is_an_autoregressive_model():
    """Child (2021, proposition 1): the bound is the autoregressive likelihood, and sums to one over all images."""
    dim = 6
    torch.manual_seed(0)
    weight = torch.randn(dim, dim).double()
    mask = torch.tril(torch.ones(dim, dim), -1).double()
    prior = Path(
        [Pixel(weight * mask + torch.diag(weight.diagonal()), site) for site in range(dim)], start=dim
    ).double()
    q = TopDownPath(prior, nn.Module(), [Copies() for _ in range(dim)])
    q.encoder.forward = lambda x: tuple(x[:, site : site + 1] for site in range(dim))
    model = LatentVariableModel(prior=prior, likelihood=Read(), posterior=q)
    x = torch.tensor(list(itertools.product([0.0, 1.0], repeat=dim))).double()
    logits = x @ (weight * mask).mT + weight.diagonal()
    exact = Bernoulli(logits=logits).log_prob(x).sum(-1)
    bound = model.log_weights(x, 1).log_w[0]
    torch.testing.assert_close(bound, exact)
    torch.testing.assert_close(bound.exp().sum(), torch.ones((), dtype=torch.float64))


class Convolved(nn.Module):
    """A convolution over maps with any leading axes; several inputs are stacked by channel."""

    takes_leading_axes = True

    def __init__(self, channels, out_channels, split=False):
        super().__init__()
        self.convolution, self.split = nn.Conv2d(channels, out_channels, 3, padding=1), split

    def forward(self, *inputs):
        lead = torch.broadcast_shapes(*(x.shape[:-3] for x in inputs))
        maps = torch.cat([x.expand(*lead, *x.shape[-3:]) for x in inputs], -3)
        y = self.convolution(maps.reshape(-1, *maps.shape[-3:])).view(*lead, -1, *maps.shape[-2:])
        return y.unflatten(-3, (2, -1)) if self.split else y


class Doubled(nn.Module):
    def forward(self, h):
        return h.repeat_interleave(2, -1).repeat_interleave(2, -2)


class Pyramid(nn.Module):
    def forward(self, x):
        small = functional.avg_pool2d(x[:, None], 2)
        return small, x[:, None]


def test_groups_of_maps_work_by_their_shape():
    channels, latent = 4, 2
    torch.manual_seed(0)

    def group(size, resize):
        nets = Convolved(channels, 2 * latent + channels), Convolved(latent, channels), Convolved(channels, channels)
        return PathGroup((latent, size, size), *nets, resize=resize)

    prior = Path([group(2, Doubled()), group(4, None)], start=(channels, 2, 2))
    q = [DiagonalNormal(Convolved(channels + 1, 2 * latent, split=True), (latent, size, size)) for size in (2, 4)]
    net = nn.Sequential(Convolved(channels, 1), nn.Flatten(-3, -2))
    likelihood = likelihoods.Bernoulli(PerDatum(net, (channels, 4, 4), (4, 4)))
    model = LatentVariableModel(prior=prior, likelihood=likelihood, posterior=TopDownPath(prior, Pyramid(), q)).double()
    x = torch.rand(3, 4, 4).double().round()
    z = model.infer(x).rsample((5,))
    assert [layer.shape for layer in z] == [(5, 3, 2, 4, 4), (5, 3, 2, 2, 2)]
    assert model.prior().event_shape == (40,)
    for rate in ("sampled", "kl"):
        w = weigh(model.infer(x), model.joint(x), z, rate=rate)
        assert w.log_w.shape == (5, 3)
        assert torch.allclose(w.rate_per_group.sum(-1), w.rate)
    assert w.rate_per_factor.shape == (5, 3, 40)
    drawn = model.log_weights(x, 4000)
    closed = weigh(q := model.infer(x), model.joint(x), q.rsample((4000,)), rate="kl")
    error = drawn.rate.std(0) / 4000**0.5 + closed.rate.std(0) / 4000**0.5
    assert ((drawn.rate.mean(0) - closed.rate.mean(0)).abs() < 5 * error).all()
    assert model.sample(7).shape == (7, 4, 4)
    assert model.reconstruct(x).shape == x.shape
    loss = VariationalLoss(model, FreeBits(per="group"), Pathwise())
    loss.check(x)
    loss(x).loss.backward()


def test_a_start_computed_from_a_context():
    prior = Path([residual_group(4, 2, 8, depth=2) for _ in range(2)], start=nn.Linear(3, 4))
    groups = [DiagonalNormal(MLP([4, 5], [], (2, 2))) for _ in range(2)]
    encoder = MLP([6, 3], [], 5)
    likelihood = likelihoods.Bernoulli(MLP([4, 3], [], 6))
    model = LatentVariableModel(prior=prior, likelihood=likelihood, posterior=TopDownPath(prior, encoder, groups))
    x, c = torch.ones(7, 6), torch.randn(7, 3)
    assert model.log_weights(x, 2, c).log_w.shape == (2, 7)
    assert model.sample(5, c).shape == (5, 7, 6)
    assert model.draw(7, c)[0].shape == (7, 6)
    assert model.reconstruct(x, c).shape == x.shape
    with pytest.raises(ValueError, match="from a context and got none"):
        model.sample(5)


def test_an_untrained_dense_path_is_standard_normal_and_does_not_grow():
    torch.manual_seed(0)
    depth = 30
    p = Path([residual_group(16, 2, 8, depth=depth) for _ in range(depth)], start=16)()
    z = p.sample((500,))
    expected = sum(Normal(0.0, 1.0).log_prob(layer).sum(-1) for layer in z)
    assert torch.allclose(p.log_prob(z), expected, atol=0.2)
    assert p.end_state(z).std() < 3


def test_mistakes_are_named():
    prior = Path([residual_group(4, 2, 8, depth=1)], start=4)
    with pytest.raises(ValueError, match="no group"):
        Path([], start=4)
    other = Path([PathGroup(3, MLP(4, [], 8), MLP(3, [], 4))], start=4)
    with pytest.raises(ValueError, match=r"shape \(3,\) and a state of \(4,\) needs a prior_net that gives \(10,\)"):
        other().sample()
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="has 2 groups, its prior 1"):
        TopDownPath(prior, nn.Identity(), [Seen(), Seen()])(x)
    with pytest.raises(ValueError, match=r"needs a priors.Path and got a prior of Independent"):
        TopDownPath(StandardNormal(2), nn.Identity(), [Seen()])(x)
