from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from rich.console import Console
from scipy import stats
from torch import nn
from torch.distributions import Independent, Uniform

from lowerbound.cli.scores import print_scores
from lowerbound.data import Dataset, Identity, Pixels, Standardize
from lowerbound.data.given import dataset_of
from lowerbound.evaluate import baselines
from lowerbound.exact import LinearGaussian
from lowerbound.fitted import Fitted
from lowerbound.likelihoods import Bernoulli, Poisson
from lowerbound.model import LatentVariableModel
from lowerbound.models import vae
from lowerbound.nets import MLP
from lowerbound.posteriors import DiagonalNormal
from lowerbound.priors import MixtureNormal, StandardNormal
from lowerbound.verbs import score_parts
from lowerbound.verbs.scoring import rows_for_baselines, score


@pytest.fixture
def exact() -> LinearGaussian:
    torch.set_default_dtype(torch.float64)
    return LinearGaussian(torch.tensor([[1.0], [2.0], [-1.0]]), torch.zeros(3), torch.tensor([0.5, 0.5, 0.5]))


def _bernoulli_model() -> LatentVariableModel:
    return LatentVariableModel(
        prior=StandardNormal(2),
        likelihood=Bernoulli(MLP(2, [4], 6)),
        posterior=DiagonalNormal(MLP(6, [4], (2, 2))),
    )


def test_scores_of_an_exact_model_are_its_evidence(exact):
    x = exact.sample(300)
    scores = score(exact.model(), x, num_samples=10)
    evidence = exact.log_evidence(x)
    assert scores["log_evidence"] == pytest.approx(evidence.mean().item(), abs=1e-9)  # q is the posterior: no variance
    assert scores["elbo"] == pytest.approx(evidence.mean().item(), abs=1e-9)
    assert scores["log_evidence_standard_error"] == pytest.approx(evidence.std().item() / math.sqrt(300))
    assert scores["elbo"] == pytest.approx(-scores["distortion"] - scores["rate"])
    assert scores["effective_sample_size"] == pytest.approx(10)
    assert (scores["num_samples"], scores["num_data"], scores["num_dimensions"]) == (10, 300, 3)
    assert (scores["latent_dim"], scores["active_units"]) == (1, 1)
    assert scores["bits_per_dim"] is None  # a density
    assert scores["baselines"] == {}


def test_the_gaussian_baseline_is_the_one_of_the_training_rows_and_the_margin_is_paired(exact):
    x_train, x_test = exact.sample(2000), exact.sample(200)
    scores = score(exact.model(), x_test, x_train=x_train, num_samples=2)
    rows = x_train.numpy()
    expected = stats.multivariate_normal.logpdf(x_test.numpy(), rows.mean(0), np.cov(rows.T, bias=True))  # type: ignore[arg-type]
    gaussian = scores["baselines"]["gaussian"]
    assert gaussian["log_likelihood"] == pytest.approx(expected.mean(), abs=1e-3)
    assert gaussian["standard_error"] == pytest.approx(expected.std(ddof=1) / math.sqrt(200), rel=1e-2)
    difference = exact.log_evidence(x_test).numpy() - expected
    assert gaussian["margin"] == pytest.approx(difference.mean(), abs=1e-3)
    assert gaussian["margin_standard_error"] == pytest.approx(difference.std(ddof=1) / math.sqrt(200), rel=0.05)
    assert gaussian["margin_standard_error"] < gaussian["standard_error"] / 10


def test_a_gaussian_that_has_more_columns_than_rows_is_left_out_with_the_reason(exact):
    x = exact.sample(50)
    assert "baselines_left_out" not in score(exact.model(), x, x_train=x[:4], num_samples=2)
    scores = score(exact.model(), x, x_train=x[:3], num_samples=2)
    assert set(scores["baselines"]) == {"independent elements"}
    reason = "a full covariance needs more rows than columns, and there are 3 rows of 3 columns"
    assert scores["baselines_left_out"] == {"gaussian": reason, "gaussian mixture": reason}


