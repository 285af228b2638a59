"""Online EM: one step of EM with all rows at once, EM's solution from minibatches."""

from __future__ import annotations

import pytest
import torch

from lowerbound.exact import LinearGaussian
from lowerbound.linear import (
    expectation_maximization,
    fit_factor_analysis,
    fit_probabilistic_pca,
    observed_log_evidence,
    online_expectation_maximization,
)


@pytest.mark.parametrize("noise", ["per-dimension", "shared"])
def test_a_step_of_one_with_all_rows_is_one_iteration_of_em(noise):
    x, start = LinearGaussian.random(5, 2, seed=1).sample(50), LinearGaussian.random(5, 2, seed=2)
    x[torch.rand(x.shape) < 0.2] = float("nan")
    _, one = expectation_maximization(start, x, noise=noise, max_iterations=1)
    (other,) = online_expectation_maximization(start, [x], noise=noise)
    for name in ("weight", "offset", "scale"):
        assert torch.equal(getattr(one.exact, name), getattr(other.exact, name))
    assert other.log_likelihood == pytest.approx(float(observed_log_evidence(start, x).mean()))


@pytest.mark.parametrize("fit, noise", [(fit_factor_analysis, "per-dimension"), (fit_probabilistic_pca, "shared")])
def test_minibatches_come_to_the_solution_of_all_rows(fit, noise):
    x = LinearGaussian.random(5, 2, seed=3).sample(2000)
    *_, best = fit(x, 2)
    start = LinearGaussian.random(5, 2, seed=4)
    batches = (x[torch.randint(2000, (100,))] for _ in range(300))
    *_, online = online_expectation_maximization(start, batches, decay=0.6, noise=noise)
    before = best.log_likelihood - float(observed_log_evidence(start, x).mean())
    after = best.log_likelihood - float(observed_log_evidence(online.exact, x).mean())
    assert before > 1
    assert 0 <= after < 0.02


def test_a_smaller_step_keeps_more_of_the_past():
    """At the second batch γ = 2^-κ: with statistics of constant rows the offset tells how much was kept."""
    start = LinearGaussian(torch.zeros(1, 1).double(), torch.zeros(1).double(), torch.ones(1).double())
    batches = [torch.zeros(4, 1).double(), torch.ones(4, 1).double()]
    for decay in (0.6, 1.0):
        *_, fit = online_expectation_maximization(start, batches, decay=decay)
        assert float(fit.exact.offset) == pytest.approx(2**-decay)


@pytest.mark.parametrize("decay", [0.5, 1.1])
def test_steps_that_do_not_settle_are_refused(decay):
    with pytest.raises(ValueError, match="decay"):
        online_expectation_maximization(LinearGaussian.random(2, 1), [], decay=decay)
