"""`lowerbound gradients`: what it prints, draws and refuses."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from lowerbound import gradients
from lowerbound.cli import main
from lowerbound.cli.gradient_noise import _own_loss
from lowerbound.evaluate import gradient_statistics
from lowerbound.gradients import DReG, Pathwise
from lowerbound.objectives import IWAE
from lowerbound.plots import gradient_noise
from lowerbound.runs import Run
from lowerbound.spelling import choices

from .conftest import TINY

QUICK = ["--num-repeats", "4", "--batch-size", "8"]


@pytest.fixture
def run(digits_run, tmp_path):
    return shutil.copytree(digits_run, tmp_path / "run")


def discrete(path, *options):
    words = ["--posterior", "bernoulli", "--prior", "bernoulli", "--objective", "elbo", *TINY, *options]
    assert main(["fit", "digits", "--steps", "4", "--no-evaluate", "--out", str(path), *words]) == 0
    return path


def test_the_numbers_are_those_of_the_diagnostics(cli, refused, run):
    answer = cli("gradients", run, *QUICK, "--json", "--estimator", "pathwise", "--seed", 3)
    assert (answer.code, answer.err) == (0, "")
    assert cli("gradients", run, *QUICK, "--json", "--estimator", "pathwise", "--seed", 3).code == 0
    assert "is there already" in refused(
        "gradients", run, *QUICK, "--out", shutil.copy(run / "gradients.png", run.parent)
    )
    content = json.loads(answer.out)
    assert (content["num_data"], content["num_samples"], content["num_repeats"]) == (8, 2, 4)
    assert list(content["estimators"]) == ["dreg", "pathwise"]
    fitted = Run.open(run).fitted()
    model, x = fitted.model, fitted.events(fitted.test_rows().x[:8], 3)
    for name, estimator in (("dreg", DReG()), ("pathwise", Pathwise())):
        found = gradient_statistics(model, IWAE(), estimator, x, num_samples=2, num_repeats=4, seed=3)
        for group, statistics in found.items():
            got = content["estimators"][name]["groups"][group]
            assert got["variance"]["value"] == pytest.approx(statistics.variance.value)
            assert got["snr"]["standard_error"] == pytest.approx(statistics.snr.standard_error)


def test_the_table_has_every_valid_estimator_and_a_picture(cli, run):
    answer = cli("gradients", run, *QUICK)
    assert (answer.code, answer.err) == (0, "")
    assert "8 test rows, 2 samples per row" in answer.out
    for name in ("dreg", "pathwise", "score-function", "likelihood", "posterior"):
        assert name in answer.out
    assert "reweighted-wake-sleep" not in answer.out  # biased
    assert "stick-the-landing" not in answer.out  # not for this objective
    assert (run / "gradients.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_the_picture_goes_where_it_is_wanted(cli, run, tmp_path):
    assert cli("gradients", run, *QUICK, "--estimator", "pathwise", "--out", tmp_path / "noise.png").code == 0
    assert (tmp_path / "noise.png").exists()
    assert not (run / "gradients.png").exists()


def test_a_named_estimator_may_be_biased_and_is_called_so(cli, run):
    answer = cli("gradients", run, *QUICK, "--estimator", "reweighted-wake-sleep")
    assert "reweighted-wake-sleep (biased)" in answer.out


@pytest.mark.slow
def test_what_the_runs_own_estimator_learned_is_there_and_that_of_others_is_marked(cli, tmp_path):
    path = discrete(tmp_path / "run", "--gradient", "score-function:baseline=learned")
    content = json.loads(cli("gradients", path, *QUICK, "--json", "--estimator", "relax").out)["estimators"]
    assert [entry["trained"] for entry in content.values()] == [True, False]
    assert len(json.loads(cli("gradients", path, *QUICK, "--json").out)["estimators"]) > 2
    key, kept = "gradient.baseline.net.layers.0.weight", Run.open(path).checkpoint.load()[0]["loss"]
    run = Run.open(path)
    loss = _own_loss(run, run.fitted(), {"event_shape": (8, 8), "latent_dim": 2, "num_data": 1437}, 2)
    assert torch.equal(loss.state_dict()[key], kept[key])
    assert "relax*" in cli("gradients", path, *QUICK, "--estimator", "relax").out


def test_discrete_latents_get_their_own_estimators(cli, tmp_path):
    path = discrete(tmp_path / "run", "--gradient", "score-function")
    content = json.loads(cli("gradients", path, *QUICK, "--json").out)
    found = set(content["estimators"])
    assert "score-function" in found
    assert found <= set(choices(gradients))
    assert not {"pathwise", "straight-through", "concrete"} & found
    assert {"prior", "likelihood", "posterior"} == set(content["estimators"]["score-function"]["groups"])


def test_an_estimator_that_wants_more_samples_is_left_out_with_its_sentence(cli, run):
    content = json.loads(cli("gradients", run, *QUICK, "--num-samples", 1, "--json").out)
    assert "score-function" not in content["estimators"]
    assert any("score-function is left out" in sentence for sentence in content["left_out"])


@pytest.mark.parametrize(
    "words, part",
    [
        (["--estimator", "pathwize"], "no gradient named 'pathwize'"),
        (["--estimator", "stick-the-landing"], "use dreg"),
        (["--estimator", "score-function", "--num-samples", "1"], "--num-samples ≥ 2"),
        (["--out", "noise.jpg"], "must end in .png"),
        (["--num-repeats", "3"], "'--num-repeats'"),
    ],
)
def test_refusals(refused, digits_run, words, part):
    assert part in refused("gradients", digits_run, *words)
    assert not (digits_run / "gradients.png").exists()


def test_a_loss_without_an_estimator_is_refused(refused, cli, tmp_path):
    path = discrete(tmp_path / "run", "--loss", "wake-sleep")
    assert "takes no gradient estimator" in refused("gradients", path)


def test_the_figure_has_a_bar_for_each_estimator_and_group():
    def entry(value):
        statistic = {"value": value, "standard_error": 0.1}
        return {"groups": {name: {"variance": statistic, "snr": statistic} for name in ("prior", "posterior")}}

    panels = gradient_noise({"a": entry(1.0), "b": entry(2.0), "c": entry(None)}).axes
    for axes in panels:
        bars = [bar for container in axes.containers for bar in container if hasattr(bar, "get_height")]
        assert [bar.get_height() for bar in bars][:4] == [1.0, 1.0, 2.0, 2.0]
        assert [label.get_text() for label in axes.get_xticklabels()] == ["prior", "posterior"]
    with pytest.raises(ValueError, match="no estimator"):
        gradient_noise({})
