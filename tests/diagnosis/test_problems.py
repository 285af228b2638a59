"""Every problem planted by construction and found, with the exact number where there is one; a healthy model has none.

The models are linear and Gaussian, where q, its best, and what either loses are closed forms. No model is trained.
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal

from lowerbound.diagnosis import PROBLEMS, Bars, Case, Measurement, examine
from lowerbound.diagnosis.decoder_overfitting import decoder_overfitting
from lowerbound.diagnosis.finding import found
from lowerbound.diagnosis.gradient_noise import _between
from lowerbound.diagnosis.unlike_posterior import allowed_accuracy
from lowerbound.exact import LinearGaussian
from lowerbound.gradients import Pathwise, ScoreFunction
from lowerbound.linear import FactorAnalysers
from lowerbound.losses import VariationalLoss
from lowerbound.model import LatentVariableModel
from lowerbound.models import deep_latent_gaussian, vae, very_deep
from lowerbound.models.mixture_of_factor_analysers import model_of
from lowerbound.objectives import ELBO

ROWS = 200


@pytest.fixture(autouse=True)
def few_chains(monkeypatch):
    monkeypatch.setattr("lowerbound.diagnosis.unlike_posterior._ROWS", 3)
    monkeypatch.setattr("lowerbound.diagnosis.unlike_posterior._CHAIN", 120)


def exact_model() -> LinearGaussian:
    weight = torch.tensor([[2.0, 0.5], [-0.5, 2.0], [1.0, -1.0], [0.0, 1.5]], dtype=torch.float64)
    return LinearGaussian(weight, torch.ones(4, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64))


def case_of(exact, model=None, *, gradient=None, num_samples=1, train=None, held_out=None, **options):
    model = exact.model() if model is None else model
    loss = VariationalLoss(model, ELBO(), Pathwise() if gradient is None else gradient, num_samples)
    train = exact.sample(2 * ROWS) if train is None else train
    held_out = exact.sample(ROWS) if held_out is None else held_out
    return Case(model=model, x_train=train, x_held_out=held_out, loss=loss, batch_size=32, **options)


def test_a_healthy_model_has_nothing():
    exact = exact_model()
    far = exact.sample(ROWS) * 3 + 5
    diagnosis = examine(case_of(exact, x_against=far))
    asked = [f for f in diagnosis.findings if f.name not in ("code collapse", "silent layers")]  # one layer, no codes
    assert [f.name for f in diagnosis.findings] == list(PROBLEMS)
    assert {f.present for f in asked} == {False}
    assert diagnosis.present == ()
    assert all(f.remedy is None and f.picture is not None for f in asked)
    values = {f.name: f.evidence for f in diagnosis.findings}
    assert math.isclose(values["imbalance of rate and distortion"].value, 1, abs_tol=0.1)
    assert math.isclose(values["dispersion of the likelihood"].value, 1, abs_tol=0.1)
    noise = values["noise of the gradient"]  # W = H and B = 0, so that the share is a half
    assert abs(noise.value - 0.5) < 4 * noise.standard_error < 0.12
    information = values["posterior collapse"]
    assert information.value == pytest.approx(0.5 * torch.logdet(exact.posterior_precision).item(), abs=0.3)


def flagged(name, case):
    finding = PROBLEMS[name](case)
    assert finding.present is True, finding
    assert finding.name == name
    assert finding.remedy
    return finding


def test_collapse():
    model = exact_model().model()
    with torch.no_grad():
        model.posterior.weight.zero_()
        model.posterior.offset.zero_()
        model.posterior.scale_tril.copy_(torch.eye(2))
    finding = flagged("posterior collapse", case_of(exact_model(), model))
    assert abs(finding.evidence.value) < 1e-6
    assert "0 of 2 latents are active" in finding.sentence
    assert "--objective beta-elbo" in finding.remedy  # no closed form of a full Gaussian's rate per latent


@pytest.mark.parametrize("shift", [3.0, 4.0])
def test_holes(shift):
    """Latents about a point that is away from the prior's mean: KL(q(z) ‖ p(z)) = ½ shift² for each of two latents."""
    exact = exact_model()
    x = [exact.sample(n) + exact.weight.sum(1) * shift for n in (2 * ROWS, ROWS)]
    finding = flagged("holes", case_of(exact, train=x[0], held_out=x[1]))
    shrink = torch.linalg.inv(exact.posterior_precision) @ (exact.posterior_precision - torch.eye(2))
    known = 0.5 * ((shrink @ torch.full((2,), shift, dtype=torch.float64)) ** 2).sum().item()
    assert abs(finding.evidence.value - known) < 4 * finding.evidence.standard_error
    assert "--prior vamp-prior" in finding.remedy


