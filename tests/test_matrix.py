"""Every estimator on every objective and every kind of posterior: what docs/matrix.md says is what the code does.

The cells that call themselves unbiased or exact are held against exact gradients of the expected objective: sums over
the states of discrete latents, quadrature over Gaussian ones, the trapezoidal rule on a line for any other density. As
many copies of the datum are taken as are needed to notice a bias of 3 % of the norm of the gradient.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from scipy import stats

from lowerbound import gradients, objectives
from lowerbound.exact import EnumerableBernoulli, EnumerableCategorical, normal_bound
from lowerbound.exact.expectation import expectation
from lowerbound.losses import VariationalLoss
from lowerbound.spelling import choices
from lowerbound.testing import assert_unbiased, check_gradient, flat_gradient
from lowerbound.testing.matrix import KINDS, NUM_SAMPLES, cells, columns, page, rows, small_model
from lowerbound.weights import weigh

PAIRS = [(name, row) for name, kind in KINDS.items() for row in rows(kind)]
IDS = [f"{name}-{row}" for name, row in PAIRS]
NUM_REPEATS, FALSE_FAILURES, DETECTABLE = 64, 1e-6, 0.03
MOST_ROWS, MOST_COPIES = 20_000, 1_000_000


def accepted(name, row, statuses=("exact", "unbiased", "biased")):
    return [column for (r, column), c in cells(KINDS[name]).items() if r == row and c.status in statuses]


def made(name, row, column):
    kind = KINDS[name]
    model, x = small_model(kind)
    return VariationalLoss(model, columns(kind)[column](), rows(kind)[row](), NUM_SAMPLES).double(), x


def expected(name, objective, model, x, density=1.0):
    """The expectation of the objective of two draws, differentiable; θ and φ are the model's own."""
    if name == "normal":
        return normal_bound(model, objective, x, NUM_SAMPLES, num_nodes=int(20 * density))
    if name == "bernoulli":
        return EnumerableBernoulli(model, 2).bound(objective, x, NUM_SAMPLES)
    if name == "categorical":
        return EnumerableCategorical(model, 2, 3).bound(objective, x, NUM_SAMPLES)
    if name == "layers":
        return over_all_bits(objective, model, x)
    return on_a_line(objective, model, x, int(400 * density))


def over_all_bits(objective, model, x):
    """The eight states of two bits below one."""
    bits = torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).to(x)] * 3)[:, None]
    z, q = bits.split([2, 1], -1), model.infer(x)
    w = weigh(q, model.joint(x), z, rate=objective.rate)
    return expectation(objective, w, q.log_prob(z), NUM_SAMPLES)


def on_a_line(objective, model, x, num_points):
    """Σ_i,j q(z_i) q(z_j) R(f(z_i), f(z_j)) Δ² for one real latent: exponentially accurate for smooth densities."""
    q = model.infer(x)
    draws = q.sample((20_000,))
    margin = 0.5 * (draws.max() - draws.min())
    z = torch.linspace(float(draws.min() - margin), float(draws.max() + margin), num_points).to(x)[:, None, None]
    log_probability = q.log_prob(z) + math.log(float(z[1] - z[0]))
    return expectation(objective, weigh(q, model.joint(x), z, rate=objective.rate), log_probability, NUM_SAMPLES)


def groups(model):
    theta = [*model.prior.parameters(), *model.likelihood.parameters()]
    return theta, [*model.posterior.parameters()]


