"""What a fitted model cites: its own works and no others."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from torch import nn

import lowerbound as lb
from lowerbound import gradients, likelihoods, losses, objectives, posteriors, priors
from lowerbound.models import vae
from lowerbound.nets import MLP
from lowerbound.references import parsed, work_of
from lowerbound.report import collect, render
from lowerbound.verbs.methods_paragraph import methods_paragraph
from lowerbound.verbs.model_card import model_card

X = np.random.default_rng(0).normal(size=(40, 3))
SMALL = {"steps": 2, "hidden": [4], "latent_dim": 2, "compile": False}
OF_DIGITS = [
    "kingma2014auto", "tomczak2018vae", "burda2016importance", "tucker2019doubly", "kingma2015adam",
    "loshchilov2017sgdr", "alpaydin1998optical", "paszke2019pytorch",
]  # fmt: skip


def keys(item: lb.Fitted | nn.Module) -> list[str]:
    return [work.key for work in lb.cite(item).works]


@pytest.fixture(scope="module")
def digits() -> lb.Fitted:
    return lb.fit("digits", "vae", prior="vamp-prior:components=5", objective="iwae", gradient="dreg", **SMALL)


def test_a_fit_by_iwae_dreg_and_vamp_prior_cites_exactly_its_works(digits: lb.Fitted) -> None:
    assert keys(digits) == OF_DIGITS


def test_scores_add_what_they_are_computed_by(digits: lb.Fitted) -> None:
    scored = lb.Fitted(
        digits.model, plan=digits.plan, data=digits.dataset, scores={"log_evidence": -9.0, "pareto_k_above_07": 0.1}
    )
    assert set(keys(scored)) - set(OF_DIGITS) == {"vehtari2024pareto", "zhang2009new"}


def test_a_saved_run_cites_the_same(digits: lb.Fitted, tmp_path: Path) -> None:
    again = lb.Fitted.open(digits.save(tmp_path / "run"))
    assert keys(again) == list(OF_DIGITS)


@pytest.mark.parametrize(
    "prior, own",
    [
        ("flow-prior:kind=coupling", ["dinh2017density", "rozet2022zuko"]),
        ("flow-prior:kind=affine", ["papamakarios2017masked", "rozet2022zuko"]),
        ("laplace", ["olshausen1996emergence", "lewicki2000learning"]),
    ],
)
def test_works_are_those_of_the_options_in_use(prior: str, own: list[str]) -> None:
    plain, other = vae((3,), latent_dim=2, hidden=[4]), vae((3,), latent_dim=2, hidden=[4], prior=prior)
    assert sorted(set(keys(other)) - set(keys(plain))) == sorted(own)


def test_options_decide_which_works_are_used() -> None:
    assert objectives.BetaELBO(1.0, warmup=3).works == ("bowman2016generating",)
    assert objectives.BetaELBO(2.0, warmup=3, anneal="cyclical").works == ("higgins2017beta", "fu2019cyclical")
    assert objectives.BetaELBO(4.0).works == ("higgins2017beta",)
    assert objectives.FreeBits().works == ("kingma2016improved",)
    assert gradients.StraightThrough().works == ("bengio2013estimating",)
    assert gradients.ScoreFunction(normalise=True).works[2:] == ("mnih2014neural",)
    net = MLP(2, [], (3,))
    assert likelihoods.Normal(net, "per-dimension").works == ("kingma2014auto",)
    assert "mccullagh1980regression" in likelihoods.Mixed(MLP(2, [], (3,)), "continuous+ordinal-3").works
    assert "mccullagh1980regression" not in likelihoods.Mixed(MLP(2, [], (6,)), "3*continuous").works


def test_a_loss_by_hand_cites_its_objective_its_gradient_and_its_baseline() -> None:
    loss = losses.VariationalLoss(
        vae((3,), latent_dim=2, hidden=[4]), objectives.FreeBits(), gradients.ScoreFunction(), num_samples=2
    )
    found = lb.cite(loss)
    said = {part.what: [work.key for work in part.works] for part in found.parts}
    assert said["objective free-bits"] == ["kingma2016improved"]
    assert said["baseline leave-one-out"] == ["kool2019buy", "richter2020vargrad", "mnih2016variational"]
    assert "higgins2017beta" not in keys(loss)  # of a part of FreeBits, which the user did not choose
    assert "optimizer adam" not in said


def test_what_is_solved_without_steps_cites_no_training() -> None:
    assert keys(lb.fit(X, "probabilistic-pca", latent_dim=1, hold_out=False)) == [
        "tipping1999probabilistic",
        "paszke2019pytorch",
    ]


class Own(priors.StandardNormal):
    """A prior of another package."""

    cites = ("@misc{own2026,\n  author = {Doe, Jane},\n  title = {Mine},\n  year = {2026},\n}",)


class Silent(priors.StandardNormal):
    """One that states no works."""

    cites = ()


def model_with(prior: type[priors.StandardNormal]) -> nn.Module:
    q = posteriors.DiagonalNormal(MLP(3, [], (2, 2)))
    return lb.LatentVariableModel(prior=prior(2), likelihood=likelihoods.Normal(MLP(2, [], (3,))), posterior=q)


def test_a_choice_of_another_package_brings_its_entry_or_states_none() -> None:
    found = lb.cite(model_with(Own))
    assert found.works[0].text == "Doe (2026). Mine."
    assert "@misc{own2026," in found.bibtex
    assert "silent: states no works; ask its authors" in str(lb.cite(model_with(Silent)))


@pytest.mark.parametrize("key, words", [("nobody2020", "not in references.bib"), ("@misc{a", "not one entry")])
def test_a_key_without_an_entry_is_refused(key: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        work_of(key)


def test_bibtex_holds_what_is_cited_and_can_be_read_again(digits: lb.Fitted) -> None:
    found = lb.cite(digits)
    assert list(parsed(found.bibtex).values()) == list(found.works)


@pytest.mark.parametrize(
    "text, words",
    [
        ("@misc{a2020,\n  year = {2020},\n}\n@misc{a2020,\n  year = {2020},\n}", "second entry"),
        ("@misc{a2020,\n  year 2020,\n}", "no field"),
    ],
)
def test_what_is_no_bibtex_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parsed(text)


def test_the_methods_paragraph_says_what_was_done(digits: lb.Fitted) -> None:
    text = methods_paragraph(digits)
    assert "the vae model (Kingma & Welling, 2014) with hidden 4, latent dim 2" in text
    assert "1,437 training rows of digits (Alpaydin & Kaynak, 1998) (143 of them held out" in text
    assert "the prior vamp-prior (Tomczak & Welling, 2018)" in text
    assert (
        "the objective iwae (Burda et al., 2016) of 8 samples and the gradient estimator dreg (Tucker et al., 2019)"
        in text
    )
    assert "in 2 steps of 128 rows by adam (Kingma & Ba, 2015)" in text
    assert text.endswith("(Paszke et al., 2019).")
    scored = lb.Fitted(
        digits.model,
        plan=digits.plan,
        data=digits.dataset,
        scores={"log_evidence": -20.5, "log_evidence_standard_error": 0.25, "num_samples": 1000, "num_data": 360},
    )
    assert "The mean log p(x) of 360 test rows was at least -20.50 ± 0.25 nats, from 1,000 draws" in methods_paragraph(
        scored
    )


def test_what_is_exact_is_no_bound_and_cites_no_estimate() -> None:
    fitted = lb.fit(X, "latent-classes", components=2, latent_dim=1)
    fitted.evaluate()
    text, card = methods_paragraph(fitted), model_card(fitted, "me/rows")
    assert re.search(r"The mean log p\(x\) of 8 test rows was -\d\.\d\d ± \d\.\d\d nats, computed exactly\.", text)
    assert re.search(r"\| log p\(x\), exactly \| -\d\.\d+ ± [\d.]+ \|", card)
    for words in (text, card):
        assert "at least" not in words
    assert "score log-evidence" not in [part.what for part in lb.cite(fitted).parts]


def test_the_report_has_what_to_cite(digits: lb.Fitted) -> None:
    page = render(collect(digits))
    assert "<h2>What to cite</h2>" in page
    assert all(work.address in page for work in lb.cite(digits).works)
    assert "<script" not in page


@pytest.mark.parametrize(
    "form, words",
    [((), "prior vamp-prior: Tomczak &"), (("--bibtex",), "@inproceedings{"), (("--sentence",), "We fitted")],
)
def test_the_command_prints_it(
    digits: lb.Fitted, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: tuple[str, ...], words: str
) -> None:
    from lowerbound.cli import main

    assert main(["cite", str(digits.save(tmp_path / "run")), *form]) == 0
    assert words in capsys.readouterr().out


def test_the_command_refuses_what_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from lowerbound.cli import main

    assert main(["cite", str(tmp_path)]) == 2
    assert "is not a run folder" in capsys.readouterr().err
