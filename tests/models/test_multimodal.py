"""Blocks against exact posteriors and evidences of linear-Gaussian models, for every pattern of missing blocks."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from lowerbound import LatentVariableModel
from lowerbound.evaluate import log_evidence
from lowerbound.evaluate.baselines import independent_elements
from lowerbound.exact import LinearGaussian
from lowerbound.gradients import Pathwise, Stratified
from lowerbound.likelihoods import Bernoulli, Mixed
from lowerbound.likelihoods import Normal as NormalLikelihood
from lowerbound.losses import Subsets, VariationalLoss
from lowerbound.models.block_likelihood import BlockLikelihood
from lowerbound.models.experts import BlockPosterior, product_of_experts
from lowerbound.models.multimodal import multimodal
from lowerbound.nets import MLP, raw_of
from lowerbound.objectives import ELBO, IWAE
from lowerbound.priors import StandardNormal
from lowerbound.testing import flat_gradient

COLUMNS = {"a": (0, 3), "b": (1, 4, 5), "c": (2,)}
PATTERNS = [p for p in product([True, False], repeat=3) if any(p)]
KINDS = ("product", "mixture", "mixture-of-products")


class ExactExpert(nn.Module):
    """p(x_m | z) of a linear Gaussian with orthogonal columns, as a Gaussian of z."""

    def __init__(self, weight: Tensor, offset: Tensor, scale: Tensor):
        super().__init__()
        self.projection, self.offset = (weight / scale[:, None].square()).mT, offset
        self.precision = (self.projection @ weight).diagonal()

    def forward(self, x: Tensor) -> Tensor:
        filled = torch.where(x.isnan(), 0.0, x)
        loc = (filled - self.offset) @ self.projection.mT / self.precision
        return torch.stack([loc, raw_of(self.precision.rsqrt().expand_as(loc), 0.0)], -2)


def exact_case(kind: str = "product") -> tuple[LinearGaussian, LatentVariableModel, Tensor]:
    """One latent, so that every Wᵀ Ψ⁻¹ W is diagonal."""
    exact = LinearGaussian.random(6, 1, seed=3)
    decoders, encoders = {}, {}
    for name, columns in COLUMNS.items():
        place = list(columns)
        weight, offset, scale = exact.weight[place], exact.offset[place], exact.scale[place]
        net = MLP(1, [], len(place)).double()
        with torch.no_grad():
            net.layers[0].weight.copy_(weight)
            net.layers[0].bias.copy_(offset)
        likelihood = NormalLikelihood(net, scale="per-dimension", event_shape=len(place), min_scale=1e-9).double()
        with torch.no_grad():
            likelihood.raw_scale.copy_(raw_of(scale, 1e-9))
        decoders[name] = likelihood
        encoders[name] = ExactExpert(weight, offset, scale)
    model = LatentVariableModel(
        prior=StandardNormal(1).double(),
        likelihood=BlockLikelihood(decoders, COLUMNS),
        posterior=BlockPosterior(encoders, COLUMNS, kind, min_scale=0.0),
    )
    torch.manual_seed(0)
    return exact, model, exact.sample(4)


def without(x: Tensor, pattern: tuple[bool, ...]) -> tuple[Tensor, list[int]]:
    """The rows without the blocks that a pattern leaves out, and the columns that are there."""
    there = sorted(i for keep, columns in zip(pattern, COLUMNS.values(), strict=True) if keep for i in columns)
    gaps = torch.full_like(x, torch.nan)
    gaps[:, there] = x[:, there]
    return gaps, there


def of_columns(exact: LinearGaussian, there: list[int]) -> LinearGaussian:
    return LinearGaussian(exact.weight[there], exact.offset[there], exact.scale[there])


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_product_is_the_exact_posterior_and_the_evidence_is_that_of_the_blocks_there(pattern) -> None:
    exact, model, x = exact_case()
    gaps, there = without(x, pattern)
    of_these = of_columns(exact, there)
    q, p = model.infer(gaps), of_these.posterior(x[:, there])
    torch.testing.assert_close(q.mean, p.mean, atol=1e-6, rtol=0)
    torch.testing.assert_close(
        q.variance[0], p.covariance_matrix.diagonal(dim1=-2, dim2=-1).reshape(-1)[:1], atol=1e-6, rtol=0
    )
    found = log_evidence(model, gaps, num_samples=2, seed=0).log_evidence
    torch.testing.assert_close(found, of_these.log_evidence(x[:, there]), atol=1e-6, rtol=0)


def test_where_nothing_is_there_q_is_the_prior_and_log_p_is_0() -> None:
    for kind in KINDS:
        _, model, x = exact_case(kind)
        q = model.infer(torch.full_like(x, torch.nan))
        torch.testing.assert_close(q.mean, torch.zeros(4, 1).double())
        torch.testing.assert_close(q.variance, torch.ones(4, 1).double())
        w = model.log_weights(torch.full_like(x, torch.nan), 3)
        torch.testing.assert_close(w.log_w, torch.zeros(3, 4).double())


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
@pytest.mark.parametrize("kind", KINDS[1:])
def test_mixtures_have_the_density_written_by_hand(kind, pattern) -> None:
    _, model, x = exact_case(kind)
    gaps, _ = without(x, pattern)
    loc, scale, _ = model.posterior.of_blocks(gaps)
    present = [m for m in range(3) if pattern[m]]
    if kind == "mixture":
        components = [(loc[:, m], scale[:, m]) for m in present]
    else:
        subsets = [s for s in product([True, False], repeat=3) if any(s) and all(pattern[m] for m in range(3) if s[m])]
        components = []
        for subset in subsets:
            precision = 1 + sum(scale[:, m] ** -2 for m in range(3) if subset[m])
            mean = sum(loc[:, m] * scale[:, m] ** -2 for m in range(3) if subset[m]) / precision
            components.append((mean, precision**-0.5))
    z = torch.linspace(-2, 2, 4).double()[:, None]
    by_hand = torch.stack([Independent(Normal(m, s), 1).log_prob(z).exp() for m, s in components]).mean(0).log()
    torch.testing.assert_close(model.infer(gaps).log_prob(z), by_hand)


@pytest.mark.parametrize("kind", KINDS)
def test_bounds_lie_below_the_evidence_of_the_blocks_there(kind) -> None:
    """Of 4,000 draws the mean of log w is below, and that of w is p(x); an absent component must not be weighed."""
    exact, model, x = exact_case(kind)
    with torch.no_grad():  # experts that are wrong, so that the bound is not tight
        for encoder in model.posterior.encoders:
            encoder.precision *= 0.5
    gaps, there = without(x, (True, False, True))
    evidence = of_columns(exact, there).log_evidence(x[:, there])
    torch.manual_seed(0)
    gradient = Pathwise() if kind == "product" else Stratified()
    elbo = gradient.estimate(ELBO(), model.infer(gaps), model.joint(gaps), 4000).surrogate
    assert (elbo < evidence - 0.005).all()
    found = gradient.estimate(IWAE(), model.infer(gaps), model.joint(gaps), 4000)
    w = (found.weights.log_w - evidence).exp()  # its mean is 1
    share = 1 / len(w) if found.weights.log_probability is None else found.weights.log_probability.exp()
    error = (share**2 * (w - 1).square()).sum(0).sqrt()
    assert (error < 0.1).all()
    assert ((found.surrogate - evidence).abs() < 5 * error).all()


def small(kind: str) -> tuple[LatentVariableModel, Tensor]:
    words = {"blocks": "a=0-1;b=2-3", "likelihoods": "a=normal:scale=per-dimension;b=mixed:columns=2*categorical-3"}
    torch.manual_seed(1)
    model = multimodal((4,), **words, experts=kind, latent_dim=1, hidden=[3], activation="tanh").double()
    nan = torch.nan
    x = torch.tensor([[0.3, -0.4, 2.0, 0.0], [nan, nan, 1.0, 1.0], [0.1, 0.9, nan, nan], [0.2, 0.1, nan, 2.0]])
    return model, x.double()


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_of_the_joint_bound_is_that_of_quadrature(kind) -> None:
    """E_q log w by Gauss–Hermite nodes in each component, differentiated, against the mean of many draws."""
    model, x = small(kind)
    parameters = list(model.parameters())
    points, weights = torch.from_numpy(np.array(np.polynomial.hermite_e.hermegauss(40)))
    weights = weights / weights.sum()
    q, joint = model.infer(x), model.joint(x)
    if kind == "product":
        loc, scale, share = q.mean[:, None], q.stddev[:, None], torch.ones(4, 1).double()
    else:
        loc, scale, share = q.loc, q.scale, q.log_weights.exp()
    value = 0.0
    for k in range(loc.shape[1]):
        z = loc[:, k] + scale[:, k] * points[:, None, None]
        value = value + (share[:, k] * weights[:, None] * (sum(joint(z)) - q.log_prob(z))).sum()
    exact = flat_gradient(value / 4, parameters)
    torch.manual_seed(0)
    gradient = Pathwise() if kind == "product" else Stratified()
    loss = VariationalLoss(model, ELBO(), gradient, 20_000)
    found = flat_gradient(-loss(x).loss, parameters)
    assert torch.isfinite(found).all()
    assert exact.abs().max() > 0.1
    torch.testing.assert_close(found, exact, atol=0.03, rtol=0.02)


def test_subsets_are_all_blocks_each_alone_and_random_ones_and_the_loss_is_their_mean() -> None:
    model, x = small("product")
    loss = Subsets(model, ELBO("kl"), Pathwise(), num_samples=4000, random=0)
    loss.check(x)
    rows = loss.subsets(x)
    assert rows.shape == (12, 4)
    torch.testing.assert_close(rows[:4], x, equal_nan=True)
    assert rows[4:8, 2:].isnan().all()
    torch.testing.assert_close(rows[4:8, :2], x[:, :2], equal_nan=True)
    assert rows[8:, :2].isnan().all()
    torch.manual_seed(0)
    each = [VariationalLoss(model, ELBO("kl"), Pathwise(), 4000)(part).loss for part in rows.split(4)]
    torch.testing.assert_close(loss(x).loss, sum(each) / 3, atol=0.03, rtol=0)
    loss.eval()
    torch.testing.assert_close(loss(x).loss, each[0], atol=0.03, rtol=0)
    torch.manual_seed(0)
    kept = ~Subsets(model, ELBO("kl"), Pathwise(), random=500).subsets(x[:1])[3:].isnan()
    assert 0.4 < kept[:, 0].double().mean() < 0.6
    assert bool((kept[:, 0] == kept[:, 1]).all())


def test_a_block_without_a_part_of_its_entries_is_refused_where_its_likelihood_takes_no_gaps() -> None:
    parts = {"a": Bernoulli(MLP(1, [], 2)), "b": Mixed(MLP(1, [], 4), "2*continuous")}
    likelihood = BlockLikelihood(parts, {"a": (0, 1), "b": (2, 3)})
    nan = torch.nan
    x = torch.tensor([[nan, nan, 0.5, nan], [1.0, nan, 0.5, 0.5], [0.0, 2.0, nan, nan]])
    expected = [[True, True, True, True], [True, False, True, True], [True, False, True, True]]
    assert likelihood.support.check(x).tolist() == expected
    p = likelihood(torch.zeros(3, 1))
    assert torch.isfinite(p.log_prob(x)[[0]]).all()
    assert p.log_prob_per_block(x)[2, 1] == 0
    assert p.expand((5, 3)).sample().shape == (5, 3, 4)


def test_product_of_experts_divides_by_the_prior_expert_too() -> None:
    loc, scale = torch.tensor([[2.0], [8.0]]), torch.ones(2, 1)
    mean, deviation = product_of_experts(loc, scale, torch.tensor([True, True]))
    torch.testing.assert_close(mean, torch.tensor([10 / 3]))
    torch.testing.assert_close(deviation, torch.tensor([3.0**-0.5]))


@pytest.mark.parametrize(
    "words, message",
    [
        ({"blocks": "a=0-1;b=2"}, "is in no block"),
        ({"blocks": "a=0-1;b=1-3"}, "is in the blocks 'a' and 'b'"),
        ({"blocks": "a=0-1;b=2-9"}, "'2-9'; expected numbers"),
        ({"likelihoods": "a=normal"}, "The block 'b' has no likelihood"),
        ({"likelihoods": "a=normal;b=normal;c=normal"}, "names the block 'c'"),
        ({"experts": "sum"}, "product, mixture or mixture-of-products"),
    ],
)
def test_bad_words_are_refused_in_a_sentence(words, message) -> None:
    from lowerbound.recipes import recipe_named

    usual = {"blocks": "a=0-1;b=2-3", "likelihoods": "a=normal;b=normal"}
    with pytest.raises(ValueError, match=message):
        recipe_named("multimodal").model((4,), {**usual, **words})


def test_independent_elements_are_those_of_each_block_by_the_rows_that_have_it() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.cat([(torch.rand(60, 2, generator=g) < 0.3).double(), torch.randn(60, 1, generator=g).double()], 1)
    x[:20, :2], x[50:, 2] = torch.nan, torch.nan
    words = {"blocks": "a=0-1;b=2", "likelihoods": "a=bernoulli;b=mixed:columns=continuous"}
    model = multimodal((3,), **words, latent_dim=1, hidden=[3])
    found = independent_elements(model.likelihood, x.float(), x.float())
    seen = x[20:, :2]
    by_hand = torch.zeros(60).double()
    by_hand[20:] = Independent(torch.distributions.Bernoulli(seen.mean(0)), 1).log_prob(seen)
    real = x[:50, 2]
    by_hand[:50] += Normal(real.mean(), real.std(correction=0)).log_prob(real)
    torch.testing.assert_close(found, by_hand, atol=0.1, rtol=0)
