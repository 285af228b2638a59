"""Hidden Markov models: a Markov chain of K states, of which each emits one step of x, with an exact posterior.

    p(c_1) Π_{t≥2} p(c_t | c_{t−1}) Π_t p(x_t | c_t)                                          z_t = c_t, one-hot

q(c | x) is p(c | x), from the forward–backward recursions (`exact.HiddenChain`; Rabiner 1989) with the parameters of
the prior and of the likelihood; it has none of its own. log w = log p(x) for every path: the ELBO, every
importance-weighted bound and log p(x) are one number, and its gradient is that of log p(x).

The emission is any likelihood of one step. Its net looks up the parameters of a state. By default it is `Mixed`: real
numbers in their own units, a location and a scale for each state, single entries missing. The start is Baum–Welch (Baum
et al. 1970) from several k-means (`hidden_markov_start`); `steps` of gradient training may follow it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributions import OneHotCategorical

from lowerbound import likelihoods
from lowerbound.exact import ChainPosterior, HiddenChain
from lowerbound.likelihoods.mixed import kinds_of_columns
from lowerbound.model import LatentVariableModel
from lowerbound.models.hidden_markov_start import start_hidden_markov
from lowerbound.models.recipe import Recipe
from lowerbound.models.state_table import StateTable
from lowerbound.models.steps_with_gaps import StepsWithGaps
from lowerbound.priors.markov_chain import MarkovChain
from lowerbound.protocols import Context
from lowerbound.spelling import construct, find, outputs_of, parse, spelled

__all__ = ["RECIPE", "NextState", "StatePosterior", "hidden_markov"]

_NUMBERS = ("continuous", "positive", "count")


def hidden_markov(
    event_shape: Sequence[int], *, states: int = 2, likelihood: str = "mixed", columns: str | None = None
) -> LatentVariableModel:
    """A hidden Markov model of series x (T, D), or (T,) for one number a step, NaN where it was not observed.

    Arguments:
        event_shape: (T, D) or (T,).
        states: K.
        likelihood: of one step given its state, a name of `likelihoods` with options.
        columns: kinds of the numbers of a step for the likelihood "mixed", as it takes them; of the T columns of a
            table, which have to be of one kind. None for real numbers.

    Raises:
        ValueError: another shape, a single step, fewer than two states, an unknown likelihood or option, or columns of
            several kinds.

    >>> model = hidden_markov((20, 3), states=2)
    >>> model.sample(5).shape, model.infer(model.sample(5)).mean.shape
    (torch.Size([5, 20, 3]), torch.Size([5, 20, 2]))
    """
    shape = tuple(event_shape)
    if len(shape) not in (1, 2):
        raise ValueError(
            f"hidden_markov got data of shape {shape} and expected (steps, numbers at one step), or (steps,) for one "
            "number each; reshape the data."
        )
    if shape[0] < 2:
        raise ValueError(f"hidden_markov got series of {shape[0]} step, which show no transition; give two or more.")
    if states < 2:
        raise ValueError(f"hidden_markov got states={states} and needs at least 2; one state is no chain.")
    width = shape[1] if len(shape) == 2 else 1
    words = _of_a_step(likelihood, columns, shape)
    net = StateTable(states, outputs_of(likelihoods, words, (width,)))
    step = construct(likelihoods, words, net=net, event_shape=(width,))
    prior = MarkovChain(FirstState(states), NextState(states), shape[0])
    emission = StepsWithGaps(step, shape)
    return LatentVariableModel(prior=prior, likelihood=emission, posterior=StatePosterior(prior, emission))


class FirstState(nn.Module):
    """p(c_1), uniform before training."""

    def __init__(self, states: int):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(states))

    def forward(self, context: Context | None = None) -> OneHotCategorical:
        """p(c_1); the context is ignored."""
        return OneHotCategorical(logits=self.logits, validate_args=False)


class NextState(nn.Module):
    """p(c_t | c_{t−1}): a row of logits for each state; before training a state stays with probability a half.

    Arguments:
        states: K.
    """

    def __init__(self, states: int):
        super().__init__()
        stays = torch.full((states, states), 0.5 / (states - 1)).fill_diagonal_(0.5)
        self.logits = nn.Parameter(stays.log())

    def forward(self, context: Context) -> OneHotCategorical:
        """p(c_t | context) of one-hot states (..., K)."""
        assert isinstance(context, Tensor)
        return OneHotCategorical(logits=context @ self.logits, validate_args=False)


class StatePosterior(nn.Module):
    """p(c | x) of a hidden Markov model.

    Arguments:
        prior: of the model.
        likelihood: of the model.

    Returns (when called with x (B, *event)):
        A distribution over one-hot paths (T, K), batch shape (B,).
    """

    def __init__(self, prior: MarkovChain, likelihood: StepsWithGaps):
        super().__init__()
        self._of = (prior, likelihood)  # in a tuple, because the model has their parameters already

    def forward(self, context: Context | None = None) -> ChainPosterior:
        """p(c | context)."""
        assert isinstance(context, Tensor)
        return ChainPosterior(self.chain(context))

    def chain(self, x: Float[Tensor, "batch *event"]) -> HiddenChain:
        """The chains of states behind series.

        Raises:
            ValueError: a step is known in part, and its likelihood marginalises no entry.
        """
        prior, likelihood = self._of
        first, after = cast(FirstState, prior.initial).logits, cast(NextState, prior.transition).logits
        seen, filled = likelihood.observed(likelihood.series(x))
        of_each = likelihood.step(torch.eye(len(first), dtype=first.dtype, device=first.device))
        log_emission = of_each.log_prob(filled.unsqueeze(-2)).masked_fill(~seen[..., None], 0)
        return HiddenChain(first.log_softmax(0), after.log_softmax(1), log_emission)

    @torch.no_grad()
    def most_probable_states(self, x: Float[Tensor, "batch *event"]) -> Int[Tensor, "batch time"]:
        """The path of largest p(c | x), by Viterbi's algorithm."""
        return self.chain(x).most_probable()[0]

    @torch.no_grad()
    def state_probabilities(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch time state"]:
        """p(c_t | x) of each step, by the forward–backward recursions."""
        return self.chain(x).smoothed

    def is_exact_for(self, model: LatentVariableModel) -> bool:
        """Whether the model has the prior and the likelihood of which this is the posterior."""
        prior, likelihood = self._of
        return model.prior is prior and model.likelihood is likelihood


def _of_a_step(likelihood: str, columns: str | None, shape: tuple[int, ...]) -> str:
    """The words of the likelihood of one step, with the kinds of its numbers where it takes them."""
    name, options = parse(likelihood)
    if find(likelihoods, name) is not likelihoods.Mixed:
        return likelihood
    given = options.get("columns", columns)
    if given is None:
        given = "continuous" if len(shape) == 1 else f"{shape[1]}*continuous"
    elif len(shape) == 1:
        given = _kind_of_steps([name for name, _ in kinds_of_columns(given)])
    return spelled(name, {**options, "columns": given})


def _kind_of_steps(kinds: Sequence[str]) -> str:
    """The kind of the steps of a table, each of which is a column."""
    known, strange = set(kinds), sorted(set(kinds) - {*_NUMBERS, "heteroscedastic-count"})
    if strange:
        raise ValueError(
            f"hidden_markov got a table with {strange[0]} columns and takes each column as a step of one series; give "
            "class numbers as an array (series, steps, 1), with the likelihood categorical; of a table with a row for "
            "each step name the series (--series COLUMN)."
        )
    if known <= {"count", "heteroscedastic-count"}:
        return "heteroscedastic-count"
    return "positive" if known == {"positive"} else "continuous"


RECIPE = Recipe(
    name="hidden-markov",
    cites=("rabiner1989tutorial", "baum1970maximization"),
    make=hidden_markov,
    defaults={
        "objective": "iwae",
        "gradient": "score-function",
        "num_samples": 2,
        "steps": 0,
        "lr": 1e-2,
        "compile": False,
        "likelihood": "mixed",
    },
    start=start_hidden_markov,
    likelihood="mixed",
)
