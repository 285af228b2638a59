"""The path of an optimisation, and the bound about it, against the linear-Gaussian model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lowerbound as lb
from lowerbound.inference import HMC, Amortised, Local, SemiAmortised, elbo_surface, infer

EXACT = lb.exact.LinearGaussian(torch.tensor([[1.0], [0.5]]), torch.zeros(2), torch.tensor(0.7))
X = torch.tensor([[1.0, -0.4], [2.0, 0.3]])


def test_a_path_goes_from_the_encoder_to_the_result_and_changes_nothing():
    model, scheme = EXACT.model(), Local(30, lr=0.1, num_samples=8, family="diagonal", start="prior")
    plain, kept = infer(model, X, scheme), infer(model, X, scheme, keep_path=True)
    assert plain.path is None
    assert kept.path is not None
    assert len(kept.path) == 31
    assert torch.equal(kept.mean, plain.mean)
    assert torch.equal(kept.path.posterior(-1).mean, kept.mean)
    assert torch.equal(kept.path.parameters[0], torch.zeros(2, 2, 1))  # N(0, 1) in mean and log standard deviation
    short = infer(model, X, SemiAmortised(4), keep_path=True)
    assert short.path is not None
    assert len(short.path) == 5
    assert torch.equal(short.path.posterior(0).mean, infer(model, X, Amortised()).mean)


def test_the_surface_is_the_closed_form():
    model = EXACT.model()
    path = infer(model, X, Local(2, family="diagonal"), keep_path=True).path
    assert path is not None
    means, log_scales = torch.linspace(-1, 2, 4), torch.linspace(-1.5, 0.5, 3)
    found = elbo_surface(model, X[1:], path, means, log_scales, row=1, num_samples=100_000)
    for i, mean in enumerate(means):
        for j, log_scale in enumerate(log_scales):
            exact = EXACT.elbo(X[1:], mean[None, None], scale=log_scale.exp()[None, None])
            assert found[i, j] == pytest.approx(float(exact), abs=0.25)


@pytest.mark.filterwarnings("ignore::lowerbound.inference.InferenceWarning")  # of a chain of 20 draws
def test_what_has_no_path_is_refused():
    model = EXACT.model()
    with pytest.raises(ValueError, match="Amortised, which does not optimise"):
        infer(model, X, keep_path=True)
    with pytest.raises(ValueError, match="HMC, which does not optimise"):
        infer(model, X, HMC(num_samples=20, num_warmup=20), keep_path=True)
    with pytest.raises(ValueError, match="takes several ways"):
        infer(model, X, Local(2, num_restarts=2), keep_path=True)
    path = infer(model, X, Local(2), keep_path=True).path
    assert path is not None
    with pytest.raises(ValueError, match="got 2 rows"):
        elbo_surface(model, X, path, torch.zeros(2), torch.zeros(2))


def test_the_picture_says_how_far_below_the_top_a_point_lies():
    first, second = np.linspace(-1, 1, 5), np.linspace(-2, 0, 4)
    elbo = -((first[:, None] - 0.5) ** 2) - (second[None, :] + 1) ** 2
    path = np.array([[-1.0, 0.0], [0.5, -1.0]])
    figure = lb.plots.elbo_ascent(first, second, elbo, path=path, points={"encoder": (0.0, -1.0)})
    (axes,) = figure.axes
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["ascent", "encoder"]
    assert np.allclose(axes.lines[0].get_xydata(), path)
    with pytest.raises(ValueError, match="path of shape"):
        lb.plots.elbo_ascent(first, second, elbo, path=path[:, :1])
