"""A table of variational parameters, one row for each datum."""

from __future__ import annotations

import pytest
import torch

from lowerbound import VariationalLoss, infer
from lowerbound.data import InMemory
from lowerbound.exact import LinearGaussian
from lowerbound.gradients import Pathwise
from lowerbound.inference import NonAmortised, with_inference
from lowerbound.inference.non_amortised import _split
from lowerbound.objectives import ELBO
from lowerbound.schedules import Cosine
from lowerbound.training.loop import train


@pytest.mark.slow
def test_every_row_reaches_the_best_of_the_family():
    exact = LinearGaussian.random(4, 2, seed=1, dtype=torch.float32)
    x, rows = exact.sample(40), torch.arange(40)
    model = exact.model().requires_grad_(False)
    scheme = NonAmortised(40, 2)
    loss = VariationalLoss(model, ELBO(), Pathwise(), 16, inference=scheme)
    loss.check(x[:2], rows[:2])
    [*train(loss, InMemory((x, rows)), num_steps=400, batch_size=20, lr=Cosine(0.1, 1e-3, 400), log_every=400)]
    q = infer(model, x, scheme, rows)
    mean, scale = exact.optimal_diagonal(x)
    assert torch.allclose(q.mean, mean, atol=0.1)
    assert torch.allclose(q.stddev, scale.expand_as(mean), rtol=0.15)
    loss_of_nats = exact.optimal_elbo(x) - exact.elbo(x, q.mean, scale=q.stddev)
    assert loss_of_nats.max() < 0.05
    swapped = infer(model, x, scheme, rows.flip(0))
    assert torch.equal(swapped.mean, q.mean.flip(0))


def test_rows_of_other_data_get_no_gradient():
    exact = LinearGaussian.random(4, 2, seed=1, dtype=torch.float32)
    scheme = NonAmortised(10, 2)
    loss = VariationalLoss(exact.model(), ELBO(), Pathwise(), inference=scheme)
    loss(exact.sample(3), torch.tensor([7, 1, 4])).loss.backward()
    touched = scheme.table.grad.abs().sum((1, 2)) > 0
    assert touched.nonzero()[:, 0].tolist() == [1, 4, 7]


def test_the_model_does_not_see_the_rows():
    rows, label = torch.arange(3), torch.ones(3, 2)
    assert _split(rows) == (None, rows)
    assert _split((rows,)) == (None, rows)
    assert _split((label, rows)) == (label, rows)
    rest, found = _split((label, label, rows))
    assert len(rest) == 2
    assert found is rows
    assert _split(label) == (label, None)


def test_samples_of_the_model_need_no_rows():
    exact = LinearGaussian.random(4, 2)
    model = with_inference(exact.model(), NonAmortised(10, 2).double())
    assert model.sample(3).shape == (3, 4)
    assert model.reconstruct(exact.sample(2), torch.tensor([3, 9])).shape == (2, 4)


def test_a_context_without_rows_is_refused():
    exact = LinearGaussian.random(4, 2)
    for context in (None, torch.ones(3, 1)):
        with pytest.raises(ValueError, match=r"train on InMemory\(\(x, torch.arange\(len\(x\)\)\)\)"):
            infer(exact.model(), exact.sample(3), NonAmortised(3, 2), context)
