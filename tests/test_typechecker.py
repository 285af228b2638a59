"""Annotations are enforced at the first calls in every test."""

from __future__ import annotations

import pytest
import torch
from jaxtyping import TypeCheckError

from lowerbound.nets.softplus import positive


@pytest.mark.parametrize("again", range(2))
def test_a_function_is_checked_in_every_test(again: int) -> None:
    with pytest.raises(TypeCheckError, match="raw"):
        positive("0", 0.0)  # type: ignore[arg-type]
    for _ in range(100):
        positive(torch.zeros(1), 0.0)
