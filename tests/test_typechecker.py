"""Annotations are enforced at the first calls in every test."""

from __future__ import annotations

from collections.abc import Callable

import jaxtyping
import pytest
import torch
from jaxtyping import Float, TypeCheckError
from torch import Tensor
from typechecker import begin_test, typechecked

from lowerbound.nets.softplus import positive


@pytest.mark.parametrize("again", range(2))
def test_a_function_is_checked_in_every_test(again: int) -> None:
    with pytest.raises(TypeCheckError, match="raw"):
        positive("0", 0.0)  # type: ignore[arg-type]
    for _ in range(100):
        positive(torch.zeros(1), 0.0)


def defined() -> Callable[[Tensor], Tensor]:
    @jaxtyping.jaxtyped(typechecker=typechecked)
    def inner(x: Float[Tensor, "row"]) -> Float[Tensor, "row"]:
        return x.sum(-1)

    return inner


def test_a_function_within_a_function_is_checked_in_every_test() -> None:
    for _ in range(2):
        with pytest.raises(TypeCheckError, match="return value"):
            defined()(torch.zeros(2))
        begin_test()
