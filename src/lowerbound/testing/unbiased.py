"""A test of unbiasedness with two declared errors.

For R independent repetitions of P coordinates, with mean m and standard error s, it fails where
|m − exact| > t s, with t the quantile of Student's t with R − 1 degrees of freedom at 1 − α/(2P):
an unbiased estimator fails with probability at most α (Bonferroni). It also fails if a bias of t s, the smallest bias
that it detects in half of all cases, is larger than stated: a test that could not have failed proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from lowerbound.testing.require import require

__all__ = ["assert_unbiased"]


def assert_unbiased(
    estimate_fn: Callable[[], Tensor],
    exact: Float[Tensor, "coordinate"],
    *,
    num_repeats: int = 32,
    false_failure_rate: float = 1e-6,
    smallest_detectable: float = 0.02,
) -> None:
    """Assert that the expectation of an estimate is the exact value.

    Arguments:
        estimate_fn: returns (coordinate,), one repetition (for a gradient best the mean over a
            batch of thousands of copies of a datum), or (repeat, coordinate), several. Called until
            there are num_repeats.
        exact: the truth.
        num_repeats: R, at least 10.
        false_failure_rate: α, the probability that an unbiased estimate fails.
        smallest_detectable: the bias of a coordinate that must be detected, as a fraction of the norm of `exact`.

    Raises:
        AssertionError: a coordinate is biased, or the repetitions are too few to tell.
        ValueError: fewer than ten repetitions.

    >>> _ = torch.manual_seed(0)
    >>> assert_unbiased(lambda: 3 + torch.randn(40_000, 1), torch.tensor([3.0]), num_repeats=40_000)
    """
    if num_repeats < 10:
        raise ValueError(f"assert_unbiased got num_repeats={num_repeats} and needs at least 10.")
    exact, repeats = exact.detach(), _repeat(estimate_fn, num_repeats).double()
    count, size = repeats.shape
    t = float(stats.t.isf(false_failure_rate / (2 * size), count - 1))
    noticed = t * repeats.std(0) / count**0.5
    _check_power(noticed, smallest_detectable * exact.double().norm(), count)
    rounding = 1e3 * torch.finfo(exact.dtype).eps * (1 + exact.double().norm())
    mean = repeats.mean(0)
    excess = (mean - exact.double()).abs() - noticed - rounding
    worst = int(excess.argmax())
    require(
        bool(excess[worst] <= 0),
        f"coordinate {worst} of {size} is biased: mean {float(mean[worst]):.6g}, exact "
        f"{float(exact[worst]):.6g}, standard error {float(noticed[worst]) / t:.2g}; {t:.1f} "
        "standard errors were allowed.",
    )


def _check_power(noticed: Tensor, allowed: Tensor, count: int) -> None:
    worst, wanted = float(noticed.max()), float(allowed)
    require(
        worst <= wanted,
        f"{count} repetitions notice a bias of {worst:.3g} at best and {wanted:.3g} was asked for; "
        f"{(worst / max(wanted, 1e-300)) ** 2:.1f} times as many would.",
    )


def _repeat(estimate_fn: Callable[[], Tensor], num_repeats: int) -> Tensor:
    rows, count = [], 0
    while count < num_repeats:
        rows.append(torch.atleast_2d(estimate_fn().detach()))
        count += rows[-1].shape[0]
    return torch.cat(rows)
