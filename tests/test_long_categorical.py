"""A categorical of many values by two digits is torch's over their numbers."""

from __future__ import annotations

import math

import torch
from torch.distributions import Categorical, OneHotCategorical, kl_divergence

from lowerbound.distributions.long_categorical import (
    LongCategorical,
    categorical_over,
    code_shape,
    every_code,
    number_of,
)

LOGITS = torch.randn(3, 600, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_every_value_has_a_code_of_its_own() -> None:
    codes = every_code(600, LOGITS)
    assert codes.shape == (600, *code_shape(600)) == (600, 2, 25)
    assert number_of(codes, 600).tolist() == list(range(600))
    assert bool((codes.sum(-1) == 1).all())
    few = every_code(5, LOGITS)
    torch.testing.assert_close(few, torch.eye(5, dtype=torch.float64))
    assert number_of(few, 5).tolist() == list(range(5))
    assert isinstance(categorical_over(LOGITS[:, :5]), OneHotCategorical)


def test_numbers_agree_with_torch() -> None:
    found, theirs = LongCategorical(LOGITS), Categorical(logits=LOGITS)
    codes, other = every_code(600, LOGITS)[:, None].expand(600, 3, 2, 25), LOGITS.roll(1, 0)
    torch.testing.assert_close(found.log_prob(codes), LOGITS.log_softmax(1).mT)
    torch.testing.assert_close(found.entropy(), theirs.entropy())
    torch.testing.assert_close(found.mean, torch.einsum("bk,kdm->bdm", theirs.probs, every_code(600, LOGITS)))
    assert number_of(found.mode, 600).tolist() == LOGITS.argmax(1).tolist()
    torch.testing.assert_close(
        kl_divergence(found, LongCategorical(other)), kl_divergence(theirs, Categorical(logits=other))
    )
    wide = found.expand(torch.Size((4, 3))).log_prob(codes[:, None].expand(600, 4, 3, 2, 25))
    torch.testing.assert_close(wide[:, 2], found.log_prob(codes))


def test_digits_of_no_value_have_no_probability() -> None:
    beyond = torch.nn.functional.one_hot(torch.tensor([24, 24]), 25).double()  # 24 · 25 + 24 of 600
    fewer = LongCategorical(LOGITS[:1, :590])
    assert fewer.log_prob(beyond).tolist() == [-math.inf]


def test_draws_have_the_probabilities() -> None:
    torch.manual_seed(0)
    q = LongCategorical(LOGITS[:1])
    k = number_of(q.sample(torch.Size((20_000,))), 600)[:, 0]
    seen = torch.bincount(k, minlength=600) / 20_000
    assert float((seen - q.probs[0]).abs().max()) < 5 * math.sqrt(float(q.probs.max()) / 20_000)


def test_digits_come_in_turn() -> None:
    """The log-probabilities of the turns add up to that of the code."""
    q, codes = LongCategorical(LOGITS), every_code(600, LOGITS)[[7, 311, 599]]
    turns = q.in_turn(3)
    first, places = next(turns)[:2]
    assert places.tolist() == [0]
    second, places = turns.send(codes[:, :1])[:2]
    assert places.tolist() == [1]
    torch.testing.assert_close(
        first.log_prob(codes[:, :1])[:, 0] + second.log_prob(codes[:, 1:])[:, 0], q.log_prob(codes)
    )