def repeats(loss, x, copies, parameters, count):
    """Gradients (count, coordinate) of the mean over `copies` copies of the datum."""
    calls = -(-copies // MOST_ROWS)
    many = x.expand(-(-copies // calls), -1)
    mean = [sum(flat_gradient(-loss(many).loss, parameters) for _ in range(calls)) / calls for _ in range(count)]
    return torch.stack(mean)


def check_unbiased(name, row, column, rate):
    """θ and φ apart, so that neither gradient hides a bias of the other; as many copies as it takes to notice one."""
    loss, x = made(name, row, column)
    parts = groups(loss.model)
    parameters, sizes = [p for part in parts for p in part], [sum(p.numel() for p in part) for part in parts]
    truth = flat_gradient(expected(name, loss.objective, loss.model, x).sum(), parameters).split(sizes)
    t = stats.t.isf(rate / (2 * max(sizes)), NUM_REPEATS - 1)
    copies, worst = 300, math.inf
    while worst > 1 and copies < MOST_COPIES:
        copies = copies if worst == math.inf else math.ceil(1.2 * copies * worst**2)
        got = repeats(loss, x, copies, parameters, NUM_REPEATS).split(sizes, 1)
        noticed = [t * part.std(0).max() / NUM_REPEATS**0.5 for part in got]
        worst = max(float(n / (DETECTABLE * exact.norm())) for n, exact in zip(noticed, truth, strict=True))
    options = {"num_repeats": NUM_REPEATS, "false_failure_rate": rate, "smallest_detectable": DETECTABLE}
    for part, exact in zip(got, truth, strict=True):
        assert_unbiased(lambda part=part: part, exact, **options)
    return copies


def failures(name, row, statuses, check):
    """The sentences of all cells of one row, so that one run shows every cell that fails."""
    sentences = []
    for column in statuses:
        try:
            check(column)
        except Exception as error:
            sentences.append(f"{column}: {type(error).__name__}: {error}")
    assert not sentences, f"{row} on {name}: " + "; ".join(sentences)


@pytest.mark.slow
def test_the_page_is_up_to_date():
    written = (Path(__file__).parent.parent / "docs" / "matrix.md").read_text()
    assert page() == written, "run python -m lowerbound.testing.matrix > docs/matrix.md"


def test_every_choice_is_in_the_matrix():
    kind = KINDS["normal"]
    labels = {label.split(",")[0] for label in [*rows(kind), *columns(kind)]}
    assert labels == {cls.__name__ for axis in (gradients, objectives) for cls in choices(axis).values()}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_has_an_unbiased_estimator_of_the_elbo(name):
    assert "unbiased" in {c.status for (_, column), c in cells(KINDS[name]).items() if column == "ELBO"}


@pytest.mark.parametrize("name", KINDS)
def test_what_check_accepts_runs(name):
    """But for closed forms of the rate: the first step finds that a pair of distributions has none."""
    late = {pair: c.sentence for pair, c in cells(KINDS[name]).items() if c.refused_by == "step"}
    assert {pair: sentence for pair, sentence in late.items() if "needs a closed form of" not in sentence} == {}


@pytest.mark.parametrize("name, row", PAIRS, ids=IDS)
def test_value_and_theta_gradient_are_those_of_the_objective(name, row):
    def check(column):
        loss, x = made(name, row, column)
        assert check_gradient(loss.gradient, loss.objective, loss.model, x.expand(64, -1), NUM_SAMPLES)
        with torch.no_grad():
            assert loss(x).loss.isfinite()

    failures(name, row, accepted(name, row), check)


def test_the_statistical_test_notices_a_bias():
    """Reweighted wake-sleep calls itself biased for φ, and is caught if it does not."""
    with pytest.raises(AssertionError, match="is biased"):
        check_unbiased("normal", "ReweightedWakeSleep", "IWAE", FALSE_FAILURES)


NUM_UNBIASED = 1000
"""An upper bound of the number of cells, among which the rate of false failures is divided."""


QUICK = [
    (name, row)
    for name, row in PAIRS
    if name in ("normal", "bernoulli", "categorical", "layers")
    and (not row.startswith("ScoreFunction") or row.endswith("LeaveOneOut"))
]


ANOTHER_VALUE = {("Stratified", "IWAE"): "its draws are one set from every component, a bound of its own"}
"""Pairs whose expected value is not that of S draws from q; the tests of the estimator have their exact gradient."""


def all_unbiased(name, row, chosen):
    columns_ = [c for c in accepted(name, row, ("exact", "unbiased")) if chosen(c) and (row, c) not in ANOTHER_VALUE]
    failures(name, row, columns_, lambda column: check_unbiased(name, row, column, FALSE_FAILURES / NUM_UNBIASED))


@pytest.mark.parametrize(
    "name, row",
    [
        pytest.param(name, row, id=f"{name}-{row}", marks=[pytest.mark.slow] if row in ("REBAR", "RELAX") else [])
        for name, row in QUICK
    ],
)
def test_unbiased_on_the_elbo_and_iwae(name, row):
    all_unbiased(name, row, lambda column: column in ("ELBO", "IWAE"))


@pytest.mark.slow
@pytest.mark.parametrize("name, row", PAIRS, ids=IDS)
def test_unbiased_on_every_other_objective(name, row):
    quick = (name, row) in QUICK
    all_unbiased(name, row, lambda column: not (quick and column in ("ELBO", "IWAE")))


def test_there_are_no_more_cells_than_the_rate_is_divided_by():
    counts = Counter(c.status for name in KINDS for c in cells(KINDS[name]).values())
    assert counts["unbiased"] + counts["exact"] <= NUM_UNBIASED


@pytest.mark.parametrize("name", ["normal", "flow", "mixture", "relaxed"])
def test_fewer_points_give_the_same_exact_gradient(name):
    """Within a tenth of the bias that must be noticed."""
    model, x = small_model(KINDS[name])
    parameters = [p for part in groups(model) for p in part]
    for column in {column for (_, column), c in cells(KINDS[name]).items() if c.status in ("exact", "unbiased")}:
        objective = columns(KINDS[name])[column]()
        fine, coarse = (flat_gradient(expected(name, objective, model, x, d).sum(), parameters) for d in (1, 0.8))
        assert (fine - coarse).norm() < 0.1 * DETECTABLE * fine.norm(), column