def test_holes_are_judged_by_held_out_latents():
    """A prior that follows the latents of training rows far away would cost held-out rows, not save."""
    exact = exact_model()
    train = exact.sample(2 * ROWS) + exact.weight.sum(1) * 4
    assert PROBLEMS["holes"](case_of(exact, train=train)).evidence.value < -5


def off_by(exact, offset, *, diagonal=False):
    model = exact.model(exact.posterior_module(diagonal=diagonal))
    with torch.no_grad():
        model.posterior.offset += offset
    return model


def test_amortisation_gap():
    """An encoder that is off by δ loses ½ δᵀ M δ."""
    exact = exact_model()
    delta = torch.full((2,), 0.6, dtype=torch.float64)
    finding = flagged("amortisation gap", case_of(exact, off_by(exact, 0.6)))
    assert finding.evidence.value == pytest.approx(0.5 * (delta @ exact.posterior_precision @ delta).item(), rel=0.05)
    assert "--hidden 512,512" in finding.remedy


@pytest.mark.slow
def test_a_wrong_encoder_is_no_fault_of_the_family():
    exact = exact_model()
    case = case_of(exact, off_by(exact, 0.6))
    assert PROBLEMS["approximation gap"](case).present is False
    assert PROBLEMS["encoder overfitting"](case).present is False


@pytest.mark.slow
def test_approximation_gap():
    """Two latents that the data tell apart only by their sum: the best factorised q is far from p(z | x)."""
    weight = torch.tensor([[6.0, 6.0], [6.0, 7.0]], dtype=torch.float64)
    exact = LinearGaussian(weight, torch.zeros(2, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))
    x = exact.sample(ROWS)
    case = case_of(exact, exact.model(exact.posterior_module(diagonal=True)), train=x, held_out=x)
    finding = flagged("approximation gap", case)
    known = (exact.log_evidence(x) - exact.optimal_elbo(x)).mean().item()
    assert finding.evidence.value == pytest.approx(known, abs=0.3)
    assert PROBLEMS["amortisation gap"](case).present is False
    assert "--posterior full-normal" in finding.remedy


@pytest.mark.parametrize("beta", [0.1, 0.5, 1.0, 2.0, 4.0])
def test_imbalance(beta):
    """The best q for a weight β is the posterior of a likelihood to the power 1/β, whose scale is √β σ."""
    exact = exact_model()
    q = LinearGaussian(exact.weight, exact.offset, exact.scale * beta**0.5).posterior_module()
    x = exact.sample(500)
    case = case_of(exact, exact.model(q), train=x)
    finding = PROBLEMS["imbalance of rate and distortion"](case)
    assert finding.evidence.value == pytest.approx(beta, rel=0.2)
    assert abs(finding.evidence.value - beta) < 4 * finding.evidence.standard_error
    assert finding.present is (beta in (0.1, 4.0))
    assert (finding.remedy is None) is (not finding.present)


def test_overfitting_of_the_decoder():
    """Probabilistic PCA with 20 components of 30 rows of noise in 40 dimensions, at its maximum likelihood."""
    x = torch.randn(230, 40, dtype=torch.float64)
    train, held_out, size = x[:30], x[30:], 20
    mean = train.mean(0)
    _, s, v = torch.linalg.svd(train - mean, full_matrices=False)
    eigenvalues = s**2 / len(train)
    variance = eigenvalues[size:].sum() / (40 - size)
    weight = v[:size].mT * (eigenvalues[:size] - variance).sqrt()
    exact = LinearGaussian(weight, mean, variance.sqrt())
    finding = flagged("decoder overfitting", case_of(exact, train=train, held_out=held_out))
    difference = exact.log_evidence(train).mean() - exact.log_evidence(held_out).mean()
    assert finding.evidence.value == pytest.approx(difference.item() / exact.log_evidence(train).std().item(), rel=0.1)


class KnowsItsRows(nn.Module):
    """The exact posterior of rows that it has seen; elsewhere its mean is off."""

    def __init__(self, exact, rows):
        super().__init__()
        self.exact, self.rows = exact, rows

    def forward(self, x):
        q = self.exact.posterior(x)
        known = torch.cdist(x, self.rows).min(1).values < 1e-9
        return MultivariateNormal(q.mean + 0.6 * (~known)[:, None], scale_tril=q.scale_tril, validate_args=False)


