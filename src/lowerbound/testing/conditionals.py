"""Conformance of a prior, likelihood or posterior: see `check_conditional`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from lowerbound.protocols import Conditional, Context
from lowerbound.testing.gradients import flat_gradient
from lowerbound.testing.require import require, require_close

__all__ = ["check_conditional"]


def check_conditional(
    conditional: Conditional,
    context: Context | None = None,
    *,
    value: Tensor | None = None,
    num_samples: int = 3,
) -> None:
    """Check the distribution that a prior, likelihood or posterior returns.

    Shapes: `batch_shape` is (B,) (or () if it does not depend on its context), samples are
    (S, B, *event) and their `log_prob` is (S, B), equal to that of each sample alone. Everything is
    finite and in the precision of the parameters. `sample` is a constant; where `has_rsample` is
    true, `rsample` carries a gradient to the parameters; the gradient of `log_prob` is finite.

    Arguments:
        conditional: the module. Give it and its context in float64 to check that precision.
        context: what it is called with, B rows; None for a prior without context.
        value: a value (B, *event) to score; its own samples unless given.
        num_samples: S.

    Raises:
        AssertionError: naming the first thing found wrong.
    """
    name = type(conditional).__name__
    q = conditional(context)
    batch = _batch_shape(q, context, name)
    expected = (num_samples, *batch, *q.event_shape)
    z = q.sample(torch.Size((num_samples,)))
    _check_sample(z, expected, _dtype(conditional, context), name)
    _check_log_prob(conditional, q, z if value is None else value.expand(expected), batch, name)
    if q.has_rsample:
        _check_rsample(conditional, q, expected, name)


def _batch_shape(q: Distribution, context: Context | None, name: str) -> tuple[int, ...]:
    batch = tuple(q.batch_shape)
    allowed = [(), *(tuple(tensor.shape[:1]) for tensor in _tensors(context)[:1])]
    require(
        batch in allowed,
        f"{name}: batch_shape is {batch}, not one of {allowed}; wrap the event axes in Independent.",
    )
    return batch


def _dtype(conditional: Conditional, context: Context | None) -> torch.dtype:
    tensors = _tensors(context)
    if isinstance(conditional, nn.Module):
        tensors += [*conditional.buffers(), *conditional.parameters()]
    floating = [t.dtype for t in tensors if t.is_floating_point()]
    return floating[-1] if floating else torch.get_default_dtype()


def _tensors(context: Context | None) -> list[Tensor]:
    if context is None:
        return []
    return list(context) if isinstance(context, tuple) else [context]


def _check_sample(z: Tensor, expected: tuple[int, ...], dtype: torch.dtype, name: str) -> None:
    shape = tuple(z.shape)
    require(shape == expected, f"{name}: samples have shape {shape}, not {expected}.")
    require(z.dtype == dtype, f"{name}: samples are {z.dtype}, not {dtype} like its parameters.")
    require(bool(z.isfinite().all()), f"{name}: samples are not finite.")
    require(not z.requires_grad, f"{name}: sample() carries gradients and must be a constant.")


def _check_log_prob(
    conditional: Conditional, q: Distribution, value: Tensor, batch: tuple[int, ...], name: str
) -> None:
    log_prob = q.log_prob(value)
    expected, shape = (value.shape[0], *batch), tuple(log_prob.shape)
    require(shape == expected, f"{name}: log_prob has shape {shape}, not {expected}.")
    require(bool(log_prob.isfinite().all()), f"{name}: log_prob is not finite.")
    alone = q.log_prob(value[0])
    require_close(alone, log_prob[0], f"{name}: log_prob of a sample alone differs")
    nested = q.log_prob(value[None])
    require(
        tuple(nested.shape) == (1, *expected),
        f"{name}: log_prob of two sample axes has shape {tuple(nested.shape)}.",
    )
    gradient = flat_gradient(log_prob.sum(), _parameters(conditional))
    require(bool(gradient.isfinite().all()), f"{name}: the gradient of log_prob is not finite.")


def _check_rsample(conditional: Conditional, q: Distribution, expected: tuple[int, ...], name: str) -> None:
    """`has_rsample` promises a pathwise derivative, if there are parameters."""
    z = q.rsample(torch.Size(expected[:1]))
    shape = tuple(z.shape)
    require(shape == expected, f"{name}: rsample has shape {shape}, not {expected}.")
    mix = torch.linspace(0.5, 1.5, z.numel()).to(z).view_as(z)
    gradient = flat_gradient((z * mix).sum(), _parameters(conditional))
    require(bool(gradient.isfinite().all()), f"{name}: the gradient of rsample is not finite.")
    moves = gradient.numel() == 0 or bool((gradient != 0).any())
    require(moves, f"{name}: has_rsample is True and rsample() carries no gradient to parameters.")


def _parameters(conditional: Conditional) -> list[Tensor]:
    if not isinstance(conditional, nn.Module):
        return []
    return [p for p in conditional.parameters() if p.requires_grad]
