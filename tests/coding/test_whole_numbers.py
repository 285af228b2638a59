"""Codes of whole numbers take −log₂ p bits and come back as they were."""

from __future__ import annotations

import math
from typing import cast

import pytest
import torch
from torch import nn

from lowerbound.coding.stack import BitStack, StackError
from lowerbound.coding.whole_numbers import CodedNumbers, WholeNumberCodec, lanes_for
from lowerbound.likelihoods import Normal
from lowerbound.model import LatentVariableModel
from lowerbound.models.rate_distortion import rate_distortion
from lowerbound.posteriors import UniformNoise
from lowerbound.priors.noisy_normal import NoisyNormalDistribution

ABOVE_THE_BOUND = 0.5 * math.log2(math.pi * math.e / 6)
"""Bits by which an entropy-coded uniform quantiser is above R(D) at high rate (Gish & Pierce 1968)."""


class Times(nn.Module):
    """x ↦ c x."""

    def __init__(self, factor: float, size: int):
        super().__init__()
        self.factor, self.out_shape = factor, (size,)

    def forward(self, x):
        return self.factor * x


class GaussianSource(nn.Module):
    """N(0, σ²) in units of the cells."""

    def __init__(self, scale: float, size: int):
        super().__init__()
        self.scale, self.size = scale, size

    def forward(self, context=None):
        loc = torch.zeros(self.size).double()
        return NoisyNormalDistribution(loc, torch.full_like(loc, self.scale), 1)


@torch.no_grad()
def enlarge(model: LatentVariableModel, factor: float) -> None:
    """Multiply the weights of the encoder, so that codes vary."""
    for p in cast(nn.Module, model.posterior).parameters():
        p.mul_(factor)


def read(coded: CodedNumbers) -> BitStack:
    """The stack of a file."""
    stack = BitStack.from_bytes(coded.stack.to_bytes(), coded.stack.num_words, len(coded.stack.heads))
    stack.lent = coded.stack.lent
    return stack


def test_scalar_quantisation_of_a_gaussian_is_a_quarter_of_a_bit_above_its_bound():
    """R(D) = ½ log₂(σ² / D) of a source with σ = 1, at cells of width 0.05."""
    torch.manual_seed(0)
    width, rows, size = 0.05, 400, 100
    x = torch.randn(rows, size, dtype=torch.float64)
    x = (x - x.mean()) / x.std(correction=0)
    model = LatentVariableModel(
        prior=GaussianSource(1 / width, size),
        likelihood=Normal(Times(width, size), 0.1),
        posterior=UniformNoise(Times(1 / width, size)),
    )
    coded = WholeNumberCodec(model, 100).encode(x)
    distortion = (coded.decoded - x).square().mean().item()
    assert distortion == pytest.approx(width**2 / 12, rel=0.03)
    bits = coded.net_bits / x.numel()
    assert bits - 0.5 * math.log2(1 / distortion) == pytest.approx(ABOVE_THE_BOUND, abs=0.01)


@pytest.fixture(scope="module", params=["factorized", "hyperprior"])
def coded(request):
    """A model with large weights, so that its codes vary, and the codes of rows."""
    torch.manual_seed(1)
    model = rate_distortion((3, 11, 14), prior=request.param, hidden=[6, 6], code_channels=3, hyper_channels=2)
    enlarge(model, 2.5)
    codec = WholeNumberCodec(model, 64)
    x = torch.rand(250, 3, 11, 14, dtype=torch.float64)
    return codec, codec.encode(x), x


def test_bits_are_those_of_the_prior(coded):
    codec, found, x = coded
    expected = found.information
    assert found.net_bits == pytest.approx(expected, rel=1e-3)
    assert 8 * len(found.stack.to_bytes()) == pytest.approx(expected, rel=1e-3, abs=80 * lanes_for(expected))
    log_w = codec.model.log_weights(x, 1)
    assert (log_w.rate.sum() / math.log(2)).item() == pytest.approx(found.model_information, rel=1e-9)
    assert found.information < found.model_information * (1 + 1e-5)
    assert expected > 20_000


def test_codes_that_the_prior_excludes_take_thirty_bits():
    """An encoder of large weights under a prior that expects small numbers: the rate is several times the file."""
    torch.manual_seed(1)
    model = rate_distortion((3, 11, 14), hidden=[6, 6], code_channels=3)
    enlarge(model, 6)
    codec, x = WholeNumberCodec(model, 64), torch.rand(40, 3, 11, 14, dtype=torch.float64)
    found = codec.encode(x)
    assert found.net_bits == pytest.approx(found.information, rel=1e-3)
    assert found.information < 30.01 * 40 * 3 * 3 * 4
    assert found.model_information > 1.5 * found.information
    assert torch.equal(codec.decode(read(found), 40, found.ranges), found.decoded)


def test_the_decoded_rows_are_what_the_encoder_saw(coded):
    codec, found, _ = coded
    stack = read(found)
    assert torch.equal(codec.decode(stack, 250, found.ranges), found.decoded)
    assert stack.is_what_was_lent(found.stack.lent)


def test_other_weights_do_not_decode(coded):
    codec, found, _ = coded
    torch.manual_seed(2)
    other = WholeNumberCodec(codec.model, 64)
    with torch.no_grad():
        for p in cast(nn.Module, other.model.prior).parameters():
            p.add_(0.1 * torch.randn_like(p))
    stack = read(found)
    try:
        same = torch.equal(other.decode(stack, 250, found.ranges), found.decoded)
    except StackError:
        return
    assert not same


def test_codes_without_end_are_refused():
    model = rate_distortion((8, 8), hidden=[4])
    enlarge(model, 1e4)
    with pytest.raises(ValueError, match="larger weight of the rate"):
        WholeNumberCodec(model, 4).encode(torch.rand(4, 8, 8, dtype=torch.float64))