@pytest.mark.slow
def test_overfitting_of_the_encoder():
    exact = exact_model()
    train = exact.sample(ROWS)
    case = case_of(exact, exact.model(KnowsItsRows(exact, train)), train=train)
    finding = flagged("encoder overfitting", case)
    delta = torch.full((2,), 0.6, dtype=torch.float64)
    assert finding.evidence.value == pytest.approx(0.5 * (delta @ exact.posterior_precision @ delta).item(), rel=0.1)
    assert PROBLEMS["amortisation gap"](case).present is False
    assert PROBLEMS["decoder overfitting"](case).present is False


@pytest.mark.parametrize("factor, word", [(0.6, "under-dispersed"), (1.7, "over-dispersed")])
def test_dispersion(factor, word):
    exact = exact_model()
    wrong = LinearGaussian(exact.weight, exact.offset, exact.scale * factor)
    case = case_of(exact, wrong.model())
    finding = flagged("dispersion of the likelihood", case)
    assert word in finding.sentence
    assert (finding.evidence.value > 1) is (factor < 1)


def test_dispersion_is_of_the_likelihood_and_not_of_q():
    """A q that is too wide has larger errors; importance weights take that out."""
    exact = exact_model()
    model = exact.model()
    with torch.no_grad():
        model.posterior.scale_tril *= 1.6
    finding = PROBLEMS["dispersion of the likelihood"](case_of(exact, model))
    assert finding.present is False
    assert abs(finding.evidence.value - 1) < 0.1


def test_dispersion_is_of_the_entries_that_are_there():
    exact = exact_model()
    model = model_of(FactorAnalysers(torch.ones(1, dtype=torch.float64), (exact,)))
    x = exact.sample(ROWS)
    x[torch.rand_like(x) < 0.3] = math.nan
    case = case_of(exact, model, held_out=x, gradient=ScoreFunction(), num_samples=2)
    assert abs(PROBLEMS["dispersion of the likelihood"](case).evidence.value - 1) < 0.1


def test_dispersion_of_a_likelihood_that_draws_its_mean_is_undefined():
    model = vae((4,), latent_dim=2, hidden=[3])
    with torch.no_grad():
        *_, weight, bias = model.likelihood.parameters()
        weight.zero_()
        bias.fill_(200.0)
    loss = VariationalLoss(model, ELBO(), Pathwise(), 1)
    case = Case(model=model, x_train=torch.ones(6, 4), x_held_out=torch.ones(3, 4), loss=loss, batch_size=6)
    finding = PROBLEMS["dispersion of the likelihood"](case)
    assert finding.present is None
    assert "each draw of the likelihood is its mean" in finding.sentence


def test_noise_of_the_gradient():
    finding = flagged("noise of the gradient", case_of(exact_model(), gradient=ScoreFunction(baseline=None)))
    assert finding.evidence.value > 0.95
    assert "--num-samples" in finding.remedy
    fewer = case_of(exact_model(), gradient=ScoreFunction(), num_samples=8)
    assert PROBLEMS["noise of the gradient"](fewer).present is False  # LeaveOneOut at the exact posterior has none


def test_the_variance_between_minibatches_against_its_definition():
    one, two = torch.randn(2, 7, 5, dtype=torch.float64) + 2 * torch.randn(7, 5, dtype=torch.float64)

    def direct(a, b):
        return ((a - a.mean(0)) * (b - b.mean(0))).sum() / (len(a) - 1)

    known = [direct(one, two)]
    for left_out in range(7):
        kept = torch.arange(7) != left_out
        known.append(direct(one[kept], two[kept]))
    assert min(known) > 0
    torch.testing.assert_close(_between(one @ two.mT), torch.stack(known))


def test_what_comes_from_the_minibatch_is_no_noise_of_the_latents():
    """An encoder whose error has another sign for every half of the rows: minibatches differ, latents hardly matter."""
    exact = exact_model()
    model = off_by(exact, 0.0)
    with torch.no_grad():
        model.posterior.weight.mul_(-4.0)
    assert PROBLEMS["noise of the gradient"](case_of(exact, model)).evidence.value < 0.3


