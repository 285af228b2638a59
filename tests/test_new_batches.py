"""Batches that came after a fit get weights of their own, and nothing else of the model moves."""

import types

import numpy as np
import pytest
import torch
from some_cells import planted_cells

import lowerbound as lb
from lowerbound.nets import MLP
from lowerbound.nets.added_categories import LinearWithAdded, add_to_first_layer, is_added


def some_of(cells, rows, batch=None):
    """Some of the cells, under the name of another batch if one is given."""
    obs = cells.obs.iloc[rows].copy()
    if batch is not None:
        obs["batch"] = batch
    return types.SimpleNamespace(X=cells.X[rows], layers={}, raw=None, obs=obs, var_names=cells.var_names, obsm={})


@pytest.fixture(scope="module")
def known():
    """Cells of two batches, their model, and the rows of batch b."""
    cells, _ = planted_cells(500)
    settings = {"latent_dim": 2, "hidden": [16], "steps": 400, "batch_size": 64, "lr": 5e-3, "device": "cpu"}
    fitted = lb.fit(cells, "cells:dispersion=gene-batch", covariates=["batch"], hold_out=False, **settings)
    return cells, fitted, np.flatnonzero(cells.obs["batch"] == "b")


@pytest.fixture(scope="module")
def mapped(known):
    """The model after a copy of batch b came as batch c."""
    cells, fitted, rows = known
    return lb.fit(some_of(cells, rows, "c"), start_from=fitted, hold_out=False, steps=400, lr=5e-3)


def test_known_cells_keep_every_bit(known, mapped):
    cells, fitted, _ = known
    assert mapped.schema.covariates[0].categories == ("a", "b", "c")
    assert mapped.plan.model["covariate_sizes"] == [3]
    assert mapped.plan.model["num_added"] == 1
    assert mapped.plan.reasons["num_added"] == "'c' came after cells, whose weights are held as they are"
    np.testing.assert_array_equal(mapped.encode(cells).mean, fitted.encode(cells).mean)
    np.testing.assert_array_equal(mapped.score(cells, num_samples=5), fitted.score(cells, num_samples=5))
    given = {"batch": "a"}
    np.testing.assert_array_equal(
        mapped.normalized_expression(cells, given=given), fitted.normalized_expression(cells, given=given)
    )
    before, after = fitted.model.state_dict(), mapped.model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    added = after.keys() - before.keys()
    assert added
    assert all(map(is_added, added))


def test_a_copy_of_a_batch_is_found_to_be_like_it(known, mapped):
    cells, fitted, rows = known
    as_c, as_b, as_a = (some_of(cells, rows, name) for name in ("c", "b", "a"))
    score_of_a = fitted.score(as_a, num_samples=50).mean()
    scores = fitted.score(as_b, num_samples=50).mean(), mapped.score(as_c, num_samples=50).mean()
    assert scores[0] - score_of_a > 20  # what the model would lose if it read these cells as of batch a
    assert abs(scores[1] - scores[0]) < 1
    z = fitted.encode(as_b).mean
    assert np.sqrt(np.square(mapped.encode(as_c).mean - z).mean()) < 0.1 * z.std()
    effect = [
        np.log(mapped.normalized_expression(cells, given={"batch": name}).to_numpy()).mean(0)
        for name in ("a", "b", "c")
    ]
    assert np.corrcoef(effect[2] - effect[0], effect[1] - effect[0])[0, 1] > 0.98
    sizes = mapped.model.sizes(torch.eye(3))
    for of_batch in sizes:  # measured on nine in ten of the same cells
        torch.testing.assert_close(of_batch[2], of_batch[1], atol=0.05, rtol=0)


def test_a_second_mapping_leaves_the_first_as_it_is(known, mapped, tmp_path):
    cells, _, rows = known
    folder = mapped.save(tmp_path / "mapped")
    again = lb.fit(some_of(cells, rows[:60], "d"), start_from=folder, hold_out=False, steps=5)
    assert again.schema.covariates[0].categories == ("a", "b", "c", "d")
    assert again.plan.model["num_added"] == 2
    both = some_of(cells, rows, "c")
    np.testing.assert_array_equal(again.encode(both).mean, mapped.encode(both).mean)
    np.testing.assert_array_equal(again.score(both, num_samples=3), mapped.score(both, num_samples=3))


def test_what_begins_at_zero_is_the_mean_of_the_known_categories():
    net = MLP(5, [4], 3)
    add_to_first_layer(net, (1, 4), 1)
    first, x = net.layers[0], torch.tensor([[0.3, 0.0, 0.0, 1.0, -2.0]])
    assert isinstance(first, LinearWithAdded)
    kept = torch.tensor([[0.3, 0.5, 0.5, -2.0]])
    torch.testing.assert_close(first(x), kept @ first.weight.T + first.bias)


def test_other_covariates_stay_closed(known):
    cells, _, _ = known
    obs = cells.obs.assign(donor=np.where(cells.obs["age"] > 40, "old", "young"))
    two = types.SimpleNamespace(X=cells.X, layers={}, raw=None, obs=obs, var_names=cells.var_names, obsm={})
    fitted = lb.fit(two, "cells", covariates=["batch", "donor"], steps=2, hidden=[4], latent_dim=2, device="cpu")
    two.obs = obs.assign(donor="ancient")
    with pytest.raises(ValueError, match=r"'donor' of X of .* holds 'ancient', .*\(--covariates NAME=VALUE\)\.$"):
        lb.fit(two, start_from=fitted, steps=2)
