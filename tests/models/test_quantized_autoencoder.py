"""The recipes fsq and vq: two stages in one fit, resumed to the same bits, and what a model without the second says."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from lowerbound.data import load
from lowerbound.data.given import dataset_of
from lowerbound.diagnosis import Case, examine
from lowerbound.diagnosis.code_collapse import code_collapse
from lowerbound.evaluate import code_usage
from lowerbound.fitted import Fitted
from lowerbound.fitting.planning import plan
from lowerbound.fitting.preparing import prepare
from lowerbound.gradients import Quantized
from lowerbound.losses import PriorAlone, VariationalLoss
from lowerbound.models import fsq, vae, vq
from lowerbound.objectives import ELBO
from lowerbound.one_call import fit
from lowerbound.runs import Run
from lowerbound.training.history import NonFiniteError

SMALL = {"hidden": [8], "prior_channels": 8, "prior_layers": 1, "device": "cpu"}
CODES = {"levels": [3, 3], **SMALL}


@pytest.fixture(scope="module")
def few():
    """Images of three kinds: bars at three places, with a bit turned over."""
    rng = np.random.default_rng(0)
    x = np.zeros((300, 6, 6), np.uint8)
    x[np.arange(300), :, 2 * (np.arange(300) % 3)] = 1
    x[np.arange(300), rng.integers(6, size=300), rng.integers(6, size=300)] ^= 1
    return dataset_of(x)


@pytest.fixture(scope="module")
def fitted(few):
    return fit(few, "fsq", steps=200, prior_epochs=20, lr=2e-2, batch_size=50, **{**CODES, "prior_channels": 16})


def held_out(records, stage):
    return [r["held_out"]["bound"] for r in records if r["stage"] == stage and r["held_out"] is not None]


def test_the_second_stage_raises_the_bound_of_the_first(fitted):
    """Nine codes at nine positions cost 9 log 9 = 19.8 nats; bars say the same in every row."""
    first, second = held_out(fitted.records, 1), held_out(fitted.records, 2)
    assert max(second) > max(first) + 5
    scores = fitted.evaluate(num_samples=25)
    assert scores["rate"] < 9 * math.log(9) - 5
    assert scores["elbo"] == pytest.approx(scores["log_evidence"])
    assert scores["codes"]["number"] == 9
    assert 2 <= scores["codes"]["effective"] <= scores["codes"]["used"] <= 9
    assert scores["elbo"] == pytest.approx(second[-1], abs=4)


def test_the_recipe_whitens_what_the_encoder_gives(fitted, few):
    """A model that does not say it, as those of saved runs, has nothing of it among its weights."""
    q, x = fitted.model.posterior, torch.as_tensor(few.x_train).float()
    with torch.no_grad():
        s = q.whitening(q.net(x).movedim(1, -1)).reshape(-1, 2)
    torch.testing.assert_close(s.mean(0), torch.zeros(2), atol=0.2, rtol=0)
    torch.testing.assert_close(s.T.cov(), torch.eye(2), atol=0.3, rtol=0)
    assert fitted.plan.model["whitened"] is True
    plain = fsq((6, 6), levels=[3, 3], hidden=[8])
    assert plain.posterior.whitening is None
    assert not any("whitening" in name for name in plain.state_dict())


def test_samples_come_from_the_prior_of_codes(fitted):
    x = np.asarray(fitted.sample(200, seed=3))
    bars = (x.mean(1) > 0.6).sum(1)
    assert (bars == 1).mean() > 0.9  # independent codes would give bars at some place in each part of the image


def test_a_saved_fit_opens_again_and_encodes_to_codes(fitted, few, tmp_path):
    fitted.save(tmp_path / "run")
    again = Fitted.open(tmp_path / "run")
    assert again.model.prior.is_fitted
    np.testing.assert_array_equal(again.sample(4), fitted.sample(4))
    encoded = again.encode(few.x_test)
    assert encoded.codes.shape == (len(few.x_test), 1, 9)
    assert encoded.codes.max() < 9
    assert encoded.mean.shape == (len(few.x_test), 2 * 9)
    assert (encoded.scale == 0).all()
    grid = np.array(list(itertools.product([-1, 0, 1], repeat=2)))[:, ::-1]
    np.testing.assert_allclose(encoded.mean.reshape(-1, 2, 9).transpose(0, 2, 1), grid[encoded.codes[:, 0]])


@pytest.mark.parametrize("stopped_after", [2, 7])
def test_a_run_goes_on_to_the_same_bits_in_both_stages(few, tmp_path, stopped_after):
    options = {"steps": 20, "prior_epochs": 3, "batch_size": 50, "num_codes": 5, "features": 2, **SMALL}
    planned = plan(few, "vq", **options)

    def run(path, records):
        made = Run.open(path) if path.exists() else Run.create(path, planned, {"name": "few"}, few)
        made.__dict__["dataset"] = few
        training = prepare(few, planned, planned.engine())
        going = made.fit(training, planned.engine())
        for _ in itertools.islice(going, records):
            pass
        going.close()
        return made

    whole = run(tmp_path / "whole", None)
    run(tmp_path / "parts", stopped_after)
    parts = run(tmp_path / "parts", None)
    assert (whole.path / "model.safetensors").read_bytes() == (parts.path / "model.safetensors").read_bytes()
    assert [r["terms"] for r in whole.metrics()] == [r["terms"] for r in parts.metrics()]
    assert {r["stage"] for r in whole.metrics()} == {1, 2}
    steps = [r["step"] for r in whole.metrics()]
    assert steps == sorted(set(steps))


def test_without_the_second_stage_it_scores_and_refuses_samples(few, tmp_path):
    first = fit(few, "vq", steps=3, prior_epochs=0, num_codes=5, features=2, **SMALL)
    assert first.evaluate(num_samples=5)["rate"] == pytest.approx(9 * math.log(5), rel=1e-5)
    with pytest.raises(ValueError, match="have no prior yet") as error:
        first.sample(3)
    assert len(str(error.value)) <= 300
    page = first.report(tmp_path / "report.html").read_text()
    assert "no prior yet" in page
    assert "Reconstructions" in page


@pytest.mark.parametrize("whitened", [True, False])
def test_a_fit_that_diverges_is_named(few, whitened):
    with pytest.raises(NonFiniteError, match=r"likelihood term, .* became nan"):
        fit(few, "fsq", steps=20, prior_epochs=0, lr=1e20, whitened=whitened, **CODES)


def test_any_shape_and_rows_of_a_table():
    assert fsq((3, 9, 5), levels=[2, 2], hidden=[4, 4]).posterior(torch.ones(2, 3, 9, 5)).event_shape == (3, 2, 4)
    model = vq((3, 9, 5), num_codes=4, features=2, stages=3, hidden=[4], prior_channels=4)
    assert model.posterior(torch.ones(2, 3, 9, 5)).event_shape == (3, 5, 3, 4)
    rows = np.random.default_rng(0).normal(size=(80, 3))
    fitted = fit(rows, "fsq", steps=4, latent_dim=2, prior_epochs=1, **CODES)
    assert fitted.plan.model["network"] == "mlp"
    assert fitted.sample(5).shape == (5, 3)


def test_a_collapsed_codebook_is_named(fitted, few):
    x = torch.as_tensor(few.x_train[:100]).float()
    healthy = code_collapse(Case(model=fitted.model, x_train=x, x_held_out=x[:20]))
    assert healthy.present is False
    alike = vq((6, 6), num_codes=40, features=2, hidden=[8])
    with torch.no_grad():
        alike.posterior.codebook.vectors.fill_(99)[0] = 0
    usage = code_usage(alike, x)
    assert (usage.used.item(), usage.effective.item(), usage.num_positions) == (1, 1.0, 900)
    collapsed = code_collapse(Case(model=alike, x_train=x, x_held_out=x[:20]))
    assert collapsed.present
    assert "1 of 40 codes" in collapsed.sentence
    assert code_collapse(Case(model=vae((6, 6), hidden=[8]), x_train=x, x_held_out=x[:20])).present is None


def test_usage_is_that_of_a_count():
    torch.manual_seed(0)
    model, x = vq((6, 6), num_codes=7, features=2, stages=2, hidden=[8]), torch.rand(50, 6, 6)
    index = model.infer(x).index
    usage = code_usage(model, x)
    for stage in range(2):
        share = torch.bincount(index[:, stage].flatten(), minlength=7) / index[:, stage].numel()
        assert usage.used[stage] == (share > 0).sum()
        torch.testing.assert_close(usage.effective[stage].float(), torch.special.entr(share).sum().exp())


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"levels": [4, 1]}, "needs two or more in each place"),
        ({"prior_patience": 0}, "prior_patience is 0"),
        ({"latent_dim": 0}, "latent_dim is 0"),
        ({"likelihood": "nonsense"}, "no likelihood named 'nonsense'"),
    ],
)
def test_mistakes_are_named(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        fsq((6, 6), **options)


def test_more_codes_than_the_data_can_fill_are_refused_before_the_first_step():
    few_rows = dataset_of(np.asarray(load("digits").x_train[:10]))
    planned = plan(few_rows, "vq", steps=5, num_codes=500, features=4, **SMALL)
    with pytest.raises(ValueError, match=r"num_codes=500 and the data give \d+ different vectors") as error:
        prepare(few_rows, planned, planned.engine())
    assert len(str(error.value)) <= 300
    with pytest.raises(ValueError, match=r"normalized=True; residuals"):
        vq((6, 6), stages=2, normalized=True)
    with pytest.raises(ValueError, match="has no second stage"):
        PriorAlone(vae((6, 6), hidden=[4]), torch.zeros(2, 6, 6))


def test_every_problem_is_examined_or_says_why_not(fitted, few):
    x = torch.as_tensor(few.x_train[:40]).float()
    loss = VariationalLoss(fitted.model, ELBO(), Quantized())
    names = ("amortisation gap", "miscalibration of q", "noise of the gradient")
    case = Case(model=fitted.model, x_train=x, x_held_out=x[:20], loss=loss)
    findings = examine(case).findings
    assert {f.name for f in findings if f.present is None} >= set(names)
    assert all("codes" in f.sentence for f in findings if f.name in names)
    with pytest.raises(ValueError, match="codes have none"):
        fitted.encode(few.x_test, refine=3)


@pytest.mark.slow
def test_a_fit_from_another_goes_on_with_its_prior(fitted, few):
    held = fit(few, start_from=fitted, steps=2, lr=1e-5, batch_size=50, freeze=["prior"])
    assert {record["stage"] for record in held.records} == {1}
    assert held.model.prior.is_fitted
    again = fit(few, start_from=fitted, steps=2, lr=1e-5, batch_size=50)
    assert held_out(again.records, 2)[0] == pytest.approx(held_out(fitted.records, 2)[-1], abs=1)