def test_blindness():
    exact = exact_model()
    near = exact.offset + 0.1 * torch.randn(ROWS, 4, dtype=torch.float64)
    finding = flagged("blindness to other data", case_of(exact, x_against=near, against="fashion-mnist"))
    assert finding.evidence.value < 0.2
    assert "likelihood_regret" in finding.remedy
    assert "fashion-mnist" in finding.sentence
    assert PROBLEMS["blindness to other data"](case_of(exact)).present is None


def test_what_the_rows_cannot_decide_is_healthy():
    evidence = Measurement(value=3.0, standard_error=0.6, low=1.0, high=2.0, unit="nats")
    assert not evidence.outside  # 3 − 1.96 · 0.6 < 2
    assert replace(evidence, standard_error=0.5).outside
    assert replace(evidence, value=0.0, standard_error=0.5).outside
    assert not replace(evidence, value=0.0, standard_error=0.52).outside
    assert not replace(evidence, value=1.5).outside


@pytest.mark.parametrize("broken", [{"value": math.nan}, {"value": math.inf}, {"standard_error": math.nan}])
def test_a_number_that_is_none_is_not_judged(broken):
    evidence = replace(Measurement(value=3.0, standard_error=0.1, high=2.0, unit="nats"), **broken)
    finding = found("x", evidence, ill="ill", well="well", remedy=None, picture=Bars(values={}, label=""))
    assert finding.present is None


def test_a_measurement_that_refuses_says_why_and_the_others_go_on():
    class NoDensity(MultivariateNormal):
        def log_prob(self, value):
            raise NotImplementedError

    exact = exact_model()
    model = exact.model(lambda x: NoDensity(exact.posterior(x).mean, torch.eye(2, dtype=torch.float64)))
    diagnosis = examine(case_of(exact, model))
    assert len(diagnosis.findings) == len(PROBLEMS)
    assert diagnosis.findings[0].present is None
    assert "has none" in diagnosis.findings[0].sentence


def test_one_row_is_refused():
    exact = exact_model()
    with pytest.raises(ValueError, match="1 row in x_held_out"):
        case_of(exact, held_out=exact.sample(1))


@pytest.mark.parametrize(
    "scale, shift, word, remedy",
    [
        (2.0, 0.0, "too wide", "--hidden 512,512"),
        (0.5, 0.0, "too narrow", "--objective iwae --num-samples 16"),
        (1.0, 0.5, "off to one side", "--hidden 512,512"),
    ],
)
def test_miscalibration(scale, shift, word, remedy):
    exact = exact_model()
    model = off_by(exact, shift * torch.linalg.inv(exact.posterior_precision).diagonal().sqrt())
    with torch.no_grad():
        model.posterior.scale_tril *= scale
    finding = flagged("miscalibration of q", case_of(exact, model))
    assert finding.sentence.startswith(f"q is {word}: the ranks of z[")
    assert finding.remedy.endswith(remedy)
    assert (
        finding.picture.series[finding.sentence.split("ranks of ")[1].split(" are")[0]].shape == finding.picture.x.shape
    )


def test_miscalibration_is_of_q_and_not_of_the_data():
    """q is exact for its model, and the rows are of another: the finding says nothing of those."""
    exact = exact_model()
    case = case_of(exact, LinearGaussian(exact.weight, exact.offset, exact.scale * 3).model())
    finding = PROBLEMS["miscalibration of q"](case)
    assert finding.present is False
    assert "regions of q with 80% hold the latents of" in finding.sentence.replace("Regions", "regions")


def test_miscalibration_is_undefined_where_rows_are_grey_and_draws_are_not():
    model = vae((5,), latent_dim=2, hidden=[4])
    case = Case(model=model.eval(), x_train=torch.rand(4, 5), x_held_out=torch.rand(4, 5))
    assert PROBLEMS["miscalibration of q"](case).present is None


def test_silent_layers():
    """Groups of which q is p have no rate; a mean that is off by 1 in two latents of scale 1.01 has 1 / 1.01² nats."""
    model = very_deep((2, 2), groups=[4], latent_channels=2, width=8, hidden=4)
    for number, group in enumerate(model.posterior.groups):  # in the order of drawing: that of z_4 is the first
        last = group.net.layers[-1]
        nn.init.zeros_(last.weight)
        with torch.no_grad():
            last.bias.copy_(torch.tensor([1.0, 1.0, 0.0, 0.0]) * (number in (0, 2)))
    x = torch.rand(2 * ROWS, 2, 2).round()
    finding = flagged("silent layers", Case(model=model, x_train=x[ROWS:], x_held_out=x[:ROWS]))
    assert "Layers 1, 3 are silent (2 of 4" in finding.sentence
    rates = [value for value, _ in finding.picture.values.values()]
    assert rates == pytest.approx([0, 1 / 1.01**2, 0, 1 / 1.01**2], abs=0.1)
    assert "--objective free-bits:nats=0.5,per=group" in finding.remedy


