"""Quantised latents: the bound by enumeration, the gradient of the classical loss, and codes that learn."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli as Bits
from torch.distributions import Independent
from torch.nn.functional import normalize, one_hot

import lowerbound as lb
from lowerbound.evaluate import log_evidence
from lowerbound.exact import EnumerableCategorical
from lowerbound.gradients import Pathwise, Quantized, ScoreFunction
from lowerbound.likelihoods import Bernoulli
from lowerbound.losses import VariationalLoss
from lowerbound.model import LatentVariableModel
from lowerbound.nets import MLP, Embedded
from lowerbound.objectives import ELBO, IWAE
from lowerbound.posteriors import FiniteScalar, LookupFree, ResidualQuantized, VectorQuantized
from lowerbound.priors import AutoregressiveMap, Categorical

X, N = 6, 3
"""The length of x and the number of positions."""


def finite_scalar(whitened=False):
    return FiniteScalar(MLP(X, [8], (2, N)), levels=[3, 2], whitened=whitened)


def vector(update="gradient", normalized=False):
    return VectorQuantized(MLP(X, [8], (2, N)), 5, 2, update=update, normalized=normalized)


def residual(update="gradient"):
    return ResidualQuantized(MLP(X, [8], (2, N)), 4, 2, 2, update=update)


def lookup_free():
    return LookupFree(MLP(X, [8], (2, N)), bits=2)


POSTERIORS = {
    "finite scalar": finite_scalar,
    "whitened": lambda: finite_scalar(whitened=True),
    "vector": vector,
    "residual": residual,
    "lookup-free": lookup_free,
}


def model_of(q, prior=None, seed=0):
    """A random model in float64, whose decoder is not linear."""
    torch.manual_seed(seed)
    features = q.net.out_shape[0]
    p = Bernoulli(Embedded(q, MLP((features, N), [8], X)))
    sites, categories = q.event_shape[:-1], q.event_shape[-1]
    model = LatentVariableModel(prior=prior or Categorical(sites, categories), likelihood=p, posterior=q).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.7)
    return model


def rows(count=7, seed=1):
    torch.manual_seed(seed)
    return torch.bernoulli(torch.full((count, X), 0.5)).double()


@pytest.mark.parametrize("make", [finite_scalar, vector])
def test_the_gap_is_minus_the_log_probability_of_the_codes(make):
    q = make()
    categories = q.event_shape[-1]
    model = model_of(q, AutoregressiveMap(N, categories, network="transformer", channels=8, layers=1))
    exact, x = EnumerableCategorical(model, N, categories), rows()
    states = exact.states.double()[:, None].expand(-1, len(x), -1, -1)
    log_joint = sum(model.joint(x)(states))
    code = model.infer(x).index
    star = (code * torch.tensor([categories**2, categories, 1])).sum(-1)
    log_p_of_code = torch.log_softmax(log_joint, 0).gather(0, star[None])[0]
    bound = model.log_weights(x, 1).log_w[0]
    torch.testing.assert_close(exact.log_evidence(x) - bound, -log_p_of_code, atol=1e-12, rtol=0)
    assert (log_p_of_code < -0.01).all()


def classical_loss(model, x, beta):
    """The loss of the papers, written out: the decoder reads f + sg(e − f)."""
    q = model.posterior
    f = q.net(x).transpose(1, 2)  # (B, N, D)
    prior, pull = model.prior(), 0
    if isinstance(q, FiniteScalar):
        f = f if q.whitening is None else whitened_by_hand(f)
        levels = torch.tensor(q.levels).double()
        half = (levels - 1) * (1 - 1e-3) / 2
        offset = torch.where(levels % 2 == 1, 0.0, 0.5).double()
        bounded = torch.tanh(f + torch.tan(offset / half)) * half - offset
        half_width = levels // 2
        read = (bounded + (bounded.round() - bounded).detach()) / half_width
        pull = beta * torch.relu((f + torch.tan(offset / half)).abs() - 2).square().sum((1, 2))
        index = ((bounded.round() + half_width) * torch.tensor([1, q.levels[0]])).sum(-1).long()
        z = one_hot(index, 6)
    elif isinstance(q, LookupFree):
        code = torch.where(f > 0, 1.0, -1.0).double()
        read, pull = f + (code - f).detach(), beta * (f - code).square().sum((1, 2))
        z = one_hot((code > 0).long().transpose(1, 2), 2)
    else:
        read, pull, z = quantised(q, f, beta)
    p = Independent(Bits(logits=model.likelihood.net.net(read.transpose(1, 2))), 1)
    return (-(p.log_prob(x) + prior.log_prob(z.double())) + pull).mean()


def whitened_by_hand(f):
    """By the moments of all vectors of the batch."""
    points = f.reshape(-1, f.shape[-1])
    covariance = points.T.cov(correction=0)
    covariance = covariance + 1e-4 * covariance.trace() / len(covariance) * torch.eye(len(covariance)).double()
    return (f - points.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(covariance)).T


def quantised(q, f, beta):
    """One or several stages of the nearest codes."""
    residuals = isinstance(q, ResidualQuantized)
    books = [book.vectors for book in (q.codebooks if residuals else [q.codebook])]
    if not residuals and q.codebook.normalized:
        f, books = normalize(f, dim=-1), [normalize(books[0], dim=-1)]
    left, total, pull, chosen = f, torch.zeros_like(f), 0, []
    for book in books:
        index = torch.cdist(left.detach(), book.detach()[None]).argmin(-1)
        e = book[index]
        pull = pull + (e - left.detach()).square().sum((1, 2)) + beta * (left - e.detach()).square().sum((1, 2))
        left, total = left - e.detach(), total + e.detach()
        chosen.append(index)
    z = one_hot(torch.stack(chosen, 1) if residuals else chosen[0], len(books[0]))
    return f + (total - f).detach(), pull, z


@pytest.mark.parametrize("make", [*POSTERIORS.values(), lambda: vector(normalized=True)])
@pytest.mark.parametrize("learned_prior", [True, False])
def test_the_gradient_is_that_of_the_classical_loss(make, learned_prior):
    q = make()
    model = model_of(q, Categorical(q.event_shape[:-1], q.event_shape[-1], learned=learned_prior))
    x, loss = rows(), VariationalLoss(model, ELBO(), Quantized(0.3))
    loss.check(x)
    if isinstance(q, FiniteScalar):
        q.initialize(x)
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    ours = torch.autograd.grad(loss(x).loss, list(named.values()))
    theirs = torch.autograd.grad(classical_loss(model, x, 0.3), list(named.values()))
    for name, one, other in zip(named, ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=0, msg=name)
        assert one.abs().max() > 1e-3, name


@pytest.mark.parametrize("make", POSTERIORS.values())
def test_the_value_is_the_bound_and_every_evaluation_of_the_model_gives_it(make):
    model, x = model_of(make()), rows()
    bound = model.log_weights(x, 1).log_w[0]
    assert VariationalLoss(model, ELBO(), Quantized())(x).terms["bound"] == pytest.approx(bound.mean().item())
    found = log_evidence(model, x, num_samples=30)
    torch.testing.assert_close(found.log_evidence, bound, atol=1e-12, rtol=0)
    assert found.unreliable_fraction == 0


def test_the_nearest_code_is_that_of_brute_force():
    q = vector()
    model_of(q)
    f = torch.randn(40, N, 2, dtype=torch.float64)
    apart = (f[..., None, :] - q.codebook.vectors).square().sum(-1)
    assert (q.codebook.nearest(f) == apart.argmin(-1)).all()


def test_codes_of_a_grid_are_all_points_of_it():
    q = FiniteScalar(Same(3), levels=[3, 2, 4])
    values = torch.linspace(-6, 6, 41)
    x = torch.cartesian_prod(values, values, values)[..., None]
    z = q(x)
    assert len(z.index.unique()) == 24
    embedded = q.embed(z.sample())[..., 0]
    assert sorted(embedded[:, 2].unique().tolist()) == [-1.0, -0.5, 0.0, 0.5]
    assert sorted(embedded[:, 0].unique().tolist()) == [-1.0, 0.0, 1.0]


def test_numbers_that_go_together_use_all_points_where_they_are_whitened():
    torch.manual_seed(0)
    first = torch.randn(1000)
    x = torch.stack([first + 4, first + 0.1 * torch.randn(1000) + 4], 1)[..., None]
    used = []
    for whitened in (False, True):
        q = FiniteScalar(Same(2), levels=[4, 4], whitened=whitened)
        q.initialize(x)
        used.append(len(q(x).index.unique()))
    assert used == [1, 16]


class Same(torch.nn.Module):
    """f = x."""

    takes_leading_axes = True

    def __init__(self, features: int):
        super().__init__()
        self.out_shape = (features, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_vectors_that_left_the_grid_come_back_by_commitment_alone():
    """Forty steps from where the tanh is flat: all rows keep one code of six as long as nothing draws them back."""
    left = {}
    for commitment in (0.0, 0.25):
        torch.manual_seed(0)
        q = finite_scalar()
        model = LatentVariableModel(
            prior=Categorical(N, 6), likelihood=Bernoulli(Embedded(q, MLP((2, N), [8], X))), posterior=q
        )
        with torch.no_grad():
            q.net.output_bias.add_(8.0)
        x, loss = rows(64).float(), VariationalLoss(model, ELBO(), Quantized(commitment))
        assert len(model.infer(x).index.unique()) == 1
        for _ in lb.train(loss, x, num_steps=40, batch_size=64, lr=0.2, compile=False):
            pass
        left[commitment] = len(model.infer(x).index.unique())
    assert left[0.0] == 1
    assert left[0.25] >= 3


def test_moving_averages_of_one_batch_are_the_means_of_clusters():
    """With γ = 0 the codes that were chosen move to the means of their vectors; the others keep their place."""
    q = VectorQuantized(Same(2), 4, 2, decay=0.0, dead=0.0).double()
    with torch.no_grad():
        q.codebook.vectors.copy_(torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0], [99.0, 99.0]]))
    f = torch.tensor([[0.0, 1.0], [1.0, 0.0], [6.0, 1.0], [1.0, 6.0]]).double()[..., None]
    q(f).observe()
    torch.testing.assert_close(q.codebook.vectors[0], torch.zeros(2).double())  # not before the next step
    q.at_step(1)
    expected = torch.tensor([[0.5, 0.5], [6.0, 1.0], [1.0, 6.0], [99.0, 99.0]]).double()
    torch.testing.assert_close(q.codebook.vectors, expected)
    q.at_step(2)
    torch.testing.assert_close(q.codebook.vectors, expected)


def test_moving_averages_are_those_of_the_paper():
    """N and m by eq. 6 and 7 over several batches, with counts in place of shares: batches of one size."""
    torch.manual_seed(0)
    q = VectorQuantized(Same(2), 3, 2, decay=0.9, dead=0.0).double()
    e, n = q.codebook.vectors.clone(), torch.full((3,), 20 / 3).double()
    m = n[:, None] * e
    for step in range(5):
        f = torch.randn(20, 2, 1).double()
        q.at_step(step)
        torch.testing.assert_close(q.codebook.vectors, e)
        q(f).observe()
        chosen = one_hot(torch.cdist(f[..., 0], e).argmin(-1), 3).double()
        n = 0.9 * n + 0.1 * chosen.sum(0)
        m = 0.9 * m + 0.1 * chosen.T @ f[..., 0]
        e = m / n[:, None]


def test_a_dead_code_starts_again_at_a_vector_of_the_data():
    torch.manual_seed(0)
    q = VectorQuantized(Same(2), 3, 2, decay=0.5)
    with torch.no_grad():
        q.codebook.vectors.copy_(torch.tensor([[0.0, 0.0], [50.0, 50.0], [1.0, 1.0]]))
    f = torch.rand(64, 2, 1)
    for step in range(8):
        q.at_step(step)
        q(f).observe()
    assert q.codebook.vectors[1].abs().max() < 1.5
    assert (torch.bincount(q(f).index[:, 0], minlength=3) > 0).all()


def test_codes_start_at_the_centres_of_the_data():
    torch.manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    x = (centres[torch.arange(90) % 3] + 0.1 * torch.randn(90, 2))[..., None]
    q = VectorQuantized(Same(2), 3, 2)
    q.initialize(x)
    assert torch.cdist(centres, q.codebook.vectors).min(1).values.max() < 0.2
    torch.testing.assert_close(q.codebook.share, torch.full((3,), 1 / 3))


def test_codebooks_learn_in_training_alone():
    model, x = model_of(vector("ema")), rows()
    loss = VariationalLoss(model, ELBO(), Quantized())
    loss.check(x)
    with torch.no_grad():
        loss(x)
    assert model.posterior.codebook.counted.sum() == 0
    loss(x)
    assert model.posterior.codebook.counted.sum() == len(x) * N


def test_running_moments_learn_in_training_alone():
    model, x = model_of(finite_scalar(whitened=True)), rows()
    loss, moments = VariationalLoss(model, ELBO(), Quantized()), model.posterior.whitening
    with torch.no_grad():
        loss(x)
    assert moments.seen.abs().sum() == 0
    loss(x)
    assert moments.seen[0, 0] == len(x) * N
    before = moments.mean.clone()
    model.posterior.at_step(1)
    points = model.posterior.net(x).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(moments.mean, 0.9 * before + 0.1 * points.mean(0))


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: FiniteScalar(MLP(X, [], (2, N)), levels=[5, 1]), r"levels=\[5, 1\] and needs two or more"),
        (lambda: FiniteScalar(MLP(X, [], (6, N)), levels=[8] * 6), "262,144 codes, and takes at most 8,192"),
        (lambda: VectorQuantized(MLP(X, [], (8, N)), 5, 8), "features=8 and num_codes=5"),
        (lambda: VectorQuantized(MLP(X, [], (2, N)), 5, 2, decay=1.0), "decay=1 and expected"),
        (lambda: vector().initialize(rows(1).float()), "num_codes=5 and the data give 3 different vectors"),
        (lambda: Quantized(-1.0), "commitment=-1.0"),
        (lambda: VariationalLoss(model_of(vector()), IWAE(), Quantized()).check(rows()), "every bound is the ELBO"),
        (lambda: VariationalLoss(model_of(vector()), ELBO(), Quantized(), 4).check(rows()), "num_samples=4"),
        (lambda: VariationalLoss(model_of(vector()), ELBO(), Pathwise()).check(rows()), "reparameterised"),
        (lambda: VariationalLoss(model_of(vector()), ELBO(), ScoreFunction(), 2).check(rows()), "use Quantized"),
    ],
)
def test_mistakes_are_named(make, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        make()
    assert len(str(error.value)) <= 300
