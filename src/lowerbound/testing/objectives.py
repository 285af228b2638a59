"""Conformance of an objective: see `check_objective`."""

from __future__ import annotations

import torch

from lowerbound.exact import EnumerableBernoulli
from lowerbound.protocols import Objective
from lowerbound.testing.cites import check_cites
from lowerbound.testing.require import require, require_close
from lowerbound.weights import LogWeights

__all__ = ["check_objective"]

_BATCH = 7


def check_objective(objective: Objective, *, num_samples: int = 2) -> None:
    """Check that an objective maps weights (sample, batch) to one finite number per datum.

    It must state its works (`check_cites`), treat data separately and samples alike, and be differentiable. One that
    says `bound="lower"` must not exceed log p(x): its expectation is compared with the evidence, both exact, on small
    models with binary latents. An upper bound is not compared, because its estimates approach it from below.

    Arguments:
        objective: what is checked.
        num_samples: K, 2 to 5.

    Raises:
        AssertionError: naming the first thing found wrong.
    """
    check_cites(objective)
    name = type(objective).__name__
    members = "bound, linear, rate, signal and reduce"
    require(isinstance(objective, Objective), f"{name}: it needs {members} (protocols.Objective).")
    known = objective.bound in ("lower", "upper", "none")
    require(known, f"{name}: bound={objective.bound!r} is none of 'lower', 'upper' and 'none'.")
    _check_axes(objective, num_samples, name)
    if objective.bound == "lower":
        _check_lower_bound(objective, num_samples, name)


def _check_axes(objective: Objective, num_samples: int, name: str) -> None:
    w = _random_weights(num_samples, objective)
    signal = objective.signal(w)
    shape = tuple(signal.shape)
    require(shape == (num_samples, _BATCH), f"{name}: signal is {shape}, not (sample, batch).")
    value = objective.reduce(signal)
    require(value.shape == (_BATCH,), f"{name}: reduce gave {tuple(value.shape)}, not (batch,).")
    require(bool(value.isfinite().all()), f"{name}: reduce gave values that are not finite.")
    shuffled, fewer = objective.reduce(signal.flip(0)), objective.reduce(signal[:, :3])
    require_close(shuffled, value, f"{name}: the order of the samples changes the value")
    require_close(fewer, value[:3], f"{name}: other data of the batch change the value")
    (gradient,) = torch.autograd.grad(value.sum(), w.log_likelihood)
    require(bool(gradient.isfinite().all()), f"{name}: its gradient is not finite.")


def _check_lower_bound(objective: Objective, num_samples: int, name: str) -> None:
    x = torch.cartesian_prod(*[torch.arange(2.0, dtype=torch.float64)] * 4)
    for seed in range(3):
        exact = EnumerableBernoulli.random(3, 4, seed=seed)
        gap = exact.bound(objective, x, num_samples) - exact.log_evidence(x)
        excess = float(gap.detach().max())
        require(excess <= 1e-9, f"{name}: a 'lower' bound that exceeds log p(x) by {excess:.3g}.")


def _random_weights(num_samples: int, objective: Objective) -> LogWeights:
    g = torch.Generator().manual_seed(0)
    shape = (num_samples, _BATCH)
    a, b, c = (torch.randn(shape, generator=g, dtype=torch.float64) for _ in range(3))
    z, per_factor = a.new_zeros(*shape, 1), None
    if objective.rate == "kl":
        per_factor = torch.randn(_BATCH, 3, generator=g, dtype=torch.float64).exp()
        b, c = -per_factor.sum(-1).expand(shape), torch.zeros_like(c)
    a.requires_grad_()
    return LogWeights(log_likelihood=a, log_prior=b, log_q=c, z=z, form=objective.rate, rate_per_factor=per_factor)
