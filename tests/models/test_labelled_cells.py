"""Cells of which some are labelled: densities by torch, the type by quadrature, planted types by five labels each."""

import types

import numpy as np
import pandas
import pytest
import torch
from some_cells import planted_cells
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

import lowerbound as lb
from lowerbound.models.labelled_cells import labelled_cells


def moved(**options):
    """A model whose every parameter is moved from its start, cells of two batches, and their context."""
    torch.manual_seed(0)
    model = labelled_cells((3,), num_classes=3, covariate_sizes=(2,), hidden=[4], dropout=0.0, **options).double()
    x = torch.poisson(torch.tensor([[4.0, 1.0, 9.0], [0.0, 2.0, 5.0], [7.0, 0.0, 1.0], [3.0, 3.0, 30.0]])).double()
    c = torch.eye(2).double()[[0, 1, 0, 1]]
    with torch.no_grad():
        model.initialize(x, c)
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval(), x, c


def by_torch(model):
    logits, loc, scale = model.prior._components()
    return MixtureSameFamily(Categorical(logits=logits), Independent(Normal(loc, scale), 1))


def test_a_label_adds_its_weight_times_its_probability():
    model, x, c = moved(latent_dim=2, label_weight=7.0)
    labels = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]).double()
    z = torch.randn(5, 4, 2).double()
    with torch.no_grad():
        likelihood, prior = model.joint(x, torch.cat([c, labels], 1))(z)
        plain = model.joint(x, c)(z)
        mixture = by_torch(model)
        components = mixture.component_distribution.log_prob(z[..., None, :]) + mixture.mixture_distribution.logits
    of_label = (components - mixture.log_prob(z)[..., None])[..., [0, 2], [1, 0]]
    torch.testing.assert_close(plain[1], mixture.log_prob(z))
    torch.testing.assert_close(likelihood, plain[0])  # no decoder and no encoder reads the label
    torch.testing.assert_close(prior[:, [0, 2]], mixture.log_prob(z)[:, [0, 2]] + 7 * of_label)
    torch.testing.assert_close(prior[:, [1, 3]], mixture.log_prob(z)[:, [1, 3]])


def test_the_type_of_a_cell_by_quadrature():
    model, x, c = moved(latent_dim=1)
    grid = torch.linspace(-12, 12, 20001).double()[:, None, None]
    with torch.no_grad():
        q = model.infer(x, c)
        density = q.log_prob(grid.expand(-1, 4, -1)).exp()
        exact = (density[..., None] * model.prior.classify(grid)).sum(0) * 24 / 20000
        found = model.class_probabilities(x, c, seed=0)
        alone = model.class_probabilities(x[2:3], c[2:3], seed=0)
    torch.testing.assert_close(found.sum(-1), torch.ones(4).double())
    torch.testing.assert_close(found, exact, atol=0.05, rtol=0)
    torch.testing.assert_close(found[2:3], alone)  # the company of a cell does not matter


def test_unknown_is_no_type():
    model, x, c = moved(latent_dim=2, unknown_class=1)
    with torch.no_grad():
        assert not model.class_probabilities(x, c, seed=0)[:, 1].any()
        assert (model.prior(None).log_weights.exp()[[0, 2]] > 0).all()
        assert model.sample(4, c[0]).shape == (4, 3)
    with pytest.raises(ValueError, match="got 1 type and tells types apart"):
        labelled_cells((3,), num_classes=2, unknown_class=0)
    with pytest.raises(ValueError, match="label_weight=0"):
        labelled_cells((3,), num_classes=2, label_weight=0)


@pytest.fixture(scope="module")
def annotated():
    """Planted cells of two types with five labels each, the truth, and a fit."""
    cells, _ = planted_cells(400)
    truth = cells.obs["type"].to_numpy()
    told = np.full(len(truth), "Unknown", dtype=object)
    for name in ("B", "T"):
        told[np.flatnonzero(truth == name)[:5]] = name
    told[-20:] = None
    cells.obs["type"] = told
    settings = {"latent_dim": 3, "hidden": [16], "steps": 300, "batch_size": 64, "lr": 5e-3, "device": "cpu"}
    fitted = lb.fit(cells, "labelled-cells", y="type", covariates=["batch"], hold_out=False, **settings)
    return cells, truth, fitted


def test_planted_types_are_found_from_five_labels_each(annotated):
    cells, truth, fitted = annotated
    assert fitted.plan.reasons["unknown_class"] == "'Unknown' stands for no label"
    assert fitted.schema.classes == ("B", "T", "Unknown")
    probability = fitted.probabilities(cells)
    assert (fitted.assign(cells) == truth).mean() > 0.97
    assert probability.shape == (400, 3)
    assert not probability[:, 2].any()
    assert probability.max(1).mean() == pytest.approx((fitted.assign(cells) == truth).mean(), abs=0.04)
    encoded = fitted.encode(cells)
    np.testing.assert_array_equal(encoded.assigned, fitted.assign(cells))
    np.testing.assert_array_equal(encoded.probability, probability.max(1))
    genes = fitted.differential_expression(cells, truth, "T", "B", num_draws=200)  # what `cells` does is done here
    assert genes["differential"].sum() >= 8
    with pytest.raises(ValueError, match="draws rows of all classes by their shares; leave out the class"):
        fitted.sample(2, label="T")


def test_cells_of_a_new_batch_without_labels_get_types(annotated):
    cells, truth, fitted = annotated
    rows = np.flatnonzero(cells.obs["batch"] == "b")
    obs = pandas.DataFrame({"batch": "new"}, index=cells.obs.index[rows])
    new = types.SimpleNamespace(X=cells.X[rows], layers={}, raw=None, obs=obs, var_names=cells.var_names, obsm={})
    mapped = lb.fit(new, start_from=fitted, hold_out=False, steps=100, lr=5e-3)
    assert (mapped.assign(new) == truth[rows]).mean() > 0.97
    np.testing.assert_array_equal(mapped.probabilities(cells), fitted.probabilities(cells))