def test_mixtures_of_gaussians_are_as_large_as_is_quick_and_left_out_above(exact, monkeypatch):
    x, model, tried = exact.sample(50), exact.model(), []

    def mixture(train, test, *, seed, components):
        tried.append(components)
        return test.sum(1)

    monkeypatch.setattr(baselines, "gaussian_mixture", mixture)
    monkeypatch.setattr(baselines, "gaussian", lambda train, test, *, seed: test.sum(1))
    for most in (9 * 53 * 10, 9 * 53 * 2, 9 * 53):  # of products: columns² (rows + columns) components
        monkeypatch.setattr(score_parts, "_MOST_OF_MIXTURE", most)
        found = score_parts.baselines_of(model.likelihood, x, x, 0)
        left = score_parts.baselines_left_out(model.likelihood, x)
        assert ("gaussian mixture" in left) == ("gaussian mixture" not in found)
    assert tried == [[1, 3, 10]]
    assert left == {"gaussian mixture": "full covariances of 3 columns and 50 rows take too long"}


def test_binary_data_have_bits_and_bernoulli_baselines():
    x = torch.bernoulli(torch.full((50, 6), 0.3))
    scores = score(_bernoulli_model(), x, x_train=x, num_samples=4)
    assert scores["bits_per_dim"] == pytest.approx(-scores["log_evidence"] / (6 * math.log(2)))
    assert scores["elbo_bits_per_dim"] == pytest.approx(-scores["elbo"] / (6 * math.log(2)))
    assert scores["log_evidence"] >= scores["elbo"] - 0.5
    mean = (x.double().sum(0) + 0.5) / (50 + 1)
    expected = (x * mean.log() + (1 - x) * (1 - mean).log()).sum(1).mean().item()
    assert scores["baselines"]["independent elements"]["log_likelihood"] == pytest.approx(expected, abs=1e-4)
    assert "bernoulli mixture" in scores["baselines"]


def test_grey_values_under_bernoulli_have_no_bits():
    x = torch.rand(20, 6)
    scores = score(_bernoulli_model(), x, num_samples=4)
    assert scores["bits_per_dim"] is None
    assert scores["elbo_bits_per_dim"] is None


def test_counts_are_discrete_and_their_baseline_is_exact():
    """The report: evaluate called the probabilities of counts densities, with no bits and no baseline."""
    train, test = (torch.as_tensor(np.random.default_rng(i).poisson([2, 5, 1], (80, 3))).float() for i in (0, 1))
    model = LatentVariableModel(
        prior=StandardNormal(2), likelihood=Poisson(MLP(2, [4], 3)), posterior=DiagonalNormal(MLP(3, [4], (2, 2)))
    )
    scores = score(model, test, x_train=train, num_samples=4)
    assert scores["bits_per_dim"] == pytest.approx(-scores["log_evidence"] / (3 * math.log(2)))
    assert set(scores["baselines"]) == {"independent elements"}
    rate = (train.double().sum(0) + train.double().mean(0).round().clamp(min=1)) / (len(train) + 1)  # one pseudo-row
    expected = stats.poisson.logpmf(test.numpy(), rate.numpy()).sum(1).mean()
    assert scores["baselines"]["independent elements"]["log_likelihood"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    "name, value, discrete",
    [
        ("discretized-logistic:num_levels=8", 3.0, True),
        ("discretized-logistic-mixture:num_levels=8", 3.0, True),
        ("negative-binomial", 3.0, True),
        ("poisson", 3.0, True),
        ("zero-inflated-poisson", 3.0, True),
        ("categorical:num_classes=5", 3.0, True),
        ("bernoulli", 1.0, True),
        ("normal", 3.0, False),
        ("student-t", 3.0, False),
        ("continuous-bernoulli", 0.5, False),
        ("beta", 0.5, False),
    ],
)
def test_bits_are_given_for_discrete_data_and_for_no_other(name: str, value: float, discrete: bool):
    model = vae((2, 4, 4), latent_dim=1, hidden=[4], likelihood=name)
    x = torch.full((3, 2, 4, 4), value / 7 if "logistic" in name else value)
    scores = score(model, x, num_samples=2)
    assert (scores["bits_per_dim"] is not None, scores["elbo_bits_per_dim"] is not None) == (discrete, discrete)


def test_the_scale_of_the_columns_is_taken_off_every_number_in_nats(exact):
    x_train, x_test = exact.sample(100), exact.sample(20)
    plain, scaled = (
        score(exact.model(), x_test, x_train=x_train, log_scale=log_scale, num_samples=2) for log_scale in (0.0, 1.5)
    )
    for name, sign in {"elbo": -1, "log_evidence": -1, "distortion": 1, "rate": 0}.items():
        assert scaled[name] == pytest.approx(plain[name] + sign * 1.5, abs=1e-12), name
    for name, baseline in plain["baselines"].items():
        other = scaled["baselines"][name]
        assert other["log_likelihood"] == pytest.approx(baseline["log_likelihood"] - 1.5)
        assert other["margin"] == pytest.approx(baseline["margin"])
    assert (plain["log_scale"], scaled["log_scale"]) == (0.0, 1.5)


