"""A categorical variable of many values, written by two one-hot digits.

    value k of K          k = m d₁ + d₂,   m = ⌈√K⌉          z = (one-hot d₁, one-hot d₂), a matrix (2, m)

A one-hot vector of thousands of numbers for each draw fills the memory. Up to `MOST_ONE_HOT` values the code is one-hot
and the distribution is torch's.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.distributions import Distribution, OneHotCategorical, constraints, register_kl
from torch.types import _size

from lowerbound.hooks import Turn

__all__ = ["MOST_ONE_HOT", "LongCategorical", "categorical_over", "code_shape", "every_code", "number_of"]

MOST_ONE_HOT = 512


def categorical_over(logits: Float[Tensor, "*batch value"]) -> Distribution:
    """p(k) ∝ exp logits_k over codes: one-hot, or of two digits where there are many values."""
    few = logits.shape[-1] <= MOST_ONE_HOT
    return OneHotCategorical(logits=logits, validate_args=False) if few else LongCategorical(logits)


def code_shape(num_values: int) -> tuple[int, ...]:
    """Of the code of a value."""
    return (2, _base(num_values)) if num_values > MOST_ONE_HOT else (num_values,)


def number_of(code: Tensor, num_values: int) -> Int[Tensor, "*batch"]:
    """k of codes (*batch, *code); beyond the values for digits of none."""
    if num_values <= MOST_ONE_HOT:
        return code.argmax(-1)
    digits = code.argmax(-1)
    return digits[..., 0] * code.shape[-1] + digits[..., 1]


def every_code(num_values: int, like: Tensor) -> Float[Tensor, "value *code"]:
    """The codes of all values, on the device and in the precision of a tensor."""
    k = torch.arange(num_values, device=like.device)
    return _code(k, num_values, like.dtype) if num_values > MOST_ONE_HOT else torch.eye(num_values).to(like)


def _base(num_values: int) -> int:
    return math.isqrt(num_values - 1) + 1


def _code(k: Tensor, num_values: int, dtype: torch.dtype) -> Tensor:
    m = _base(num_values)
    return torch.nn.functional.one_hot(torch.stack([k // m, k % m], -1), m).to(dtype)


class LongCategorical(Distribution):
    """p(k) of K > `MOST_ONE_HOT` values over their codes.

    Arguments:
        logits: log p up to a constant (*batch, K).
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, logits: Float[Tensor, "*batch value"]):
        self.logits = logits.log_softmax(-1)
        super().__init__(logits.shape[:-1], torch.Size(code_shape(logits.shape[-1])), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """Codes."""
        return constraints.independent(constraints.one_hot, 1)

    @property
    def probs(self) -> Float[Tensor, "*batch value"]:
        """p(k)."""
        return self.logits.exp()

    @property
    def mean(self) -> Tensor:
        """The probabilities of each digit."""
        table = self._table
        return torch.stack([table.sum(-1), table.sum(-2)], -2)

    @property
    def variance(self) -> Tensor:
        """Of each number of the code."""
        return self.mean * (1 - self.mean)

    @property
    def mode(self) -> Tensor:
        """The code of the most probable value."""
        return _code(self.logits.argmax(-1), self.logits.shape[-1], self.logits.dtype)

    @property
    def _table(self) -> Float[Tensor, "*batch first second"]:
        """p(d₁, d₂)."""
        size = self.logits.shape[-1]
        m = _base(size)
        return torch.nn.functional.pad(self.probs, (0, m * m - size)).unflatten(-1, (m, m))

    def entropy(self) -> Tensor:
        """In nats."""
        return -(self.probs * self.logits.clamp_min(torch.finfo(self.logits.dtype).min)).sum(-1)

    def expand(self, batch_shape: _size, _instance: Distribution | None = None) -> Distribution:
        """The same distribution with a larger batch shape."""
        return LongCategorical(self.logits.expand(*batch_shape, self.logits.shape[-1]))

    @torch.no_grad()
    def sample(self, sample_shape: _size = ()) -> Tensor:
        """Draw codes: (*sample_shape, *batch, 2, m)."""
        shape, size = torch.Size(sample_shape), self.logits.shape[-1]
        drawn = self.probs.reshape(-1, size).multinomial(shape.numel(), replacement=True)
        return _code(drawn.mT.reshape(*shape, *self.batch_shape), size, self.logits.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p of codes (..., *batch, 2, m): (..., *batch), nats."""
        size = self.logits.shape[-1]
        k = number_of(value, size)
        k = k.expand(torch.broadcast_shapes(k.shape, self.batch_shape))
        known = self.logits.expand(*k.shape, size).gather(-1, k.clamp(max=size - 1)[..., None])[..., 0]
        return torch.where(k < size, known, -math.inf)

    def in_turn(self, rows: int) -> Generator[Turn, Tensor, None]:
        """See `hooks.ComesInTurn`: the first digit, and the second given it."""
        table = self._table.expand(rows, -1, -1)
        first = table.sum(-1)
        d = yield OneHotCategorical(probs=first[:, None], validate_args=False), torch.tensor([0])
        second = (table * d.to(table).mT).sum(-2)
        yield OneHotCategorical(probs=second[:, None], validate_args=False), torch.tensor([1])


@register_kl(LongCategorical, LongCategorical)
def _kl(q: LongCategorical, p: LongCategorical) -> Tensor:
    return (q.probs * (q.logits - p.logits)).nan_to_num(nan=0.0).sum(-1)
