"""What a fit of cells says of planted data: batches are removed, types kept, changed genes found at the stated rate."""

import types

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.neighbors import NearestNeighbors
from some_cells import NUM_GENES, planted_cells

import lowerbound as lb
from lowerbound.likelihoods.negative_binomial import NegativeBinomialDistribution
from lowerbound.likelihoods.poisson import PoissonDistribution
from lowerbound.likelihoods.zero_inflated import ZeroInflatedDistribution
from lowerbound.models.cell_rates import own_multipliers
from lowerbound.verbs.differential_expression import discoveries


@pytest.fixture(scope="module")
def planted():
    """Cells, which genes are changed, and a fit that is given the batch."""
    cells, changed = planted_cells(400)
    settings = {"steps": 250, "latent_dim": 3, "hidden": [32], "lr": 0.02, "device": "cpu", "compile": False}
    return cells, changed, lb.fit(cells, "cells", covariates=["batch"], hold_out=False, **settings)


def mixing(z, labels, count=20):
    """The fraction of the neighbours of a cell with another label, over the fraction that chance gives."""
    near = NearestNeighbors(n_neighbors=count + 1).fit(z).kneighbors(z)[1][:, 1:]
    other = labels[:, None] != labels
    return (labels[near] != labels[:, None]).mean() / other.mean()


def test_latents_hold_the_type_of_a_cell_and_not_its_batch(planted):
    cells, _, fitted = planted
    share = np.log1p(1000 * cells.X / cells.X.sum(1, keepdims=True))
    batch, kind = (cells.obs[name].to_numpy() for name in ("batch", "type"))
    z = fitted.encode(cells).mean
    assert mixing(share, batch) < 0.1
    assert mixing(z, batch) > 0.6
    assert mixing(z, kind) < 0.1


def test_expression_under_one_batch_is_without_depth_and_batch(planted):
    cells, _, fitted = planted
    own = fitted.normalized_expression(cells)
    under = {batch: fitted.normalized_expression(cells, given={"batch": batch}, library_size=1) for batch in "ab"}
    assert list(own.columns) == list(cells.var_names)
    assert list(own.index) == list(cells.obs.index)
    np.testing.assert_allclose(own.to_numpy().sum(1), 10_000, rtol=1e-4)
    is_a = (cells.obs["batch"] == "a").to_numpy()
    np.testing.assert_allclose(own[is_a] / 10_000, under["a"][is_a], rtol=1e-4)
    between = np.log(own[is_a].mean() / own[~is_a].mean()).abs().mean()
    assert np.log(under["a"][is_a].mean() / under["a"][~is_a].mean()).abs().mean() < 0.2 * between
    assert np.log(under["a"].mean() / under["b"].mean()).abs().mean() > 0.5 * between
    depth = cells.X.sum(1)
    assert abs(np.corrcoef(depth, own.to_numpy()[:, 20])[0, 1]) < 0.3


def test_changed_genes_are_found_at_the_stated_rate(planted):
    cells, changed, fitted = planted
    found = fitted.differential_expression(cells, "type", "T", "B", num_draws=1000)
    truth = changed[[int(name.removeprefix("gene")) for name in found.index]]
    listed = found["differential"].to_numpy()
    assert truth[listed].mean() >= 0.9
    assert truth[listed].sum() >= 9
    assert (np.diff(found["probability"]) <= 0).all()
    odd = np.array([int(name.removeprefix("gene")) % 2 == 1 for name in found.index])
    change = found["log2_fold_change"].to_numpy()
    assert (change[truth & odd] > 1).all()
    assert (change[truth & ~odd] < -1).all()
    assert np.abs(change[~truth]).mean() < 0.25
    share = cells.X[:, 3] > 0
    row = found.loc["gene3"]
    assert row["fraction_of_cells"] == share[cells.obs["type"] == "T"].mean()
    assert row["bayes_factor"] == np.log(1000 * row["probability"] + 0.5) - np.log(1000.5 - 1000 * row["probability"])
    every = fitted.differential_expression(cells, cells.obs["type"].to_numpy(), num_draws=100)
    assert len(every) == 2 * NUM_GENES
    assert set(every["group"]) == {"B", "T"}


def test_groups_drawn_at_random_differ_in_no_gene(planted):
    cells, _, fitted = planted
    groups = np.random.default_rng(1).choice(["x", "y"], len(cells.X))
    found = fitted.differential_expression(cells, groups, "x", num_draws=1000)
    assert not found["differential"].any()
    assert found["log2_fold_change"].abs().max() < 0.5


def test_a_batch_that_is_one_group_makes_no_difference_by_itself(planted):
    """Decoded under their own batches, the genes would differ by the effect of the batch."""
    cells, _, fitted = planted
    found = fitted.differential_expression(cells, "batch", "a", num_draws=1000)
    assert found["differential"].mean() <= 0.05