def test_only_hierarchies_have_layers_to_fall_silent():
    assert PROBLEMS["silent layers"](case_of(exact_model())).present is None
    deep = deep_latent_gaussian((2, 2), latent_dims=[3, 2], hidden=[[4], [4]])
    x = torch.rand(6, 2, 2).round()
    assert "another order than p" in PROBLEMS["silent layers"](Case(model=deep, x_train=x, x_held_out=x)).sentence


def test_rows_of_one_log_p_have_no_deviation_to_be_compared_with() -> None:
    same = SimpleNamespace(log_evidence=torch.zeros(4))
    case = object.__new__(Case)
    case.__dict__.update(model=exact_model().model(), evidence_train=same, evidence_held_out=same)
    with pytest.raises(ValueError, match=r"log p\(x\) is the same for all training rows"):
        decoder_overfitting(case)


def wider(exact, factor):
    model = exact.model()
    with torch.no_grad():
        model.posterior.scale_tril *= factor
    return model


@pytest.mark.parametrize("ill", ["wide", pytest.param("shifted", marks=pytest.mark.slow)])
def test_a_classifier_tells_a_wrong_q_from_the_posterior(ill, monkeypatch):
    """The accuracy is at most that of the best classifier, ½ (1 + P(χ²_2 < t) − P(χ²_2 < t/4)) for twice the scale."""
    exact = exact_model()
    monkeypatch.setattr("lowerbound.diagnosis.unlike_posterior._ROWS", 8)
    monkeypatch.setattr("lowerbound.diagnosis.unlike_posterior._CHAIN", 300)
    model = wider(exact, 2) if ill == "wide" else off_by(exact, 0.6)
    finding = flagged("q unlike the posterior", case_of(exact, model))
    best = 0.736
    if ill == "shifted":
        delta = torch.full((2,), 0.6, dtype=torch.float64)
        size = (delta @ exact.posterior_precision @ delta).sqrt().item()
        best = 0.5 * (1 + math.erf(size / 2 / 2**0.5))
    assert best - 0.06 < finding.evidence.value < best + 0.03
    assert finding.evidence.high == pytest.approx(allowed_accuracy(2))


class Shifted(LatentVariableModel):
    """A model of x − c for a context c."""

    def __init__(self, base: LatentVariableModel):
        super().__init__(prior=base.prior, likelihood=base.likelihood, posterior=base.posterior)

    def infer(self, x, context=None):
        return super().infer(x - context)

    def joint(self, x, context=None):
        return super().joint(x - context)

    def decode(self, z, context=None):
        p = super().decode(z)
        return Independent(Normal(p.mean + context, p.stddev), 1)


def test_with_a_context_every_finding_is_that_of_the_model_of_the_rest(brief_diagnosis):
    exact = exact_model()
    train, held_out, far = exact.sample(60), exact.sample(30), exact.sample(30) + 5
    rows = {"x_train": train, "x_held_out": held_out, "x_against": far}
    contexts = {name.replace("x_", "context_"): 3 * torch.randn_like(x) for name, x in rows.items()}
    shifted = {name: x + contexts[name.replace("x_", "context_")] for name, x in rows.items()}
    base = exact.model()
    plain = Case(model=base, loss=VariationalLoss(base, ELBO(), Pathwise(), 1), batch_size=8, **rows)
    model = Shifted(base)
    loss = VariationalLoss(model, ELBO(), Pathwise(), 1)
    given = Case(model=model, loss=loss, batch_size=8, **shifted, **contexts)
    for one, other in zip(examine(plain).findings, examine(given).findings, strict=True):
        assert (one.name, one.present) == (other.name, other.present), other
        if one.evidence is not None:
            rounding = (
                1e-6 if one.name != "q unlike the posterior" else 0.1
            )  # the training of a classifier amplifies it
            assert other.evidence.value == pytest.approx(one.evidence.value, rel=1e-3, abs=rounding), one.name


def test_a_context_of_another_length_is_refused():
    exact = exact_model()
    with pytest.raises(ValueError, match="3 rows of context and 200 in x_held_out"):
        case_of(exact, context_held_out=torch.zeros(3, 1))
