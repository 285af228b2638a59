"""A seed given to an evaluation is never the seed of torch's plain stream, nor that of another evaluation.

Under `torch.manual_seed(0)` a user makes data. An evaluation with seed 0 that drew the same stream would find the noise
of the data in its own samples: mutual information of 2.0 nats where there are 1.1.
"""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from torch import Tensor

import lowerbound as lb
from lowerbound import evaluate
from lowerbound.evaluate import baselines
from lowerbound.evaluate.predictive_statistics import number_statistics
from lowerbound.exact import LinearGaussian
from lowerbound.linear import FactorAnalysers, fit_independent_components, fit_mixture_of_factor_analysers
from lowerbound.models.mixture_of_factor_analysers import model_of
from lowerbound.models.sequence import state_space

EXACT = LinearGaussian.random(4, 2, seed=1)
X = EXACT.sample(40)
LATENTS, FACTORS = torch.randn(60, 3), torch.randint(3, (60, 2))
MODEL = EXACT.model()

X_WITH_GAPS = torch.tensor([[1.0, torch.nan]])
GAPS = model_of(FactorAnalysers(torch.ones(1), (LinearGaussian(torch.ones(2, 1), torch.zeros(2), torch.ones(2)),)))
CALLS = {
    "completions": lambda seed: list(evaluate.completions(GAPS, X_WITH_GAPS, num_samples=2, seed=seed)),
    "draw_missing": lambda seed: evaluate.draw_missing(GAPS, X_WITH_GAPS, 2, num_samples=2, seed=seed),
    "aggregate_posterior": lambda seed: evaluate.aggregate_posterior(MODEL, X, seed=seed),
    "annealed_importance": lambda seed: evaluate.annealed_importance(
        MODEL, X[:2], num_distributions=3, num_chains=2, num_leapfrog=1, seed=seed
    ),
    "beta_vae_score": lambda seed: evaluate.beta_vae_score(LATENTS, FACTORS, num_votes=20, seed=seed),
    "bidirectional": lambda seed: evaluate.bidirectional(
        MODEL, 2, num_distributions=3, num_chains=2, num_leapfrog=1, seed=seed
    ),
    "calibration": lambda seed: evaluate.calibration(MODEL, num_rows=3, num_draws=2, seed=seed),
    "classifier_two_sample": lambda seed: evaluate.classifier_two_sample(LATENTS, LATENTS + 9, seed=seed),
    "conditional_ranks": lambda seed: evaluate.conditional_ranks(MODEL, X[:2], num_draws=2, num_samples=2, seed=seed),
    "dci_scores": lambda seed: evaluate.dci_scores(LATENTS, FACTORS, num_trees=1, seed=seed),
    "factor_vae_score": lambda seed: evaluate.factor_vae_score(LATENTS, FACTORS, num_votes=20, seed=seed),
    "gradient_statistics": lambda seed: evaluate.gradient_statistics(
        lb.models.vae((4,), latent_dim=2, hidden=[3]),
        lb.objectives.ELBO(),
        lb.gradients.Pathwise(),
        torch.rand(3, 4),
        num_repeats=4,
        seed=seed,
    ),
    "sample_quality": lambda seed: evaluate.sample_quality(LATENTS, LATENTS + 1, num_neighbours=2, seed=seed),
    "inference_gaps": lambda seed: evaluate.inference_gaps(
        MODEL,
        X,
        evaluate.log_evidence(MODEL, X, num_samples=2, seed=10**9 + seed),
        refine=lb.inference.Amortised(),
        num_samples=2,
        seed=seed,
    ),
    "log_evidence": lambda seed: evaluate.log_evidence(MODEL, X, num_samples=3, seed=seed),
    "log_evidence_of_sums": lambda seed: evaluate.log_evidence_of_sums(
        MODEL, [X[:2], X[2:3]], num_samples=3, seed=seed
    ),
    "mutated": lambda seed: evaluate.mutated(torch.rand(3, 4), 0.1, seed=seed),
    "next_steps": lambda seed: evaluate.next_steps(
        state_space((3, 2), latent_dim=2, recurrent_dim=3).eval(),
        torch.zeros(2, 3, 2),
        1,
        [0.5],
        num_samples=3,
        seed=seed,
    ),
    "particle_filter": lambda seed: evaluate.particle_filter(
        state_space((3, 2), latent_dim=2, recurrent_dim=3), torch.zeros(2, 3, 2), num_particles=3, seed=seed
    ),
    "posterior_two_sample": lambda seed: evaluate.posterior_two_sample(
        MODEL, X[:1], lambda model, x, _: model.infer(x), num_draws=50, seed=seed
    ),
    "posterior_mean": lambda seed: evaluate.posterior_mean(MODEL, X, seed=seed),
    "predictive_checks": lambda seed: evaluate.predictive_checks(
        MODEL, X, number_statistics, num_replicates=20, seed=seed
    ),
    "uniform_ranks": lambda seed: evaluate.uniform_ranks(torch.zeros(3), torch.zeros(2, 3), seed=seed),
    "summary": lambda seed: evaluate.summary(MODEL, X, seed=seed),
    "infer": lambda seed: lb.infer(MODEL, X, seed=seed),
    "Inferred.sample": lambda seed: lb.infer(MODEL, X, seed=10**9).sample(2, seed=seed),
    "independent_components": lambda seed: next(fit_independent_components(X, 2, seed=seed)),
    "mixture_of_factor_analysers": lambda seed: next(fit_mixture_of_factor_analysers(X, 2, 1, seed=seed)),
}
SAME_STREAM = {
    "bits_per_dim",
    "log_conditionals",
    "expected_coverage",
    "latent_moments",
    "likelihood_ratio",
    "likelihood_regret",
    "negative_log_evidence",
    "prior_evidence",
    "tarp",
}
"""Thin functions over others, such as `log_evidence`, `posterior_mean` and `uniform_ranks`, which get their seed."""


