"""q(z | x) is exact: every weight is p(x), whatever is drawn, also with gaps; draws have the right moments."""

from __future__ import annotations

import pytest
import torch

from lowerbound.evaluate import log_evidence, summary
from lowerbound.exact import LinearGaussian
from lowerbound.linear import FactorAnalysers, fit_mixture_of_factor_analysers
from lowerbound.model import LatentVariableModel
from lowerbound.models.exact_mixture import matrix_of_each
from lowerbound.models.mixture_of_factor_analysers import (
    factor_analysers_of,
    mixture_of_factor_analysers,
    model_of,
    set_factor_analysers,
    start_mixture_of_factor_analysers,
)

NAN = float("nan")


def mixture() -> FactorAnalysers:
    parts = tuple(LinearGaussian.random(4, rank, seed=rank) for rank in (1, 2, 3))
    return FactorAnalysers(torch.tensor([0.5, 0.3, 0.2]).double(), parts)


def rows(with_gaps: bool) -> torch.Tensor:
    torch.manual_seed(1)
    x, _ = mixture().sample(12)
    if with_gaps:
        x[::2, 1], x[::3, 0], x[4] = NAN, NAN, NAN
    return x


@pytest.mark.parametrize("with_gaps", [False, True])
def test_every_weight_is_the_evidence(with_gaps: bool) -> None:
    x, m = rows(with_gaps), mixture()
    log_w = model_of(m).log_weights(x, 5).log_w
    torch.testing.assert_close(log_w, m.log_evidence(x).expand_as(log_w))


def test_weights_are_the_evidence_of_any_prior_of_clusters_and_follow_its_gradient() -> None:
    """At the exact posterior the gradient of the ELBO for the model is that of log p(x)."""
    model, x = model_of(mixture()), rows(False)
    log_w = model.log_weights(x, 400_000 // len(x)).log_w.mean()
    (gradient,) = torch.autograd.grad(log_w, [model.prior.logits])
    responsibilities = mixture().responsibilities(x).mean(0)
    torch.testing.assert_close(gradient, responsibilities - mixture().weights, atol=5e-3, rtol=0)


def test_evaluations_agree_with_the_closed_form() -> None:
    model, x = model_of(mixture()).eval(), rows(False)
    exact = mixture().log_evidence(x)
    evidence = log_evidence(model, x, num_samples=3)
    torch.testing.assert_close(evidence.log_evidence, exact)
    assert summary(model, x, num_samples=4).elbo == pytest.approx(float(exact.mean()))


def test_draws_of_the_posterior_have_its_moments() -> None:
    model, x = model_of(mixture()), rows(True)[:3]
    torch.manual_seed(0)
    zeta, c = model.infer(x).sample((20_000,))
    responsibilities = mixture().responsibilities(x)
    assert float((c.mean(0) - responsibilities).abs().max()) < 5 * 0.5 / 20_000**0.5
    decoded = model.decode((zeta, c)).mean.mean(0).detach()
    filled = mixture().impute(x)
    missing = x.isnan()
    assert float((decoded - filled)[missing].abs().max()) < 0.1


def test_draws_of_the_model_have_its_moments() -> None:
    torch.manual_seed(0)
    m = mixture()
    x = model_of(m).sample(60_000)
    mean = m.weights @ torch.stack([c.offset for c in m.components])
    assert float((x.mean(0) - mean).abs().max()) < 0.06


def test_what_is_written_is_read() -> None:
    m, x = mixture(), rows(True)
    model = mixture_of_factor_analysers((4,), components=3, latent_dim=3).double()
    set_factor_analysers(model, m)
    torch.testing.assert_close(factor_analysers_of(model).log_evidence(x), m.log_evidence(x))
    other = mixture_of_factor_analysers((4,), components=3, latent_dim=3).double()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other.log_weights(x, 1).log_w[0], m.log_evidence(x))


def test_the_start_is_the_fit_by_em() -> None:
    x, _ = mixture().sample(200)
    model = mixture_of_factor_analysers((4,), components=2, latent_dim=1).double()
    start_mixture_of_factor_analysers(model, x)
    *_, last = fit_mixture_of_factor_analysers(x, 2, 1)
    torch.testing.assert_close(model.log_weights(x, 1).log_w[0], last.mixture.log_evidence(x))


def test_single_precision_keeps_three_digits_at_small_scales() -> None:
    exact = LinearGaussian.random(6, 5, seed=3)
    m = FactorAnalysers(torch.ones(1).double(), (LinearGaussian(exact.weight, exact.offset, 1e-3 * exact.scale),))
    x, _ = m.sample(50)
    log_w = model_of(m).float().log_weights(x.float(), 20).log_w.detach()
    assert float((log_w.double() - m.log_evidence(x.float().double())).abs().max()) < 0.3


def test_each_vector_meets_its_matrix() -> None:
    matrices, vectors = torch.randn(3, 2, 4).double(), torch.randn(5, 6, 4).double()
    which = torch.randint(0, 3, (5, 6))
    expected = (matrices[which] @ vectors[..., None])[..., 0]
    torch.testing.assert_close(matrix_of_each(matrices, which, vectors), expected)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        mixture_of_factor_analysers((8,), components=0)
    model = model_of(mixture())
    strange = LatentVariableModel(prior=model.prior, likelihood=model.likelihood, posterior=model.prior)
    with pytest.raises(ValueError, match="expected"):
        factor_analysers_of(strange)


def test_an_array_is_one_row_of_numbers() -> None:
    x = rows(False)
    flat, model = model_of(mixture()), mixture_of_factor_analysers((2, 2), components=3, latent_dim=3).double()
    set_factor_analysers(model, mixture())
    expected = flat.log_weights(x, 2).log_w
    torch.testing.assert_close(model.log_weights(x.unflatten(1, (2, 2)), 2).log_w, expected)
    assert model.sample(5).shape == (5, 2, 2)


def test_series_are_fitted_in_units_of_their_channels() -> None:
    """The density of the same series in other units is that density, divided by the change of volume."""
    torch.manual_seed(0)
    x, units = torch.randn(40, 6, 2).double().cumsum(1), torch.tensor([1e-4, 1e3]).double()
    scores = []
    for series in (x, x * units):
        model = mixture_of_factor_analysers((6, 2)).double()
        start_mixture_of_factor_analysers(model, series)
        scores.append(model.log_weights(series, 1).log_w[0])
    torch.testing.assert_close(scores[1] + 6 * units.log().sum(), scores[0], atol=1e-4, rtol=0)
