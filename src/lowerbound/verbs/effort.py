"""How many samples a score draws where the user says nothing: 1,000, or fewer where these would take long.

    S ≤ 1000        operations of L_S and of the ELBO ≤ max(operations of half a minute, a fifth of those of training)

Operations are counted, not timed, so that S does not depend on what else a machine does: those of products and
convolutions, and 30 for each number that any other function gives. They are counted for a few rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.distributions import Distribution
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from lowerbound.evaluate.batches import context_rows
from lowerbound.evaluate.evidence import ELEMENTS_AT_ONCE
from lowerbound.fitted import BLOCK, Fitted
from lowerbound.fitting.defaults import facts_of
from lowerbound.hooks import PointMass
from lowerbound.likelihoods.open_points import OpenPoints
from lowerbound.likelihoods.tokens import num_tokens
from lowerbound.model import LatentVariableModel
from lowerbound.protocols import Context
from lowerbound.randomness import forked
from lowerbound.weights import is_exact, latents_of, log_density, log_reverse

__all__ = ["Samples", "knows_log_p", "rows_trained", "samples_for", "samples_of_summary"]

_MOST, _FEWEST, _OF_SUMMARY = 1000, 10, 64
_ROWS, _LENGTHS = slice(0, 8), slice(0, BLOCK)  # `score` has no more at hand, and takes as many samples as `evaluate`
_OPERATIONS = 8e12
"""Of half a minute on two cores of a processor of 2023, about."""
_CUDA = 20  # as many operations in the same time
_OF_A_NUMBER = 30  # operations that take as long as one number of a function that is no product
_SHARE, _WITH_GRADIENT = 0.2, 3  # of training; a step takes as long as three passes forward, about


@dataclass(frozen=True)
class Samples:
    """How many samples a score draws for each row.

    Attributes:
        count: S.
        reason: why there are fewer than 1,000, in a sentence; None where there are not, or where one is enough.
    """

    count: int
    reason: str | None = None


def samples_for(
    model: LatentVariableModel,
    x: Shaped[Tensor, "batch *event"],
    context: Context | None,
    *,
    num_rows: int | None = None,
    num_trained: int = 0,
) -> Samples:
    """S of L_S.

    Arguments:
        model: p and q, on the device of x.
        x: rows to score as the likelihood scores them, or the first of them.
        context: of the model, one row for each of x.
        num_rows: how many are scored; None for those of x.
        num_trained: the result of `rows_trained`.
    """
    count = len(x) if num_rows is None else num_rows
    if is_exact(model) or _has_no_latents(model):
        return Samples(1)
    if not count:
        return Samples(_MOST)
    of_row, of_sample = _operations(model, x, context)
    if not of_sample:
        return Samples(_MOST)
    budget = _OPERATIONS * (_CUDA if x.device.type == "cuda" else 1)
    affordable = max(budget, _SHARE * _WITH_GRADIENT * num_trained * of_row) / (count * of_sample)
    if affordable >= _MOST + _OF_SUMMARY:
        return Samples(_MOST)
    found = max(_FEWEST, int(max(affordable - _OF_SUMMARY, affordable / 2)))
    return Samples(
        found,
        f"{found:,} samples a row, as many as take half a minute on two cores or a fifth of the time of training (at "
        f"least {_FEWEST}); --num-samples {_MOST} draws more.",
    )


def rows_trained(fitted: Fitted) -> int:
    """Rows that training went through, each as often as latents were drawn for it."""
    plan = fitted.plan
    if plan is None:
        return 0
    steps = max((record["step"] for record in fitted.records), default=plan.steps)
    return steps * plan.batch_size * plan.num_samples


def samples_of_summary(count: int) -> int:
    """Samples behind the ELBO and its parts beside L_S of that many."""
    return min(_OF_SUMMARY, max(_FEWEST, count))


def knows_log_p(model: LatentVariableModel) -> bool:
    """Whether log w is log p(x) whatever is drawn: q(z | x) is p(z | x), or a language model has no latents. A molecule
    may be written in several ways, so that its log p is above that of the row that writes it.
    """
    writes_molecules = any(isinstance(part, OpenPoints) for part in model.modules())
    return is_exact(model) or (_has_no_latents(model) and not writes_molecules)


def _has_no_latents(model: LatentVariableModel) -> bool:
    return facts_of(model.likelihood).domain == "tokens" and model.prior(None).event_shape.numel() == 0


@torch.no_grad()
def _operations(model: LatentVariableModel, x: Tensor, context: Context | None) -> tuple[float, float]:
    """Operations of one row with one sample, and those of a sample alone, on average.

    A second sample shows what each one takes. What a call takes however many there are (a prior that encodes rows of
    its own) is shared by the samples that are decoded at a time.
    """
    some, given = x[_ROWS], context_rows(context, _ROWS)
    with forked(x.device, 0), _Operations() as of_encoder:
        q = model.infer(some, given)
    one, two = (_of_samples(model, some, given, q, number) for number in (1, 2))
    each, call = two - one, max(0, 2 * one - two)
    scale = 1 / len(some)
    if facts_of(model.likelihood).domain == "tokens":
        scale = num_tokens(x[_LENGTHS]).double().mean().item() / int(num_tokens(some).sum())
    of_sample = each * scale + call / max(1, ELEMENTS_AT_ONCE // max(1, some[0].numel()))
    return of_encoder.count * scale + of_sample, 0.0 if isinstance(q, PointMass) else of_sample


def _of_samples(model: LatentVariableModel, x: Tensor, context: Context | None, q: Distribution, number: int) -> int:
    """Operations of that many samples of each row."""
    with forked(x.device, 0), _Operations() as found:
        z = (q.rsample if q.has_rsample else q.sample)(torch.Size((number,)))
        _ = log_density(q, z) - log_reverse(q, z)
        model.joint(x, context)(latents_of(q, z))
    return found.count


class _Operations(TorchDispatchMode):
    """Adds up what functions of torch compute."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        packet = func._overloadpacket
        if packet not in flop_registry and packet not in _FORMULAS:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **kwargs)
        if packet in flop_registry:
            self.count += flop_registry[packet](*args, **kwargs, out_val=out)
        elif packet in _FORMULAS:
            self.count += _FORMULAS[packet](*args)
        elif not func.is_view:
            numbers = sum(leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, Tensor))
            self.count += _OF_A_NUMBER * numbers
        return out


def _of_recurrent(u: Tensor, weight: Tensor, recurrent: Tensor, *_: Any) -> int:
    """A layer of a recurrent net of inputs (T, N, inputs)."""
    return 2 * u.shape[0] * u.shape[1] * (weight.numel() + recurrent.numel())


def _of_recurrent_on_cuda(u: Tensor, weights: list[Tensor], *_: Any) -> int:
    """All layers, in both directions if it has them."""
    return 2 * u[..., 0].numel() * sum(weight.numel() for weight in weights if weight.ndim == 2)


def _of_attention(query: Tensor, key: Tensor, value: Tensor, *_: Any) -> int:
    """Scores of keys, and the mean of values."""
    return 2 * math.prod(query.shape[:-1]) * key.shape[-2] * (key.shape[-1] + value.shape[-1])


_FORMULAS: dict[Any, Any] = {
    torch.ops.aten.mkldnn_rnn_layer: _of_recurrent,
    torch.ops.aten._cudnn_rnn: _of_recurrent_on_cuda,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _of_attention,
}