@pytest.fixture
def seeds(monkeypatch) -> list[int]:
    """Every seed that a generator of torch or NumPy is given, but those of scikit-learn's own estimators."""
    found: list[int] = []

    def record(owner, name):
        original = getattr(owner, name)

        def recorded(*arguments):
            found.append(int(arguments[-1]))
            return original(*arguments)

        monkeypatch.setattr(owner, name, recorded)

    class Generator(torch.Generator):
        def manual_seed(self, seed):
            found.append(int(seed))
            return super().manual_seed(seed)

    class Default:
        def manual_seed(self, seed):
            found.append(int(seed))
            return torch.random.default_generator.manual_seed(seed)

        def __getattr__(self, name):
            return getattr(torch.random.default_generator, name)

    monkeypatch.setattr(torch, "Generator", Generator)
    monkeypatch.setattr(torch, "default_generator", Default())
    record(torch, "manual_seed")
    record(np.random, "default_rng")
    return found


def test_all_functions_with_a_seed_are_looked_at():
    names = {name for name in evaluate.__all__ if inspect.isfunction(getattr(evaluate, name))}
    seeded = {name for name in names if "seed" in inspect.signature(getattr(evaluate, name)).parameters}
    of_baselines = {name for name in baselines.__all__ if name in seeded}
    assert seeded - of_baselines - SAME_STREAM == set(CALLS) & names


@pytest.mark.parametrize("name", CALLS)
def test_the_stream_is_not_the_plain_one(name, seeds):
    for seed in (0, 7):
        CALLS[name](seed)
    assert seeds
    assert min(seeds) > 2**31  # SeedSequence spreads over 63 bits: a smaller number is a plain seed


def test_no_two_functions_draw_the_same_stream(seeds):
    first = []
    for name, call in CALLS.items():
        seeds.clear()
        call(0)
        first.append(seeds[-1] if name in ("inference_gaps", "Inferred.sample") else seeds[0])
    assert len(set(first)) == len(CALLS)


def test_data_made_under_the_same_number_do_not_come_back_as_samples():
    """Posterior draws of a latent that is noise added to x: with the plain stream they repeat the noise of the data."""
    torch.manual_seed(0)
    noise = torch.randn(8, 200, 3).double()[0]
    model = LinearGaussian(torch.eye(3).double(), torch.zeros(3).double(), torch.ones(()).double()).model()
    seen: list[Tensor] = []

    class Watched(type(model.posterior)):
        def forward(self, context):
            q = super().forward(context)
            seen.append(torch.randn(200, 3, dtype=torch.float64))
            return q

    model.posterior.__class__ = Watched
    evaluate.aggregate_posterior(model, noise, seed=0)
    together = torch.stack([seen[0].flatten(), noise.flatten()])
    assert abs(float(torch.corrcoef(together)[0, 1])) < 6 / 600**0.5
