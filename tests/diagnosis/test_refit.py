"""A remedy is a command: what `lowerbound fit` makes of it is the run's own settings with one change."""

from __future__ import annotations

import shlex

import pytest
import torch

from lowerbound.cli.fit import fit
from lowerbound.data import load
from lowerbound.diagnosis import PROBLEMS, Case, Refit, case_of, examine
from lowerbound.fitted import Fitted
from lowerbound.fitting.planning import Plan, plan
from lowerbound.fitting.preparing import prepare
from lowerbound.runs import Run
from lowerbound.spelling import parse


def plan_of(command: str) -> Plan:
    """What the command line would train with; what was given stands in the order of the words."""
    words = shlex.split(command)
    assert words[:3] == ["lowerbound", "fit", "digits"]
    context = fit.make_context("fit", words[2:])
    of_the_data = ("data", "resume", "label", "kind", "columns", "array", "out", "evaluate")
    options = {k: v for k, v in context.params.items() if k not in of_the_data}
    return plan(load("digits"), options.pop("recipe"), **options)


def planned(options: str) -> Fitted:
    """A model as it is before training, with the plan of these options."""
    data, found = load("digits"), plan_of(f"lowerbound fit digits {options}")
    training = prepare(data, found, found.engine())
    return Fitted(
        training.loss.model,
        plan=found,
        transform=training.transform,
        data=data,
        config={"data": {"name": "digits"}},
    )


@pytest.mark.parametrize(
    "options",
    [
        "--steps 7",
        "--objective elbo --epochs 3 --clip-norm 5 --seed 4 --device cpu",
        "--objective elbo --num-samples 4 --lr 0.001 --patience 3",
        "--objective iwae --gradient pathwise --num-samples 5 --hidden 32,16 --latent-dim 4",
        "--posterior bernoulli --prior bernoulli --objective elbo --gradient score-function:baseline=learned",
        "--likelihood normal:scale=0.1 --binarization none --penalty mmd --objective elbo",
    ],
)
def test_without_a_change_it_is_the_same_fit(options):
    fitted = planned(options)
    assert plan_of(Refit.of(fitted)()) == fitted.plan


def test_one_change_keeps_the_rest():
    fitted = planned("--steps 7 --hidden 64,32 --seed 3")
    refit, found = Refit.of(fitted), fitted.plan
    assert found is not None
    changed = plan_of(refit(prior="vamp-prior"))
    assert changed.replace(given={}) == found.replace(model={**found.model, "prior": "vamp-prior"}, given={})
    assert plan_of(refit.widened(0.5)).model["hidden"] == [32, 16]


@pytest.mark.parametrize(
    "options, hidden",
    [
        ("--network convolution", [64, 128]),
        ("--recipe vade:hidden=[8]", [16]),
        ("--recipe ladder:latent_dims=[4,2],hidden=[[8,4],[4]]", [[16, 8], [8]]),
    ],
)
def test_widths_are_those_of_the_plan(options, hidden):
    assert plan_of(Refit.of(planned(f"{options} --steps 2")).widened(2)).model["hidden"] == hidden


@pytest.mark.parametrize("recipe", ["factor-analysis:latent_dim=2", "mixture-of-factor-analysers", "probabilistic-pca"])
def test_of_a_recipe_without_layers_an_autoencoder_is_fitted(recipe):
    refit = Refit.of(planned(f"--recipe {recipe}"))
    for command in (refit.widened(2), refit(prior="vamp-prior")):
        assert plan_of(command).recipe == "vae"


def test_another_objective_takes_its_own_estimator():
    fitted = planned("--steps 7")
    assert fitted.plan is not None
    assert (fitted.plan.gradient, fitted.plan.num_samples) == ("dreg", 8)
    changed = plan_of(Refit.of(fitted)(objective="free-bits:nats=0.5"))
    assert (changed.objective, changed.gradient, changed.num_samples) == ("free-bits:nats=0.5", "pathwise", 1)
    discrete = planned(
        "--posterior bernoulli --prior bernoulli --objective elbo --gradient disarm --num-samples 2 --steps 7"
    )
    assert plan_of(Refit.of(discrete)(objective="iwae", gradient="score-function")).gradient == "score-function"
    assert plan_of(Refit.of(discrete)(objective="free-bits")).gradient == "disarm"


@pytest.mark.parametrize(
    "options",
    [
        "--recipe mixture-of-factor-analysers",
        "--recipe factor-analysis",
        "--recipe vae-gan --steps 2",
        "--loss autoencoding --steps 2",
        "--objective free-bits:nats=0.5 --num-samples 16 --steps 2",
    ],
)
def test_nothing_is_proposed_that_changes_nothing(options):
    refit = Refit.of(planned(options))
    assert refit(objective="free-bits:nats=0.5") is None
    assert refit(num_samples="16") is None
    assert refit.widened(2) is not None


