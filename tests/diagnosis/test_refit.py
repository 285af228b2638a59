"""A remedy is a command: what `lowerbound fit` makes of it is the run's own settings with one change."""

from __future__ import annotations

import dataclasses
import shlex

import pytest
from click.core import ParameterSource

from lowerbound.cli.choices import make_settings
from lowerbound.cli.fit import fit
from lowerbound.data import load
from lowerbound.diagnosis import PROBLEMS, Case, Refit, case_of
from lowerbound.fitting import Settings, prepare
from lowerbound.runs import Run


def settings_of(command: str) -> Settings:
    """What the command line would train with."""
    words = shlex.split(command)
    assert words[:3] == ["lowerbound", "fit", "digits"]
    context = fit.make_context("fit", words[2:])
    options = {k: v for k, v in context.params.items() if k not in ("data", "resume", "label", "out", "evaluate")}
    given = {name for name in options if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    return make_settings(options, given, load("digits"))


def run_with(path, options: str) -> Run:
    settings = settings_of(f"lowerbound fit digits {options}")
    return Run.create(path, settings, {"name": "digits"}, load("digits"))


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
def test_without_a_change_it_is_the_same_fit(tmp_path, options):
    run = run_with(tmp_path / "run", options)
    assert settings_of(Refit.of(run)()) == run.settings


def test_one_change_keeps_the_rest(tmp_path):
    run = run_with(tmp_path / "run", "--objective elbo --steps 7 --hidden 64,32 --seed 3")
    refit = Refit.of(run)
    assert settings_of(refit(prior="vamp-prior")) == dataclasses.replace(
        run.settings, model={**run.settings.model, "prior": "vamp-prior"}
    )
    assert settings_of(refit(hidden=refit.widths(0.5))).model["hidden"] == [32, 16]


def test_another_objective_takes_its_own_estimator(tmp_path):
    run = run_with(tmp_path / "run", "--steps 7")
    assert (run.settings.gradient, run.settings.num_samples) == ("dreg", 8)
    changed = settings_of(Refit.of(run)(objective="free-bits:nats=0.5"))
    assert (changed.objective, changed.gradient, changed.num_samples) == ("free-bits:nats=0.5", "pathwise", 1)
    discrete = run_with(
        tmp_path / "other", "--posterior bernoulli --prior bernoulli --objective elbo --gradient disarm --steps 7"
    )
    assert settings_of(Refit.of(discrete)(objective="iwae", gradient="score-function")).gradient == "score-function"
    assert settings_of(Refit.of(discrete)(objective="free-bits")).gradient == "disarm"


def test_words_are_quoted():
    command = Refit(data="my data; rm.csv", options={"label": "a b"})(prior="vamp-prior")
    assert shlex.split(command) == ["lowerbound", "fit", "my data; rm.csv", "--label", "a b", "--prior", "vamp-prior"]


@pytest.mark.parametrize(
    "options",
    [
        "",
        "--objective beta-elbo:beta=4",
        "--objective elbo --posterior full-normal --prior vamp-prior",
        "--posterior bernoulli --prior bernoulli --objective elbo --gradient score-function --num-samples 2",
        "--likelihood normal:scale=0.1 --binarization none",
    ],
)
def test_every_remedy_can_be_run(cli_run, monkeypatch, options):
    """As if every problem were there: the commands are taken by `fit`, and the choices go together."""
    monkeypatch.setattr("lowerbound.diagnosis.finding.Measurement.outside", True)
    case = case_of(cli_run(options), num_rows=20)
    remedies = [PROBLEMS[name](case).remedy for name in PROBLEMS if name != "blindness to other data"]
    assert len([r for r in remedies if r is not None]) >= 6
    for remedy in filter(None, remedies):
        settings = settings_of(remedy)
        prepare(load("digits"), settings, settings.engine())


@pytest.fixture
def cli_run(tmp_path):
    def make(options: str) -> Run:
        run = run_with(tmp_path / "run", f"{options} --steps 2 --hidden 8 --latent-dim 2 --device cpu --no-compile")
        engine = run.settings.engine()
        for _ in run.fit(run.prepare(load("digits"), engine), engine):
            pass
        return run

    return make


def test_the_case_of_a_run_has_the_rows_that_it_trained_on(cli_run):
    run = cli_run("--binarization threshold")
    case = case_of(run, num_rows=400)
    assert isinstance(case, Case)
    dataset = run.dataset()
    problem = run.prepare(dataset, run.settings.engine())
    trained, chosen_by, test = (
        {tuple(row) for row in x.flatten(1).tolist()}
        for x in (
            problem.transform(problem.source.tensors[0]),
            problem.transform(problem.held_out.tensors[0]),
            run.test_tensor(),
        )
    )
    train = {tuple(row) for row in case.x_train.flatten(1).tolist()}
    assert len(case.x_train) == len(problem.source) == 1294
    assert train == trained
    assert not (chosen_by - trained) & train
    assert {tuple(row) for row in case.x_held_out.flatten(1).tolist()} == test
    best, in_loss = case.model.state_dict(), case.loss.model.state_dict()
    assert all((best[name] == in_loss[name]).all() for name in best)
    with pytest.raises(ValueError, match="num_rows=1"):
        case_of(run, num_rows=1)
