"""latent_dim is read from the net, checked against it, and refused with the shape that would fit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lowerbound.nets import MLP
from lowerbound.nets.parameters import parameters_of
from lowerbound.posteriors.parameters import latent_dim_of, split


def shape_of(latent_dim: int) -> tuple[int, ...]:
    return (latent_dim + 3,)


def test_length_is_read_from_a_net_that_states_its_shape() -> None:
    assert latent_dim_of(MLP(5, [], 7), None, shape_of, owner="Q") == 4


def test_length_is_taken_as_given_for_any_other_net() -> None:
    assert latent_dim_of(nn.Linear(5, 7), 4, shape_of, owner="Q") == 4


def test_a_net_without_shape_needs_the_length() -> None:
    with pytest.raises(ValueError, match="pass latent_shape="):
        latent_dim_of(nn.Linear(5, 7), None, shape_of, owner="Q")


def test_a_net_that_disagrees_with_the_given_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Q got a net of output shape \(7,\), but latent_shape=3 needs \(6,\)"):
        latent_dim_of(MLP(5, [], 7), 3, shape_of, owner="Q")


def test_a_net_that_fits_no_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"output shape \(2, 7\)"):
        latent_dim_of(MLP(5, [], (2, 7)), None, shape_of, owner="Q")


def test_several_tensors_of_context_are_the_arguments_of_the_net() -> None:
    a, b = torch.randn(4, 2), torch.randn(4, 3)
    net = MLP([2, 3], [], 5)
    assert torch.equal(parameters_of(net, (a, b)), net(a, b))


def test_split_cuts_the_last_axis_in_order() -> None:
    first, second = split(torch.arange(14.0).view(2, 7), [(3,), (2, 2)])
    assert first.tolist() == [[0, 1, 2], [7, 8, 9]]
    assert second[1].tolist() == [[10, 11], [12, 13]]
