"""Uniform noise while training and whole numbers afterwards, both with log q = 0."""

from __future__ import annotations

import torch

from lowerbound.nets import MLP
from lowerbound.posteriors import UniformNoise
from lowerbound.testing import check_conditional


def test_noise_in_training_is_uniform_about_the_output_of_the_net(constant_net):
    torch.manual_seed(0)
    q = UniformNoise(constant_net(torch.tensor([0.2, -3.7])))(torch.zeros(4, 1))
    away = q.rsample((50_000,)) - torch.tensor([0.2, -3.7])
    assert away.abs().max() <= 0.5 + 1e-6
    assert away.mean().abs() < 6 * (1 / 12 / 400_000) ** 0.5
    torch.testing.assert_close(away.var(), torch.tensor(1 / 12), rtol=0.02, atol=0)
    assert bool((q.log_prob(q.rsample((7,))) == 0).all())
    assert q.log_prob(torch.tensor([[0.71, -3.7]]).expand(4, -1)).eq(-torch.inf).all()


def test_eval_mode_rounds(constant_net):
    q = UniformNoise(constant_net(torch.tensor([0.2, -3.7]))).eval()(torch.zeros(4, 1))
    assert q.sample((3,)).unique(dim=0).tolist() == [[[0.0, -4.0]] * 4]
    assert q.log_prob(q.point()).tolist() == [0.0] * 4
    assert q.log_prob(q.point() + 1).eq(-torch.inf).all()


def test_it_conforms_while_training():
    torch.manual_seed(0)
    check_conditional(UniformNoise(MLP(3, [4], 5).double()), torch.randn(4, 3, dtype=torch.float64))
