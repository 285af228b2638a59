"""The recipe hidden-markov against sums over all paths and the gradient of log p(x); planted states are found."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lowerbound import gradients, losses, objectives
from lowerbound.exact import HiddenMarkov
from lowerbound.models.hidden_markov import hidden_markov
from lowerbound.models.hidden_markov_start import start_hidden_markov
from lowerbound.models.state_emissions import StateEmissions, _climb

NAN = float("nan")


def some_model(likelihood: str = "mixed", shape: tuple[int, ...] = (4, 2)) -> Any:
    torch.manual_seed(0)
    model = hidden_markov(shape, states=2, likelihood=likelihood).double()
    for parameter in model.parameters():
        parameter.data.normal_()
    return model


def some_series() -> Tensor:
    x = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(1)).double()
    x[0, 1], x[1, 2, 0], x[2, 2:] = NAN, NAN, NAN
    return x


def by_enumeration(model: Any, x: Tensor) -> Tensor:
    """log Σ_c p(c) Π_t p(x_t | c_t), number by number."""
    first, after = model.prior.initial.logits.softmax(0), model.prior.transition.logits.softmax(1)
    loc, raw = model.likelihood.step.net.table.unflatten(1, (2, 2)).unbind(-1)  # of columns, in units of 1
    scale = 1e-3 + torch.nn.functional.softplus(raw + np.log(np.expm1(1.0)))
    rows = []
    for series in x:
        total = torch.zeros(()).double()
        for path in itertools.product(range(2), repeat=4):
            p = first[path[0]]
            for t, k in enumerate(path):
                p = p if t == 0 else p * after[path[t - 1], k]
                for d in range(2):
                    if not series[t, d].isnan():
                        p = p * torch.distributions.Normal(loc[k, d], scale[k, d]).log_prob(series[t, d]).exp()
            total = total + p
        rows.append(total.log())
    return torch.stack(rows)


def test_every_weight_is_the_sum_over_all_paths_with_gaps() -> None:
    model, x = some_model(), some_series()
    log_w = model.log_weights(x, 5).log_w
    torch.testing.assert_close(log_w, by_enumeration(model, x).expand(5, 3))
    other = copy.deepcopy(model)  # whose posterior is that of its own parts
    other.prior.transition.logits.data.zero_()
    torch.testing.assert_close(other.log_weights(x, 5).log_w, by_enumeration(other, x).expand(5, 3))
    assert other.posterior.is_exact_for(other)
    assert not other.posterior.is_exact_for(model)


def test_the_gradient_of_training_is_that_of_log_p() -> None:
    model, x = some_model(), some_series()
    parameters = list(model.parameters())
    exact = torch.autograd.grad(by_enumeration(model, x).mean(), parameters)
    loss = losses.VariationalLoss(model, objectives.IWAE(), gradients.ScoreFunction(), num_samples=2)
    found = torch.autograd.grad(loss(x).loss, parameters)
    for ours, theirs in zip(found, exact, strict=True):
        torch.testing.assert_close(ours, -theirs)


def test_a_series_of_single_numbers_is_one_of_steps_of_width_one() -> None:
    wide, flat = some_model(shape=(4, 1)), some_model(shape=(4,))
    x = some_series()[..., 0]
    torch.testing.assert_close(flat.log_weights(x, 1).log_w, wide.log_weights(x[..., None], 1).log_w)
    assert flat.sample(5).shape == (5, 4)
    assert flat.likelihood.support.check(x).all()


def test_a_series_that_ends_early_has_the_probability_of_a_shorter_one() -> None:
    long, short = some_model("poisson"), some_model("poisson", (2, 2))
    x = torch.tensor([[[1.0, 0.0], [3.0, 2.0], [NAN, NAN], [NAN, NAN]]]).double()
    torch.testing.assert_close(long.log_weights(x, 1).log_w, short.log_weights(x[:, :2], 1).log_w)


@pytest.mark.parametrize(
    "likelihood",
    ["normal:scale=heteroscedastic", "normal:scale=shared", "poisson", "bernoulli", "categorical:num_classes=3"],
)
def test_the_closed_form_is_where_no_climb_gains(likelihood: str) -> None:
    """With many rows the one row that is added does not show."""
    step = some_model(likelihood).likelihood.step
    g = torch.Generator().manual_seed(2)
    x = torch.randint(2 if likelihood == "bernoulli" else 3, (1, 4000, 2), generator=g).double()
    weight = torch.rand(1, 4000, 2, generator=g).double()
    emissions = StateEmissions(step)
    assert emissions.closed_form
    with torch.no_grad():
        best = emissions.maximised(x, weight)
        climbed = StateEmissions(copy.deepcopy(best.step))
        _climb(climbed.step, x[0], weight[0])
        value, further, before = ((weight * one.log_prob(x)).mean() for one in (best, climbed, emissions))
    assert before < value - 0.01
    assert value - 1e-9 <= further < value + 1e-6


def planted(kind: str) -> tuple[Tensor, Tensor]:
    """Series of two sticky states, and the states."""
    torch.manual_seed(1)
    c = (torch.rand(30, 40) > 0.92).long().cumsum(1) % 2
    far = c[..., None].double()
    if kind == "poisson" or kind == "negative-binomial":
        return torch.poisson(2 + 10 * far), c
    if kind == "bernoulli":
        return (torch.rand(30, 40, 8) < 0.15 + 0.7 * far).double(), c
    if kind == "categorical:num_classes=4":
        return (torch.randint(2, (30, 40, 4)) + 2 * c[..., None] * (torch.rand(30, 40, 4) < 0.9)).double(), c
    return 1e3 + 50 * (3 * far + torch.randn(30, 40, 2)), c


@pytest.mark.parametrize(
    "likelihood",
    [
        "mixed",
        "normal:scale=shared",
        "bernoulli",
        "poisson",
        pytest.param("negative-binomial", marks=pytest.mark.slow),
        pytest.param("student-t", marks=pytest.mark.slow),
        "categorical:num_classes=4",
    ],
)
def test_planted_states_are_found(likelihood: str) -> None:
    x, c = planted(likelihood)
    model = hidden_markov(tuple(x.shape[1:]), states=2, likelihood=likelihood)
    model.initialize(x.float())
    said = start_hidden_markov(model, x.float())
    assert said.startswith("Baum–Welch from")
    path = model.posterior.most_probable_states(x.float())  # pyright: ignore[reportAttributeAccessIssue]
    right = (path == c).double().mean().item()
    assert max(right, 1 - right) > 0.97
    moved = torch.nn.functional.one_hot(2 * c[:, :-1] + c[:, 1:], 4).sum((0, 1)).view(2, 2).float()
    stays = (moved / moved.sum(1, keepdim=True)).diag()
    found = model.prior.transition.logits.softmax(1).diag()  # pyright: ignore[reportAttributeAccessIssue]
    torch.testing.assert_close(found.detach().sort().values, stays.sort().values, atol=0.015, rtol=0)


def test_a_state_of_one_step_keeps_a_scale() -> None:
    x = (
        torch.zeros(1, 50, 1).double()
        + 0.1 * torch.randn(1, 50, 1, generator=torch.Generator().manual_seed(0)).double()
    )
    x[0, 25] = 100.0
    model = hidden_markov((50, 1), states=2)
    model.initialize(x.float())
    start_hidden_markov(model, x.float())
    scale = model.likelihood(torch.eye(2)[:, None]).steps.parts[0].stddev  # pyright: ignore[reportAttributeAccessIssue]
    assert scale.max() > 5  # a spread of 14 counts as one of two steps
    assert bool(model.prior.transition.logits.isfinite().all())  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    "shape, options, words",
    [
        ((1, 2), {}, "series of 1 step, which show no transition"),
        ((5, 2, 2), {}, "expected .steps, numbers at one step."),
        ((5, 2), {"states": 1}, "got states=1 and needs at least 2"),
        ((5,), {"columns": "4*continuous+categorical-3"}, "a table with categorical columns"),
    ],
)
def test_what_is_no_chain_is_refused(shape: tuple[int, ...], options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        hidden_markov(shape, **options)
    assert len(str(caught.value)) < 300


def test_the_plan_takes_the_likelihood_of_the_recipe_for_numbers_and_that_of_the_data_for_others() -> None:
    from lowerbound.data import Dataset
    from lowerbound.fitting.planning import plan

    reals = Dataset.from_array(np.random.default_rng(0).normal(size=(20, 6, 2)))
    zeros = Dataset.from_array(np.random.default_rng(0).integers(2, size=(20, 6, 2)))
    found = plan(reals, "hidden-markov:states=3")
    assert (found.model["likelihood"], found.steps, found.model["columns"]) == ("mixed", 0, None)
    assert plan(zeros, "hidden-markov").model["likelihood"] == "bernoulli"
    assert plan(reals, "state-space").model["likelihood"] == "normal:scale=shared"
    counts = Dataset.from_array(np.random.default_rng(0).poisson(2, size=(20, 6)))
    assert plan(counts, "hidden-markov").model["likelihood"] == "negative-binomial"


def test_emissions_that_take_gaps_update_by_what_was_seen() -> None:
    step = some_model().likelihood.step
    x = torch.tensor([[[1.0, NAN], [3.0, 5.0], [NAN, 7.0]]]).double()
    weight = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]]).double()
    with torch.no_grad():
        found = StateEmissions(step).maximised(x, weight)
        centre = found.step(torch.eye(2).double()).mean
    torch.testing.assert_close(centre, torch.tensor([[2.0, 5.0], [2.0, 7.0]]).double())  # nothing seen: the mean of all
    assert isinstance(HiddenMarkov(weight[0, 0], weight[0, :2], found), HiddenMarkov)