def test_an_objective_whose_rate_was_decided_is_the_same_one():
    fitted = planned("--objective elbo --posterior diagonal-normal --steps 2")
    assert Refit.of(fitted)(objective="elbo") is None
    assert Refit.of(fitted)(objective="iwae", num_samples="16") is not None


def test_a_part_with_options_is_spelled_within_the_recipe():
    words = "vamp-prior:components=3,bounded=False"
    again = plan_of(Refit.of(planned(f"--recipe skip-vae --prior {words} --steps 2"))())
    assert parse(again.model["prior"]) == parse(words)


def test_the_options_of_a_recipe_stay_with_its_name():
    fitted = planned("--recipe vade:clusters=3,hidden=[8] --steps 2")
    assert plan_of(Refit.of(fitted)(lr="0.1")).model == plan_of(Refit.of(fitted)()).model == fitted.plan.model


def test_what_was_said_of_a_file_is_said_again():
    fitted = planned("--steps 2")
    fitted.config["data"] = {"path": "x.npz", "label": "y", "array": "counts", "columns": {"a": "count", "b": "drop"}}
    words = shlex.split(Refit.of(fitted)())
    assert " ".join(words[2:]) == "x.npz --label y --array counts --columns a=count,b=drop --steps 2"


def test_a_model_built_by_hand_has_no_command_of_its_own():
    by_hand = Fitted(planned("--steps 2").model, data=load("digits"))
    assert Refit.of(by_hand)(prior="vamp-prior") == "lowerbound fit DATA --prior vamp-prior"


def test_words_are_quoted():
    command = Refit(data="my data; rm.csv", options={"label": "a b"})(prior="vamp-prior")
    assert shlex.split(command) == ["lowerbound", "fit", "my data; rm.csv", "--label", "a b", "--prior", "vamp-prior"]


@pytest.mark.parametrize(
    "options",
    [
        "",
        pytest.param("--objective beta-elbo:beta=4", marks=pytest.mark.slow),
        pytest.param("--objective elbo --posterior full-normal --prior vamp-prior", marks=pytest.mark.slow),
        pytest.param(
            "--posterior bernoulli --prior bernoulli --objective elbo --gradient score-function --num-samples 2",
            marks=pytest.mark.slow,
        ),
        pytest.param("--likelihood normal:scale=0.1 --binarization none", marks=pytest.mark.slow),
    ],
)
def test_every_remedy_can_be_run(cli_run, monkeypatch, options):
    """As if every problem were there: the commands are taken by `fit`, and the choices go together."""
    monkeypatch.setattr("lowerbound.diagnosis.finding.Measurement.outside", True)
    monkeypatch.setattr("lowerbound.diagnosis.case._STEPS", 10)  # the numbers do not matter
    monkeypatch.setattr("lowerbound.diagnosis.approximation._DISTRIBUTIONS", 4)
    monkeypatch.setattr("lowerbound.diagnosis.gradient_noise._MINIBATCHES", 8)
    monkeypatch.delitem(PROBLEMS, "blindness to other data")
    remedies = [finding.remedy for finding in examine(case_of(cli_run(options), num_rows=20)).findings]
    assert len([r for r in remedies if r is not None]) >= 6
    for remedy in filter(None, remedies):
        found = plan_of(remedy)
        prepare(load("digits"), found, found.engine())


@pytest.fixture
def cli_run(tmp_path):
    def make(options: str) -> Fitted:
        words = f"lowerbound fit digits {options} --steps 2 --hidden 8 --latent-dim 2 --device cpu --no-compile"
        data, found = load("digits"), plan_of(words)
        run = Run.create(tmp_path / "run", found, {"name": "digits"}, data)
        for _ in run.fit(prepare(data, found, found.engine()), found.engine()):
            pass
        return run.fitted()

    return make


def test_the_case_of_a_run_has_the_rows_that_it_trained_on(cli_run):
    fitted = cli_run("--binarization threshold")
    case = case_of(fitted, num_rows=400)
    assert isinstance(case, Case)
    training = prepare(fitted.dataset, fitted.plan, fitted.plan.engine())
    trained, chosen_by = (
        {tuple(row) for row in source.transform(*source.gather(torch.arange(len(source))))[0].flatten(1).tolist()}
        for source in (training.source, training.held_out)
    )
    test = {tuple(row) for row in fitted.events(fitted.test_rows().x).flatten(1).tolist()}
    train = {tuple(row) for row in case.x_train.flatten(1).tolist()}
    assert len(case.x_train) == len(training.source) == 1294
    assert train == trained
    assert not (chosen_by - trained) & train
    assert {tuple(row) for row in case.x_held_out.flatten(1).tolist()} == test
    assert case.loss is not None
    best, in_loss = case.model.state_dict(), case.loss.model.state_dict()
    assert all((best[name] == in_loss[name]).all() for name in best)
    with pytest.raises(ValueError, match="num_rows=1"):
        case_of(fitted, num_rows=1)
