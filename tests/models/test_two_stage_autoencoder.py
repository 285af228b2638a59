"""The recipe two-stage: its second stage raises the bound, rests encoder and decoder, and goes on to the same bits."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
import torch

from lowerbound.data.given import dataset_of
from lowerbound.fitted import Fitted
from lowerbound.fitting import stages
from lowerbound.fitting.planning import plan
from lowerbound.fitting.preparing import prepare
from lowerbound.losses import PriorAlone
from lowerbound.models import two_stage
from lowerbound.one_call import fit
from lowerbound.priors import AfterTraining, FlowMatching, FlowPrior, StandardNormal
from lowerbound.priors.closing import Course
from lowerbound.runs import Run
from lowerbound.training.checkpoint import BestWeights
from lowerbound.training.loop import train

MODEL = {"latent_dim": 2, "hidden": [16], "prior": "flow-matching:hidden=32,steps=6"}
CENTRES = 3 * np.array([[1, 0, 0, 1], [0, 1, 1, 0], [-1, 0, 1, -1]])
SMALL = {**MODEL, "likelihood": "normal", "device": "cpu", "batch_size": 50}


@pytest.fixture(scope="module")
def few():
    """Rows about three points, so that the codes lie in three places."""
    rng = np.random.default_rng(0)
    return dataset_of(CENTRES[np.arange(300) % 3] + 0.1 * rng.normal(size=(300, 4)))


@pytest.fixture(scope="module")
def fitted(few):
    return fit(few, "two-stage", steps=200, prior_epochs=60, prior_patience=60, lr=1e-2, **SMALL)


def test_the_rate_is_that_of_the_fitted_prior_and_lower_than_before(fitted, few):
    """What `evaluate` says is −log p(z) of the flow and not of the first stage."""
    scores = fitted.evaluate(num_samples=50)
    x = fitted.transform(torch.as_tensor(few.x_test))
    torch.manual_seed(0)
    with torch.no_grad():
        q = fitted.model.infer(x)
        z = q.sample((50,))
        rate = (q.log_prob(z) - fitted.model.prior.prior().log_prob(z)).mean()
        before = (q.log_prob(z) - StandardNormal(2)().log_prob(z)).mean()
    assert scores["rate"] == pytest.approx(float(rate), abs=0.1)
    assert rate < before - 0.3
    assert scores["log_evidence"] > scores["elbo"]


def test_a_saved_fit_opens_again_and_draws_the_same(fitted, tmp_path):
    fitted.save(tmp_path / "run")
    again = Fitted.open(tmp_path / "run")
    assert again.model.prior.is_fitted
    np.testing.assert_array_equal(again.sample(4), fitted.sample(4))


@pytest.mark.slow
def test_encoder_and_decoder_rest(few):
    first = fit(few, "two-stage", steps=5, prior_epochs=0, **SMALL)
    both = fit(few, "two-stage", steps=5, prior_epochs=2, **SMALL)
    assert first.sample(3).shape == (3, 4)  # from the standard normal
    for part in ("posterior", "likelihood"):
        for a, b in zip(getattr(first.model, part).parameters(), getattr(both.model, part).parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert both.model.prior.prior.velocity.last.weight.abs().max() > 0


@pytest.mark.parametrize("stopped_after", [pytest.param(2, marks=pytest.mark.slow), 24, 31])
def test_a_run_goes_on_to_the_same_bits_in_both_stages(few, tmp_path, stopped_after):
    """The 24th and 31st records are of steps 20 and 55 of the second stage, the last 30 of whose 60 are on log p(z)."""
    planned = plan(few, "two-stage", steps=20, prior_epochs=12, prior_patience=12, **SMALL)

    def run(path, records):
        made = Run.open(path) if path.exists() else Run.create(path, planned, {"name": "few"}, few)
        made.__dict__["dataset"] = few
        going = made.fit(prepare(few, planned, planned.engine()), planned.engine())
        for _ in itertools.islice(going, records):
            pass
        going.close()
        return made

    whole = run(tmp_path / "whole", None)
    run(tmp_path / "parts", stopped_after)
    parts = run(tmp_path / "parts", None)
    assert (whole.path / "model.safetensors").read_bytes() == (parts.path / "model.safetensors").read_bytes()
    assert json.dumps([r["terms"] for r in whole.metrics()]) == json.dumps([r["terms"] for r in parts.metrics()])


def test_the_second_stage_minimises_the_loss_of_matching_and_reports_the_bound():
    torch.manual_seed(0)
    model, x = two_stage((6,), **MODEL), torch.ones(40, 6)
    loss = PriorAlone(model, x)
    torch.manual_seed(1)
    found = loss(x)
    torch.manual_seed(1)
    z = model.infer(x).sample((1,))
    torch.testing.assert_close(found.loss, model.prior.prior.fitting_loss(z).mean())
    torch.testing.assert_close(found.terms["prior"], model.prior.prior().log_prob(z).mean().detach())
    loss.at_step(1)
    torch.testing.assert_close(loss(x).terms["prior"], found.terms["prior"])  # it stands


def test_the_second_half_of_the_second_stage_is_on_the_log_density():
    torch.manual_seed(0)
    model, x = two_stage((6,), **MODEL), torch.ones(40, 6)
    loss = PriorAlone(model, x)
    loss.of_length(100)
    losses = {}
    for step in (49, 50):
        loss.at_step(step)
        torch.manual_seed(1)
        losses[step] = loss(x)
    torch.manual_seed(1)
    z = model.infer(x).sample((1,))
    torch.testing.assert_close(losses[50].loss, model.prior.prior.closing_loss(z).mean())
    torch.testing.assert_close(losses[49].loss, model.prior.prior.fitting_loss(z).mean())


def test_the_second_stage_has_the_rates_of_its_course_and_says_so(fitted):
    second = [record for record in fitted.records if record["stage"] == 2]
    course = Course(FlowMatching.fitting_rate, second[-1]["step"] - 200, has_own_loss=True)
    assert second[-1]["learning_rate"] == course(course.num_steps - 1)
    assert [record["note"] for record in second if record["note"]] == [course.told]


def test_patience_counts_once_the_second_stage_is_on_the_log_density(few, monkeypatch):
    """No evaluation is better than the first, and the fit ends by the third of its second half."""
    best = iter(range(1000))
    monkeypatch.setattr(BestWeights, "offer", lambda self, bound: next(best) == 0)
    found = fit(few, "two-stage", steps=1, prior_epochs=20, prior_patience=3, **SMALL)
    second = [record for record in found.records if record["stage"] == 2]
    a_pass, last = second[0]["step"] - 1, second[-1]["step"] - 1
    begin = Course(1.0, math.ceil(20 * 216 / 50), has_own_loss=True).begin  # 216 rows in batches of 50
    assert begin < last - 2 * a_pass <= begin + a_pass
    assert "in 3 evaluations" in second[-1]["stopped"]


def test_an_affine_flow_has_a_rate_of_its_own_and_says_so(few):
    options = {**SMALL, "prior": "flow-prior:kind=affine,hidden=8"}
    found = fit(few, "two-stage", steps=1, prior_epochs=2, lr=1e-2, **options)
    second = [record for record in found.records if record["stage"] == 2]
    course = Course(FlowPrior(2, "affine").fitting_rate, second[-1]["step"] - 1)
    assert second[-1]["learning_rate"] == course(course.num_steps - 1)
    assert second[0]["note"].startswith("The prior learns by −log p(z), at a rate that falls from 0.003")


def test_a_second_stage_whose_steps_differ_is_not_compiled_and_says_so(few, monkeypatch):
    asked = []

    def uncompiled(*args, compile, **options):
        asked.append(compile)
        return train(*args, compile=False, **options)

    monkeypatch.setattr(stages, "train", uncompiled)
    found = fit(few, "two-stage", steps=1, prior_epochs=1, compile=True, **SMALL)
    assert asked == [True, False]
    notes = [record["note"] for record in found.records if record["note"]]
    assert len(notes) == 1
    assert notes[0].endswith("to a hundredth. Its steps differ in what they compute and are not compiled.")


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="prior='standard-normal', which learns nothing"):
        two_stage((6,), prior="standard-normal")
    with pytest.raises(ValueError, match="prior_epochs is -1"):
        two_stage((6,), prior_epochs=-1)
    with pytest.raises(ValueError, match="vamp"):
        two_stage((6,), prior="vamp-prior")
    assert AfterTraining(FlowMatching(2), before=StandardNormal(2)).can_sample
    assert not AfterTraining(FlowMatching(2)).can_sample