def test_the_expected_rate_is_the_mean_over_the_list():
    expected, listed = discoveries(np.array([0.99, 0.2, 1.0, 0.9]), 0.05)
    np.testing.assert_allclose(expected, [0.005, 0.91 / 4, 0, 0.11 / 3])
    assert listed.tolist() == [True, False, True, True]


def test_mapping_cells_of_an_unseen_batch(planted):
    fitted = planted[2]
    others = planted_cells(30, 5)[0]
    others.obs["batch"] = "new"
    with pytest.raises(ValueError, match="which the fit has not seen"):
        fitted.encode(others)
    z = fitted.encode(fitted.rows(others, covariates={"batch": "a"})).mean
    others.obs["batch"] = "a"
    np.testing.assert_array_equal(z, fitted.encode(others).mean)


@pytest.mark.parametrize(
    "ask, message",
    [
        (lambda f, c: f.normalized_expression(c, given={"donor": 1}), "no 'donor'"),
        (lambda f, c: f.normalized_expression(c, given={"batch": "z"}), "has not seen"),
        (lambda f, c: f.normalized_expression(c, num_samples=0), "must be above 0"),
        (lambda f, c: f.normalized_expression(c, num_samples=10**10), "at most 10,000,000"),
        (lambda f, c: f.differential_expression(c, "kind", "T"), "obs of the AnnData has no 'kind'"),
        (lambda f, c: f.differential_expression(c, "type", "Z"), r"no cell of the group 'Z'; the groups are 'B', 'T'"),
        (lambda f, c: f.differential_expression(c, ["T"], "T"), "give one group for each"),
        (lambda f, c: f.differential_expression(c, "type", "T", "T"), "got the group 'T' twice"),
        (lambda f, c: f.differential_expression(c, ["T"] * 400, "T"), "takes at least 2 in each"),
        (lambda f, c: f.differential_expression(c, "type", "T", delta=0), "give a delta above 0"),
    ],
)
def test_refusals(planted, ask, message):
    cells, _, fitted = planted
    with pytest.raises(ValueError, match=message) as caught:
        ask(fitted, cells)
    assert len(str(caught.value)) <= 300


def test_a_group_is_compared_with_no_cells_of_its_own_and_with_none_that_have_no_group(planted):
    cells, _, fitted = planted
    found = fitted.differential_expression(cells, "type", second="T", num_draws=50)
    assert set(found["group"]) == {"B"}
    groups = cells.obs["type"].to_numpy(dtype=object).copy()
    groups[groups == "T"] = None
    with pytest.raises(ValueError, match=r"have .* and 0 cells"):
        fitted.differential_expression(cells, groups, "B", num_draws=50)


def test_other_models_have_no_expression():
    fitted = lb.fit(torch.poisson(torch.rand(40, 5) * 4).numpy(), "counts", steps=1, hidden=[4], device="cpu")
    with pytest.raises(ValueError, match="fit the recipe cells"):
        fitted.normalized_expression(fitted.dataset)


def test_rates_given_own_counts_are_closer_to_the_other_half_of_a_cell(planted):
    cells, _, fitted = planted
    rng = np.random.default_rng(0)
    half = rng.binomial(cells.X.astype(int), 0.5)
    seen = types.SimpleNamespace(**{**vars(cells), "X": half.astype(np.float32)})
    scores = {}
    for own in (False, True):
        rates = fitted.normalized_expression(seen, own_counts=own, library_size=1).to_numpy()
        scores[own] = ((cells.X - half) * np.log(rates / rates.sum(1, keepdims=True))).sum(1).mean()
    assert scores[True] > scores[False] + 5


@pytest.mark.parametrize("gate", [None, 0.3])
def test_the_multiplier_of_a_gene_is_its_posterior_mean(gate):
    r, m, x = 1.7, 2.5, np.array([0.0, 1.0, 6.0])
    w = np.linspace(1e-4, 30, 300_001)
    prior = stats.gamma.pdf(w, r, scale=1 / r)
    likelihood = stats.poisson.pmf(x[:, None], m * w)
    if gate is not None:
        likelihood = (1 - gate) * likelihood + gate * (x[:, None] == 0)
    exact = (w * prior * likelihood).sum(1) / (prior * likelihood).sum(1)
    p = NegativeBinomialDistribution(torch.full((3,), m), torch.tensor(r))
    if gate is not None:
        p = ZeroInflatedDistribution(torch.tensor(gate).logit().expand(3), p)
    np.testing.assert_allclose(own_multipliers(p, torch.tensor(x).float()), exact, rtol=1e-3)


def test_a_poisson_has_no_rates_of_its_own():
    with pytest.raises(ValueError, match="A Poisson cell has its share"):
        own_multipliers(PoissonDistribution(torch.ones(3)), torch.ones(3))