def test_one_row_and_one_sample_leave_null_in_valid_json(exact):
    scores = score(exact.model(), exact.sample(1), x_train=exact.sample(50), num_samples=1)
    assert scores["log_evidence_standard_error"] is None
    assert scores["baselines"]["gaussian"]["standard_error"] is None
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


class _Bounded(nn.Module):
    """p(z) uniform on (−1, 1), where a Gaussian posterior draws latents that are impossible."""

    def forward(self, context: object = None) -> Independent:
        return Independent(Uniform(-torch.ones(2), torch.ones(2), validate_args=False), 1)


def test_an_infinite_elbo_is_null_in_json_and_said_in_the_table_while_l_is_kept(capsys):
    model = LatentVariableModel(
        prior=_Bounded(), likelihood=Bernoulli(MLP(2, [4], 6)), posterior=DiagonalNormal(MLP(6, [4], (2, 2)))
    )
    scores = score(model, torch.ones(20, 6), num_samples=50)
    assert scores["elbo"] is None
    assert scores["log_evidence"] is not None
    print_scores(Console(), scores | {"data": "ones"}, Fitted(model, data=torch.eye(6).repeat(4, 1)))
    assert "ELBO" in (out := capsys.readouterr().out)
    assert "not finite" in out


def test_the_seed_decides_and_the_random_state_is_left_alone(exact):
    model = LatentVariableModel(
        prior=StandardNormal(1), likelihood=exact.model().likelihood, posterior=DiagonalNormal(MLP(3, [], (2, 1)))
    )
    x = exact.sample(10)
    before = torch.get_rng_state()
    first, again, other = (score(model, x, num_samples=3, seed=s) for s in (0, 0, 1))
    assert first == again
    assert first["log_evidence"] != other["log_evidence"]
    assert (torch.get_rng_state() == before).all()


def test_progress_ends_at_the_number_of_rows(exact):
    told: list[tuple[int, int]] = []
    score(
        exact.model(),
        exact.sample(7),
        num_samples=2,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (7, 7)


def _dataset(x: np.ndarray, train_rows: np.ndarray | None = None) -> Dataset:
    return Dataset.from_arrays(name="x", kind="table", x_train=x, x_test=x[:2], train_rows=train_rows, source="a test")


def test_baselines_train_on_grey_values_where_the_model_draws_and_on_the_models_values_elsewhere():
    x = np.arange(16, dtype=np.uint8).reshape(4, 2, 2) * 17
    images = dataset_of(x, hold_out=False)
    grey = torch.as_tensor(x) / 255
    assert torch.equal(rows_for_baselines(images, Pixels(scale=255.0, binarization="dynamic")), grey)
    threshold = Pixels(scale=255.0, binarization="threshold")
    assert torch.equal(rows_for_baselines(images, threshold), (grey > 0.5).float())
    table = np.arange(12, dtype=np.float32).reshape(4, 3) ** 2
    standardised = rows_for_baselines(_dataset(table), Standardize.fit(table))
    torch.testing.assert_close(standardised.mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    assert torch.equal(rows_for_baselines(_dataset(table), Identity()), torch.as_tensor(table))


def test_baselines_train_on_training_rows_only_and_on_a_spread_of_many(monkeypatch):
    x = np.arange(40, dtype=np.float32).reshape(20, 2)
    chosen = rows_for_baselines(_dataset(x, np.array([1, 3, 5, 7, 9])), Identity())
    assert chosen[:, 0].tolist() == [2, 6, 10, 14, 18]
    monkeypatch.setattr("lowerbound.verbs.scoring._MOST_BASELINE_ROWS", 2)
    fewer = rows_for_baselines(_dataset(x, np.array([1, 3, 5, 7, 9])), Identity())
    assert fewer[:, 0].tolist() == [2, 14]


def test_a_mixture_prior_says_which_components_no_code_uses():
    model = _bernoulli_model()
    x = (torch.rand(50, 6) > 0.5).float()
    assert score(model, x, num_samples=2)["components"] is None
    model.prior = MixtureNormal(2, components=3)
    with torch.no_grad():
        model.prior.loc[2] += 1e3
    found = score(model, x, num_samples=2)["components"]
    assert (found["number"], found["unused"] >= 1) == (3, True)
    assert 1 <= found["effective"] <= 2.0001
