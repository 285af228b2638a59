"""Fewer rows are refined where rows are large."""

from __future__ import annotations

import pytest
import torch

from lowerbound.diagnosis import Case
from lowerbound.models import vae


@pytest.mark.parametrize("size, rows", [(3, 100), (5242, 100), (10_000, 52), (40_000, 20)])
def test_fewer_large_rows_are_refined(size, rows):
    model, x = vae((3,), latent_dim=2, hidden=(4,)), torch.zeros(2, size)
    assert Case(model=model, x_train=x, x_held_out=x).num_refined == rows
