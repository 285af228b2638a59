"""Repetitions that would not end are refused where they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from lowerbound.evaluate import gradient_statistics, log_evidence
from lowerbound.exact import LinearGaussian
from lowerbound.gradients import Pathwise
from lowerbound.inference import HMC, IterativeAmortised, Local, SemiAmortised
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO
from lowerbound.posteriors import IAF, MAF, NSF
from lowerbound.priors import RBM, FlowPrior

MODEL, X = LinearGaussian.random(2, 1).model(), torch.zeros(1, 2, dtype=torch.float64)


@pytest.mark.parametrize(
    "ask",
    [
        lambda n: HMC(num_warmup=n),
        lambda n: HMC(num_leapfrog=n),
        lambda n: Local(num_steps=n),
        lambda n: Local(num_restarts=n),
        lambda n: SemiAmortised(num_steps=n),
        lambda n: IterativeAmortised(1, num_steps=n),
        lambda n: RBM(4, sweeps=n),
        lambda n: gradient_statistics(MODEL, ELBO(), Pathwise(), X, num_repeats=n),
    ],
)
def test_loops_are_limited(ask: Callable[[int], Any]) -> None:
    with pytest.raises(ValueError, match=r"=1,000,001 and takes at most 1,000,000; take fewer\."):
        ask(10**6 + 1)


@pytest.mark.parametrize("make", [IAF, MAF, NSF, lambda _, transforms: FlowPrior(2, transforms=transforms)])
def test_layers_of_flows_are_limited(make: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r" got transforms=257 and takes at most 256; take fewer\."):
        make(MLP(3, [4], 36), transforms=257)


def test_samples_of_an_evaluation_are_limited() -> None:
    with pytest.raises(ValueError, match=r"log_evidence got num_samples=10,000,001 and takes at most 10,000,000"):
        log_evidence(MODEL, X, num_samples=10**7 + 1)


def test_the_limit_itself_is_allowed() -> None:
    assert HMC(num_warmup=10**6).num_warmup == Local(num_steps=10**6).num_steps == 10**6


def test_a_number_of_many_digits_makes_a_short_sentence() -> None:
    with pytest.raises(ValueError, match="got num_samples=a number of 19 digits or more and takes at most 10,000,000"):
        gradient_statistics(MODEL, ELBO(), Pathwise(), X, num_samples=10**400)
